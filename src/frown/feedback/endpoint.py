"""A critic that asks a model behind an endpoint, several answers at once.

Each call is reserved in the budget before it is made, each review has a deadline, and what goes wrong costs its own
review alone. The key is read from the environment, and taken out of everything that comes back.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import SecretStr

from frown.config import EndpointConfig, ModelCriticConfig
from frown.errors import FrownError
from frown.feedback.account import Account
from frown.feedback.critic import Request
from frown.feedback.judge import SCHEMA, Reading, again, prompt, read
from frown.feedback.model_critic import ModelCritic, Outcome, concluded
from frown.feedback.retry import Breaker, backoff
from frown.types import Message

if TYPE_CHECKING:
    import openai

    from frown.feedback.wire import Completion


def endpoint_critic(config: ModelCriticConfig) -> ModelCritic:
    """The critic that asks `config.endpoint`.

    Raises FrownError when the openai package or the key is missing, or the cache cannot be used.
    """
    assert config.endpoint is not None
    return ModelCritic(config, Endpoint(config.endpoint, config.sees, config.max_new_tokens))


class _LostError(Exception):
    """A conversation that cannot go on: reason and why."""


class _Line(NamedTuple):
    """What the conversations of one batch share."""

    client: openai.AsyncOpenAI
    account: Account
    settled: asyncio.Event


class Endpoint:
    """Conversations with an endpoint; implements `frown.feedback.model_critic.Backend`."""

    def __init__(self, config: EndpointConfig, sees: Sequence[str], max_new_tokens: int) -> None:
        try:
            from frown.feedback import wire
        except ImportError:
            raise FrownError('a critic behind an endpoint needs openai: pip install "frown[critics]"') from None
        self._wire = wire
        self._config, self._sees, self._max_new_tokens = config, sees, max_new_tokens
        self._key = _key(config.key_variable)
        self._breaker = Breaker(config.breaker_after, config.breaker_pause)
        self._structured: bool | None = None if config.json_schema else False
        """Whether the endpoint takes a JSON schema; None: not known yet."""
        self._rng = random.Random()  # its own: how long a pause is must not change what an experiment draws

    @property
    def identity(self) -> str:
        """Host and path, model, and what is sent beside the prompt."""
        url, config = urlsplit(self._config.base_url), self._config
        sent = [config.temperature, config.json_schema, config.extra_body]
        return f"{url.netloc}{url.path.rstrip('/')} {config.model} {json.dumps(sent, sort_keys=True, default=str)}"

    def judge(self, requests: Mapping[str, Request], account: Account, done: Callable[[str, Outcome], None]) -> None:
        """A conversation about each request, at most `concurrency` at once."""
        from anyio.from_thread import start_blocking_portal

        # An event loop of its own, in a thread of its own: callers with a running loop can use it, too.
        with self._wire.hidden_from_logs(self._hide), start_blocking_portal() as portal:
            portal.call(self._judge, requests, account, done)

    def close(self) -> None:
        """Nothing is held between calls of `judge`."""

    async def _judge(
        self, requests: Mapping[str, Request], account: Account, done: Callable[[str, Outcome], None]
    ) -> None:
        slots = asyncio.Semaphore(self._config.concurrency)
        async with self._wire.connect(self._config, self._key.get_secret_value()) as client:
            line = _Line(client, account, asyncio.Event())

            async def one(key: str, request: Request) -> None:
                async with slots:
                    done(key, await self._outcome(line, request))

            async with asyncio.TaskGroup() as group:
                for key, request in requests.items():
                    group.create_task(one(key, request))

    async def _outcome(self, line: _Line, request: Request) -> Outcome:
        """The conversation about one request: a reply, and where it cannot be used as it is, a second one."""
        until = asyncio.get_running_loop().time() + self._config.deadline
        messages = prompt(request, self._sees)
        best = Reading()
        try:
            reply = await self._reply(line, messages, until)
            best = self._read(line, reply, request)
            if best.fault:
                line.account.add("reasked")
                reply = await self._reply(line, again(messages, reply.text, best.fault), until)
                second = self._read(line, reply, request)
                best = max(second, best, key=lambda r: len(r.judgements))
        except _LostError as lost:
            if not best.judgements:
                return Outcome((), *lost.args)
        return concluded(best)

    def _read(self, line: _Line, reply: Completion, request: Request) -> Reading:
        reading = read(reply.text, request, cut=self._max_new_tokens if reply.cut else None)
        line.account.add("stray", reading.stray)
        hidden = [
            j.model_copy(update={"correction": self._hide(j.correction or ""), "reason": self._hide(j.reason or "")})
            for j in reading.judgements
        ]
        return reading._replace(judgements=tuple(hidden))

    async def _reply(self, line: _Line, messages: Sequence[Message], until: float) -> Completion:
        """One reply, tried for until a time of the event loop's clock. Raises _LostError."""
        try:
            async with asyncio.timeout_at(until):
                return await self._tries(line, messages, until)
        except TimeoutError:
            self._breaker.failed()
            why = f"no usable answer within deadline = {self._config.deadline:g} s, tries and waits included"
            raise _LostError("deadline", why) from None

    async def _tries(self, line: _Line, messages: Sequence[Message], until: float) -> Completion:
        config, tried, structured = self._config, 0, self._structured is not False
        while True:
            if self._breaker.open:
                row, pause = config.breaker_after, config.breaker_pause
                why = f"its endpoint failed {row} times in a row and is left alone for breaker_pause = {pause:g} s"
                raise _LostError("breaker", why)
            body = self._body(messages, structured)
            # A token is a byte or more, so the bytes of a request bound its tokens.
            most = len(json.dumps(body, ensure_ascii=False, default=str).encode()) + self._max_new_tokens
            await self._reserve(line, most)
            spent = most
            try:
                completion = await self._wire.complete(line.client, body)
                if completion.usage is not None:
                    spent = line.account.used(completion.usage.prompt_tokens, completion.usage.completion_tokens)
            except Exception as error:
                fault = self._wire.fault(error, config, self._hide)
                spent = 0 if fault.free else most
            else:
                self._breaker.worked()
                if self._structured is None:
                    self._structured = structured
                return completion
            finally:
                line.account.settle(most, spent)
                line.settled.set()
            if fault.prompt and structured and self._structured is not True:
                structured = False
                continue
            tried += 1
            pause = backoff(tried, config.backoff, fault.wait, self._rng)
            late = asyncio.get_running_loop().time() + pause >= until
            if not fault.again or tried > config.retries or late:
                if not fault.prompt:
                    self._breaker.failed()
                more = f"; a pause of {pause:.3g} s would pass the deadline" if fault.again and late else ""
                raise _LostError(fault.reason, fault.why + more)
            line.account.add("retried")
            await asyncio.sleep(pause)

    async def _reserve(self, line: _Line, tokens: int) -> None:
        """Wait for a place in the budget. Raises _LostError where there is none."""
        while (refusal := line.account.refusal(tokens)) is not None:
            if refusal:
                raise _LostError("budget", refusal)
            line.settled.clear()
            await line.settled.wait()
        line.account.reserve(tokens)

    def _body(self, messages: Sequence[Message], structured: bool) -> dict[str, Any]:
        config = self._config
        body: dict[str, Any] = {"model": config.model, "messages": list(messages)}
        body[config.limit_field] = self._max_new_tokens
        if config.temperature != "server":
            body["temperature"] = config.temperature
        if structured:
            form = {"name": "judgements", "strict": True, "schema": SCHEMA}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        if config.extra_body:
            body["extra_body"] = config.extra_body
        return body

    def _hide(self, text: str) -> str:
        """A text of the endpoint's, which may send the key back, without it."""
        key = self._key.get_secret_value()
        # Below eight characters it is no secret, but a word such as "none" or "EMPTY".
        return text.replace(key, "[key]") if len(key) >= 8 else text


def _key(variable: str) -> SecretStr:
    """The key in an environment variable; "none" where no variable is named, as the openai client wants some key."""
    if not variable:
        return SecretStr("none")
    key = os.environ.get(variable, "").strip()
    if not key:
        mend = f'export {variable}, or set key_variable = "" for an endpoint that needs no key'
        raise FrownError(f"the critic's key is missing: environment variable {variable} is not set; {mend}")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise FrownError(f"environment variable {variable} holds characters that no key can have")
    return SecretStr(key)
