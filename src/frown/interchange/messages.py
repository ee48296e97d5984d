"""Messages as servers and trainers write them, as text: contents in parts, calls of tools, refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from frown.types import Message

REASONING = ("reasoning_content", "reasoning", "thinking")
"""Where servers put what a model thought before its answer."""


def clean(text: Any) -> str:
    """Text as UTF-8 can hold it: half a surrogate pair becomes U+FFFD."""
    return str(text).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def messages_of(given: Any) -> tuple[Message, ...]:
    """A prompt as messages: a text is one user turn, of a list each entry is a turn; None is no prompt.

    A list of token ids says nothing that can be shown, and is no prompt either.
    """
    if given is None:
        return ()
    if isinstance(given, str):
        return ({"role": "user", "content": clean(given)},)
    if isinstance(given, Mapping):
        given = [given]
    return tuple(_message(m) for m in given if m is not None and not isinstance(m, int | float))


def _message(message: Any) -> Message:
    if not isinstance(message, Mapping):
        return {"role": "user", "content": clean(message)}
    called = message.get("type") == "function_call"
    role = message.get("role") or ("assistant" if called else "tool" if "output" in message else "user")
    return {"role": cast(Any, clean(role)), "content": clean(message_text(message))}


def message_text(message: Mapping[str, Any]) -> str:
    """All that a turn says: its reasoning in <think>, its content, a refusal, and the calls of tools in <tool_call>."""
    reasoning = next((message[name] for name in REASONING if isinstance(message.get(name), str) and message[name]), "")
    parts = [f"<think>\n{reasoning}\n</think>\n\n" if reasoning else "", content_text(message.get("content"))]
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal not in parts[1]:
        parts.append(refusal)
    if "output" in message and message.get("content") is None:  # what a tool gave, in the responses API
        parts.append(content_text(message["output"]))
    calls = message.get("tool_calls") or ()
    calls = [calls] if isinstance(calls, Mapping | str) else list(calls)
    if message.get("function_call"):
        calls.append({"function": message["function_call"]})
    if message.get("type") == "function_call":
        calls.append(message)
    shown = [call_text(call) for call in calls if call is not None]
    text = "".join(parts)
    return "\n".join([text, *shown] if text else shown)


def content_text(content: Any) -> str:
    """A content as text; parts that are no text are named in their place: [image_url]."""
    if content is None:
        return ""
    if isinstance(content, Mapping):
        content = [content]
    if isinstance(content, str) or not isinstance(content, Sequence):
        return str(content)
    return "".join(_part_text(part) for part in content if part is not None)


def _part_text(part: Any) -> str:
    if not isinstance(part, Mapping):
        return str(part)
    kind = part.get("type")
    if kind == "tool_use":
        return call_text(part)
    if kind == "tool_result":
        return content_text(part.get("content"))
    if kind == "thinking":
        return f"<think>\n{part.get('thinking')}\n</think>\n\n"
    if kind in (None, "text", "refusal") or isinstance(part.get("text"), str):
        texts = (part.get(name) for name in ("text", "refusal", "content"))
        return next((str(text) for text in texts if text is not None), "")
    return f"[{kind}]"


def call_text(call: Any) -> str:
    """The call of a tool, as Hermes and Qwen models write it; what is no call is shown as JSON."""
    function = call
    if isinstance(call, Mapping):
        function = next((call[key] for key in ("function", "custom") if isinstance(call.get(key), Mapping)), call)
    if isinstance(function, Mapping) and "name" in function:
        arguments = next((function[key] for key in ("arguments", "input", "parameters") if key in function), None)
        function = {"name": function["name"], "arguments": _parsed(arguments)}
    return f"<tool_call>\n{json.dumps(function, ensure_ascii=False, default=str)}\n</tool_call>"


def _parsed(arguments: Any) -> Any:
    """Arguments that are written as JSON, as what they are; others as they stand."""
    try:
        return json.loads(arguments) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):
        return arguments
