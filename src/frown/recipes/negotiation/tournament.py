"""Trained against trained: a round robin of selectors, rated by Bradley and Terry.

In a duel nobody follows a schedule: both sides concede as the rule-based partner does, each by its own tactic, moved
by the emotion that the other shows. Ours speaks first in one half of the duels and second in the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from frown.evals.stats import Interval, draws, percentile
from frown.recipes.negotiation.game import (
    DEAL,
    Dialogues,
    Floats,
    exchange,
    mirror,
    open_dialogues,
    stall_count,
    their_concession,
    utility,
)
from frown.recipes.negotiation.partner import LEVELS, STEPS, ReplyModel
from frown.recipes.negotiation.play import Policy, World


@dataclass(frozen=True, eq=False)
class Duels:
    """Utilities of both players in G duels: `mine`, `theirs` [G]; both 0 without a deal."""

    mine: Floats
    theirs: Floats


@dataclass(frozen=True)
class Rating:
    """Strength in nats (log-odds), 0 on average over players, with its interval over scenarios; and what it is made of.

    `points`: share of the duels won, a tie counting half.
    """

    strength: Interval | None
    points: float
    utility: float
    deals: float


def duel(first: Policy, second: Policy, where: World, seed: int, repeats: int) -> Duels:
    """Every scenario of `where` `repeats` times, `first` speaking first and aiming for `ours`.

    Both sides have the temper that the scenario's partner has.
    """
    rows = np.repeat(np.arange(len(where.scenarios)), repeats)
    targets = np.array([(s.ours, s.theirs) for s in where.scenarios])[rows]
    luck = np.random.default_rng(seed).random((6, len(rows), where.rules.exchanges))
    dialogues = open_dialogues(targets[:, 0], targets[:, 1])
    answers = np.zeros_like(dialogues.shown)
    for t in range(where.rules.exchanges):
        spoken = _draw(first(dialogues), luck[0, :, t])
        theirs, left = _moved(where.partners, rows, dialogues, spoken, luck[1, :, t], luck[2, :, t])
        answered = _draw(second(mirror(dialogues, answers)), luck[3, :, t])
        halfway = mirror(dialogues, answers)
        ours, gone = _moved(where.partners, rows, halfway, answered, luck[4, :, t], luck[5, :, t])
        # Nobody gives more than the other side asks for.
        k = np.round(their_concession(dialogues)[:, -1] * STEPS)
        own = np.minimum(ours, STEPS - k)
        to = np.minimum(theirs, STEPS - own)
        dialogues = exchange(
            dialogues,
            spoken,
            dialogues.ours[:, 0] - own / STEPS * dialogues.gap,
            dialogues.theirs[:, 0] + to / STEPS * dialogues.gap,
            left | gone,
            where.rules,
        )
        answers = np.column_stack([answers, np.where(dialogues.shown[:, -1] >= 0, answered, -1)])
    mine = utility(dialogues)
    return Duels(
        mine, np.where(dialogues.status == DEAL, np.clip(1.0 - their_concession(dialogues)[:, -1], 0.0, 1.0), 0.0)
    )


def tournament(players: Mapping[str, Policy], where: World, seed: int = 0, repeats: int = 2) -> dict[str, Rating]:
    """Every pair meets in every scenario, each speaking first `repeats` times; the ratings with 95 % intervals.

    More utility wins; the same, no deal included, is a tie, half a point to each. Intervals resample scenarios.
    """
    names = list(players)
    scenarios = len(where.scenarios)
    won = np.zeros((scenarios, len(names), len(names)))
    earned: dict[str, list[Floats]] = {name: [] for name in names}
    for match, (i, j) in enumerate(combinations(range(len(names)), 2)):
        one, two = players[names[i]], players[names[j]]
        ahead = duel(one, two, where, seed + 2 * match, repeats)
        behind = duel(two, one, where, seed + 2 * match + 1, repeats)
        for mine, theirs in ((ahead.mine, ahead.theirs), (behind.theirs, behind.mine)):
            points = (np.where(mine == theirs, 0.5, mine > theirs)).reshape(scenarios, repeats).sum(axis=1)
            won[:, i, j] += points
            won[:, j, i] += repeats - points
            earned[names[i]].append(mine)
            earned[names[j]].append(theirs)
    point = bradley_terry(won.sum(axis=0))
    using = draws(1, scenarios, 300, seed)
    resampled = np.stack([bradley_terry(np.tensordot(counts, won, axes=1)) for counts in using.prompts])
    table = won.sum(axis=0)
    out = {}
    for i, name in enumerate(names):
        of_name = np.concatenate(earned[name])
        deals = float(np.mean(of_name > 0))
        share = float(table[i].sum() / (table[i].sum() + table[:, i].sum()))
        out[name] = Rating(percentile(point[i], resampled[:, i], scenarios), share, float(of_name.mean()), deals)
    return out


def bradley_terry(won: Floats, tolerance: float = 1e-10) -> Floats:
    """Strengths of P players in nats, summing to 0, from `won` [P, P]: how often (ties half) row beat column.

    P(i beats j) = 1 / (1 + exp(s_j - s_i)), by the MM algorithm (Hunter 2004, eq. 3). A player that won or lost every
    game has no finite strength: plus or minus infinity, and the others are rated among themselves.
    """
    strength = np.zeros(len(won))
    there = np.ones(len(won), dtype=bool)
    while there.sum() > 1:
        of = won[np.ix_(there, there)]
        always, never = of.sum(axis=0) == 0, of.sum(axis=1) == 0
        if not (always | never).any():
            strength[there] = _fit(of, tolerance)
            break
        where = np.flatnonzero(there)
        strength[where[always & ~never]] = np.inf
        strength[where[never & ~always]] = -np.inf
        strength[where[always & never]] = np.nan
        there[where[always | never]] = False
    return strength


def _fit(won: Floats, tolerance: float) -> Floats:
    games, wins = won + won.T, won.sum(axis=1)
    power = np.ones(len(won))
    for _ in range(10_000):
        new = wins / (games / (power[:, None] + power[None])).sum(axis=1)
        new /= np.exp(np.log(new).mean())
        if np.abs(np.log(new / power)).max() < tolerance:
            break
        power = new
    return np.log(new)


def _draw(chance: Floats, luck: Floats) -> np.ndarray:
    return np.minimum((chance.cumsum(axis=1) < luck[:, None]).sum(axis=1), chance.shape[1] - 1)


def _moved(
    partners: tuple[ReplyModel, ...],
    rows: np.ndarray,
    dialogues: Dialogues,
    emotion: np.ndarray,
    luck: Floats,
    parting: Floats,
) -> tuple[Floats, np.ndarray]:
    """The lattice steps at which the other side stands after this emotion, and whether it leaves: [B]."""
    steps = np.stack([p.steps for p in partners])[rows].cumsum(axis=-1)
    leave = np.stack([p.leave for p in partners])[rows]
    level, everyone = np.minimum(stall_count(dialogues), LEVELS - 1), np.arange(len(rows))
    drawn = (steps[everyone, level, emotion] < luck[:, None]).sum(axis=1)
    return np.round(their_concession(dialogues)[:, -1] * STEPS) + drawn, parting < leave[everyone, level, emotion]
