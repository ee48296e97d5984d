"""The four quadrants of doubt and truth, for everything downstream that asks."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frown.affect.appraisal import step_verdicts
from frown.types import Appraisal, Step, Verdict

Quadrant = Literal["doubt-wrong", "doubt-right", "confident-wrong", "confident-right", "unknown"]
QUADRANTS: tuple[Quadrant, ...] = get_args(Quadrant)
Codes = NDArray[np.int8]
"""Positions in `QUADRANTS`."""


def doubtful_steps(appraisal: Appraisal, threshold: float = log(2.0)) -> tuple[bool, ...]:
    """For each step whether a sampled token in it was less likely than exp(-threshold); nats, by default even odds."""
    return tuple(d > threshold for d in appraisal.step_doubt)


def quadrant(doubtful: bool, right: bool | None) -> Quadrant:
    """The quadrant of one thing; `right` is None where nobody can tell."""
    if right is None:
        return "unknown"
    if doubtful:
        return "doubt-right" if right else "doubt-wrong"
    return "confident-right" if right else "confident-wrong"


def answer_quadrant(doubtful: bool, verdict: Verdict | None) -> Quadrant:
    """The quadrant of a whole answer; unknown where it was not scored."""
    return quadrant(doubtful, verdict.right if verdict is not None and verdict.scored else None)


def step_quadrants(doubtful: Sequence[bool], verdict: Verdict | None, *, whole: bool = False) -> tuple[Quadrant, ...]:
    """The quadrant of each step, from the verdicts on single steps; unknown where there are none.

    `whole`: where nobody judged single steps, the verdict on the answer counts for each of them. That is coarse: most
    steps of a wrong answer are right.
    """
    known = step_verdicts(verdict, len(doubtful))
    if known is not None:
        return tuple(quadrant(d, r) for d, r in zip(doubtful, known, strict=True))
    return tuple(answer_quadrant(d, verdict) if whole else "unknown" for d in doubtful)


def token_quadrants(
    doubtful: ArrayLike, steps: Sequence[Step], verdict: Verdict | None, *, whole: bool = False
) -> Codes:
    """The quadrant of each token: int8[T] of positions in `QUADRANTS`.

    `doubtful`: bool[T], for each token whether it was doubted. A token takes the verdict on its step; outside of steps,
    and where nobody judged single steps, it is unknown, or with `whole` takes the verdict on the answer.
    """
    flags = np.asarray(doubtful, np.bool_)
    scored = verdict is not None and verdict.scored
    coarse = 2 if not (whole and scored) else int(verdict is not None and verdict.right)
    right = np.full(len(flags), coarse, np.int8)  # 0 wrong, 1 right, 2 unknown
    known = step_verdicts(verdict, len(steps))
    for (a, b), ok in zip(steps, known or (), strict=known is not None):
        right[a:b] = ok
    return quadrant_codes(flags, right)


def quadrant_codes(doubtful: ArrayLike, right: ArrayLike) -> Codes:
    """The quadrant of each of many things, int8 positions in `QUADRANTS`: `doubtful` bool, `right` 0 wrong, 1 right,
    2 where nobody can tell."""
    known = np.asarray(right)
    codes = np.where(np.asarray(doubtful, np.bool_), 0, 2) + known
    return np.where(known == 2, QUADRANTS.index("unknown"), codes).astype(np.int8)
