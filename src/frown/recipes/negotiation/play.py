"""Dialogues against the rule-based partner, many at a time, from one seed.

All chance is drawn before the first word, one number for each dialogue, exchange and purpose, so two policies that play
from the same seed meet the same luck and their difference is a paired one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from frown.recipes.negotiation import belief, optimum
from frown.recipes.negotiation.game import Floats, Ints, Rules, Talks, begin, conceded, exchange, stalled
from frown.recipes.negotiation.partner import LEVELS, STEPS, Replies, our_offers, replies
from frown.recipes.negotiation.scenarios import Scenario

Policy = Callable[[Talks], Floats]
"""The chance of each emotion in each dialogue: B dialogues to [B, A], rows that sum to 1."""


@dataclass(frozen=True, eq=False)
class World:
    """Who is played against: scenarios [N], for each a partner's replies, the emotions' places [A, 3], the rules."""

    scenarios: tuple[Scenario, ...]
    partners: tuple[Replies, ...]
    places: Floats
    rules: Rules

    @property
    def emotions(self) -> int:
        """How many emotions may be shown, A."""
        return len(self.places)


@dataclass(frozen=True, eq=False)
class Played:
    """Finished dialogues and, of each emotion shown, the chance that it had: [B, T] (1 after the end)."""

    talks: Talks
    chance: Floats


def world(
    scenarios: Sequence[Scenario], tactics: Sequence[str], places: Floats, rules: Rules, *, inert: bool = False
) -> World:
    """Each scenario with a partner: the tactics in turn."""
    known = {tactic: replies(tactic, places, inert=inert) for tactic in dict.fromkeys(tactics)}  # type: ignore[arg-type]
    return World(
        tuple(scenarios), tuple(known[tactics[i % len(tactics)]] for i in range(len(scenarios))), places, rules
    )


def play(policy: Policy, where: World, seed: int, repeats: int = 1) -> Played:
    """Every scenario `repeats` times, scenario after scenario: B = N * repeats dialogues, played to their end."""
    rows = np.repeat(np.arange(len(where.scenarios)), repeats)
    targets = np.array([(s.ours, s.theirs) for s in where.scenarios])[rows]
    steps = np.stack([p.steps for p in where.partners])[rows].cumsum(axis=-1)
    leave = np.stack([p.leave for p in where.partners])[rows]
    horizon, everyone = where.rules.exchanges, np.arange(len(rows))
    luck = np.random.default_rng(seed).random((3, len(rows), horizon))
    schedule = our_offers(horizon)
    talks, chances = begin(targets[:, 0], targets[:, 1]), []
    for t in range(horizon):
        chance = policy(talks)
        emotion = np.minimum((chance.cumsum(axis=1) < luck[0, :, t, None]).sum(axis=1), where.emotions - 1)
        chances.append(np.where(talks.status == 0, chance[everyone, emotion], 1.0))
        k = np.round(conceded(talks)[:, -1] * STEPS)
        ours = np.minimum(schedule[t], STEPS - k)
        level = np.minimum(stalled(talks), LEVELS - 1)
        drawn = (steps[everyone, level, emotion] < luck[1, :, t, None]).sum(axis=1)
        to = np.minimum(k + drawn, STEPS - ours)
        talks = exchange(
            talks,
            emotion,
            talks.ours[:, 0] - ours / STEPS * talks.gap,
            talks.theirs[:, 0] + to / STEPS * talks.gap,
            luck[2, :, t] < leave[everyone, level, emotion],
            where.rules,
        )
    return Played(talks, np.column_stack(chances))


def uniform(emotions: int) -> Policy:
    """Any emotion, at even odds."""
    return lambda talks: np.full((len(talks.status), emotions), 1.0 / emotions)


def fixed(emotion: int, emotions: int) -> Policy:
    """The same emotion always."""
    return lambda talks: np.tile(np.eye(emotions)[emotion], (len(talks.status), 1))


def habitual(places: Floats, repeat: float = 0.3) -> Policy:
    """A negotiator with habits: pleasant emotions more often (odds exp(2 valence)), and with `repeat` the last one."""
    liked = np.exp(2.0 * places[:, 0])
    liked = liked / liked.sum()

    def policy(talks: Talks) -> Floats:
        chance = np.tile(liked, (len(talks.status), 1))
        if talks.exchanges == 0:
            return chance
        last: Ints = talks.shown[:, -1]
        return np.where((last >= 0)[:, None], (1 - repeat) * chance + repeat * np.eye(len(liked))[last], chance)

    return policy


def optimal(where: World, repeats: int = 1) -> Policy:
    """What dynamic programming would do: knows each partner's rule. For dialogues in the order of `play`."""
    solved: dict[tuple[int, int], Floats] = {}
    each = []
    for scenario, partner in zip(where.scenarios, where.partners, strict=True):
        key = (id(partner), optimum.slack(scenario.gap, where.rules.tolerance))
        if key not in solved:
            solved[key] = optimum.solve(partner, our_offers(where.rules.exchanges), key[1]).q.argmax(axis=-1)
        each.append(solved[key])
    best = np.stack(each)[np.repeat(np.arange(len(each)), repeats)]

    def policy(talks: Talks) -> Floats:
        k = np.round(conceded(talks)[:, -1] * STEPS).astype(int)
        level = np.minimum(stalled(talks), LEVELS - 1)
        return np.eye(where.emotions)[best[np.arange(len(k)), talks.exchanges, k, level]]

    return policy


def untold(where: World, repeats: int = 1, resolution: int = 12) -> Policy:
    """What dynamic programming would do that knows the kinds of partners and how many there are of each, but not which
    of them sits where (`belief`). For dialogues in the order of `play`."""
    kinds = list({id(partner): partner for partner in where.partners}.values())
    prior = np.array([sum(partner is kind for partner in where.partners) for kind in kinds]) / len(where.partners)
    slack = np.array([optimum.slack(s.gap, where.rules.tolerance) for s in where.scenarios])
    offers, likelihood = our_offers(where.rules.exchanges), belief.likelihoods(kinds)
    solved = {meet: belief.solve(kinds, offers, int(meet), resolution) for meet in np.unique(slack)}
    rows = np.repeat(slack, repeats)

    def policy(talks: Talks) -> Floats:
        k = np.round(conceded(talks)[:, -1] * STEPS).astype(int)
        level = np.minimum(stalled(talks), LEVELS - 1)
        chances = belief.posterior(likelihood, prior, talks)
        best = np.zeros(len(k), dtype=int)
        for meet, found in solved.items():
            at = rows == meet
            best[at] = found.q(talks.exchanges, k[at], level[at], chances[at]).argmax(axis=1)
        return np.eye(where.emotions)[best]

    return policy


def exact(where: World, policy: Floats | None = None) -> Floats:
    """The exact value of the best policy in each scenario, or of `policy` (chances [A]): [N], in utility."""
    offers, found = our_offers(where.rules.exchanges), {}
    values = []
    for scenario, partner in zip(where.scenarios, where.partners, strict=True):
        key = (id(partner), optimum.slack(scenario.gap, where.rules.tolerance))
        if key not in found:
            found[key] = optimum.solve(partner, offers, key[1], policy).start
        values.append(found[key])
    return np.array(values)


def best_fixed(where: World) -> int:
    """The emotion that is best over all these scenarios when it is never changed, by exact values."""
    return int(np.argmax([exact(where, one).mean() for one in np.eye(where.emotions)]))
