"""OpenAI's chat protocol, parsed strictly. The one module that imports openai and httpx2."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx2
import openai
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from frown.config import EndpointConfig
from frown.critics.chat.retry import parse_retry_after
from frown.errors import printable


class Usage(BaseModel):
    """Tokens of a call as the endpoint counts them."""

    model_config = ConfigDict(strict=True)

    prompt_tokens: int = Field(ge=0, le=10**9)
    completion_tokens: int = Field(ge=0, le=10**9)


class Completion(NamedTuple):
    """An endpoint's answer."""

    text: str
    truncated: bool
    """Whether it ends at the limit of tokens."""
    usage: Usage | None
    """None where the endpoint does not say, or nothing that makes sense."""


class Failure(NamedTuple):
    """The reason why there is no completion."""

    reason: str
    """In a word or two."""
    message: str
    retryable: bool = True
    """Whether a further try may help."""
    retry_after: float | None = None
    """Seconds that the endpoint asks to wait."""
    unbilled: bool = False
    """Whether it surely cost nothing: the endpoint refused, or was not reached."""
    prompt_rejected: bool = False
    """Whether it may be this prompt's fault, or of the form asked for, rather than the endpoint's."""


def make_client(config: EndpointConfig, key: str) -> openai.AsyncOpenAI:
    """A client that neither tries again nor follows redirects, and holds no response beyond the limit."""

    async def bounded(response: httpx2.Response) -> None:
        response.stream = _Bounded(response, config.max_response_bytes)

    timeout = httpx2.Timeout(config.timeout, connect=min(10.0, config.timeout))
    return openai.AsyncOpenAI(
        api_key=key,
        base_url=config.base_url,
        timeout=timeout,
        # Its retrying multiplies the timeout, cannot be held to a deadline, and hides what is sent from the budget.
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(
            timeout=timeout,
            follow_redirects=False,  # they would carry prompts to another host
            event_hooks={"response": [bounded]},
            headers={"Accept-Encoding": "identity"},
        ),
    )


@contextmanager
def redact_logs(redact: Callable[[str], str]) -> Iterator[None]:
    """Keep the key out of the logs meanwhile: the words of a status line, which an endpoint may have put it into and
    httpx2 logs at INFO, go through `redact`, and httpcore2, which logs headers at DEBUG, is silent."""

    def redact_record(record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        return True

    filtered = [logging.getLogger(name) for name in ("openai", "openai._base_client", "httpx2")]
    transport = logging.getLogger("httpcore2")
    level = transport.level
    transport.setLevel(logging.WARNING)
    for logger in filtered:
        logger.addFilter(redact_record)
    try:
        yield
    finally:
        transport.setLevel(level)
        for logger in filtered:
            logger.removeFilter(redact_record)


async def complete(client: openai.AsyncOpenAI, body: Mapping[str, Any]) -> Completion:
    """One call. Raises what `explain_failure` explains."""
    raw = await client.chat.completions.with_raw_response.create(**body)
    # The openai client builds its objects from whatever comes, unchecked; so its text is read here.
    completion = _Completion.model_validate_json(raw.content)
    first = completion.choices[0]
    return Completion(first.message.content or "", first.finish_reason == "length", _usage(completion.usage))


def explain_failure(error: Exception, config: EndpointConfig, redact: Callable[[str], str]) -> Failure:
    """The failure of a call. `redact` takes the key out of what others say, before it is shortened."""
    if isinstance(error, openai.APIStatusError):
        return _status_failure(error, config, redact)
    if isinstance(error, openai.APITimeoutError):
        if isinstance(error.__cause__, httpx2.ConnectTimeout):
            return Failure("unreachable", "it cannot be reached: nobody answers", unbilled=True)
        return Failure("timeout", f"it was silent for timeout = {config.timeout:g} s")
    if isinstance(error, openai.APIConnectionError):
        cause = error.__cause__ or error
        message = f"it cannot be reached, or broke off: {type(cause).__name__}: {printable(redact(str(cause)))}"
        return Failure("unreachable", message, unbilled=isinstance(cause, httpx2.ConnectError))
    if isinstance(error, _TooLongError):
        return Failure("too large", str(error), retryable=False)
    if isinstance(error, ValidationError):
        return Failure("malformed", "what it sends is no chat completion; is base_url right?")
    return Failure("failed", f"{type(error).__name__}: {printable(redact(str(error)))}", retryable=False)


def _status_failure(error: openai.APIStatusError, config: EndpointConfig, redact: Callable[[str], str]) -> Failure:
    status = error.status_code
    message = f"HTTP {status}{_message(error.body, redact)}"
    wait = parse_retry_after(error.response.headers)
    if status == 429:
        spent = error.code == "insufficient_quota"
        return Failure("rate limited", message, retryable=not spent, retry_after=wait, unbilled=True)
    if status in (408, 409, 425) or status >= 500:
        unknown = status in (408, 504, 524)  # somebody in between gave up waiting: the model may have answered
        return Failure("server error", message, retry_after=wait, unbilled=not unknown)
    mend = ""
    if 300 <= status < 400:
        mend = "; redirects are not followed: set base_url to where it leads"
    elif status in (401, 403):
        mend = f"; is the key in {config.key_variable} right?" if config.key_variable else "; set key_variable"
    elif status == 404:
        mend = "; are base_url and model right?"
    return Failure("refused", message + mend, retryable=False, unbilled=True, prompt_rejected=status in (400, 413, 422))


def _message(body: object, redact: Callable[[str], str]) -> str:
    """The endpoint's words about an error."""
    text = body.get("message") or body.get("detail") if isinstance(body, Mapping) else body
    plain = isinstance(text, str) and text.strip() and not text.lstrip().startswith("<")  # a page says nothing
    return f": {printable(redact(str(text)))}" if plain else ""


def _usage(value: object) -> Usage | None:
    try:
        return Usage.model_validate(value)
    except ValidationError:
        return None


class _TooLongError(Exception):
    """A response that passes the limit; the message is ours."""


class _Bounded(httpx2.AsyncByteStream):
    """The body of a response, broken off where it passes a limit, whatever its headers say."""

    def __init__(self, response: httpx2.Response, most: int) -> None:
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        self._stream, self._most = response.stream, most
        self._encoding = response.headers.get("content-encoding", "identity").strip().lower()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._encoding not in ("", "identity"):  # a few bytes may unpack to any length, and none was asked for
            raise _TooLongError(f"its response is packed ({self._encoding[:20]}), which was not asked for")
        received = 0
        async for chunk in self._stream:
            received += len(chunk)
            if received > self._most:
                raise _TooLongError(f"its response is longer than max_response_bytes = {self._most}")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Message(BaseModel):
    model_config = ConfigDict(strict=True)

    content: str | None = None


class _Choice(BaseModel):
    model_config = ConfigDict(strict=True)

    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    model_config = ConfigDict(strict=True)

    choices: list[_Choice] = Field(min_length=1)
    usage: Any = None
