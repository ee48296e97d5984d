"""The forms in which servers write an answer: a table of tests and readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from frown.interchange.answer import LoggedToken
from frown.interchange.messages import clean, content_text, message_text
from frown.interchange.omissions import Omissions
from frown.interchange.tokens import from_columns, from_entries, from_ids, from_triples

CUT = ("length", "max_tokens", "max_output_tokens", "limit", "MAX_TOKENS")
"""Reasons to end that say that the limit of tokens was reached."""
ENDED = ("stop", "eos", "end_turn", "stop_sequence", "tool_calls", "function_call", "word", "completed", "none", "True")
"""Reasons to end that say nothing of note."""
BAD_FORM = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError)
"""What reading a record of an unknown form may raise."""


@dataclass(frozen=True)
class Choice:
    """One answer as a server gave it."""

    text: str
    tokens: tuple[LoggedToken, ...] = ()
    reason: str = ""
    """Why it ended, in the server's word."""
    source: Mapping[str, Any] | None = None
    """Where a score of this answer would stand."""
    index: int = 0


def why(error: Exception) -> str:
    """What is wrong with a record, for a person."""
    if isinstance(error, KeyError):
        return f"no {error}"
    return f"not an answer of a server: {error}" if isinstance(error, TypeError | AttributeError) else str(error)


def said_of(error: Any) -> str:
    """The message of an error, in whatever it is wrapped."""
    if isinstance(error, Mapping):
        said = (error.get(k) for k in ("message", "error_message", "detail", "code", "type"))
        return str(next((s for s in said if s), dict(error)))
    return str(error)


def has_answer(body: Mapping[str, Any]) -> bool:
    """Whether a body has an answer beside the conversation."""
    return any(test(body) for test, _ in _FORMS[:-1])


def choices_of(body: Mapping[str, Any], omissions: Omissions) -> Iterator[Choice]:
    """The answers of a body. One that cannot be read is counted; raises KeyError where there is none to be read."""
    for test, read in _FORMS:
        if test(body):
            yield from read(body, omissions)
            return
    raise KeyError("choices")


def _openai(body: Mapping[str, Any], omissions: Omissions) -> Iterator[Choice]:
    choices = body["choices"]
    if not isinstance(choices, Sequence) or isinstance(choices, str) or not choices:
        raise ValueError(f"choices is {choices!r:.40}")
    for i, choice in enumerate(choices):
        try:
            if isinstance(choice, Mapping) and choice.get("error"):
                omissions.add("requests", said_of(choice["error"]))
                continue
            if not isinstance(choice, Mapping) or not ("text" in choice or isinstance(choice.get("message"), Mapping)):
                raise ValueError("a choice without a message or a text")
            text = message_text(choice["message"]) if isinstance(choice.get("message"), Mapping) else choice["text"]
            tokens = _tokens(partial(_of_logprobs, choice.get("logprobs"), omissions), omissions)
            yield Choice(clean(text or ""), tokens, _reason(choice.get("finish_reason")), choice, i)
        except BAD_FORM as error:
            omissions.add("answers", why(error))


def _of_logprobs(logs: Any, omissions: Omissions) -> tuple[LoggedToken, ...]:
    if not logs:
        return ()
    if isinstance(logs, list):
        return from_entries(logs, omissions.add)
    entries = [e for k in ("reasoning_content", "content", "refusal") for e in (logs.get(k) or ())]
    if entries:
        return from_entries(entries, omissions.add)
    return from_columns(logs, omissions.add) if logs.get("tokens") else ()


def _tokens(read: Callable[[], tuple[LoggedToken, ...]], omissions: Omissions) -> tuple[LoggedToken, ...]:
    """Tokens that may be unreadable, which costs them and not the text."""
    try:
        return tuple(read())
    except BAD_FORM as error:
        omissions.add("logprobs", why(error))
        return ()


def _reason(given: Any) -> str:
    if isinstance(given, Mapping):
        given = given.get("type", given.get("reason"))
    return "" if given is None else str(given)


def _vllm(body: Mapping[str, Any], omissions: Omissions) -> Iterator[Choice]:
    for i, output in enumerate(body["outputs"]):
        try:
            ids, logs = output.get("token_ids"), output.get("logprobs")
            tokens = _tokens(partial(from_ids, ids, logs, omissions.add) if logs else tuple, omissions)
            yield Choice(clean(output["text"] or ""), tokens, _reason(output.get("finish_reason")), output, i)
        except BAD_FORM as error:
            omissions.add("answers", why(error))


