"""Chats with a model behind an endpoint: what a critic and a partner in a conversation have in common.

Each call is reserved in the budget before it is made, each reply has a deadline, and what goes wrong costs its own
chat alone. The key is read from the environment, and taken out of everything that comes back.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from frown.config import EndpointConfig
from frown.critics.account import Account
from frown.critics.retry import Breaker, backoff
from frown.errors import FrownError
from frown.types import Message

if TYPE_CHECKING:
    import openai

    from frown.critics.wire import Completion

Asked = TypeVar("Asked")
Heard = TypeVar("Heard")


class LostError(Exception):
    """A chat that cannot go on: reason and why."""


class Line(NamedTuple):
    """What the chats of one batch share."""

    client: openai.AsyncOpenAI
    account: Account
    settled: asyncio.Event


class Chat:
    """A way to an endpoint.

    `form`: name and JSON schema that replies are held to where the endpoint can; None for free text. `who`: what asks,
    for messages to a person.
    """

    def __init__(
        self, config: EndpointConfig, max_new_tokens: int, form: tuple[str, Mapping[str, Any]] | None, who: str
    ) -> None:
        try:
            from frown.critics import wire
        except ImportError:
            raise FrownError(f'a {who} behind an endpoint needs openai: pip install "frown[critics]"') from None
        self._wire = wire
        self._config, self._max_new_tokens, self._form = config, max_new_tokens, form
        self._key = _key(config.key_variable, who)
        self._breaker = Breaker(config.breaker_after, config.breaker_pause)
        self._structured: bool | None = None if config.json_schema and form is not None else False
        """Whether the endpoint takes a JSON schema; None: not known yet."""
        self._rng = random.Random()  # its own: how long a pause is must not change what an experiment draws

    @property
    def identity(self) -> str:
        """Host and path, model, and what is sent beside the prompt."""
        url, config = urlsplit(self._config.base_url), self._config
        sent = [config.temperature, config.json_schema, config.extra_body]
        return f"{url.netloc}{url.path.rstrip('/')} {config.model} {json.dumps(sent, sort_keys=True, default=str)}"

    def side_by_side(
        self,
        asked: Mapping[str, Asked],
        account: Account,
        one: Callable[[Line, Asked, float], Awaitable[Heard]],
        done: Callable[[str, Heard], None],
    ) -> None:
        """Hold `one(line, asked, until)` for each, at most `concurrency` at once, and say `done` as each is known.
        `until`: when its deadline is, on the event loop's clock."""
        from anyio.from_thread import start_blocking_portal

        async def all_of_them() -> None:
            slots = asyncio.Semaphore(self._config.concurrency)
            async with self._wire.connect(self._config, self._key.get_secret_value()) as client:
                line = Line(client, account, asyncio.Event())

                async def held(key: str, what: Asked) -> None:
                    async with slots:
                        done(key, await one(line, what, asyncio.get_running_loop().time() + self._config.deadline))

                async with asyncio.TaskGroup() as group:
                    for key, what in asked.items():
                        group.create_task(held(key, what))

        # An event loop of its own, in a thread of its own: callers with a running loop can use it, too.
        with self._wire.hidden_from_logs(self.hide), start_blocking_portal() as portal:
            portal.call(all_of_them)

    async def reply(self, line: Line, messages: Sequence[Message], until: float) -> Completion:
        """One reply, tried for until a time of the event loop's clock. Raises LostError."""
        try:
            async with asyncio.timeout_at(until):
                return await self._tries(line, messages, until)
        except TimeoutError:
            self._breaker.failed()
            why = f"no usable answer within deadline = {self._config.deadline:g} s, tries and waits included"
            raise LostError("deadline", why) from None

    async def _tries(self, line: Line, messages: Sequence[Message], until: float) -> Completion:
        config, tried, structured = self._config, 0, self._structured is not False
        while True:
            if self._breaker.open:
                row, pause = config.breaker_after, config.breaker_pause
                why = f"its endpoint failed {row} times in a row and is left alone for breaker_pause = {pause:g} s"
                raise LostError("breaker", why)
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
                fault = self._wire.fault(error, config, self.hide)
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
                raise LostError(fault.reason, fault.why + more)
            line.account.add("retried")
            await asyncio.sleep(pause)

    async def _reserve(self, line: Line, tokens: int) -> None:
        """Wait for a place in the budget. Raises LostError where there is none."""
        while (refusal := line.account.refusal(tokens)) is not None:
            if refusal:
                raise LostError("budget", refusal)
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
            assert self._form is not None
            name, schema = self._form
            form = {"name": name, "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        if config.extra_body:
            body["extra_body"] = config.extra_body
        return body

    def hide(self, text: str) -> str:
        """A text of the endpoint's, which may send the key back, without it."""
        key = self._key.get_secret_value()
        # Below eight characters it is no secret, but a word such as "none" or "EMPTY".
        return text.replace(key, "[key]") if len(key) >= 8 else text


def _key(variable: str, who: str) -> SecretStr:
    """The key in an environment variable; "none" where no variable is named, as the openai client wants some key."""
    if not variable:
        return SecretStr("none")
    key = os.environ.get(variable, "").strip()
    if not key:
        mend = f'export {variable}, or set key_variable = "" for an endpoint that needs no key'
        raise FrownError(f"the {who}'s key is missing: environment variable {variable} is not set; {mend}")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise FrownError(f"environment variable {variable} holds characters that no key can have")
    return SecretStr(key)
