"""A reward for feeling sure. Off by default, and here to be measured, not recommended."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frown.types import Rollout


def affect_reward(rollouts: Sequence[Rollout], strength: float = 0.0) -> np.ndarray:
    """-strength x mean surprisal of the sampled tokens: float64[n], in nats; 0 for an empty answer.

    What it rewards is the *suppression* of doubt, not its resolution: the mean surprisal of one's own samples is an
    unbiased estimate of one's own entropy, so it is smallest for a policy that always writes the same, and whether that
    is right does not enter. It sharpens right and wrong answers alike and takes away the very signal that says where to
    look. So it is off (strength 0), and to be read only beside calibration (ECE, Brier) and the suppression rate, the
    share of flagged spans that grew sure and stayed wrong.
    """
    return np.array([strength * float(r.logp[r.own].mean()) if r.own.any() else 0.0 for r in rollouts], np.float64)
