"""Scores of a choice of emotion: utility, success and rounds of each policy, and paired differences between them.

Every policy plays the same test scenarios from the same luck, so differences are paired over scenarios and seeds. All
intervals are the house bootstrap's, over scenarios and seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from frown.evals.figures import as_json
from frown.evals.stats import difference, draws, interval
from frown.evals.weights import Array, as_result, as_weights, divide, mean_of_samples
from frown.recipes.negotiation.game import DEAL, Dialogues, Floats, utility


@dataclass(frozen=True, eq=False)
class Scores:
    """One policy on N scenarios, `k` dialogues each: utility (0 without a deal), success, and exchanges, [N, k]."""

    utility: Floats
    success: Floats
    rounds: Floats


def scores(dialogues: Dialogues, repeats: int) -> Scores:
    """The scores of finished dialogues in the order of `play`."""
    columns = (utility(dialogues), dialogues.status == DEAL, dialogues.lasted)
    return Scores(*(np.asarray(c, dtype=np.float64).reshape(-1, repeats) for c in columns))


def summarise(by_seed: Sequence[Scores]) -> dict[str, Any]:
    """Utility with and without failures, success and rounds of one policy over seeds, each {"mean", "ci95"}."""
    using = draws(len(by_seed), len(by_seed[0].utility))
    paid = np.stack([s.utility for s in by_seed])
    made = np.stack([s.success for s in by_seed])
    columns = {
        "utility": paid,
        "utility_of_deals": np.where(made > 0, paid, np.nan),
        "success": made,
        "rounds": np.stack([s.rounds for s in by_seed]),
    }
    return {name: as_json(interval(mean_of_samples, values, using=using)) for name, values in columns.items()}


def utility_gains(arms: Mapping[str, Sequence[Scores]], name: str, baselines: Sequence[str]) -> dict[str, Any]:
    """Utility of one policy less that of each baseline, paired: {"mean", "ci95", "p"} each."""
    ours = np.stack([s.utility for s in arms[name]])
    using = draws(*ours.shape[:2])
    out = {}
    for other in baselines:
        theirs = np.stack([s.utility for s in arms[other]])
        out[other] = as_json(difference(mean_of_samples, (ours,), (theirs,), using=using))
    return out


def utility_share(arms: Mapping[str, Sequence[Scores]], name: str, of: str) -> dict[str, Any] | None:
    """Mean utility of one policy over that of another, {"mean", "ci95"}."""
    sides = [np.stack([s.utility for s in arms[n]]) for n in (name, of)]
    return as_json(interval(_ratio_of_means, *sides, using=draws(*sides[0].shape[:2])))


def _ratio_of_means(part: Array, whole: Array, weights: Array | None = None) -> Array:
    w = as_weights(weights, len(part))
    return as_result(divide(w @ part.sum(axis=1), w @ whole.sum(axis=1)), weights)
