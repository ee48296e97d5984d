"""What the affect signals cost inside the pass, and what they cost as passes of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks import peer
from benchmarks.measuring import agree, interleaved, medians, relative_error
from frown.losses.fold import Divergence, blocks, fold
from frown.losses.objectives import divergence_and_gradient
from frown.signals.token import log_probabilities

ALPHA = 0.5
WHAT = Divergence(ALPHA, None, 1.0, 1.0)


def divergence_alone(student: Tensor, teacher: Tensor) -> Tensor:
    """`fold` without its signals: log-probabilities and the divergence's gradient in place, the divergence [C]."""
    out = student.new_empty(len(student))
    for b in blocks(student):
        logp, teacher_logp = log_probabilities(student[b]), log_probabilities(teacher[b])
        out[b], gradient = divergence_and_gradient(logp, teacher_logp, ALPHA)
        teacher[b] = gradient
        student[b] = logp
    return out


def separate_passes(student: Tensor, teacher: Tensor, targets: Tensor) -> None:
    """The same signals, each by a pass over the logits: TRL's helpers, and the rest as it is usually written."""
    entropy, *_ = peer.signals(student, teacher, targets)
    peer.entropy(teacher)
    logp = student.log_softmax(-1)
    (logp.exp() * (logp + entropy[:, None]).square()).sum(-1)  # varentropy
    student.topk(2, -1)  # top probability, margin
    logp.mean(-1)  # self-certainty


def measured(at: Any, rounds: int) -> dict[str, Any]:
    """Milliseconds on one chunk of tokens."""
    with torch.no_grad():
        student, teacher = at.hidden @ at.weight.T, at.teacher @ at.weight.T
        one, two = torch.empty_like(student), torch.empty_like(teacher)

        def fresh() -> tuple[Tensor, Tensor]:
            return one.copy_(student), two.copy_(teacher)

        whole = fold(*fresh(), at.targets, WHAT)
        bare = divergence_alone(*fresh())
        agreement = agree(
            {
                "divergence": relative_error(whole["divergence"], bare),
                "entropy": relative_error(whole["entropy"], peer.entropy(student)),
            },
            1e-4,
        )
        from benchmarks.loss_layer import four_products

        seconds = medians(
            interleaved(
                {
                    "copies": fresh,
                    "all": lambda: fold(*fresh(), at.targets, WHAT),
                    "bare": lambda: divergence_alone(*fresh()),
                    "apart": lambda: separate_passes(student, teacher, at.targets),
                    "products": lambda: four_products(at),
                },
                rounds,
                warm_up=2,
            )
        )
    own, apart = seconds["all"] - seconds["bare"], seconds["apart"]
    return {
        "ours": 1e3 * own,
        "peer": 1e3 * apart,
        "ratio": apart / own,
        "unit": "CPU-ms",
        "peer_name": "separate passes: TRL entropy_from_logits and selective_log_softmax, naive varentropy and top two",
        "tokens": len(at.targets),
        "vocabulary": len(at.weight),
        "width": at.weight.shape[1],
        "share_of_products": own / seconds["products"],
        "peer_share_of_products": apart / seconds["products"],
        "products_ms": 1e3 * seconds["products"],
        "fold_ms": 1e3 * (seconds["all"] - seconds["copies"]),
        "agreement": agreement,
    }
