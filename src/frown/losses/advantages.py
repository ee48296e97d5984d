"""How much better than its siblings each answer was. Numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def group_advantages(scores: ArrayLike, std: bool = False) -> NDArray[np.float64]:
    """Advantage of each answer over the mean of its group: [P, G] -> [P, G], in units of score.

    `scores`: P prompts, G answers each; NaN marks an answer that could not be scored: it is left out of the
    mean and gets advantage 0. A group whose scored answers are all equal gets zeros.

    `std=False`: r - mean(r), which leaves no bias towards easy or hard prompts (Dr. GRPO, arXiv 2503.20783,
    section 3). `std=True`: divided by the group's sample standard deviation (ddof 1, as in TRL and verl,
    without their epsilon), the advantage of GRPO (arXiv 2402.03300, section 4.1.2); unitless.

    Raises ValueError when `scores` is not two-dimensional.
    """
    r = np.asarray(scores, dtype=np.float64)
    if r.ndim != 2:
        raise ValueError(f"scores are [prompts, answers], got shape {r.shape}")
    scored = np.isfinite(r)
    n = scored.sum(1, keepdims=True)
    mean = np.where(scored, r, 0.0).sum(1, keepdims=True) / np.maximum(n, 1)
    deviation = np.where(scored, r - mean, 0.0)
    # Compared as given: the rounding of a mean of equal scores would otherwise be divided by itself.
    low = np.where(scored, r, np.inf).min(1, keepdims=True, initial=np.inf)
    high = np.where(scored, r, -np.inf).max(1, keepdims=True, initial=-np.inf)
    varied = high > low
    if std:
        spread = np.sqrt((deviation**2).sum(1, keepdims=True) / np.maximum(n - 1, 1))
        deviation = deviation / np.where(varied, spread, 1.0)
    return np.where(varied, deviation, 0.0)


def tail_advantages(logp: ArrayLike, entropy: ArrayLike, share: float = 0.2) -> NDArray[np.float64]:
    """Advantages of the tokens of one answer that need neither teacher nor reward: float64[T], in [-1, 0].

    The share of tokens with the smallest log-probability (rounded up) get -1/2 - (H - Hmin) / (2 (Hmax - Hmin)), with
    Hmin and Hmax over those tokens (-1/2 where all have the same entropy); the others 0. Teacher-free tail suppression
    (OPSA, arXiv 2608.31046), taken answer by answer.

    `logp`: [T] nats, of the sampled tokens; `entropy`: [T] nats. Raises ValueError for a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"a share lies in (0, 1], got {share}")
    likely, h = np.asarray(logp, np.float64), np.asarray(entropy, np.float64)
    out = np.zeros(len(likely))
    tail = np.argsort(likely, kind="stable")[: int(np.ceil(share * len(likely) - 1e-9))]
    if len(tail):
        low, high = h[tail].min(), h[tail].max()
        out[tail] = -0.5 - (0.5 * (h[tail] - low) / (high - low) if high > low else 0.0)
    return out
