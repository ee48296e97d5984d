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
from frown.critics.chat.budget import Budget
from frown.critics.chat.retry import CircuitBreaker, backoff
from frown.errors import FrownError
from frown.types import Message

if TYPE_CHECKING:
    import openai

    from frown.critics.chat.protocol import Completion

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class ChatError(Exception):
    """A chat that cannot go on: a reason in a word or two, and a sentence."""


class ChatBatch(NamedTuple):
    """The connection, budget and signal that the chats of one batch share."""

    client: openai.AsyncOpenAI
    budget: Budget
    settled: asyncio.Event


class ChatClient:
    """A client of a chat endpoint.

    `schema`: name and JSON schema that replies are held to where the endpoint can; None for free text. `purpose`: what
    asks (critic, partner), for error messages.
    """

    def __init__(
        self, config: EndpointConfig, max_new_tokens: int, schema: tuple[str, Mapping[str, Any]] | None, purpose: str
    ) -> None:
        try:
            from frown.critics.chat import protocol
        except ImportError:
            raise FrownError(f'a {purpose} behind an endpoint needs openai: pip install "frown[critics]"') from None
        self._protocol = protocol
        self._config, self._max_new_tokens, self._schema = config, max_new_tokens, schema
        self._key = _key(config.key_variable, purpose)
        self._breaker = CircuitBreaker(config.breaker_after, config.breaker_pause)
        self._structured: bool | None = None if config.json_schema and schema is not None else False
        """Whether the endpoint takes a JSON schema; None: not known yet."""
        self._rng = random.Random()  # its own, so that pauses do not change what an experiment draws

    @property
    def identity(self) -> str:
        """Host and path, model, and what is sent beside the prompt."""
        url, config = urlsplit(self._config.base_url), self._config
        sent = [config.temperature, config.json_schema, config.extra_body]
        return f"{url.netloc}{url.path.rstrip('/')} {config.model} {json.dumps(sent, sort_keys=True, default=str)}"

    def run_concurrently(
        self,
        questions: Mapping[str, Question],
        budget: Budget,
        converse: Callable[[ChatBatch, Question, float], Awaitable[Answer]],
        on_answer: Callable[[str, Answer], None],
    ) -> None:
        """Run `converse(batch, question, deadline)` for each, at most `concurrency` at once; call `on_answer` for each.

        `deadline`: on the event loop's clock.
        """
        from anyio.from_thread import start_blocking_portal

        async def run_all() -> None:
            slots = asyncio.Semaphore(self._config.concurrency)
            async with self._protocol.make_client(self._config, self._key.get_secret_value()) as client:
                batch = ChatBatch(client, budget, asyncio.Event())

                async def answer_one(key: str, question: Question) -> None:
                    async with slots:
                        deadline = asyncio.get_running_loop().time() + self._config.deadline
                        on_answer(key, await converse(batch, question, deadline))

                async with asyncio.TaskGroup() as group:
                    for key, question in questions.items():
                        group.create_task(answer_one(key, question))

        # An event loop of its own, in a thread of its own: callers with a running loop can use it, too.
        with self._protocol.redact_logs(self.redact), start_blocking_portal() as portal:
            portal.call(run_all)

    async def reply(self, batch: ChatBatch, messages: Sequence[Message], deadline: float) -> Completion:
        """One reply, retried until a deadline on the event loop's clock. Raises ChatError."""
        try:
            async with asyncio.timeout_at(deadline):
                return await self._attempts(batch, messages, deadline)
        except TimeoutError:
            self._breaker.record_failure()
            why = f"no usable answer within deadline = {self._config.deadline:g} s, tries and waits included"
            raise ChatError("deadline", why) from None

    async def _attempts(self, batch: ChatBatch, messages: Sequence[Message], deadline: float) -> Completion:
        config, failures, structured = self._config, 0, self._structured is not False
        while True:
            if self._breaker.open:
                count, pause = config.breaker_after, config.breaker_pause
                why = f"its endpoint failed {count} times in a row and is left alone for breaker_pause = {pause:g} s"
                raise ChatError("breaker", why)
            body = self._body(messages, structured)
            # A token is a byte or more, so the bytes of a request bound its tokens.
            max_tokens = len(json.dumps(body, ensure_ascii=False, default=str).encode()) + self._max_new_tokens
            await self._reserve(batch, max_tokens)
            spent = max_tokens
            try:
                completion = await self._protocol.complete(batch.client, body)
                if completion.usage is not None:
                    spent = batch.budget.count_tokens(
                        completion.usage.prompt_tokens, completion.usage.completion_tokens
                    )
            except Exception as error:
                failure = self._protocol.explain_failure(error, config, self.redact)
                spent = 0 if failure.unbilled else max_tokens
            else:
                self._breaker.record_success()
                if self._structured is None:
                    self._structured = structured
                return completion
            finally:
                batch.budget.settle(max_tokens, spent)
                batch.settled.set()
            if failure.prompt_rejected and structured and self._structured is not True:
                structured = False
                continue
            failures += 1
            pause = backoff(failures, config.backoff, failure.retry_after, self._rng)
            late = asyncio.get_running_loop().time() + pause >= deadline
            if not failure.retryable or failures > config.retries or late:
                if not failure.prompt_rejected:
                    self._breaker.record_failure()
                more = f"; a pause of {pause:.3g} s would pass the deadline" if failure.retryable and late else ""
                raise ChatError(failure.reason, failure.message + more)
            batch.budget.count("retried")
            await asyncio.sleep(pause)

    async def _reserve(self, batch: ChatBatch, tokens: int) -> None:
        """Wait for a place in the budget. Raises ChatError where there is none."""
        while (refusal := batch.budget.refusal(tokens)) is not None:
            if refusal:
                raise ChatError("budget", refusal)
            batch.settled.clear()
            await batch.settled.wait()
        batch.budget.reserve(tokens)

    def _body(self, messages: Sequence[Message], structured: bool) -> dict[str, Any]:
        config = self._config
        body: dict[str, Any] = {"model": config.model, "messages": list(messages)}
        body[config.limit_field] = self._max_new_tokens
        if config.temperature != "server":
            body["temperature"] = config.temperature
        if structured:
            assert self._schema is not None
            name, schema = self._schema
            form = {"name": name, "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        if config.extra_body:
            body["extra_body"] = config.extra_body
        return body

    def redact(self, text: str) -> str:
        """A text of the endpoint without the key, which it may send back."""
        key = self._key.get_secret_value()
        # Below eight characters it is no secret, but a word such as "none" or "EMPTY".
        return text.replace(key, "[key]") if len(key) >= 8 else text


def _key(variable: str, purpose: str) -> SecretStr:
    """The key in an environment variable; "none" where no variable is named, as the openai client wants some key."""
    if not variable:
        return SecretStr("none")
    key = os.environ.get(variable, "").strip()
    if not key:
        mend = f'export {variable}, or set key_variable = "" for an endpoint that needs no key'
        raise FrownError(f"the {purpose}'s key is missing: environment variable {variable} is not set; {mend}")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise FrownError(f"environment variable {variable} holds characters that no key can have")
    return SecretStr(key)
