"""Answers as a model reads them, and which of them are read together. Numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from frown.policy.packing import LEAST_SHARED, common_prefix
from frown.types import Ints


class Readable(Protocol):
    """Tokens behind a prompt, and behind another context where a teacher reads them, too."""

    @property
    def prompt_ids(self) -> Ints:
        """[P] tokens before the answer."""
        ...

    @property
    def context_ids(self) -> Ints | None:
        """[C] what the teacher reads before the answer; None where there is no teacher."""
        ...

    @property
    def ids(self) -> Ints:
        """[T] tokens of the answer."""
        ...


class Row(NamedTuple):
    """An answer to be read; implements `Readable`."""

    prompt_ids: Ints
    ids: Ints
    context_ids: Ints | None = None


R = TypeVar("R", bound=Readable)


def batched(rows: Sequence[Readable], most_tokens: int, *, shared: bool) -> list[list[int]]:
    """Which rows are read together: the numbers of the rows of each batch. See `arranged` and `micro_batches`."""
    order = arranged(rows, shared=shared)
    batches = micro_batches([rows[i] for i in order], most_tokens, shared=shared)
    numbers = iter(order)
    return [list(islice(numbers, len(batch))) for batch in batches]


def arranged(rows: Sequence[Readable], *, shared: bool) -> list[int]:
    """The order in which rows are batched: those with a teacher first, and longest first.

    Where beginnings are `shared`, the rows of a prompt stay together, longest prompt with its answers first, and among
    them those whose teacher contexts begin alike.
    """
    if not shared:
        return sorted(range(len(rows)), key=lambda i: (rows[i].context_ids is None, -_length(rows[i])))
    longest: dict[bytes, int] = {}
    for row in rows:
        prompt = key_of(row.prompt_ids)
        longest[prompt] = max(longest.get(prompt, 0), _length(row))

    def key(i: int) -> tuple[bool, int, bytes, bytes]:
        row, prompt = rows[i], key_of(rows[i].prompt_ids)
        context = row.prompt_ids if row.context_ids is None else row.context_ids
        return row.context_ids is None, -longest[prompt], prompt, key_of(np.concatenate([context, row.ids]))

    return sorted(range(len(rows)), key=key)


def key_of(ids: Ints) -> bytes:
    """Tokens as a key of a dictionary."""
    return np.asarray(ids, np.int64).tobytes()


def micro_batches(rows: Sequence[R], most_tokens: int, *, shared: bool = False) -> list[list[R]]:
    """Rows in order, cut into batches of at most `most_tokens` tokens, never mixing with and without a teacher. A row
    longer than that is a batch of its own.

    Tokens are those of the student or of the teacher, whichever has more: padding included, or where beginnings are
    `shared` at most as many as the packed row has.
    """
    batches: list[list[R]] = []
    size = (0, 0)
    for row in rows:
        last = batches[-1] if batches else None
        same_kind = last is not None and (last[0].context_ids is None) == (row.context_ids is None)
        if last is not None and same_kind:
            if shared:
                new = _new_tokens(row, last[-1])
                grown = (size[0] + new[0], size[1] + new[1])
            else:
                grown = ((len(last) + 1) * _length(last[0]),) * 2
            if max(grown) <= most_tokens:
                last.append(row)
                size = grown
                continue
        batches.append([row])
        size = _new_tokens(row, None)
    return batches


def _length(row: Readable) -> int:
    longest = max(len(row.prompt_ids), len(row.context_ids) if row.context_ids is not None else 0)
    return longest + len(row.ids)


def _new_tokens(row: Readable, before: Readable | None) -> tuple[int, int]:
    """Tokens that a row adds to the student's packed row and to the teacher's, `before` being there; no fewer.

    A common beginning may be shared in all but its last LEAST_SHARED - 1 tokens, when others part just before.
    """

    def added(context: Ints | None, other: Ints | None) -> int:
        if context is None:
            return 0
        mine = np.concatenate([context, row.ids[:-1]])
        if before is None or other is None:
            return len(mine)
        return len(mine) - max(0, common_prefix(mine, np.concatenate([other, before.ids[:-1]])) - LEAST_SHARED + 1)

    if before is None:
        return added(row.prompt_ids, None), added(row.context_ids, None)
    return added(row.prompt_ids, before.prompt_ids), added(row.context_ids, before.context_ids)
