"""Which turn of a conversation gets how much of its reward: pure functions, numpy only.

R[i][t] is what turn t of conversation i earned. Advantages are compared within a group: conversations about the same
task.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frown.losses.advantages import group_advantages
from frown.types import Floats, Rollout

Turns = list[NDArray[np.float64]]
"""One value a turn, one array a conversation."""


def potential_changes(potential: ArrayLike, gamma: float = 1.0) -> NDArray[np.float64]:
    """Potential-based rewards of T turns from the T + 1 potentials around them: gamma phi_{t+1} - phi_t, in the unit
    of the potential.

    At gamma = 1 they add up to phi_T - phi_0, so the best policy is the one of a terminal reward phi_T (Ng, Harada and
    Russell 1999); only which turn is told earlier changes.
    """
    phi = np.asarray(potential, np.float64)
    return gamma * phi[1:] - phi[:-1]


def returns(rewards: ArrayLike, gamma: float = 1.0) -> NDArray[np.float64]:
    """What each turn and all later ones earned: G_t = r_t + gamma G_{t+1}."""
    out = np.asarray(rewards, np.float64).copy()
    for t in range(len(out) - 2, -1, -1):
        out[t] += gamma * out[t + 1]
    return out


def turn_advantages(values: Sequence[Sequence[float]], groups: Sequence[int], std: bool) -> Turns:
    """One value a turn (a return, or a forward-sampled one), compared with the same turn of the group's others.

    A turn that no other conversation of its group reached has nobody to be compared with and gets 0. NaN gets 0.
    """
    out: Turns = [np.zeros(len(v)) for v in values]
    for members in _groups(groups):
        for t in range(max(len(values[i]) for i in members)):
            there = [i for i in members if len(values[i]) > t]
            advantages = group_advantages(np.asarray([[values[i][t] for i in there]]), std=std)[0]
            for i, a in zip(there, advantages, strict=True):
                out[i][t] = a
    return out


def on_tokens(rollout: Rollout, by_turn: Sequence[float] | NDArray[np.float64]) -> Floats:
    """Advantages of turns on the tokens of a conversation as one rollout: float32[T], 0 at what others said.

    Raises ValueError where the rollout has another number of turns (`steps`).
    """
    if len(by_turn) != len(rollout.steps):
        raise ValueError(f"an advantage a turn: {len(by_turn)} for {len(rollout.steps)} turns")
    out = np.zeros(len(rollout.ids), np.float32)
    for (start, end), a in zip(rollout.steps, by_turn, strict=True):
        out[start:end] = a
    return out


def _groups(groups: Sequence[int]) -> list[list[int]]:
    """The members of each group, in order of appearance."""
    members: dict[int, list[int]] = {}
    for i, g in enumerate(groups):
        members.setdefault(g, []).append(i)
    return list(members.values())
