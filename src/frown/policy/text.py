"""Between messages, token ids and text: prompts, completions, and where the written-out steps lie in them."""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from frown.errors import FrownError, first_line
from frown.types import Ints, Message, Step

_AT_ONCE = 1024
"""Conversations that are made tokens at once."""


def prompt_ids(tokenizer: Any, messages: Sequence[Message]) -> Ints:
    """The conversation under the model's chat template, up to where its answer begins."""
    return np.asarray(templated(tokenizer, messages, return_dict=False), dtype=np.int64)


def prompt_lengths(tokenizer: Any, conversations: Sequence[Sequence[Message]]) -> list[int | FrownError]:
    """Tokens of each conversation as `prompt_ids` makes it, or why the chat template refuses it.

    Many go through the tokenizer at once, which fast ones do side by side.
    """
    lengths: list[int | FrownError] = []
    for first in range(0, len(conversations), _AT_ONCE):
        some = [list(c) for c in conversations[first : first + _AT_ONCE]]
        lengths += _lengths(tokenizer, some) or [_length(tokenizer, c) for c in some]
    return lengths


def _lengths(tokenizer: Any, conversations: list[list[Message]]) -> list[int]:
    """Of all at once; [] where the template refuses one of them, which is then to be seen one by one."""
    how = {"add_generation_prompt": True, "return_dict": False, "tokenizer_kwargs": {"return_attention_mask": False}}
    for way in (conversations, [without_system(c) for c in conversations]):
        with contextlib.suppress(Exception):  # a template may raise anything
            return [len(ids) for ids in tokenizer.apply_chat_template(way, **how)]
    return []


def _length(tokenizer: Any, messages: Sequence[Message]) -> int | FrownError:
    try:
        return len(prompt_ids(tokenizer, messages))
    except FrownError as error:
        return error


def embedded(tokenizer: Any, ids: Ints, rows: int) -> Ints:
    """Token ids as they are. Raises FrownError where one is beyond the `rows` of a model's embedding."""
    if len(ids) and ids.max() >= rows:
        token = tokenizer.convert_ids_to_tokens(int(ids.max()))
        raise FrownError(
            f"a text holds the token {token!r} ({ids.max()}), of which the model has no embedding: it has {rows} rows"
        )
    return ids


def templated(tokenizer: Any, messages: Sequence[Message], **how: Any) -> Any:
    """What the model's chat template makes of a conversation, up to where its answer begins; `how` is for
    `apply_chat_template`. Raises FrownError where the template fails.

    A template that refuses system messages (Gemma's of the first two generations) gets the system text in front of the
    first user turn, as the template of the third does it.
    """
    ways = [list(messages), without_system(messages)]
    for i, conversation in enumerate(ways):
        try:
            prompt = tokenizer.apply_chat_template(conversation, add_generation_prompt=True, **how)
        except Exception as error:  # a template may raise anything, jinja2's own errors and TypeErrors among them
            if i or ways[0] == ways[1]:
                raise FrownError(f"the model's chat template failed: {first_line(error)}") from error
        else:
            break
    return prompt


def without_system(messages: Sequence[Message]) -> list[Message]:
    """The conversation with a leading system message written in front of the user turn behind it, a blank line
    between them; as it is where there is none."""
    if len(messages) < 2 or messages[0]["role"] != "system" or messages[1]["role"] != "user":
        return list(messages)
    system, user, *rest = messages
    return [Message(role="user", content=f"{system['content']}\n\n{user['content']}"), *rest]


def completion_text(tokenizer: Any, ids: Sequence[int] | Ints) -> str:
    """Completion ids as text. Special tokens in the middle of an answer stay visible: a verifier must see them."""
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """Each token as it reads, one string an id; put together they need not be the text, where a character is
    written by several tokens."""
    pieces = tokenizer.convert_ids_to_tokens(list(ids))
    texts = [tokenizer.decode([i], skip_special_tokens=False, clean_up_tokenization_spaces=False) for i in ids]
    # A sentencepiece decoder takes the space off the front of what it believes to be a whole text.
    return [
        f" {text}" if str(piece or "").startswith("▁") and not text.startswith(" ") else text
        for piece, text in zip(pieces, texts, strict=True)
    ]


def token_steps(tokenizer: Any, ids: Sequence[int] | Ints, text: str, steps: Sequence[Step]) -> tuple[Step, ...]:
    """Character ranges of a completion's text as token ranges of its ids.

    A token belongs to the step in which its first character lies; the last step also takes the tokens after it
    that write nothing, the end-of-sequence token among them. A step that no token begins in is left out.
    """
    return steps_of_tokens(_token_starts(tokenizer, ids, text), text, steps) if steps else ()


def steps_of_tokens(starts: Sequence[int], text: str, steps: Sequence[Step]) -> tuple[Step, ...]:
    """`token_steps`, where it is known at which character of the text each token begins."""
    if not steps:
        return ()
    bounds = [bisect_left(starts, step.start) for step in steps] + [bisect_left(starts, steps[-1].end)]
    if steps[-1].end >= len(text):
        bounds[-1] = len(starts)
    return tuple(Step(a, b) for a, b in pairwise(bounds) if b > a)


def _token_starts(tokenizer: Any, ids: Sequence[int] | Ints, text: str) -> list[int]:
    """At which character of the text each token begins; tokens after the text's end begin there."""
    written = [int(i) for i in ids]
    again = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True) if tokenizer.is_fast else None
    if again is not None and again["input_ids"] == written[: len(again["input_ids"])]:
        starts = [start for start, _ in again["offset_mapping"]]
        return starts + [len(text)] * (len(written) - len(starts))
    # The text does not tokenise back to the sampled ids (sampled models do that): count characters instead.
    return [min(len(completion_text(tokenizer, written[:t])), len(text)) for t in range(len(written))]
