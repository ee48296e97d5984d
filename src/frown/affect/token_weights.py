"""How much each token counts, by the student's own affect: from a rollout's signals and spans to weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frown.affect import weight as weights
from frown.affect.appraisal import signal
from frown.affect.controls import dealt_out
from frown.affect.quadrants import token_quadrants
from frown.config.affect import WeightConfig
from frown.errors import FrownError
from frown.types import Appraisal, Floats, Rollout


def token_weights(
    rollouts: Sequence[Rollout],
    appraisals: Sequence[Appraisal],
    counted: Sequence[Floats],
    config: WeightConfig,
    control: np.random.Generator | None,
) -> list[Floats]:
    """How much each token of each rollout counts, float32[T], mean one over the `counted` (non-zero) ones.

    `control`: the same weights in other places of the same answer.
    """
    if config.by == "quadrant":
        codes = [
            token_quadrants(_doubted(r, a), r.steps, r.verdict, whole=True)
            for r, a in zip(rollouts, appraisals, strict=True)
        ]
        factors: dict[weights.Quadrant, float] = {
            "confident-wrong": config.confident_wrong,
            "doubt-wrong": config.doubt_wrong,
            "doubt-right": config.doubt_right,
            "confident-right": config.confident_right,
        }
        each = weights.by_quadrant(codes, counted, factors)
    else:
        values: list[Floats] = []
        for r in rollouts:
            row = signal(r, config.signal)
            if row is None:
                raise FrownError(f"affect.weight.signal = {config.signal!r}: no such signal; try entropy or surprisal")
            values.append(row)
        if config.by == "top_share":
            each = weights.top_share(values, counted, config.share)
        else:
            each = weights.by_signal(values, counted, config.strength)
    if control is not None:
        each = [dealt_out(w, c, control) for w, c in zip(each, counted, strict=True)]
    return each


def _doubted(rollout: Rollout, appraisal: Appraisal) -> np.ndarray:
    """bool[T]: tokens in a span of doubt."""
    mask = np.zeros(len(rollout.ids), np.bool_)
    for span in appraisal.spans:
        if span.label == "doubt":
            mask[span.start : span.end] = True
    return mask
