"""Chat logs as JSON Lines: what OpenAI-style servers answer (vLLM, SGLang and others among them), and vLLM's outputs.

Each line is one object, in any of these forms; `messages` (or `prompt`) and `score` (or `reward`, in [0, 1]) may stand
beside them or, for the request, inside "request":

    {"choices": [{"message": {"content": ...}, "logprobs": {"content": [{token, logprob, bytes, top_logprobs}]}}]}
    {"choices": [{"text": ..., "logprobs": {"tokens": [...], "token_logprobs": [...], "top_logprobs": [{...}]}}]}
    {"response": {the above}}, {"response": {"body": {the above}}}      a log of pairs; a batch's output
    {"prompt": ..., "outputs": [{"text", "token_ids", "logprobs": [{id: {logprob, decoded_token}}]}]}    vLLM offline

Log-probabilities are taken as those of temperature 1, which is what these servers give unless told otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from frown.errors import FrownError
from frown.interchange.answer import Answer, LoggedToken, clean
from frown.tasks.rows import read_jsonl
from frown.types import Message

_ESCAPED = re.compile(r"(?:\\x[0-9a-f]{2})+")


def read_chats(path: Path) -> list[Answer]:
    """All answers of a log, in order.

    Raises FrownError for a file that cannot be read and a line of another form; the line is named.
    """
    answers: list[Answer] = []
    for row in read_jsonl(path):
        try:
            answers += answers_of(row.values)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            why = f"no {error}" if isinstance(error, KeyError) else error
            where = f"{path}, line {row.number}"
            raise FrownError(f"{where}: {why}; each line is an answer of an OpenAI-style server") from None
    return answers


def answers_of(record: Mapping[str, Any]) -> Iterator[Answer]:
    """The answers that one record holds, one a choice. Raises KeyError, TypeError or ValueError for another form."""
    body = record.get("response") or record
    body = body.get("body") or body
    asked = _messages(record)
    task = record.get("custom_id") or (None if asked else body.get("id"))
    offline = "outputs" in body
    for choice in body["outputs" if offline else "choices"]:
        text, tokens = _from_vllm(choice) if offline else _from_choice(choice)
        given = choice.get("score", record.get("score", choice.get("reward", record.get("reward"))))
        yield Answer(
            messages=asked,
            text=text,
            tokens=tokens,
            cut=choice.get("finish_reason") == "length",
            score=_score(given),
            verdict="" if given is None else f"logged score {given}",
            final=None if record.get("answer") is None else clean(record["answer"]),
            step=int(record.get("step") or 0),
            task=None if task is None else clean(task),
        )


def _messages(record: Mapping[str, Any]) -> tuple[Message, ...]:
    asked = {**record, **(record.get("request") or {})}
    if isinstance(asked.get("body"), Mapping):
        asked |= asked["body"]
    messages = asked.get("messages", asked.get("prompt"))
    if messages is None:
        return ()
    if isinstance(messages, str):
        return ({"role": "user", "content": clean(messages)},)
    return tuple({"role": m["role"], "content": clean(_content(m["content"]))} for m in messages)


def _content(content: Any) -> str:
    """A message's text; parts that are no text are named in its place."""
    if isinstance(content, Sequence) and not isinstance(content, str):
        return "".join(p["text"] if p.get("type") == "text" else f"[{p.get('type')}]" for p in content)
    return "" if content is None else str(content)


def _score(given: Any) -> float | None:
    if given is None:
        return None
    value = float(given)
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"score {given!r} is not in [0, 1]")
    return value


def _from_choice(choice: Mapping[str, Any]) -> tuple[str, tuple[LoggedToken, ...] | None]:
    text = clean(_content(choice["message"].get("content")) if "message" in choice else choice["text"])
    logs = choice.get("logprobs")
    if not logs:
        return text, None
    if logs.get("content") is not None:
        return text, tuple(
            _token(t["token"], t["logprob"], t.get("bytes"), t.get("top_logprobs")) for t in logs["content"]
        )
    if logs.get("tokens") is None:
        return text, None
    tops = logs.get("top_logprobs") or [None] * len(logs["tokens"])
    pairs = zip(logs["tokens"], logs["token_logprobs"], tops, strict=True)
    return text, tuple(
        _token(t, logp, None, [{"token": k, "logprob": v} for k, v in (top or {}).items()]) for t, logp, top in pairs
    )


def _from_vllm(output: Mapping[str, Any]) -> tuple[str, tuple[LoggedToken, ...] | None]:
    text, logs = clean(output["text"]), output.get("logprobs")
    if not logs:
        return text, None
    tokens = []
    for number, logged in zip(output["token_ids"], logs, strict=True):
        top = {int(k): v if isinstance(v, Mapping) else {"logprob": v} for k, v in logged.items()}
        if int(number) not in top:
            raise ValueError(f"the log-probability of the sampled token {number} is not in the log")
        own = top[int(number)]
        raw = _raw(own.get("decoded_token") or f"<{number}>")
        others = tuple((k, _logp(v["logprob"])) for k, v in top.items())
        tokens.append(LoggedToken(raw, _logp(own["logprob"]), others, int(number)))
    return text, tuple(tokens)


def _token(token: str, logp: Any, raw: Any, top: Any) -> LoggedToken:
    own = bytes(raw) if raw else _raw(token)
    others = tuple((bytes(t["bytes"]) if t.get("bytes") else _raw(t["token"]), _logp(t["logprob"])) for t in top or ())
    return LoggedToken(own, _logp(logp), others)


def _raw(token: str) -> bytes:
    r"""A token's bytes. Servers write bytes that are no text as \xf0 and the like, some with "bytes:" before them."""
    body = token.removeprefix("bytes:")
    if _ESCAPED.fullmatch(body):
        return bytes.fromhex(body.replace("\\x", ""))
    return clean(token).encode("utf-8")


def _logp(value: Any) -> float:
    number = float(value)
    if not isfinite(number) or number > 1e-3:
        raise ValueError(f"a log-probability is a number of at most 0, got {value!r}")
    return min(number, 0.0)
