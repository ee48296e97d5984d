"""The game of `play`, in words: what moves the partner is what it hears, not what was chosen.

The tone that is heard takes the place of the emotion chosen, and the offer that is read that of the offer to be made.
Where none is read, our last one stands and they do not move, which counts as stalemate. They take what is offered
beyond what they ask for. With a speaker that does as told in whole units this is the game of `play`, luck included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from frown.recipes.negotiation.emotions import Card
from frown.recipes.negotiation.game import OPEN, Floats, Ints, Rules, Talks, begin, conceded, exchange, stalled
from frown.recipes.negotiation.listener import Heard, hear
from frown.recipes.negotiation.partner import LEVELS, STEPS, Tactic, our_offers, replies
from frown.recipes.negotiation.play import Played, Policy
from frown.recipes.negotiation.scenarios import Scenario
from frown.recipes.negotiation.speech import Moment, Speaker, their_line


@dataclass(frozen=True)
class Stage:
    """Who is spoken with: scenarios, the tactics of their partners in turn, the emotions that may be shown."""

    scenarios: tuple[Scenario, ...]
    tactics: tuple[Tactic, ...]
    emotions: tuple[Card, ...]
    rules: Rules
    inert: bool = False
    cards: bool = True
    """Whether the speaker is given the emotion's card."""


class Turn(NamedTuple):
    """One thing said: by whom in which dialogue, in which exchange, knowing what."""

    dialogue: int
    exchange: int
    moment: Moment
    text: str
    heard: Heard


@dataclass(frozen=True, eq=False)
class Spoken:
    """Finished dialogues, and everything we said in them, exchange by exchange."""

    played: Played
    turns: tuple[Turn, ...]


def play(speaker: Speaker, policy: Policy, where: Stage, seed: int, repeats: int = 1) -> Spoken:
    """Every scenario `repeats` times, scenario after scenario, in words. Draws what `play.play` draws."""
    rows = np.repeat(np.arange(len(where.scenarios)), repeats)
    held = [where.scenarios[i] for i in rows]
    tactics = np.array([where.tactics[i % len(where.tactics)] for i in rows])
    horizon, everyone = where.rules.exchanges, np.arange(len(rows))
    luck = np.random.default_rng(seed).random((3, len(rows), horizon))
    schedule = our_offers(horizon)
    talks = begin(np.array([s.ours for s in held]), np.array([s.theirs for s in held]))
    said, heard = [""] * len(rows), [their_line(s.theirs, None, s.unit) for s in held]
    chances: list[Floats] = []
    turns: list[Turn] = []
    for t in range(horizon):
        chance = policy(talks)
        emotion = np.minimum((chance.cumsum(axis=1) < luck[0, :, t, None]).sum(axis=1), len(where.emotions) - 1)
        open_ = talks.status == OPEN
        chances.append(np.where(open_, chance[everyone, emotion], 1.0))
        k = np.round(conceded(talks)[:, -1] * STEPS)
        planned = np.round(talks.ours[:, 0] - np.minimum(schedule[t], STEPS - k) / STEPS * talks.gap)
        going = np.flatnonzero(open_)
        moments = [
            Moment(
                held[i].unit, tuple(talks.ours[i]), tuple(talks.theirs[i]), float(planned[i]),
                where.emotions[emotion[i]] if where.cards else None, said[i], heard[i],
            )
            for i in going
        ]  # fmt: skip
        texts = speaker(moments, int(np.random.default_rng([seed, t]).integers(2**31))) if moments else []
        new = [Turn(int(i), t, m, x, hear(x, m.unit)) for i, m, x in zip(going, moments, texts, strict=True)]
        turns += new
        talks = _answered(talks, emotion, new, tactics, where, luck[1, :, t], luck[2, :, t])
        for turn in new:
            i = turn.dialogue
            said[i] = turn.text
            heard[i] = their_line(float(talks.theirs[i, -1]), float(talks.theirs[i, -2]), held[i].unit)
    return Spoken(Played(talks, np.column_stack(chances)), tuple(turns))


def _answered(
    talks: Talks, emotion: Ints, said: Sequence[Turn], tactics: np.ndarray, where: Stage, luck: Floats, parting: Floats
) -> Talks:
    """The dialogues after the partners have heard what was said and replied; `luck`, `parting`: [B]."""
    count = len(talks.status)
    places, ours, silent = np.zeros((count, 3)), talks.ours[:, -1].copy(), np.ones(count, dtype=bool)
    for turn in said:
        places[turn.dialogue] = turn.heard.place
        if turn.heard.offer is not None:
            ours[turn.dialogue], silent[turn.dialogue] = turn.heard.offer, False
    level, everyone = np.minimum(stalled(talks), LEVELS - 1), np.arange(count)
    drawn, left = np.zeros(count), np.zeros(count, dtype=bool)
    for tactic in dict.fromkeys(where.tactics):
        found, its = replies(tactic, places, inert=where.inert), tactics == tactic
        steps = (found.steps.cumsum(axis=-1)[level, everyone] < luck[:, None]).sum(axis=1)
        drawn = np.where(its, steps, drawn)
        left = np.where(its, parting < found.leave[level, everyone], left)
    k = np.round(conceded(talks)[:, -1] * STEPS)
    asked = (talks.ours[:, 0] - ours) / talks.gap * STEPS
    # They stop where our offer is, even if it lies behind theirs, and leave neither their target nor ours behind.
    to = np.where(silent, k, np.clip(np.minimum(k + drawn, STEPS - asked), 0, STEPS))
    return exchange(talks, emotion, ours, talks.theirs[:, 0] + to / STEPS * talks.gap, left, where.rules)
