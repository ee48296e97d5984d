"""How well one figure of a run (a probe's gap) foretells another (the gain that training brought)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frown.evals.figures import as_json
from frown.evals.stats import draws, interval
from frown.evals.weights import Array, as_result, as_weights, divide


def pearson(x: NDArray[Any], y: NDArray[Any], weights: Array | None = None) -> Array:
    """Linear correlation of x and y [N], in [-1, 1]; NaN where either does not vary."""
    w = as_weights(weights, len(x))
    return as_result(_pearson(np.broadcast_to(x, w.shape), np.broadcast_to(y, w.shape), w), weights)


def spearman(x: NDArray[Any], y: NDArray[Any], weights: Array | None = None) -> Array:
    """Correlation of the ranks of x and y [N], in [-1, 1]; ties share a rank, ranks are those within the resample."""
    w = as_weights(weights, len(x))
    return as_result(_pearson(_ranks(x, w), _ranks(y, w), w), weights)


def foretells(pairs: Sequence[tuple[float, float]], resamples: int = 10_000, seed: int = 0) -> dict[str, Any]:
    """Correlation of gap and gain over runs: {"n", "left_out", "pearson", "spearman"}, metrics {"mean", "ci95"}.

    Pairs with a value that is not finite are left out and counted. The interval resamples pairs as if they were
    independent; runs that share a base model, a seed or an arm are not quite, and it is then too narrow. By simulation
    of independent normal pairs (correlation 0 and .8), the truth lies inside 94% of Pearson's and 98 to 99% of
    Spearman's intervals with 12 pairs, and 94% and 96 to 97% with 30. None below three pairs, or where one hardly
    varies.
    """
    table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    known = table[np.isfinite(table).all(axis=1)]
    out: dict[str, Any] = {"n": len(known), "left_out": len(table) - len(known)}
    for name, statistic in (("pearson", pearson), ("spearman", spearman)):
        enough = len(known) >= 3
        using = draws(1, len(known), resamples, seed) if enough else None
        estimate = interval(statistic, known[None, :, 0], known[None, :, 1], using=using) if using else None
        out[name] = as_json(estimate)
    return out


def _ranks(values: NDArray[Any], w: Array) -> Array:
    """[B, N]: the mean rank of each value in each resample, from 1."""
    below = (values[:, None] > values[None]).astype(np.float64)
    equal = (values[:, None] == values[None]).astype(np.float64)
    return w @ below.T + (w @ equal.T + 1.0) / 2.0


def _pearson(x: Array, y: Array, w: Array) -> Array:
    total = w.sum(axis=1, keepdims=True)
    dx, dy = (v - (w * v).sum(axis=1, keepdims=True) / total for v in (x, y))
    # Drawn values that are all equal leave a spread of rounding errors; that is none.
    size = [(w * d**2).sum(axis=1) for d in (dx, dy)]
    least = [1e-24 * (w * v**2).sum(axis=1) for v in (x, y)]
    spread = np.sqrt(np.where(size[0] > least[0], size[0], 0.0) * np.where(size[1] > least[1], size[1], 0.0))
    return divide((w * dx * dy).sum(axis=1), spread)
