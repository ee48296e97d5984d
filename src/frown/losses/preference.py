"""Objectives that learn from judged or compared answers instead of a teacher: pure functions of log-probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid

from frown.losses.advantages import group_advantages
from frown.losses.objectives import policy_gradient


def judge_advantages(scores: ArrayLike, least: int = 4, cap: float = 10.0) -> NDArray[np.float64]:
    """Judge's scores standardised in their group: [P, G] -> [P, G] in [-cap, cap], unitless.

    The advantage of Judge Policy Optimization (EmoDistill, arXiv 2605.26785), a group being all judged turns of one
    scenario; NaN where a group has fewer than G turns, or one could not be judged. Those get 0, and so does a group of
    fewer than `least` judged turns, whose spread says too little.
    """
    table = np.asarray(scores, dtype=np.float64)
    advantages = group_advantages(table, std=True).clip(-cap, cap)
    return np.where(np.isfinite(table).sum(axis=1, keepdims=True) >= least, advantages, 0.0)


def judge_policy_loss(
    logp: Tensor,
    reference_logp: Tensor,
    mask: Tensor,
    advantage: Tensor,
    *,
    clip: float = 0.2,
    kl: float = 0.04,
    negative: float = 1.0,
) -> Tensor:
    """Judge Policy Optimization on N utterances: a scalar, to be minimised.

        rho_i = exp(mean_t [log pi - log pi_ref])
        L = mean_i [ -min(rho_i A_i, clip(rho_i, 1 - eps, 1 + eps) A_i) + kl * mean_t [exp(D) - D - 1] ]

    with D = log pi_ref - log pi and means over an utterance's own tokens (EmoDistill, arXiv 2605.26785; the ratio is
    GSPO's, arXiv 2507.18071, eq. 7). pi_ref is a snapshot of the policy after supervised fine-tuning. The utterances
    were spoken by another model, so rho is not an importance weight; it keeps the policy near the snapshot.

    Args:
        logp: [N, T] nats, of the utterances' tokens under the policy, differentiable.
        reference_logp: [N, T] nats, under the snapshot.
        mask: [N, T], 1 at tokens of the utterance and 0 at padding; what stands at padding does not matter.
        advantage: [N], from `judge_advantages`.
        clip: eps > 0.
        kl: weight of the distance to the snapshot (the K3 estimate: Schulman 2020).
        negative: factor of negative advantages, in [0, 1]; 1 is JPO, 0 learns from good utterances alone.

    Raises ValueError for an utterance without a token.
    """
    tokens = mask.sum(dim=1)
    if bool((tokens == 0).any()):
        raise ValueError("an utterance without a token has no mean log-probability")
    inside = mask.bool()
    d = (reference_logp - logp).masked_fill(~inside, 0.0)
    ahead = -d.sum(dim=1) / tokens
    weighted = advantage.where(advantage >= 0, negative * advantage)
    surrogate = policy_gradient(ahead, ahead.new_zeros(ahead.shape), weighted, clip)
    distance = (d.expm1() - d).sum(dim=1) / tokens
    return (surrogate + kl * distance).mean()


def dpo_loss(
    chosen: Tensor, rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor, beta: float = 0.1
) -> Tensor:
    """Direct preference optimisation on N pairs: mean of -log sigmoid(beta (log-ratio chosen - log-ratio rejected)).

    All [N] nats, log-probability of the whole answer (a sum over its tokens) under the policy and under the reference;
    Rafailov et al. 2023 (arXiv 2305.18290), eq. 7.
    """
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return -logsigmoid(beta * margin).mean()
