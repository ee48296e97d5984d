"""From one value a token to one value a written-out step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from frown.types import Step


def step_peaks(values: NDArray[np.floating], steps: Sequence[Step]) -> list[float]:
    """The largest value of a token signal [T] within each step, S floats in its unit. Cost: no forward pass.

    The worst moment of a step counts, because an error is made at one token and a mean would dilute it with the sure
    ones around it. For signals in which high is sure (margin, top probability, self-certainty) the worst moment is the
    smallest value: give them negated. A step without tokens, and one with a NaN in it, is NaN.
    """
    wide = np.asarray(values, dtype=np.float64)
    return [float(np.max(wide[a:b])) if b > a else float("nan") for a, b in steps]
