"""How often a policy is right. What could not be scored is left out of every figure, never taken as wrong.

Arrays are [N, k]: N prompts, k samples each. `right` is 1, 0 or NaN (unscored). Every function takes
`weights` [B, N] as described in `frown.evals.weights`.
"""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frown.evals.weights import Array, divide, mean_of_prompts, mean_of_samples

NO_ANSWER = -1


def row_means(values: NDArray[Any]) -> Array:
    """Mean over the samples of each prompt, [N, k] to [N]; NaN samples left out, NaN where none remains."""
    known = np.isfinite(values)
    return divide(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))


def avg_at_k(score: NDArray[Any], weights: Array | None = None) -> Array:
    """Avg@k: the mean score of a prompt's scored samples, averaged over prompts (each prompt counts once)."""
    return mean_of_prompts(row_means(score), weights)


def pass_of_prompts(right: NDArray[Any], j: int) -> Array:
    """[N]: the chance that at least one of j of a prompt's samples is right; NaN below j scored samples.

    The unbiased estimator 1 - C(n - c, j) / C(n, j), with n scored samples of which c are right
    (Chen et al. 2021, arXiv 2107.03374, eq. 1), in exact integers.
    """
    if j < 1:
        raise ValueError(f"pass@j needs j of at least 1, got {j}")
    n = np.isfinite(right).sum(axis=1)
    c = np.nansum(right, axis=1).astype(int)
    return np.array(
        [1.0 - comb(int(a) - int(b), j) / comb(int(a), j) if a >= j else np.nan for a, b in zip(n, c, strict=True)]
    )


def pass_at(right: NDArray[Any], weights: Array | None = None, *, j: int) -> Array:
    """pass@j: `pass_of_prompts` averaged over the prompts with at least j scored samples."""
    return mean_of_prompts(pass_of_prompts(right, j), weights)


def answer_codes(answer: NDArray[Any], usable: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[N, k] canonical answers to integers, equal answers to equal integers; None or unusable to -1."""
    codes: dict[str, int] = {}
    flat = [
        codes.setdefault(str(a), len(codes)) if ok and a is not None else NO_ANSWER
        for a, ok in zip(answer.ravel(), usable.ravel(), strict=True)
    ]
    return np.array(flat, dtype=np.int64).reshape(answer.shape)


def same_answer(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """[N, k]: how many of a prompt's samples, itself included, give the same answer; 0 without one."""
    same = (codes[:, :, None] == codes[:, None, :]) & (codes[:, :, None] != NO_ANSWER)
    return same.sum(axis=2)


def vote_of_prompts(codes: NDArray[np.int64], right: NDArray[Any]) -> Array:
    """[N]: whether the most common answer is right (Wang et al. 2022, arXiv 2203.11171).

    Ties share the vote, so the value is the expectation over a fair tie break. A prompt whose scored samples
    hold no answer is wrong (0); one without a scored sample is NaN.
    """
    count = same_answer(np.where(np.isfinite(right), codes, NO_ANSWER))
    top = count.max(axis=1, keepdims=True)
    winners = (count == top) & (count > 0)
    # Each of `top` samples that share a winning answer carries 1/top of it, so the plain mean over winners
    # weighs tied answers alike.
    share = divide((winners * np.where(np.isfinite(right), right, 0.0)).sum(axis=1), winners.sum(axis=1))
    scored = np.isfinite(right).any(axis=1)
    return np.where(scored, np.where(winners.any(axis=1), share, 0.0), np.nan)


def share(flag: NDArray[Any], among: NDArray[np.bool_], weights: Array | None = None) -> Array:
    """Share of samples with `flag`, among the samples of `among` (pooled over prompts)."""
    return mean_of_samples(np.where(among, flag.astype(np.float64), np.nan), weights)


def process_accuracy(process_right: NDArray[Any], weights: Array | None = None) -> Array:
    """Share of samples whose written-out steps are all right, where anybody can tell (not NaN)."""
    return mean_of_samples(process_right, weights)


def right_answer_wrong_step(right: NDArray[Any], process_right: NDArray[Any], weights: Array | None = None) -> Array:
    """Share of right answers that were reached through a wrong step, among right answers with known steps."""
    return mean_of_samples(np.where(right == 1.0, 1.0 - process_right, np.nan), weights)
