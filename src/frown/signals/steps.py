"""From one value a token to one value a written-out step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from frown.types import Signals, Step

How = Literal["max", "mean", "sum"]

_REDUCE: Mapping[str, Callable[..., np.floating]] = {"max": np.max, "mean": np.mean, "sum": np.sum}


def step_values(values: NDArray[np.floating], steps: Sequence[Step], how: How = "max") -> NDArray[np.float64]:
    """One value a step, float64[S], in the unit of `values` [T]. Cost: no forward pass.

    max: how bad the worst moment was; the default, because an error is made at one token and a mean dilutes it
    with the sure ones around it. mean: per token. sum: of surprisal, -log p(step) under the policy. For signals
    in which high is sure (margin, top probability, self-certainty) the worst moment is the minimum: give them
    negated. A step without tokens, and one with a NaN in it, is NaN.
    """
    reduce = _REDUCE[how]
    wide = np.asarray(values, dtype=np.float64)
    return np.array([reduce(wide[a:b]) if b > a else np.nan for a, b in steps], dtype=np.float64)


def step_table(signals: Signals, steps: Sequence[Step]) -> dict[str, NDArray[np.float64]]:
    """Token signals as "NAME_max", "NAME_mean" and "NAME_sum", float64[S] each; see `step_values`."""
    return {f"{name}_{how}": step_values(v, steps, how) for name, v in signals.values.items() for how in get_args(How)}
