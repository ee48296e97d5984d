"""Answers that a server streamed and somebody logged piece by piece, put together again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from frown.interchange.messages import content_text

Numbered = tuple[int, dict[str, Any]]
"""A record and the line that it stands in."""
_JOINED = ("content", "text", "refusal", "reasoning_content", "reasoning", "thinking", "arguments", "response")
"""Texts of which each piece goes on where the last one ended."""
_ENDED = ("response.completed", "response.incomplete", "response.failed")


def event_lines(lines: Sequence[str]) -> list[str]:
    """The lines of a stream of server-sent events without what frames them; other lines as they are."""
    if not any(line.startswith("data:") for line in lines):
        return list(lines)
    bare = []
    for line in lines:
        body = line.removeprefix("data:").strip()
        framing = line.startswith((":", "event:", "id:", "retry:")) or body == "[DONE]"
        bare.append("" if framing else body)
    return bare


def whole_answers(records: Sequence[Numbered]) -> list[Numbered]:
    """The records, those that are pieces of one answer joined where the first of them stood."""
    ended = any(record.get("type") in _ENDED for _, record in records)
    whole: list[Numbered] = []
    open_answers: dict[Any, dict[str, Any]] = {}
    for line, record in records:
        kind = record.get("type")
        if ended and isinstance(kind, str) and kind.startswith("response.") and kind not in _ENDED:
            continue  # the last event holds all that these say
        key = _piece_of(record, open_answers)
        try:
            if key is None:
                whole.append((line, record))
            elif key in open_answers:
                _join(open_answers[key], record)
                if record.get("done") is True:
                    del open_answers[key]
            else:
                begun = _begun(record)
                open_answers[key] = begun
                whole.append((line, begun))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            whole.append((line, record))  # no piece of anything: whoever reads it says why
    return whole


def joined(pieces: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The answers that a list of pieces makes."""
    return [record for _, record in whole_answers([(0, dict(piece)) for piece in pieces])]


def _piece_of(record: Mapping[str, Any], open_answers: Mapping[Any, Any]) -> Any:
    """What names the answer that a record is a piece of; None where it is whole."""
    if record.get("done") is False or (record.get("done") is True and "ollama" in open_answers):
        return "ollama"  # one after the other, without a name
    choices = record.get("choices")
    choices = [c for c in choices if isinstance(c, Mapping)] if isinstance(choices, Sequence) else None
    if choices is None:
        return None
    key = ("openai", str(record.get("id")))
    if any("delta" in c for c in choices) or str(record.get("object")).endswith(".chunk"):
        return key
    unended = any("text" in c and c.get("finish_reason") is None for c in choices) and record.get("id") is not None
    return key if unended or (key in open_answers and record.get("object") == "text_completion") else None


def _begun(record: Mapping[str, Any]) -> dict[str, Any]:
    """The first piece as the answer so far."""
    if "choices" not in record:
        return deepcopy(dict(record))
    answer = {**record, "choices": []}
    _join(answer, record)
    return answer


def _join(answer: dict[str, Any], piece: Mapping[str, Any]) -> None:
    for name, value in piece.items():
        if name == "choices":
            for choice in value or ():
                _join_choice(answer["choices"], choice)
        elif name == "message" and isinstance(answer.get("message"), dict) and isinstance(value, Mapping):
            _append(answer["message"], value)
        elif name in ("response", "thinking", "content") and isinstance(value, str):
            answer[name] = f"{answer.get(name) or ''}{value}"
        elif name == "logprobs" and isinstance(value, list):
            answer[name] = [*(answer.get(name) or ()), *value]
        elif value is not None:
            answer[name] = value


def _join_choice(choices: list[dict[str, Any]], piece: Mapping[str, Any]) -> None:
    delta, index = piece.get("delta"), piece.get("index") or 0
    if delta is not None and not isinstance(delta, Mapping):
        raise TypeError(f"a piece of an answer is {delta!r}")
    choice = next((c for c in choices if c["index"] == index), None)
    if choice is None:
        choice = {"index": index, **({"text": ""} if "text" in piece else {"message": {}})}
        choices.append(choice)
    if delta is not None:
        _append(choice.setdefault("message", {}), delta)
    if isinstance(piece.get("text"), str):
        choice["text"] = choice.get("text", "") + piece["text"]
    logs = piece.get("logprobs")
    if isinstance(logs, Mapping):
        into = choice["logprobs"] = choice.get("logprobs") or {}
        for name, values in logs.items():
            if isinstance(values, list):
                into[name] = [*(into.get(name) or ()), *values]
    for name, value in piece.items():
        if name not in ("index", "delta", "text", "logprobs") and value is not None:
            choice[name] = value


def _append(message: dict[str, Any], piece: Mapping[str, Any]) -> None:
    """One piece of a message behind those before it."""
    for name, value in piece.items():
        if name in _JOINED and isinstance(value, str | list):
            message[name] = f"{message.get(name) or ''}{content_text(value)}"
        elif name in _JOINED and isinstance(value, int | float):
            raise TypeError(f"a piece of {name} is {value!r}")
        elif name == "tool_calls" and isinstance(value, list):
            calls = message.setdefault("tool_calls", [])
            for call in value:
                _append_call(calls, call)
        elif name in ("function", "function_call") and isinstance(value, Mapping):
            _append(message.setdefault(name, {}), value)
        elif value is not None:
            message[name] = value


def _append_call(calls: list[Any], call: Any) -> None:
    if not isinstance(call, Mapping):
        calls.append(call)
        return
    begun = next((c for c in calls if isinstance(c, dict) and c.get("index") == call.get("index")), None)
    if begun is None or call.get("index") is None:
        begun = {}
        calls.append(begun)
    _append(begun, call)


def records_of(text: str) -> Iterator[tuple[int, Any]]:
    """What a log holds, each with its line: JSON Lines, server-sent events, one object, or a list of objects.

    A line that is no JSON is handed out as the ValueError that says so.
    """
    start = text.lstrip()[:1]
    lines = event_lines(text.split("\n"))
    parsed = [(n, _parsed(line)) for n, line in enumerate(lines, start=1) if line.strip()]
    if parsed and isinstance(parsed[0][1], ValueError) and start in ("{", "["):  # one value over several lines?
        value = _parsed(text)
        if not isinstance(value, ValueError):
            parsed = [(1, value)]
    for line, value in parsed:
        if isinstance(value, list) and len(parsed) == 1:
            yield from ((n, entry) for n, entry in enumerate(value, start=1))
        else:
            yield line, value


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        return ValueError("not JSON: nested too deeply")
    except ValueError as error:
        at = f"{error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else str(error)
        return ValueError(f"not JSON: {at}")
