"""How much each token counts in the distillation loss. All weights have mean one over the tokens that count.

Student entropy and teacher entropy are different things with opposite advice: more weight where the *student* is unsure
(80/20, TIP), less where the *teacher* is (SRPO). Here are the student's weights, made before the pass through the head;
the teacher's is `frown.losses.objectives.teacher_confidence`, made within it.

Shapes: one float array [T] for each rollout of a batch; `counted`, the same shapes, non-zero for the tokens that count
(the weights of a `TeacherView` serve). The mean is taken over the counted tokens of the whole batch; give one rollout
at a time for a mean of one in each. Tokens that do not count get 0. Where every raw weight is 0 there is nothing to
learn from, and all weights stay 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frown.affect.quadrants import QUADRANTS, Quadrant
from frown.types import Floats

Doubles = NDArray[np.float64]

BY_QUADRANT: dict[Quadrant, float] = {
    "confident-wrong": 2.0,
    "doubt-wrong": 1.0,
    "doubt-right": 0.5,
    "confident-right": 1.0,
    "unknown": 1.0,
}
"""Confident and wrong hardest, doubtful and right gently, so that a justified hedge is not trained away."""


def by_signal(values: Sequence[ArrayLike], counted: Sequence[ArrayLike], strength: float = 1.0) -> list[Floats]:
    """w = 1 + strength x / mean(x), mean one: more weight where a signal of the student is large.

    `values`: 0 or more, any unit, which cancels; the mean is that of the counted tokens. On the lab this was null
    with a critic (.886 doubt, .888 entropy, .887 random weights, .886 none) and harmful with siblings.
    """
    if strength < 0:
        raise ValueError(f"a weight's strength is 0 or more, got {strength}")
    x, mask, lengths = _flat(values, counted)
    if (x[mask] < 0).any():
        raise ValueError("a signal that makes weights is 0 or more")
    level = x[mask].mean() if mask.any() else 0.0
    return _mean_one(1.0 + strength * x / level if level > 0 else np.ones_like(x), mask, lengths)


def top_share(values: Sequence[ArrayLike], counted: Sequence[ArrayLike], share: float = 0.2) -> list[Floats]:
    """Only the counted tokens with the largest values, a share of them in (0, 1] (80/20, arXiv 2506.01939).

    The number of tokens is rounded up; tokens tied at the border share what is left for them, so equal values give
    equal weights.
    """
    if not 0 < share <= 1:
        raise ValueError(f"a share lies in (0, 1], got {share}")
    x, mask, lengths = _flat(values, counted)
    raw = np.zeros_like(x)
    if mask.any():
        keep = int(np.ceil(share * mask.sum() - 1e-9))
        border = np.sort(x[mask])[-keep]
        above, tied = mask & (x > border), mask & (x == border)
        raw[above] = 1.0
        raw[tied] = (keep - above.sum()) / tied.sum()
    return _mean_one(raw, mask, lengths)


def by_quadrant(
    codes: Sequence[ArrayLike], counted: Sequence[ArrayLike], factors: Mapping[Quadrant, float] = BY_QUADRANT
) -> list[Floats]:
    """A factor for each quadrant of doubt and truth, mean one. `codes`: int[T] from `token_quadrants`."""
    table = np.array([factors.get(q, 1.0) for q in QUADRANTS])
    if (table < 0).any() or not np.isfinite(table).all():
        raise ValueError(f"factors of quadrants are finite and 0 or more, got {dict(factors)}")
    x, mask, lengths = _flat(codes, counted)
    return _mean_one(table[x.astype(np.int64)], mask, lengths)


def _flat(values: Sequence[ArrayLike], counted: Sequence[ArrayLike]) -> tuple[Doubles, NDArray[np.bool_], list[int]]:
    rows = [np.asarray(v, np.float64) for v in values]
    masks = [np.asarray(c) != 0 for c in counted]
    if [len(r) for r in rows] != [len(m) for m in masks]:
        raise ValueError("each rollout has one value and one mark a token")
    empty = np.zeros(0)
    x = np.concatenate([*rows, empty])
    mask = np.concatenate([*masks, empty.astype(np.bool_)])
    if not np.isfinite(x[mask]).all():
        raise ValueError("a signal that makes weights is finite at every token that counts")
    return np.where(mask, x, 0.0), mask, [len(r) for r in rows]


def _mean_one(raw: Doubles, mask: NDArray[np.bool_], lengths: Sequence[int]) -> list[Floats]:
    raw = np.where(mask, raw, 0.0)
    total = raw.sum()
    scaled = raw * (mask.sum() / total) if total > 0 else raw
    ends = np.cumsum(lengths)
    return [scaled[end - n : end].astype(np.float32) for n, end in zip(lengths, ends, strict=True)]
