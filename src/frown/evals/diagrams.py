"""Calibration and risk-coverage as points to draw, all seeds of an arm pooled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frown.evals.metrics import Arrays, confidence_agreement, confidence_weakest
from frown.evals.samples import GradedSamples
from frown.evals.stats import Draws, interval
from frown.evals.weights import ratio

SIGNALS: Mapping[str, Callable[[GradedSamples], Arrays]] = {
    "agreement": confidence_agreement,
    "min_probability": confidence_weakest,
}
"""The kinds of confidence; `frown.evals.calibration` says what they are."""
BINS = 10
POINTS = 20


def diagrams(evals: Sequence[GradedSamples], draws: Callable[[int, int], Draws]) -> dict[str, Any]:
    """Name of a confidence -> {"reliability", "risk_coverage"} of the last evaluations of an arm."""
    out = {}
    for name, arrays in SIGNALS.items():
        confidence, right = (np.concatenate(x, axis=1) for x in zip(*(arrays(e) for e in evals), strict=True))
        out[name] = {
            "reliability": reliability(confidence, right, draws(1, len(right))),
            "risk_coverage": risk_coverage(confidence, right),
        }
    return out


def reliability(confidence: NDArray[Any], right: NDArray[Any], using: Draws) -> list[dict[str, Any]]:
    """The bins of a reliability diagram that hold samples, of `BINS` equally wide ones (as in `calibration.ece`).

    `confidence` and `right` are [N, samples]. Of a bin: `count`, mean `confidence`, `mean` (the share that is right)
    and its `ci95` over prompts, None where it is of too few.
    """
    known = np.isfinite(confidence) & np.isfinite(right)
    index = np.minimum((np.where(known, confidence, 0.0) * BINS).astype(np.int64), BINS - 1)
    out = []
    for i in range(BINS):
        inside = known & (index == i)
        if not inside.any():
            continue
        part, whole = np.where(inside, right, 0.0).sum(axis=1), inside.sum(axis=1).astype(np.float64)
        estimate = interval(ratio, part[None], whole[None], using=using)
        out.append(
            {
                "count": int(whole.sum()),
                "confidence": round(float(confidence[inside].mean()), 6),
                "mean": round(float(part.sum() / whole.sum()), 6),
                "ci95": None if estimate is None else [round(estimate.low, 6), round(estimate.high, 6)],
            }
        )
    return out


def risk_coverage(confidence: NDArray[Any], right: NDArray[Any]) -> list[list[float]]:
    """[coverage, risk] at `POINTS` even coverages: the error rate among that share of the samples that is most
    confident. Equal confidences share their errors evenly, as in `calibration.aurc`. Empty without a scored sample."""
    known = np.isfinite(confidence) & np.isfinite(right)
    if not known.any():
        return []
    values, place, mass = np.unique(-confidence[known], return_inverse=True, return_counts=True)
    wrong = np.bincount(place, weights=1.0 - right[known], minlength=len(values))
    answered, errors = (np.concatenate([[0.0], np.cumsum(x)]) for x in (mass, wrong))
    coverage = np.arange(1, POINTS + 1) / POINTS
    risk = np.interp(coverage * answered[-1], answered, errors) / (coverage * answered[-1])
    return [[round(float(c), 6), round(float(r), 6)] for c, r in zip(coverage, risk, strict=True)]
