"""Prompts and answers that are lists of messages, as verl, TRL, OpenAI's and ShareGPT's formats write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from frown.errors import FrownError
from frown.tasks.columns import kind_of, refuse_half_characters
from frown.types import Message

Role = Literal["system", "user", "assistant"]

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",  # OpenAI's later name for it
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}
_TEXT_PARTS = ("text", "input_text", "output_text")


def message_list(value: Any) -> list[Any] | None:
    """The entries where a value is a list of messages, or the JSON text of one as a cell of CSV has it; else None."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, list) and value and all(map(_is_message, value)) else None


def prompt_of(where: str, entries: Sequence[Any]) -> tuple[Message, ...]:
    """The conversation that is to be answered: maybe a system message, then turns, the last of them the user's.

    `where`: the row and its column, for the error line. Raises FrownError for another list.
    """
    messages = messages_of(where, entries)
    if messages[-1]["role"] == "assistant":
        raise FrownError(
            f"{where} ends with the assistant's turn, and a prompt ends with the user's; where that turn is the "
            "reference answer, name this column for both question and answer"
        )
    if messages[-1]["role"] != "user":
        raise FrownError(f"{where} has no user message")
    return messages


def answered_prompt(where: str, entries: Sequence[Any]) -> tuple[tuple[Message, ...], str]:
    """The prompt and the answer of a conversation whose last turn is the assistant's."""
    messages = messages_of(where, entries)
    if messages[-1]["role"] != "assistant":
        raise FrownError(f"{where} is named as question and answer, and does not end with the assistant's turn")
    if len(messages) == 1:
        raise FrownError(f"{where} has no user message")
    return prompt_of(where, entries[:-1]), messages[-1]["content"]


def completion_of(where: str, entries: Sequence[Any]) -> str:
    """The text of an answer that is written as a list of messages: the assistant's one."""
    messages = messages_of(where, entries)
    if [m["role"] for m in messages] != ["assistant"]:
        roles = ", ".join(m["role"] for m in messages)
        raise FrownError(f"{where} has messages of {roles}; an answer is one message of the assistant")
    return messages[0]["content"]


def messages_of(where: str, entries: Sequence[Any]) -> tuple[Message, ...]:
    """A list of messages as ours: system first, no empty turns, text alone. Raises FrownError for anything else."""
    if not entries:
        raise FrownError(f"{where} is an empty list of messages")
    messages = []
    for number, entry in enumerate(entries, start=1):
        at = f"{where}, message {number}"
        role = _role(at, entry)
        if role == "system" and number > 1:
            raise FrownError(f"{at} is a system message; only the first can be one")
        content = _content(at, role, entry)
        if (
            not content.strip() and role != "system"
        ):  # an empty one is not none: templates have a system text of their own
            raise FrownError(f"{at} ({role}) is empty")
        messages.append(Message(role=role, content=content))
    return tuple(messages)


def _is_message(entry: Any) -> bool:
    return (
        isinstance(entry, Mapping) and bool({"role", "from"} & set(entry)) and bool({"content", "value"} & set(entry))
    )


def _role(at: str, entry: Any) -> Role:
    if not isinstance(entry, Mapping):
        raise FrownError(f"{at} is a JSON {kind_of(entry)}, not an object with role and content")
    name = entry.get("role", entry.get("from"))
    if isinstance(name, str) and name in _ROLES:
        return _ROLES[name]
    if name is None:
        raise FrownError(f"{at} has no role; its keys are {', '.join(map(str, entry)) or 'none'}")
    raise FrownError(f"{at} has the role {str(name)[:40]!r}, not system, user or assistant")


def _content(at: str, role: Role, entry: Mapping[str, Any]) -> str:
    content = entry.get("content", entry.get("value"))
    if isinstance(content, list):
        content = "".join(_part(at, part) for part in content)
    if content is None and entry.get("tool_calls"):
        raise FrownError(f"{at} ({role}) calls a tool; only text can be asked and answered")
    if not isinstance(content, str):
        raise FrownError(f"{at} ({role}): its content is {kind_of(content)}, not text")
    refuse_half_characters(f"{at} ({role})", content)
    return content


def _part(at: str, part: Any) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and part.get("type", "text") in _TEXT_PARTS and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type") if isinstance(part, Mapping) else kind_of(part)
    raise FrownError(f"{at} has a part of type {str(kind)[:40]!r}; only text can be asked and answered")
