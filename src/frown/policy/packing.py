"""Many sequences as one row without padding, in which a beginning that several share stands once.

The row is a prefix tree. A segment is a stretch of tokens that the same sequences share; its parent is the stretch
before it. A token attends to its own segment up to itself and to all ancestors of the segment, and its position
continues theirs, so that it sees exactly what it would see in its own sequence alone. Siblings that share a prompt,
teacher contexts that are equal and those that only begin alike are all the same thing here: common prefixes.

Segments stand in the row in pre-order, each before its children. Token k is then seen by token q exactly when
`k <= q < seen_until[k]`, where `seen_until` is the end of the subtree that k's segment begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from frown.types import Ints

LEAST_SHARED = 8
"""Tokens. A shorter beginning is computed once more for each sequence: a segment costs some work of its own."""

_PIECE = 256
"""Queries that attend together at the most: what lies behind the last of them in its segment is not looked at."""

_CALL = 2048
"""Pairs of query and key whose attention takes about as long as one more call of it, on a CPU core."""


class Segment(NamedTuple):
    """Tokens `start` to `end` of the row; the first of them has `position` in its sequences."""

    start: int
    end: int
    parent: int | None
    """Which segment stands before it; None at the beginning of a sequence."""
    position: int


@dataclass(frozen=True, eq=False)
class Layout:
    """Sequences as one row of N tokens."""

    ids: Ints
    """[N] tokens of the row."""
    positions: Ints
    """[N] position of each in its sequences."""
    seen_until: Ints
    """[N] how far in the row a token is seen."""
    segments: tuple[Segment, ...]
    places: tuple[Ints, ...]
    """For each sequence, where in the row its tokens stand."""


class Block(NamedTuple):
    """Queries that attend in one call, each row to keys of its own; padded with the last of the row."""

    queries: Ints
    """[B, Q] places in the row."""
    keys: Ints
    """[B, K] places in the row: ancestors first, then the queries' own segment."""
    key_counts: Ints
    """[B] how many keys of each are no padding."""


def lay_out(sequences: Sequence[Ints], least: int = LEAST_SHARED) -> Layout:
    """The prefix tree of sequences (each of one token at least) that share beginnings of `least` tokens or more.

    Equal sequences are always one. With `least` beyond every length, sequences stand side by side.
    """
    keys = [np.asarray(s).astype(">i8").tobytes() for s in sequences]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    first = [i for j, i in enumerate(order) if j == 0 or keys[i] != keys[order[j - 1]]]
    distinct = [np.asarray(sequences[i]) for i in first]
    common = [common_prefix(a, b) for a, b in zip(distinct, distinct[1:], strict=False)]

    segments: list[Segment] = []
    pieces: list[Ints] = []
    ends: list[int] = []
    """Of each segment, the end of its subtree in the row."""
    path: list[list[tuple[int, int]]] = [[] for _ in distinct]
    length = 0

    def grow(low: int, high: int, depth: int, parent: int | None) -> None:
        """Segments of the sequences `low` to `high`, which share their first `depth` tokens, all of them placed."""
        nonlocal length
        while low < high:
            last = low + 1
            while last < high and common[last - 1] - depth >= least:
                last += 1
            until = min(common[low : last - 1], default=len(distinct[low]))
            mine = len(segments)
            segments.append(Segment(length, length + until - depth, parent, depth))
            pieces.append(distinct[low][depth:until])
            length += until - depth
            ends.append(length)
            for i in range(low, last):
                path[i].append((segments[mine].start, segments[mine].end))
            # One that ends here comes first, as the shortest.
            grow(low + (len(distinct[low]) == until), last, until, mine)
            ends[mine] = length
            low = last

    grow(0, len(distinct), 0, None)
    spans = [np.concatenate([np.arange(*span) for span in spans]) for spans in path]
    number = {keys[i]: n for n, i in enumerate(first)}
    return Layout(
        np.concatenate(pieces),
        np.concatenate([np.arange(s.position, s.position + s.end - s.start) for s in segments]),
        np.concatenate([np.full(s.end - s.start, e) for s, e in zip(segments, ends, strict=True)]),
        tuple(segments),
        tuple(spans[number[k]] for k in keys),
    )


def common_prefix(a: Ints, b: Ints) -> int:
    """How many tokens two sequences share at their beginning."""
    n = min(len(a), len(b))
    differ = np.asarray(a[:n]) != np.asarray(b[:n])
    return int(differ.argmax()) if differ.any() else n


def attention_blocks(layout: Layout) -> list[Block]:
    """Every token of the row as a query once, in few calls that waste little on padding.

    A segment is cut into pieces of 256 queries at the most. Pieces join a call while the pairs that their padding adds
    are fewer than a call is worth.
    """
    before: list[Ints] = []
    pieces: list[tuple[Ints, Ints]] = []
    for s in layout.segments:
        ancestors = before[s.parent] if s.parent is not None else np.arange(0)
        before.append(np.concatenate([ancestors, np.arange(s.start, s.end)]))
        for start in range(s.start, s.end, _PIECE):
            end = min(start + _PIECE, s.end)
            pieces.append((np.arange(start, end), before[-1][: len(ancestors) + end - s.start]))
    pieces.sort(key=lambda p: (-len(p[1]), -len(p[0])))
    calls: list[list[tuple[Ints, Ints]]] = []
    width = 0
    for piece in pieces:
        queries, keys = len(piece[0]), len(piece[1])
        if calls:
            last = calls[-1]
            wider, longest = max(width, queries), len(last[0][1])
            added = (len(last) + 1) * wider * longest - len(last) * width * longest - queries * keys
            if added <= _CALL:
                last.append(piece)
                width = wider
                continue
        calls.append([piece])
        width = queries
    return [_block(call) for call in calls]


def _block(call: Sequence[tuple[Ints, Ints]]) -> Block:
    def stacked(rows: Sequence[Ints]) -> Ints:
        width = max(map(len, rows))
        return np.stack([np.pad(row, (0, width - len(row)), mode="edge") for row in rows])

    return Block(stacked([q for q, _ in call]), stacked([k for _, k in call]), np.array([len(k) for _, k in call]))
