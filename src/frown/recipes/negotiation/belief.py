"""The optimum with the partner's kind hidden: dynamic programming over beliefs (a POMDP).

The policy knows the K kinds and how frequent each is. Its belief is the chance of each kind given the
dialogue so far (Åström 1965), so dynamic programming goes over (exchanges, steps, stalemate, belief).

Values are kept at the beliefs whose chances are multiples of 1 / `resolution` and interpolated between them on
Freudenthal's triangulation. The best value is convex in the belief, so the result is an upper bound, and it falls to
the optimum as the grid is refined (Lovejoy 1991, doi 10.1287/opre.39.1.162). What the policy earns that looks one
exchange ahead with these values (`play.belief_optimal`) is a lower bound. Between the two lies the optimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from frown.recipes.negotiation.game import Dialogues, Floats, Ints, stall_counts, their_concession
from frown.recipes.negotiation.optimum import after
from frown.recipes.negotiation.partner import DRAWS, LEVELS, STEPS, ReplyModel


@dataclass(frozen=True, eq=False)
class BeliefSolution:
    """The solved problem. `value` [T + 1, STEPS + 1, LEVELS, P] in utility, an upper bound at each of the P beliefs of
    the grid; `likelihood` [K, LEVELS, A, DRAWS + 1], see `likelihoods`."""

    value: Floats
    likelihood: Floats
    ours: Ints
    meet: int
    resolution: int

    def start(self, prior: Floats) -> float:
        """An upper bound on the value of the game, for the chances `prior` [K] of the kinds."""
        index, weight = interpolation(prior[None], self.resolution)
        return float((self.value[0, 0, 0, index] * weight).sum())

    def q(self, t: int, k: Ints, s: Ints, belief: Floats) -> Floats:
        """Value of each emotion, looking one exchange ahead: steps k [B], stalemate s [B], belief [B, K] -> [B, A]."""
        joint = np.einsum("bk,kbad->badk", belief, self.likelihood[:, s])
        chance = joint.sum(axis=-1)
        posteriors = np.divide(joint, chance[..., None], out=np.zeros_like(joint), where=chance[..., None] > 0)
        out = np.zeros(chance.shape[:2])
        for drawn in range(DRAWS + 1):
            to, stuck, deal = after(k, s, drawn, int(self.ours[t]), self.meet)
            index, weight = interpolation(posteriors[:, :, drawn].reshape(-1, belief.shape[1]), self.resolution)
            index, weight = (x.reshape(posteriors[:, :, drawn].shape) for x in (index, weight))
            corners = self.value[t + 1, to[:, None, None], stuck[:, None, None], index]
            later = np.where(deal[:, None], (to / STEPS)[:, None], (corners * weight).sum(axis=-1))
            out += chance[..., drawn] * later
        return out


def likelihoods(kinds: Sequence[ReplyModel]) -> Floats:
    """The chance that each kind stays and takes so many steps: [K, LEVELS, A, DRAWS + 1]."""
    return np.stack([(1.0 - kind.leave)[..., None] * kind.steps for kind in kinds])


def update(belief: Floats, likelihood: Floats) -> Floats:
    """Bayes' rule: chances [B, K] of the kinds, chances [B, K] of the observation under each -> [B, K].

    What is impossible under every kind teaches nothing.
    """
    joint = belief * likelihood
    total = joint.sum(axis=1, keepdims=True)
    return np.where(total > 0, joint / np.where(total > 0, total, 1.0), belief)


def posterior(likelihood: Floats, prior: Floats, dialogues: Dialogues) -> Floats:
    """The belief after dialogues so far: [B, K], from the chances `prior` [K] of the kinds.

    It is meant for dialogues that go on: to leave is no evidence here.
    """
    belief = np.tile(prior, (len(dialogues.status), 1))
    steps = np.clip(np.round(np.diff(their_concession(dialogues), axis=1) * STEPS).astype(np.int64), 0, DRAWS)
    level = np.minimum(stall_counts(dialogues), LEVELS - 1)
    for t in range(dialogues.exchanges):
        observed = likelihood[:, level[:, t], dialogues.shown[:, t], steps[:, t]].T
        belief = np.where((dialogues.shown[:, t] >= 0)[:, None], update(belief, observed), belief)
    return belief


def grid(kinds: int, resolution: int) -> Ints:
    """All ways to share `resolution` parts among the kinds: [P, K], in lexicographic order."""
    ways = list(combinations(range(resolution + kinds - 1), kinds - 1))
    bars = np.array(ways, dtype=np.int64).reshape(len(ways), kinds - 1)
    edge = np.ones((len(bars), 1), dtype=np.int64)
    ends = np.hstack([-edge, bars, edge * (resolution + kinds - 1)])
    return ends[:, 1:] - ends[:, :-1] - 1


def interpolation(belief: Floats, resolution: int) -> tuple[NDArray[np.int64], Floats]:
    """Each belief [N, K] as a mixture of K beliefs of the grid: their rows in it and their weights, [N, K] each.

    Freudenthal's triangulation: with x_i = resolution * (b_i + ... + b_K), the corners are floor(x), to which one is
    added coordinate after coordinate, the largest fraction first (Lovejoy 1991, section 4).
    """
    count, kinds = belief.shape
    x = resolution * np.cumsum(belief[:, ::-1], axis=1)[:, ::-1]
    x[:, 0] = resolution
    low = np.floor(x + 1e-9)
    rest = np.clip(x - low, 0.0, 1.0)[:, 1:]
    order = np.argsort(-rest, axis=1, kind="stable")
    sizes = np.hstack([np.ones((count, 1)), np.take_along_axis(rest, order, axis=1), np.zeros((count, 1))])
    weight = sizes[:, :-1] - sizes[:, 1:]
    corner = np.repeat(low[:, None], kinds, axis=1)
    for j in range(kinds - 1):
        corner[np.arange(count), j + 1 :, order[:, j] + 1] += 1
    parts = np.round(corner - np.append(corner[..., 1:], np.zeros((count, kinds, 1)), axis=2)).astype(np.int64)
    # A corner outside the triangle has no weight, but for rounding; any row of the grid may stand for it.
    outside = ((parts < 0) | (parts > resolution)).any(axis=2)
    parts[outside] = np.eye(kinds, dtype=np.int64)[0] * resolution
    base = (resolution + 1) ** np.arange(kinds)[::-1]
    return np.searchsorted(grid(kinds, resolution) @ base, parts @ base), np.where(outside, 0.0, weight)


def solve(kinds: Sequence[ReplyModel], ours: Ints, meet: int, resolution: int) -> BeliefSolution:
    """Backward induction over the grid of beliefs.

    Args:
        kinds: how each of the K kinds of partner replies.
        ours: [T] our concession in each exchange, lattice steps.
        meet: offers this many steps apart are a deal.
        resolution: parts of 1 on the grid, which has (resolution + K - 1 choose K - 1) beliefs.
    """
    likelihood = likelihoods(kinds)
    beliefs = grid(len(kinds), resolution) / resolution
    joint = np.einsum("pk,ksad->sdapk", beliefs, likelihood)
    chance = joint.sum(axis=-1)
    posteriors = np.divide(
        joint, chance[..., None], out=np.full_like(joint, 1.0 / len(kinds)), where=chance[..., None] > 0
    )
    flat, weight = interpolation(posteriors.reshape(-1, len(kinds)), resolution)
    index, weight = flat.reshape(joint.shape), weight.reshape(joint.shape) * chance[..., None]
    value = np.zeros((len(ours) + 1, STEPS + 1, LEVELS, len(beliefs)))  # time that is up is no deal
    ks, ss = np.ix_(np.arange(STEPS + 1), np.arange(LEVELS))
    for t in reversed(range(len(ours))):
        moved = [after(ks, ss, drawn, int(ours[t]), meet) for drawn in range(DRAWS + 1)]
        for k, s in product(range(min(DRAWS * t, STEPS) + 1), range(LEVELS)):
            q = np.zeros(chance.shape[2:])
            for drawn, (to, stuck, deal) in enumerate(moved):
                if deal[k, 0]:
                    q += chance[s, drawn] * to[k, 0] / STEPS
                else:
                    q += (value[t + 1, to[k, 0], stuck[k, s]][index[s, drawn]] * weight[s, drawn]).sum(axis=-1)
            value[t, k, s] = q.max(axis=0)
    return BeliefSolution(value, likelihood, ours, meet, resolution)
