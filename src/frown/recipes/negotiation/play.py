"""Dialogues against the rule-based partner, many at a time, from one seed.

All chance is drawn before the first word, one number for each dialogue, exchange and purpose, so two policies that play
from the same seed meet the same luck and their difference is a paired one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from frown.recipes.negotiation import belief, optimum
from frown.recipes.negotiation.game import (
    Dialogues,
    Floats,
    Ints,
    Rules,
    exchange,
    open_dialogues,
    stall_count,
    their_concession,
)
from frown.recipes.negotiation.partner import LEVELS, STEPS, ReplyModel, our_offers, reply_model
from frown.recipes.negotiation.scenarios import Scenario

Policy = Callable[[Dialogues], Floats]
"""The chance of each emotion in each dialogue: B dialogues to [B, A], rows that sum to 1."""


@dataclass(frozen=True, eq=False)
class World:
    """The game's world: scenarios [N], for each a partner's replies, the emotions' places [A, 3], the rules."""

    scenarios: tuple[Scenario, ...]
    partners: tuple[ReplyModel, ...]
    places: Floats
    rules: Rules

    @property
    def emotions(self) -> int:
        """Number of emotions that may be shown, A."""
        return len(self.places)


@dataclass(frozen=True, eq=False)
class Episodes:
    """Finished dialogues and, of each emotion shown, the chance that it had: [B, T] (1 after the end)."""

    dialogues: Dialogues
    chance: Floats


def world(
    scenarios: Sequence[Scenario], tactics: Sequence[str], places: Floats, rules: Rules, *, inert: bool = False
) -> World:
    """Each scenario with a partner: the tactics in turn."""
    models = {tactic: reply_model(tactic, places, inert=inert) for tactic in dict.fromkeys(tactics)}  # type: ignore[arg-type]
    return World(
        tuple(scenarios), tuple(models[tactics[i % len(tactics)]] for i in range(len(scenarios))), places, rules
    )


def play(policy: Policy, where: World, seed: int, repeats: int = 1) -> Episodes:
    """Every scenario `repeats` times, scenario after scenario: B = N * repeats dialogues, played to their end."""
    rows = np.repeat(np.arange(len(where.scenarios)), repeats)
    targets = np.array([(s.ours, s.theirs) for s in where.scenarios])[rows]
    steps = np.stack([p.steps for p in where.partners])[rows].cumsum(axis=-1)
    leave = np.stack([p.leave for p in where.partners])[rows]
    horizon, everyone = where.rules.exchanges, np.arange(len(rows))
    luck = np.random.default_rng(seed).random((3, len(rows), horizon))
    schedule = our_offers(horizon)
    dialogues, chances = open_dialogues(targets[:, 0], targets[:, 1]), []
    for t in range(horizon):
        chance = policy(dialogues)
        emotion = np.minimum((chance.cumsum(axis=1) < luck[0, :, t, None]).sum(axis=1), where.emotions - 1)
        chances.append(np.where(dialogues.status == 0, chance[everyone, emotion], 1.0))
        k = np.round(their_concession(dialogues)[:, -1] * STEPS)
        ours = np.minimum(schedule[t], STEPS - k)
        level = np.minimum(stall_count(dialogues), LEVELS - 1)
        drawn = (steps[everyone, level, emotion] < luck[1, :, t, None]).sum(axis=1)
        to = np.minimum(k + drawn, STEPS - ours)
        dialogues = exchange(
            dialogues,
            emotion,
            dialogues.ours[:, 0] - ours / STEPS * dialogues.gap,
            dialogues.theirs[:, 0] + to / STEPS * dialogues.gap,
            luck[2, :, t] < leave[everyone, level, emotion],
            where.rules,
        )
    return Episodes(dialogues, np.column_stack(chances))


def uniform(emotions: int) -> Policy:
    """Any emotion, at even odds."""
    return lambda dialogues: np.full((len(dialogues.status), emotions), 1.0 / emotions)


