"""Self-distillation as `SDPOConfig` states it, from one pass through the head instead of two [B, T, V] tensors."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from trl.experimental.sdpo.loss_utils import apply_importance_sampling_clipping

from frown.losses.head import Leaves, head_pass
from frown.losses.projection import Head

SIGNALS = (
    "entropy",
    "varentropy",
    "top_probability",
    "margin",
    "self_certainty",
    "divergence",
    "log_ratio",
    "teacher_entropy",
)


class Objective(NamedTuple):
    """What the fields of `SDPOConfig` ask for."""

    mode: str
    """"sampled_token", "full_logits" or "topk_logits"."""
    alpha: float
    top_k: int | None
    """Tokens kept beside their tail; None: all."""
    clip: float | None
    """Largest importance ratio of a token; None: no correction."""
    temperature: float


class DistillationOutput(NamedTuple):
    """A loss and what was seen on the way, summed over tokens with their weights."""

    loss: Tensor
    sums: dict[str, Tensor]
    """Weighted sums over tokens: `distillation_loss`, `doubt` (surprisal), `SIGNALS`; and `weight`, that of the
    weights."""


def row_weights(weight: Tensor, rows: int) -> Tensor:
    """What each token's loss is multiplied by, [B, T]: a mean over the tokens of each row, then over all `rows`.

    As TRL has it; a row without weight counts as a row of loss zero.
    """
    total = weight.sum(-1, keepdim=True)
    return weight / torch.where(total > 0, total, 1.0) / rows


def distil(
    hidden: Tensor,
    head: Head,
    teacher_hidden: Tensor,
    teacher_head: Head,
    ids: Tensor,
    weight: Tensor,
    rows: int,
    old_logp: Tensor | None,
    objective: Objective,
) -> DistillationOutput:
    """The loss of a batch, differentiable by `hidden` and the head's parameters.

    sampled_token: sg(log p - log q) log p of the sampled token, whose gradient is that of reverse KL in expectation.
    full_logits: the divergence over the whole vocabulary. topk_logits: over the student's top k and their tail as one.

    Args:
        hidden: [B, T, H], of the student.
        head: makes logits of hidden states; likewise below.
        teacher_hidden: [B, T, K].
        teacher_head: see `head`.
        ids: int64[B, T].
        weight: float[B, T], 0 where a token does not count.
        rows: answers the loss is a mean over, those that are not among the B because nothing counts there included.
        old_logp: [B, T] nats, under the policy that sampled; None: it has not moved since.
        objective: see `Objective`.
    """
    at = weight != 0
    counted, share = weight[at].float(), row_weights(weight, rows)[at].float()
    old = None if old_logp is None else old_logp[at]
    losses: list[Tensor] = []

    def token_loss(leaves: Leaves, part: slice) -> Tensor:
        if objective.mode == "sampled_token":
            each = -leaves.signals["log_ratio"] * leaves.logp
        else:
            assert leaves.divergence is not None
            each = leaves.divergence
        if old is not None and objective.clip is not None:
            each = apply_importance_sampling_clipping(each, leaves.logp, old[part], objective.clip)
        losses.append(each.detach())
        return share[part] * each

    out = head_pass(
        hidden[at],
        head,
        ids[at],
        token_loss=token_loss,
        teacher_hidden=teacher_hidden[at],
        teacher_head=teacher_head,
        alpha=objective.alpha,
        top_k=objective.top_k,
        temperature=objective.temperature,
    )
    values_of = {"doubt": out.signals["surprisal"], **{name: out.signals[name] for name in SIGNALS}}
    sums = {name: (counted * values).sum() for name, values in values_of.items()}
    return DistillationOutput(
        out.loss, {"distillation_loss": (counted * torch.cat(losses)).sum(), **sums, "weight": counted.sum()}
    )


def nothing(device: Any) -> dict[str, Tensor]:
    """The sums of a batch in which nothing counts."""
    zero = torch.zeros((), device=device)
    return dict.fromkeys(("distillation_loss", "doubt", *SIGNALS, "weight"), zero)
