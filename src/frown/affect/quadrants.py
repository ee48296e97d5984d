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
