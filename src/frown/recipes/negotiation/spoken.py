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
from frown.recipes.negotiation.game import (
    OPEN,
    Dialogues,
    Floats,
    Ints,
    Rules,
    exchange,
    open_dialogues,
    stall_count,
    their_concession,
)
from frown.recipes.negotiation.listener import Perception, hear
from frown.recipes.negotiation.partner import LEVELS, STEPS, Tactic, our_offers, reply_model
from frown.recipes.negotiation.play import Episodes, Policy
from frown.recipes.negotiation.scenarios import Scenario
from frown.recipes.negotiation.speech import Moment, Speaker, partner_line


@dataclass(frozen=True)
class Stage:
    """The stage: scenarios, the tactics of their partners in turn, the emotions that may be shown."""

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
    perception: Perception


@dataclass(frozen=True, eq=False)
class Transcripts:
    """Finished dialogues, and every turn of ours in them, exchange by exchange."""

    episodes: Episodes
    turns: tuple[Turn, ...]


def play(speaker: Speaker, policy: Policy, where: Stage, seed: int, repeats: int = 1) -> Transcripts:
    """Every scenario `repeats` times, scenario after scenario, in words. Draws what `play.play` draws."""
    rows = np.repeat(np.arange(len(where.scenarios)), repeats)
    scenarios = [where.scenarios[i] for i in rows]
    tactics = np.array([where.tactics[i % len(where.tactics)] for i in rows])
    horizon, everyone = where.rules.exchanges, np.arange(len(rows))
    luck = np.random.default_rng(seed).random((3, len(rows), horizon))
    schedule = our_offers(horizon)
    dialogues = open_dialogues(np.array([s.ours for s in scenarios]), np.array([s.theirs for s in scenarios]))
    own_texts, partner_texts = [""] * len(rows), [partner_line(s.theirs, None, s.unit) for s in scenarios]
    chances: list[Floats] = []
    turns: list[Turn] = []
    for t in range(horizon):
        chance = policy(dialogues)
        emotion = np.minimum((chance.cumsum(axis=1) < luck[0, :, t, None]).sum(axis=1), len(where.emotions) - 1)
        open_ = dialogues.status == OPEN
        chances.append(np.where(open_, chance[everyone, emotion], 1.0))
        k = np.round(their_concession(dialogues)[:, -1] * STEPS)
        planned = np.round(dialogues.ours[:, 0] - np.minimum(schedule[t], STEPS - k) / STEPS * dialogues.gap)
        going = np.flatnonzero(open_)
        moments = [
            Moment(
                scenarios[i].unit, tuple(dialogues.ours[i]), tuple(dialogues.theirs[i]), float(planned[i]),
                where.emotions[emotion[i]] if where.cards else None, own_texts[i], partner_texts[i],
            )
            for i in going
        ]  # fmt: skip
        texts = speaker(moments, int(np.random.default_rng([seed, t]).integers(2**31))) if moments else []
        new = [Turn(int(i), t, m, x, hear(x, m.unit)) for i, m, x in zip(going, moments, texts, strict=True)]
        turns += new
        dialogues = _answered(dialogues, emotion, new, tactics, where, luck[1, :, t], luck[2, :, t])
        for turn in new:
            i = turn.dialogue
            own_texts[i] = turn.text
            partner_texts[i] = partner_line(
                float(dialogues.theirs[i, -1]), float(dialogues.theirs[i, -2]), scenarios[i].unit
            )
    return Transcripts(Episodes(dialogues, np.column_stack(chances)), tuple(turns))


def _answered(
    dialogues: Dialogues,
    emotion: Ints,
    turns: Sequence[Turn],
    tactics: np.ndarray,
    where: Stage,
    luck: Floats,
    parting: Floats,
) -> Dialogues:
    """The dialogues after the partners have heard what was said and replied; `luck`, `parting`: [B]."""
    count = len(dialogues.status)
    places, ours, silent = np.zeros((count, 3)), dialogues.ours[:, -1].copy(), np.ones(count, dtype=bool)
    for turn in turns:
        places[turn.dialogue] = turn.perception.place
        if turn.perception.offer is not None:
            ours[turn.dialogue], silent[turn.dialogue] = turn.perception.offer, False
    level, everyone = np.minimum(stall_count(dialogues), LEVELS - 1), np.arange(count)
    drawn, left = np.zeros(count), np.zeros(count, dtype=bool)
    for tactic in dict.fromkeys(where.tactics):
        model, its = reply_model(tactic, places, inert=where.inert), tactics == tactic
        steps = (model.steps.cumsum(axis=-1)[level, everyone] < luck[:, None]).sum(axis=1)
        drawn = np.where(its, steps, drawn)
        left = np.where(its, parting < model.leave[level, everyone], left)
    k = np.round(their_concession(dialogues)[:, -1] * STEPS)
    asked = (dialogues.ours[:, 0] - ours) / dialogues.gap * STEPS
    # They stop where our offer is, even if it lies behind theirs, and leave neither their target nor ours behind.
    to = np.where(silent, k, np.clip(np.minimum(k + drawn, STEPS - asked), 0, STEPS))
    return exchange(dialogues, emotion, ours, dialogues.theirs[:, 0] + to / STEPS * dialogues.gap, left, where.rules)
