"""Whether a policy is as often right as it is confident.

Arrays are [N, k]: `confidence` in [0, 1], `right` 1, 0 or NaN (unscored). A sample with a NaN in either is
left out. Samples are pooled over prompts; every function takes `weights` [B, N] as `frown.evals.weights` says
and is recomputed in each resample.

The kinds of confidence are `agreement` (below) and the policy's own probability of the tokens it sampled, at
its weakest token (`min_probability`) or on geometric average (`mean_probability`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from frown.evals import ranking
from frown.evals.accuracy import same_answer
from frown.evals.weights import Array, as_result, as_weights, divide, mean_of_samples

NLL_FLOOR = 1e-6
"""In the log, confidences are held within [1e-6, 1 - 1e-6]: a sure mistake costs 13.8 nats, not infinity."""


def agreement(codes: NDArray[np.int64], scored: NDArray[np.bool_]) -> Array:
    """[N, k]: the share of a prompt's scored samples that give this sample's answer, itself included.

    A sample without an answer agrees with nobody, not even itself: 0. `codes` as in `accuracy.answer_codes`.
    """
    among = np.where(scored, codes, -1)
    return divide(same_answer(among).astype(np.float64), scored.sum(axis=1, keepdims=True))


def brier(confidence: NDArray[Any], right: NDArray[Any], weights: Array | None = None) -> Array:
    """Mean squared distance of confidence and outcome, in [0, 1] (Brier 1950)."""
    return mean_of_samples((confidence - right) ** 2, weights)


def nll(confidence: NDArray[Any], right: NDArray[Any], weights: Array | None = None) -> Array:
    """Mean negative log-likelihood of the outcome under the confidence, in nats; clipped at `NLL_FLOOR`."""
    p = np.clip(confidence, NLL_FLOOR, 1.0 - NLL_FLOOR)
    return mean_of_samples(-(right * np.log(p) + (1.0 - right) * np.log1p(-p)), weights)


def ece(confidence: NDArray[Any], right: NDArray[Any], weights: Array | None = None, *, bins: int = 10) -> Array:
    """Expected calibration error over equal-width bins, in [0, 1] (Guo et al. 2017, arXiv 1706.04599, eq. 3).

    sum over bins of |sum of (confidence - right) in the bin| / samples. Bins are [i/bins, (i+1)/bins), the
    last one closed. A few samples a bin make it too large: compare it between arms of equal size only.
    """
    conf, out, known = _known(confidence, right)
    index = np.minimum((conf * bins).astype(np.int64), bins - 1)
    gap = np.zeros((len(conf), bins))
    rows = np.broadcast_to(np.arange(len(conf))[:, None], conf.shape)
    np.add.at(gap, (rows[known], index[known]), (conf - out)[known])
    w = as_weights(weights, len(conf))
    total = w @ known.sum(axis=1).astype(np.float64)
    return as_result(divide(np.abs(w @ gap).sum(axis=1), total), weights)


def ece_equal_mass(
    confidence: NDArray[Any], right: NDArray[Any], weights: Array | None = None, *, bins: int = 10
) -> Array:
    """Calibration error over bins of equally many samples (Nixon et al. 2019, arXiv 1904.01685).

    Bin edges move with the resample. Equal confidences go to one bin, the one that the middle of their run
    falls in: where confidences repeat, bins are not exactly equal, but the order of samples cannot matter.
    """
    w, conf, out = _ordered(confidence, right, weights)
    b, m = w.shape
    if m == 0:
        return as_result(np.full(b, np.nan), weights)
    start, run = _runs(conf)
    mass = np.add.reduceat(w, start, axis=1)
    middle = divide(np.cumsum(mass, axis=1) - mass / 2, w.sum(axis=1, keepdims=True))
    index = np.minimum((np.nan_to_num(middle) * bins).astype(np.int64), bins - 1)[:, run]
    flat = (index + bins * np.arange(b)[:, None]).ravel()
    gap = np.bincount(flat, weights=(w * (conf - out)).ravel(), minlength=b * bins).reshape(b, bins)
    return as_result(divide(np.abs(gap).sum(axis=1), w.sum(axis=1)), weights)


def auroc(confidence: NDArray[Any], right: NDArray[Any], weights: Array | None = None) -> Array:
    """The chance that a right sample is more confident than a wrong one, ties counting half.

    NaN where all samples are right or all wrong; one that is neither is left out. A pair of samples
    counts by the weights of both prompts.
    """
    sure = np.where(np.isin(right, (0, 1)), right, np.nan)  # the ranking takes a half as half a positive
    return ranking.auroc(confidence, sure, np.zeros_like(confidence), weights)


def aurc(confidence: NDArray[Any], right: NDArray[Any], weights: Array | None = None) -> Array:
    """Area under the risk-coverage curve, in [0, 1]; lower is better (Geifman et al. 2019, arXiv 1805.08206).

    The error rate among the i most confident samples, averaged over i = 1..all. Equal confidences share
    their errors evenly, which is the expectation over a random order of them.
    """
    w, conf, out = _ordered(-np.asarray(confidence, dtype=np.float64), right, weights)
    b, m = w.shape
    if m == 0:
        return as_result(np.full(b, np.nan), weights)
    start, _ = _runs(conf)
    mass = np.add.reduceat(w, start, axis=1)
    wrong = np.add.reduceat(w * (1.0 - out), start, axis=1)
    before, errors = np.cumsum(mass, axis=1) - mass, np.cumsum(wrong, axis=1) - wrong
    rate = np.nan_to_num(divide(wrong, mass))
    # Within a run of equal confidences the curve is (errors + rate * t) / (before + t) for t = 1..mass.
    # Summed over t it is rate * mass + (errors - rate * before) * (H(before + mass) - H(before)).
    size = int(w.sum(axis=1).max(initial=0.0))
    harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, size + 1))])
    low, high = before.astype(np.int64), (before + mass).astype(np.int64)
    area = rate * mass + (errors - rate * before) * (harmonic[high] - harmonic[low])
    return as_result(divide(area.sum(axis=1), w.sum(axis=1)), weights)


def _known(confidence: NDArray[Any], right: NDArray[Any]) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Confidence and outcome with zeros for the samples that are left out, and which ones are kept."""
    conf, out = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if conf.ndim == 1:
        conf, out = conf[:, None], out[:, None]
    known = np.isfinite(conf) & np.isfinite(out)
    return np.where(known, conf, 0.0), np.where(known, out, 0.0), known


def _ordered(confidence: NDArray[Any], right: NDArray[Any], weights: Array | None) -> tuple[Array, Array, Array]:
    """Kept samples by rising confidence: their weights [B, M], confidences [M] and outcomes [M]."""
    conf, out, known = _known(confidence, right)
    prompt = np.broadcast_to(np.arange(len(conf))[:, None], conf.shape)[known]
    order = np.argsort(conf[known], kind="stable")
    return as_weights(weights, len(conf))[:, prompt[order]], conf[known][order], out[known][order]


def _runs(ordered: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each run of equal values starts [runs], and in which run each value lies [M]."""
    new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    return np.flatnonzero(new), np.cumsum(new) - 1
