"""Is there anything to learn? Asked of the logs, before anyone trains.

EmoDistill's check holds one emotion fixed in each dialogue and looks for a spread of success above .20, a ratio of
variances between and within above 2, and a spread of first concessions above .15. Fixed thresholds say "signal" of
small noisy logs and "none" of large clear ones, so here each question is put to a permutation test: emotions are dealt
out anew among exchanges of the same kind, and the p-value is the share of deals that look as telling as the logs do.
Holm's correction keeps the chance of any false alarm at `LEVEL`.

The deals are fair where emotions were drawn without regard to anything but what `strata` hold, as in a sweep with
random emotions. On other logs a signal is an association and no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frown.recipes.negotiation.game import Floats, Ints, Talks, conceded, stalls, utility

LEVEL = 0.05
DEALS = 199


@dataclass(frozen=True)
class Question:
    """`p`: its p-value; `explained`: the share of the variance within strata that the emotion shown explains; `n`."""

    p: float
    explained: float
    n: int


@dataclass(frozen=True)
class Learnable:
    """The answers by name, those that hold after correction, and the verdict in words."""

    questions: dict[str, Question]
    found: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """strong: every question; some: at least one; no signal here: none."""
        if not self.found:
            return "no signal here"
        return "strong signal" if len(self.found) == len(self.questions) else "some signal"


def learnable(talks: Talks, seed: int = 0) -> Learnable:
    """Whether the emotion shown goes with what they then do.

    first reply: their concession in the first exchange. replies: their concession in any exchange, among exchanges that
    are alike (how long they have been stuck, which third of the time). partings: whether they left in it. outcomes:
    the utility of dialogues that showed one emotion throughout (asked where there are at least 20).
    """
    rng = np.random.default_rng(seed)
    moves = np.diff(conceded(talks), axis=1)
    horizon = talks.exchanges
    step = np.arange(horizon)
    dialogue, t = np.nonzero(step < talks.lasted[:, None])
    stuck = np.minimum(stalls(talks), 2)
    strata = 3 * stuck[dialogue, t] + 3 * t // horizon
    shown = talks.shown[dialogue, t]
    left = (t == talks.lasted[dialogue] - 1) & (talks.status[dialogue] == 2) & (t < horizon - 1)
    nothing = np.zeros(len(talks.status), dtype=np.int64)
    questions = {
        "first reply": explains(talks.shown[:, 0], moves[:, 0], nothing, rng),
        "replies": explains(shown, moves[dialogue, t], strata, rng),
        "partings": explains(shown, left.astype(np.float64), strata, rng),
    }
    whole = ((talks.shown == talks.shown[:, :1]) | (talks.shown < 0)).all(axis=1) & (talks.lasted > 1)
    if whole.sum() >= 20:
        questions["outcomes"] = explains(talks.shown[whole, 0], utility(talks)[whole], nothing[whole], rng)
    return Learnable(questions, holm({name: q.p for name, q in questions.items()}))


def explains(groups: Ints, values: Floats, strata: Ints, rng: np.random.Generator) -> Question:
    """Do `values` [N] differ between `groups` [N] within `strata` [N]? By permutation of groups within strata.

    The statistic is the sum of squares between the groups of each stratum; p = (1 + deals at least as large) /
    (1 + deals), which is valid for any number of deals (Phipson and Smyth 2010).
    """
    order = np.argsort(strata, kind="stable")
    groups, values, strata = groups[order], values[order], np.unique(strata[order], return_inverse=True)[1]
    centre = np.bincount(strata, weights=values) / np.bincount(strata)
    rest = values - centre[strata]
    total = float((rest**2).sum())
    if total == 0.0:
        return Question(1.0, 0.0, len(values))
    cells = int(groups.max()) + 1

    def between(dealt: Ints) -> float:
        cell = strata * cells + dealt
        count = np.bincount(cell, minlength=1)
        return float((np.bincount(cell, weights=rest) ** 2 / np.maximum(count, 1)).sum())

    found = between(groups)
    # Sorting by stratum and then by chance shuffles within strata.
    deals = (between(groups[np.lexsort((rng.random(len(groups)), strata))]) for _ in range(DEALS))
    larger = sum(b >= found - 1e-12 * total for b in deals)
    return Question((1 + larger) / (1 + DEALS), found / total, len(values))


def holm(p: dict[str, float], level: float = LEVEL) -> tuple[str, ...]:
    """Which hypotheses are rejected by Holm's step-down procedure (1979)."""
    kept: list[str] = []
    for i, name in enumerate(sorted(p, key=lambda name: p[name])):
        if p[name] > level / (len(p) - i):
            break
        kept.append(name)
    return tuple(kept)