def _responses(body: Mapping[str, Any], omissions: Omissions) -> Iterator[Choice]:
    """The items of one response are one answer: what was thought, what was said, the calls of tools."""
    texts: list[str] = []
    entries: list[Any] = []
    for item in body["output"]:
        if not isinstance(item, Mapping):
            omissions.add("answers", f"a part of an answer is {item!r}")
        elif item.get("type") == "reasoning":
            thought = content_text([*(item.get("summary") or ()), *(item.get("content") or ())])
            texts += [f"<think>\n{thought}\n</think>\n\n"] if thought else []
        else:
            texts.append(message_text(item))
            parts = item.get("content")
            for part in parts if isinstance(parts, list) else ():
                entries += (part.get("logprobs") or ()) if isinstance(part, Mapping) else ()
    incomplete = body.get("incomplete_details")
    reason = _reason(incomplete) or _reason(body.get("status"))
    tokens = _tokens(lambda: from_entries(entries, omissions.add), omissions)
    yield Choice(clean("".join(texts)), tokens, reason, body)


def _llama_cpp(body: Mapping[str, Any], omissions: Omissions) -> Iterator[Choice]:
    cut = body.get("stopped_limit") is True
    tokens = _tokens(lambda: from_entries(body.get("completion_probabilities") or (), omissions.add), omissions)
    yield Choice(clean(body.get("content") or ""), tokens, "limit" if cut else _reason(body.get("stop_type")), body)


def _sglang(body: Mapping[str, Any], omissions: Omissions) -> Iterator[Choice]:
    meta = body["meta_info"]

    def read() -> tuple[LoggedToken, ...]:
        triples = meta.get("output_token_logprobs")
        return from_triples(triples, meta.get("output_top_logprobs"), omissions.add) if triples else ()

    yield Choice(clean(body["text"] or ""), _tokens(read, omissions), _reason(meta.get("finish_reason")), body)


def _ollama(body: Mapping[str, Any], omissions: Omissions) -> Iterator[Choice]:
    message = body.get("message")
    if not isinstance(message, Mapping):
        message = {"content": body["response"], "thinking": body.get("thinking")}
    tokens = _tokens(partial(_of_logprobs, body.get("logprobs"), omissions), omissions)
    yield Choice(clean(message_text(message)), tokens, _reason(body.get("done_reason")), body)


def _turn(body: Mapping[str, Any], omissions: Omissions) -> Iterator[Choice]:
    """A turn of the assistant by itself."""
    tokens = _tokens(partial(_of_logprobs, body.get("logprobs"), omissions), omissions)
    reason = body.get("finish_reason", body.get("stop_reason"))
    yield Choice(clean(message_text(body)), tokens, _reason(reason), body)


def _conversation(body: Mapping[str, Any], omissions: Omissions) -> Iterator[Choice]:
    yield from _turn(
        {**body["messages"][-1], **{k: body[k] for k in ("logprobs", "finish_reason") if k in body}}, omissions
    )


def _completion(body: Mapping[str, Any], omissions: Omissions) -> Iterator[Choice]:
    given = body["completion"]
    if isinstance(given, str):
        yield Choice(clean(given), source=body)
        return
    turns = [given] if isinstance(given, Mapping) else given
    if not turns or not all(isinstance(turn, Mapping) for turn in turns):
        raise ValueError(f"completion is {given!r:.40}")
    yield Choice(clean("\n".join(message_text(turn) for turn in turns)), source=body)


def _ends_with_answer(body: Mapping[str, Any]) -> bool:
    turns = body.get("messages")
    last = turns[-1] if isinstance(turns, list) and turns else None
    return isinstance(last, Mapping) and last.get("role") == "assistant"


_LLAMA_CPP = ("completion_probabilities", "stop_type", "stopped_eos")
_FORMS: tuple[tuple[Callable[[Mapping[str, Any]], bool], Callable[..., Iterator[Choice]]], ...] = (
    (lambda b: "choices" in b, _openai),
    (lambda b: isinstance(b.get("outputs"), list), _vllm),
    (lambda b: isinstance(b.get("output"), list), _responses),
    (
        lambda b: "content" in b and ("completion_probabilities" in b or "stop_type" in b or "stopped_eos" in b),
        _llama_cpp,
    ),
    (lambda b: isinstance(b.get("meta_info"), Mapping) and "text" in b, _sglang),
    (lambda b: isinstance(b.get("message"), Mapping) or isinstance(b.get("response"), str), _ollama),
    (lambda b: b.get("role") == "assistant", _turn),
    (lambda b: b.get("completion") is not None, _completion),
    (_ends_with_answer, _conversation),
)
"""Whether a body is of a form, and how it is then read. A conversation is the last: it may stand beside others."""
