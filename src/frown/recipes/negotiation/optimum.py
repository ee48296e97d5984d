"""The optimum against the rule-based partner, by dynamic programming.

A state is (exchanges so far t, their steps towards us k, level of stalemate s); an action is an emotion; the value is
the expected savings utility from there on. Everything is exact, by backward induction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frown.recipes.negotiation.partner import DRAWS, LEVELS, STEPS, ReplyModel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Solution:
    """`value` [T + 1, STEPS + 1, LEVELS] and `q` [T, STEPS + 1, LEVELS, A], in utility."""

    value: Floats
    q: Floats

    @property
    def start(self) -> float:
        """The value of the game."""
        return float(self.value[0, 0, 0])


def slack(gap: float, tolerance: float) -> int:
    """Within how many lattice steps offers meet, for targets `gap` units apart."""
    return int(np.floor(tolerance * STEPS / gap + 1e-9))


def solve(reply_model: ReplyModel, ours: Ints, meet: int, policy: Floats | None = None) -> Solution:
    """Values under the best policy, or under `policy`.

    Args:
        reply_model: of the partner.
        ours: [T] our concession in each exchange, lattice steps.
        meet: offers this many steps apart are a deal.
        policy: chances of the emotions, [T, STEPS + 1, LEVELS, A] or what broadcasts to it.
    """
    horizon, emotions = len(ours), reply_model.leave.shape[1]
    shape = (horizon, STEPS + 1, LEVELS, emotions)
    chances = None if policy is None else np.broadcast_to(policy, shape)
    value = np.zeros((horizon + 1, STEPS + 1, LEVELS))  # time that is up is no deal
    q = np.zeros(shape)
    k, s = np.ix_(np.arange(STEPS + 1), np.arange(LEVELS))
    for t in reversed(range(horizon)):
        worth = []
        for drawn in range(DRAWS + 1):
            to, stuck, deal = after(k, s, drawn, int(ours[t]), meet)
            worth.append(np.where(deal, to / STEPS, value[t + 1, to, stuck]))
        q[t] = (1.0 - reply_model.leave) * np.einsum("dks,sad->ksa", np.stack(worth), reply_model.steps)
        value[t] = q[t].max(axis=-1) if chances is None else (chances[t] * q[t]).sum(axis=-1)
    return Solution(value, q)


def after(k: Ints, s: Ints, drawn: int, ours: int, meet: int) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """One exchange later: their steps towards us, the level of stalemate, and whether offers meet, for k and s of any
    shapes that broadcast."""
    ceiling = np.maximum(STEPS - ours, k)  # we never offer less than they already do
    to = np.minimum(k + drawn, ceiling)
    return to, np.where(to == k, np.minimum(s + 1, LEVELS - 1), 0), to >= ceiling - meet


def best_fixed(reply_model: ReplyModel, ours: Ints, meet: int) -> tuple[int, float]:
    """The emotion that is best when never changed, and its value."""
    emotions = reply_model.leave.shape[1]
    values = [solve(reply_model, ours, meet, np.eye(emotions)[a]).start for a in range(emotions)]
    return int(np.argmax(values)), max(values)
