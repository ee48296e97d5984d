"""What a conversation pays, turn by turn. One estimator for all: a turn's value is what was earned from it on.

So arms differ by their reward alone, and not by how credit is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from frown.dialogue.credit import potential_changes, returns

Kind = Literal["bonus", "rating", "terminal", "change", "both", "forward"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Start = TypeVar("Start")
CONTENT = ("helped", "content")
"""How a conversation ends that was a success."""
GOOD = 70
"""Points at which a person would rate a conversation as good: SAGE's second-best state and above."""


def emotion(score: float, well_formed: bool = True) -> float:
    """RLVER's reward: max(e, 0) / 100, in [0, 1], and 0 for an answer that is not in the form asked for."""
    return min(1.0, max(0.0, score / 100.0)) if well_formed else 0.0


def turn_rewards(kind: Kind, scores: Sequence[int], over: str) -> NDArray[np.float64]:
    """What each of T turns earned, from the T + 1 scores around them and how it ended.

    bonus: 1 at the end of a conversation that ended well, the coarse signal from the outcome. rating: 1 at the end if
    the person then feels good, a signal as coarse from the feelings. terminal: the last emotion, at the end.
    change: the change of emotion (potential-based, so its sum is that of `terminal` less a constant). both: change and
    bonus. "forward" has no reward of its own: its values are sampled (`forward_values`).
    """
    phi = [emotion(s) for s in scores]
    out = np.zeros(len(scores) - 1)
    if kind in ("change", "both"):
        out += potential_changes(phi)
    if kind == "terminal":
        out[-1] += phi[-1]
    if kind == "rating":
        out[-1] += scores[-1] >= GOOD
    if kind in ("bonus", "both"):
        out[-1] += over in CONTENT
    return out


def turn_values(
    kind: Kind, scores: Sequence[int], over: str, task: float = 0.0, task_weight: float = 0.0
) -> NDArray[np.float64]:
    """What was earned from each turn on, [T]; a verifiable `task` reward in [0, 1] is mixed in by weight:
    (1 - w) emotion + w task."""
    earned = (1.0 - task_weight) * turn_rewards(kind, scores, over)
    earned[-1] += task_weight * task
    return returns(earned)


def forward_values(
    starts: Sequence[Start], sample: Callable[[Sequence[Start], int], Sequence[float]], k: int
) -> list[float]:
    """The multi-turn-aware reward of the turns that led to where futures start: the mean outcome of k of them, sampled
    with the present policy (CollabLLM, arXiv 2502.00640, eq. 2).

    `sample`: starts and k -> k outcomes for each start, in order.
    """
    outcomes = np.asarray(sample(starts, k), np.float64)
    return outcomes.reshape(len(starts), k).mean(1).tolist()
