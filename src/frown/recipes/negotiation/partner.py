"""The other side by rule: how much it concedes and whether it leaves, by its tactic, our emotion, and stalemate.

Made so that the best emotion is known exactly (`optimum`), and depends on whether they are moving or stuck. Which
emotion moves whom is a convention for testing learners. It says nothing about people.

Offers stand on a lattice of `STEPS` equal steps from their target (0) to ours (`STEPS`). In an exchange they leave with
a chance w, or else take Binomial(`DRAWS`, p) steps towards us, where

    p = base + gain * fit          w = risk - caution * fit  (one exchange without a move and more: risk_stuck)

and fit in [-1, 1] is the projection of the emotion's place in valence-arousal-dominance on the direction that this
tactic answers to: one while they are moving, another while they are stuck. In the inert mode fit is 0 for every
emotion.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Tactic = Literal["vanilla", "pressure", "victim", "threat"]
TACTICS: tuple[Tactic, ...] = get_args(Tactic)

STEPS = 20
DRAWS = 3
LEVELS = 3
"""Levels of stalemate that differ: moving, stuck for one exchange, for two and more."""


class Temper(NamedTuple):
    """Directions in VAD that a tactic answers to, while moving and while stuck."""

    moving: tuple[float, float, float]
    stuck: tuple[float, float, float]


TEMPERS: dict[Tactic, Temper] = {
    "vanilla": Temper((1.0, 0.0, 0.0), (-0.5, 0.6, 0.6)),  # warmth keeps it going, firmness unlocks it
    "pressure": Temper((-0.4, 0.2, 0.9), (0.9, -0.4, 0.0)),  # yields to strength, calms down when met kindly
    "victim": Temper((-0.6, -0.6, -0.5), (0.6, 0.6, 0.5)),  # wants its sorrow shared, then to be given heart
    "threat": Temper((0.3, -0.9, 0.3), (-0.5, 0.6, -0.6)),  # is disarmed by calm, relents when it has frightened
}


@dataclass(frozen=True)
class ReplyModel:
    """Chances of the partner's replies at each level of stalemate and for each of A emotions: [LEVELS, A] each.

    `steps` [LEVELS, A, DRAWS + 1]: the chance of each number of steps, if they stay; `leave`: the chance that they go.
    """

    steps: Floats
    leave: Floats


def reply_model(tactic: Tactic, places: Floats, *, inert: bool = False) -> ReplyModel:
    """The replies of a tactic to emotions at these places [A, 3]. `inert`: to all of them alike."""
    fit = np.stack([_fit(places, TEMPERS[tactic].moving), *([_fit(places, TEMPERS[tactic].stuck)] * (LEVELS - 1))])
    if inert:
        fit = np.zeros_like(fit)
    base, gain = np.array([0.35, 0.18, 0.14]), np.array([0.28, 0.28, 0.28])
    risk, caution = np.array([0.005, 0.02, 0.04]), np.array([0.005, 0.02, 0.04])
    p = np.clip(base[:, None] + gain[:, None] * fit, 0.02, 0.95)
    ways = np.array([comb(DRAWS, n) for n in range(DRAWS + 1)])
    n = np.arange(DRAWS + 1)
    steps = ways * p[..., None] ** n * (1.0 - p[..., None]) ** (DRAWS - n)
    return ReplyModel(steps, np.clip(risk[:, None] - caution[:, None] * fit, 0.0, 0.5))


def our_offers(exchanges: int) -> NDArray[np.int64]:
    """Our own concession in each exchange, [T] lattice steps from our target.

    It is a tactic that yields late (Boulware, with exponent 2: Faratin, Sierra and Jennings 1998) and gives up 40 % of
    the gap at most. The emotion is all that is left to choose.
    """
    return np.round(0.4 * STEPS * (np.arange(1, exchanges + 1) / exchanges) ** 2).astype(np.int64)


def _fit(places: Floats, direction: tuple[float, float, float]) -> Floats:
    unit = np.array(direction) / np.linalg.norm(direction)
    return np.clip(places @ unit, -1.0, 1.0)