def fixed(emotion: int, emotions: int) -> Policy:
    """The same emotion always."""
    return lambda dialogues: np.tile(np.eye(emotions)[emotion], (len(dialogues.status), 1))


def habitual(places: Floats, repeat: float = 0.3) -> Policy:
    """A negotiator with habits: pleasant emotions more often (odds exp(2 valence)), and with `repeat` the last one."""
    liked = np.exp(2.0 * places[:, 0])
    liked = liked / liked.sum()

    def policy(dialogues: Dialogues) -> Floats:
        chance = np.tile(liked, (len(dialogues.status), 1))
        if dialogues.exchanges == 0:
            return chance
        last: Ints = dialogues.shown[:, -1]
        return np.where((last >= 0)[:, None], (1 - repeat) * chance + repeat * np.eye(len(liked))[last], chance)

    return policy


def optimal(where: World, repeats: int = 1) -> Policy:
    """The optimal policy, which knows each partner's rule. For dialogues in the order of `play`."""
    solved: dict[tuple[int, int], Floats] = {}
    each = []
    for scenario, partner in zip(where.scenarios, where.partners, strict=True):
        key = (id(partner), optimum.slack(scenario.gap, where.rules.tolerance))
        if key not in solved:
            solved[key] = optimum.solve(partner, our_offers(where.rules.exchanges), key[1]).q.argmax(axis=-1)
        each.append(solved[key])
    best = np.stack(each)[np.repeat(np.arange(len(each)), repeats)]

    def policy(dialogues: Dialogues) -> Floats:
        k = np.round(their_concession(dialogues)[:, -1] * STEPS).astype(int)
        level = np.minimum(stall_count(dialogues), LEVELS - 1)
        return np.eye(where.emotions)[best[np.arange(len(k)), dialogues.exchanges, k, level]]

    return policy


def belief_optimal(where: World, repeats: int = 1, resolution: int = 12) -> Policy:
    """The optimal policy that knows the kinds of partners and how many there are of each, but not who is which.

    For dialogues in the order of `play`.
    """
    kinds = list({id(partner): partner for partner in where.partners}.values())
    prior = np.array([sum(partner is kind for partner in where.partners) for kind in kinds]) / len(where.partners)
    slack = np.array([optimum.slack(s.gap, where.rules.tolerance) for s in where.scenarios])
    offers, likelihood = our_offers(where.rules.exchanges), belief.likelihoods(kinds)
    solved = {meet: belief.solve(kinds, offers, int(meet), resolution) for meet in np.unique(slack)}
    rows = np.repeat(slack, repeats)

    def policy(dialogues: Dialogues) -> Floats:
        k = np.round(their_concession(dialogues)[:, -1] * STEPS).astype(int)
        level = np.minimum(stall_count(dialogues), LEVELS - 1)
        chances = belief.posterior(likelihood, prior, dialogues)
        best = np.zeros(len(k), dtype=int)
        for meet, solution in solved.items():
            at = rows == meet
            best[at] = solution.q(dialogues.exchanges, k[at], level[at], chances[at]).argmax(axis=1)
        return np.eye(where.emotions)[best]

    return policy


def exact(where: World, policy: Floats | None = None) -> Floats:
    """The exact value of the best policy in each scenario, or of `policy` (chances [A]): [N], in utility."""
    offers, values_by_key = our_offers(where.rules.exchanges), {}
    values = []
    for scenario, partner in zip(where.scenarios, where.partners, strict=True):
        key = (id(partner), optimum.slack(scenario.gap, where.rules.tolerance))
        if key not in values_by_key:
            values_by_key[key] = optimum.solve(partner, offers, key[1], policy).start
        values.append(values_by_key[key])
    return np.array(values)


def best_fixed(where: World) -> int:
    """The emotion that is best over all these scenarios when it is never changed, by exact values."""
    return int(np.argmax([exact(where, one).mean() for one in np.eye(where.emotions)]))
