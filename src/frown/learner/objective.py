"""The loss of each token of a pass: the built-in blend of distillation and policy gradient, or one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from frown.learner.rows import TrainingRow
from frown.losses.head import Leaves, TokenLoss
from frown.losses.objectives import importance_weight, policy_gradient, teacher_confidence
from frown.policy.passes import Pass
from frown.types import Rollout

ObjectiveFunction = Callable[[Leaves, Tensor, Tensor], Tensor]
"""(what the pass read of C tokens, weight [C], advantage [C]) -> the loss of each token [C], one's own. The built-in is
`weight * leaves.divergence - advantage * ratio`; the factors that average over the batch are in weight and advantage.
Gradients flow through `leaves.divergence` (None in rows without a teacher), `leaves.logp` and `leaves.entropy`."""


class Scale(NamedTuple):
    """What a token's weight, its advantage and its anchor are multiplied by, to average over a batch."""

    distillation: float
    policy: float
    anchor: float


def scale_of(rows: Sequence[TrainingRow], rollouts: Sequence[Rollout], distillation: float, kl_anchor: float) -> Scale:
    """d / sum(w), (1 - d) / N and a / N, with N the number of sampled tokens; 0 where there is nothing to average."""
    weight = sum(float(r.weight.sum()) for r in rows)
    sampled = sum(int(r.own.sum()) for r in rollouts)
    return Scale(
        distillation / weight if weight else 0.0,
        (1.0 - distillation) / sampled if distillation < 1 else 0.0,
        kl_anchor / sampled if sampled else 0.0,
    )


class TokenValues(NamedTuple):
    """What is known of the N tokens of a pass before it."""

    weight: Tensor
    """[N] of the divergence from the teacher."""
    advantage: Tensor
    """[N] of the policy gradient."""
    sampled_logp: Tensor
    """[N] nats, under the policy that sampled the token; NaN where nobody knows."""


def values_of(batch: Pass[TrainingRow], scale: Scale) -> TokenValues:
    """The values of a pass, with the factors that average over the whole batch."""
    rows, unknown = batch.rows, np.float32(np.nan)
    return TokenValues(
        batch.gathered([r.weight * scale.distillation for r in rows]).float(),
        batch.gathered([r.advantage * scale.policy for r in rows]).float(),
        batch.gathered([np.full(len(r.ids), unknown) if r.sampled_logp is None else r.sampled_logp for r in rows]),
    )


def token_loss(
    values: TokenValues, own: ObjectiveFunction | None, *, teacher_beta: float, importance_cap: float | None
) -> TokenLoss:
    """The loss of each token.

    weight * exp(-teacher_beta H_teacher) * divergence - advantage * ratio, all of it times the truncated importance
    weight where there is a cap. `own`: a function in place of all that.
    """

    def loss_of(leaves: Leaves, at: slice) -> Tensor:
        weight, advantage, sampled = (tensor[at] for tensor in values)
        if own is not None:
            return own(leaves, weight, advantage)
        loss = policy_gradient(leaves.logp, None, advantage)  # one update a batch: the ratio is one
        if leaves.divergence is not None:
            gate = teacher_confidence(leaves.signals["teacher_entropy"], teacher_beta) if teacher_beta else 1.0
            loss = loss + weight * gate * leaves.divergence
        return loss if importance_cap is None else loss * importance_weight(leaves.logp, sampled, importance_cap)

    return loss_of
