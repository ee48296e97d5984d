"""A check of the logs for a signal, before anything is trained.

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

from frown.recipes.negotiation.game import Dialogues, Floats, Ints, stall_counts, their_concession, utility

LEVEL = 0.05
DEALS = 199


@dataclass(frozen=True)
class Question:
    """`p`: its p-value; `explained`: the share of the variance within strata that the emotion shown explains; `n`."""

    p: float
    explained: float
    n: int


@dataclass(frozen=True)
class SignalCheck:
    """The tests by name, those significant after correction, and the verdict in words."""

    questions: dict[str, Question]
    significant: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """strong: every question; some: at least one; no signal here: none."""
        if not self.significant:
            return "no signal here"
        return "strong signal" if len(self.significant) == len(self.questions) else "some signal"


def check_signal(dialogues: Dialogues, seed: int = 0) -> SignalCheck:
    """Test whether the emotion shown goes with what the partner then does.

    first reply: their concession in the first exchange. replies: their concession in any exchange, among exchanges that
    are alike (how long they have been stuck, which third of the time). partings: whether they left in it. outcomes:
    the utility of dialogues that showed one emotion throughout (asked where there are at least 20).
    """
    rng = np.random.default_rng(seed)
    moves = np.diff(their_concession(dialogues), axis=1)
    horizon = dialogues.exchanges
    step = np.arange(horizon)
    dialogue, t = np.nonzero(step < dialogues.lasted[:, None])
    stuck = np.minimum(stall_counts(dialogues), 2)
    strata = 3 * stuck[dialogue, t] + 3 * t // horizon
    shown = dialogues.shown[dialogue, t]
    left = (t == dialogues.lasted[dialogue] - 1) & (dialogues.status[dialogue] == 2) & (t < horizon - 1)
    nothing = np.zeros(len(dialogues.status), dtype=np.int64)
    questions = {
        "first reply": permutation_test(dialogues.shown[:, 0], moves[:, 0], nothing, rng),
        "replies": permutation_test(shown, moves[dialogue, t], strata, rng),
        "partings": permutation_test(shown, left.astype(np.float64), strata, rng),
    }
    whole = ((dialogues.shown == dialogues.shown[:, :1]) | (dialogues.shown < 0)).all(axis=1) & (dialogues.lasted > 1)
    if whole.sum() >= 20:
        questions["outcomes"] = permutation_test(
            dialogues.shown[whole, 0], utility(dialogues)[whole], nothing[whole], rng
        )
    return SignalCheck(questions, holm({name: q.p for name, q in questions.items()}))


def permutation_test(groups: Ints, values: Floats, strata: Ints, rng: np.random.Generator) -> Question:
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

    observed = between(groups)
    # Sorting by stratum and then by chance shuffles within strata.
    deals = (between(groups[np.lexsort((rng.random(len(groups)), strata))]) for _ in range(DEALS))
    larger = sum(b >= observed - 1e-12 * total for b in deals)
    return Question((1 + larger) / (1 + DEALS), observed / total, len(values))


def holm(p: dict[str, float], level: float = LEVEL) -> tuple[str, ...]:
    """The hypotheses that are rejected by Holm's step-down procedure (1979)."""
    rejected: list[str] = []
    for i, name in enumerate(sorted(p, key=lambda name: p[name])):
        if p[name] > level / (len(p) - i):
            break
        rejected.append(name)
    return tuple(rejected)
