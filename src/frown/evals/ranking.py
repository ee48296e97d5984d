"""How well a value ranks what it is to find before the rest: AUROC, average precision, the first one of all.

Arrays are [N, m]: m units a prompt. `positive` is 1 for what is to be found, 0 for the rest, and NaN where a prompt has
fewer units or the truth is not known. `within` [N, m] numbers the strata: two units are compared only when they share
one. `own=True` says that a stratum never leaves its prompt (it is an answer): a prompt that was drawn twice then brings
two copies of its answers, not one answer of twice the length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frown.evals.weights import Array, as_result, as_weights, divide

_CELLS = 4_000_000
"""Most weights (resamples x units) held at a time."""


def auroc(
    value: NDArray[Any],
    positive: NDArray[Any],
    within: NDArray[Any],
    weights: Array | None = None,
    *,
    own: bool = False,
) -> Array:
    """The chance that a positive unit has a higher value than another one of its stratum, ties counting half (Mann &
    Whitney 1947).

    Pooled over strata by their number of pairs. NaN without a pair.
    """

    def figure(w: Array, s: _SortedUnits) -> Array:
        right = (1.0 - s.positive) * (np.ones_like(w) if own else w)
        bad, good = _by_run(w * s.positive, s), _by_run(right, s)
        higher = _stratum_total(good, s) - _cumulative(good, s)  # values fall: what comes later is lower
        return np.stack([(bad * (higher + good / 2)).sum(1), (bad * _stratum_total(good, s)).sum(1)])

    return _ratio(figure, value, positive, within, weights)


def average_precision(
    value: NDArray[Any], positive: NDArray[Any], within: NDArray[Any], weights: Array | None = None
) -> Array:
    """Average precision of finding positive units by falling value, in [0, 1]; chance is their share.

    sum over thresholds of (recall gained) x (precision), as scikit-learn defines it; equal values enter together.
    Over strata it is the mean of theirs, each counting by its positive units. NaN without one.
    """

    def figure(w: Array, s: _SortedUnits) -> Array:
        bad, mass = _by_run(w * s.positive, s), _by_run(w, s)
        precision = np.nan_to_num(divide(_cumulative(bad, s), _cumulative(mass, s)))
        return np.stack([(bad * precision).sum(1), bad.sum(1)])

    return _ratio(figure, value, positive, within, weights)


def top1(value: NDArray[Any], positive: NDArray[Any], within: NDArray[Any], weights: Array | None = None) -> Array:
    """Among strata with a positive unit, the share in which the unit of the highest value is positive.

    Tied units share the choice. A constant value gives chance.
    """
    s = _sort(value, positive, within)
    if len(s.positive) == 0:
        return as_result(np.full(len(as_weights(weights, len(value))), np.nan), weights)
    bad, mass = _by_run(s.positive[None], s)[0], _by_run(np.ones((1, len(s.positive))), s)[0]
    first = s.first_run
    failed = np.add.reduceat(bad, first) > 0
    w = as_weights(weights, len(value))[:, s.prompt[s.run_start[first]][failed]]
    return as_result(divide(w @ (bad / mass)[first][failed], w.sum(1)), weights)


class _SortedUnits(NamedTuple):
    """Known units by stratum, and within it by falling value. Runs are units of equal stratum and value."""

    positive: Array
    prompt: NDArray[np.int64]
    run_start: NDArray[np.int64]
    """[R]: the first unit of each run."""
    first_run: NDArray[np.int64]
    """[S]: the first run of each stratum."""
    stratum: NDArray[np.int64]
    """[R]: which stratum a run lies in, 0 .. S - 1."""


def _sort(value: NDArray[Any], positive: NDArray[Any], within: NDArray[Any]) -> _SortedUnits:
    known = np.isfinite(positive) & ~np.isnan(value)
    prompt = np.broadcast_to(np.arange(len(positive))[:, None], known.shape)[known]
    v, x, g = value[known], positive[known], within[known]
    order = np.lexsort((-v, g))
    v, x, g, prompt = v[order], x[order], g[order], prompt[order]
    new_stratum = np.concatenate([np.ones(min(len(g), 1), bool), g[1:] != g[:-1]])
    new_run = new_stratum | np.concatenate([np.ones(min(len(v), 1), bool), v[1:] != v[:-1]])
    starts = np.flatnonzero(new_run)
    opens = new_stratum[starts]
    return _SortedUnits(x, prompt, starts, np.flatnonzero(opens), np.cumsum(opens) - 1)


def _by_run(values: Array, s: _SortedUnits) -> Array:
    """[b, M] summed within runs, [b, R]."""
    return np.add.reduceat(np.broadcast_to(values, (len(values), len(s.positive))), s.run_start, axis=1)


def _cumulative(runs: Array, s: _SortedUnits) -> Array:
    """[b, R]: the sum of a run and of those before it in its stratum."""
    total = np.cumsum(runs, axis=1)
    before = total[:, s.first_run] - runs[:, s.first_run]
    return total - before[:, s.stratum]


def _stratum_total(runs: Array, s: _SortedUnits) -> Array:
    """[b, R]: the sum of the whole stratum of each run."""
    return np.add.reduceat(runs, s.first_run, axis=1)[:, s.stratum]


def _ratio(
    figure: Callable[[Array, _SortedUnits], Array],
    value: NDArray[Any],
    positive: NDArray[Any],
    within: NDArray[Any],
    weights: Array | None,
) -> Array:
    """Numerator over denominator of a figure, for every resample, a bounded number of resamples at a time."""
    s = _sort(value, positive, within)
    w = as_weights(weights, len(value))
    if len(s.positive) == 0:
        return as_result(np.full(len(w), np.nan), weights)
    size = max(1, _CELLS // len(s.positive))
    parts = [figure(w[i : i + size][:, s.prompt], s) for i in range(0, len(w), size)]
    top, bottom = np.concatenate(parts, axis=1)
    return as_result(divide(top, bottom), weights)
