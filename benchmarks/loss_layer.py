"""The loss layer alone: hidden states and the head's weight in, loss, gradients and every signal out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks import peer
from benchmarks.measuring import (
    agree,
    in_fresh_process,
    interleaved,
    medians,
    peak_mib,
    relative_error,
    reuse_freed_memory,
)
from frown.losses.head import head_pass
from frown.losses.objectives import divergence

ALPHA = 0.5
VOCABULARY, WIDTH = 151_936, 1_024
ROUNDING = 1e-4
"""Two float32 paths may differ by this much, relative Frobenius norm."""


class Layer(NamedTuple):
    """Inputs of the loss layer. `hidden` [N, H] and `weight` [V, H] ask for gradients."""

    hidden: Tensor
    weight: Tensor
    teacher: Tensor
    targets: Tensor

    def forget(self) -> None:
        """Drop the gradients of the last pass."""
        self.hidden.grad = self.weight.grad = None


class Result(NamedTuple):
    """Per-token divergence and entropy [N] in nats; the gradients lie at the layer's inputs."""

    divergence: Tensor
    entropy: Tensor


def layer(tokens: int, vocabulary: int, width: int) -> Layer:
    """Made-up hidden states and a head whose logits have a standard deviation of 2.6; the teacher is a neighbour."""
    torch.manual_seed(0)
    weight = torch.randn(vocabulary, width).mul_(2.6 / math.sqrt(width)).requires_grad_()
    hidden = torch.randn(tokens, width)
    teacher = hidden + 0.3 * torch.randn(tokens, width)
    return Layer(hidden.requires_grad_(), weight, teacher, torch.randint(0, vocabulary, (tokens,)))


def ours(at: Layer) -> Result:
    """frown: mean divergence, gradients, all signals, in one pass."""
    at.forget()
    n = len(at.targets)
    out = head_pass(
        at.hidden,
        at.weight,
        at.targets,
        token_loss=lambda leaves, rows: leaves.divergence / n,
        teacher_hidden=at.teacher,
        alpha=ALPHA,
    )
    out.loss.backward()
    return Result(out.signals["divergence"], out.signals["entropy"])


def full_logits(at: Layer) -> Result:
    """TRL's SDPO: all logits of both models, its full-logits loss, its helpers for entropy and log-probabilities."""
    at.forget()
    student = (at.hidden @ at.weight.T / 1.0)[None]  # as its trainer does, whatever the temperature
    with torch.no_grad():
        teacher = (at.teacher @ at.weight.T / 1.0)[None]
    per_token = peer.full_logits_loss(student, teacher, distillation_alpha=ALPHA)
    signals = peer.signals(student, teacher, at.targets[None])
    per_token.mean().backward()
    return Result(per_token.detach()[0], signals[0][0])


def chunked(at: Layer) -> Result:
    """TRL's `ChunkedDivergence`: divergence and entropy, without log-probabilities."""
    at.forget()
    per_token, entropy = peer.chunked_divergence(at.hidden, at.weight, at.teacher, at.weight.detach(), ALPHA)
    per_token.mean().backward()
    return Result(per_token.detach(), entropy)


def chunked_with_logp(at: Layer) -> Result:
    """The same, and the log-probabilities of the sampled tokens by TRL's own `ChunkedLogProb`, for both models."""
    result = chunked(at)
    with torch.no_grad():
        for states in (at.hidden, at.teacher):
            peer.chunked_logp(states, at.weight, at.targets)
    return result


def four_products(at: Layer, chunk: int = 128) -> None:
    """The arithmetic alone: student, teacher, gradient of the hidden states, gradient of the weight."""
    at.forget()
    n, v = len(at.targets), len(at.weight)
    with torch.no_grad():
        buffer = torch.empty(2 * min(chunk, n), v)
        by_weight = torch.zeros_like(at.weight)
        by_hidden = torch.empty_like(at.hidden)
        for start in range(0, n, chunk):
            states = at.hidden[start : start + chunk]
            size = len(states)
            both = torch.cat([states, at.teacher[start : start + chunk]])
            torch.mm(both, at.weight.T, out=buffer[: 2 * size])
            torch.mm(buffer[:size], at.weight, out=by_hidden[start : start + chunk])
            by_weight.addmm_(buffer[:size].T, states)


def differences(at: Layer, one: Callable[[Layer], Result], other: Callable[[Layer], Result]) -> dict[str, float]:
    """How far two paths are apart: divergences, entropies and both gradients."""
    a = one(at)
    by_hidden, by_weight = at.hidden.grad, at.weight.grad
    b = other(at)
    assert by_hidden is not None and by_weight is not None
    return {
        "divergence": relative_error(a.divergence, b.divergence),
        "entropy": relative_error(a.entropy, b.entropy),
        "gradient_of_hidden": relative_error(by_hidden, at.hidden.grad),
        "gradient_of_weight": relative_error(by_weight, at.weight.grad),
    }


def exact(at: Layer) -> tuple[Tensor, Tensor]:
    """Per-token divergence [N] and the gradient of its mean by the hidden states [N, H], in float64."""
    hidden = at.hidden.detach().double().requires_grad_()
    weight = at.weight.detach().double()
    student = (hidden @ weight.T).log_softmax(-1)
    teacher = (at.teacher.double() @ weight.T).log_softmax(-1)
    mixture = torch.logaddexp(student + math.log(1 - ALPHA), teacher + math.log(ALPHA))
    per_token = ALPHA * (teacher.exp() * (teacher - mixture)).sum(-1)
    per_token = per_token + (1 - ALPHA) * (student.exp() * (student - mixture)).sum(-1)
    per_token.mean().backward()
    return per_token.detach(), hidden.grad


def against_exact(at: Layer, path: Callable[[Layer], Result]) -> dict[str, float]:
    """How far a path is from float64."""
    result = path(at)
    per_token, by_hidden = exact(at)
    return {
        "divergence": relative_error(result.divergence, per_token),
        "gradient_of_hidden": relative_error(at.hidden.grad, by_hidden),
    }


PATHS: dict[str, Callable[[Layer], Any]] = {"ours": ours, "full_logits": full_logits, "products": four_products}


def memory_cell(path: str, tokens: int, vocabulary: int, width: int) -> float:
    """Peak MiB of one pass over the weight and the hidden states, the weight's gradient included.

    A few tokens go through first: what is loaded or compiled on the way belongs to no pass.
    """
    torch.set_num_threads(1)
    warm = layer(8, vocabulary, width)
    PATHS[path](warm)
    del warm
    at = layer(tokens, vocabulary, width)
    return peak_mib(lambda: PATHS[path](at))


def loss_memory(quick: bool) -> dict[str, Any]:
    """Peak memory of the loss layer at 1,024 tokens, and ours at 4,096."""
    peer.required()
    few, vocabulary, width = (256, 8_192, 64) if quick else (1_024, VOCABULARY, WIDTH)
    agreement = in_fresh_process(_agreement, 64, vocabulary, width)
    own, theirs = (in_fresh_process(memory_cell, path, few, vocabulary, width) for path in ("ours", "full_logits"))
    products = in_fresh_process(memory_cell, "products", few, vocabulary, width)
    many = in_fresh_process(memory_cell, "ours", 4 * few, vocabulary, width)
    return {
        "ours": own,
        "peer": theirs,
        "ratio": theirs / own,
        "unit": "MiB",
        "peer_name": "TRL SDPO full logits with its entropy and log-probability helpers",
        "tokens": few,
        "vocabulary": vocabulary,
        "width": width,
        "ours_at_4x_tokens": many,
        "growth_1x_to_4x_tokens": many / own,
        "weight_gradient": vocabulary * width * 4 / 2**20,
        "products_alone": products,
        "agreement": agreement,
    }


def _agreement(tokens: int, vocabulary: int, width: int) -> dict[str, float]:
    torch.set_num_threads(1)
    return agree(differences(layer(tokens, vocabulary, width), ours, full_logits), ROUNDING)


def loss_time(quick: bool) -> dict[str, Any]:
    """CPU time of the loss layer, and of the four products it cannot do without."""
    peer.required()
    tokens, vocabulary, width, rounds = (128, 8_192, 64, 2) if quick else (1_024, VOCABULARY, WIDTH, 3)
    reused = reuse_freed_memory()
    small = layer(16, vocabulary, width)
    agreement = {
        **agree(differences(small, ours, chunked), ROUNDING),
        "float64": agree(against_exact(small, ours), ROUNDING),
        "peer_float64": against_exact(small, chunked),
    }
    at = layer(tokens, vocabulary, width)
    paths = {
        "ours": ours,
        "peer": chunked,
        "peer_with_logp": chunked_with_logp,
        "products": four_products,
    }
    seconds = medians(interleaved({name: lambda p=path: p(at) for name, path in paths.items()}, rounds))
    return {
        "ours": seconds["ours"],
        "peer": seconds["peer"],
        "ratio": seconds["peer"] / seconds["ours"],
        "unit": "CPU-seconds",
        "peer_name": "TRL ChunkedDivergence (divergence and entropy; the log-probabilities not counted)",
        "tokens": tokens,
        "vocabulary": vocabulary,
        "width": width,
        "products": seconds["products"],
        "over_products": seconds["ours"] / seconds["products"],
        "peer_with_logp": seconds["peer_with_logp"],
        "freed_memory_reused": reused,
        "agreement": agreement,
    }


def affect_cost(quick: bool) -> dict[str, Any]:
    """What all signals of a chunk cost beside its divergence, and what separate passes for them cost."""
    peer.required()
    from benchmarks.signals_apart import measured

    reuse_freed_memory()
    tokens, vocabulary, width, rounds = (64, 8_192, 64, 3) if quick else (104, VOCABULARY, WIDTH, 9)
    return measured(layer(tokens, vocabulary, width), rounds)


def bf16_error(quick: bool) -> dict[str, Any]:
    """Median relative error of the per-token divergence where weights and hidden states are bfloat16, against float64.

    The peer projects as its trainer does by default: bfloat16 autocast, then widened to float32. The inputs are the
    same bfloat16 numbers for both, and the reference is what they are in float64.
    """
    peer.required()
    tokens, vocabulary, width = (16, 8_192, 64) if quick else (64, VOCABULARY, WIDTH)
    at = layer(tokens, vocabulary, width)
    weight = at.weight.detach().bfloat16()
    hidden = at.hidden.detach().bfloat16()
    torch.manual_seed(1)
    # A forward KL of about 0.001 nats: half the variance of the change of a logit, 2.6 * shift.
    shift = math.sqrt(2 * 1e-3) / 2.6
    teacher = (hidden.float() + shift * torch.randn(tokens, width)).bfloat16()
    student_logp, teacher_logp = ((x.double() @ weight.double().T).log_softmax(-1) for x in (hidden, teacher))
    with torch.autocast("cpu", torch.bfloat16):
        student, theirs = (torch.nn.functional.linear(x, weight).float()[None] for x in (hidden, teacher))
    errors: dict[str, dict[str, float]] = {"ours": {}, "peer": {}}
    with torch.no_grad():
        for alpha in (0.0, 0.5, 1.0):
            truth = divergence(student_logp, teacher_logp, alpha)
            own = head_pass(
                hidden,
                weight,
                at.targets,
                token_loss=lambda leaves, rows: leaves.divergence,
                teacher_hidden=teacher,
                alpha=alpha,
            ).signals["divergence"]
            other = peer.full_logits_loss(student, theirs, distillation_alpha=alpha)[0]
            errors["ours"][str(alpha)] = _median_error(own, truth)
            errors["peer"][str(alpha)] = _median_error(other, truth)
        kl = float(divergence(student_logp, teacher_logp, 0.0).mean())
    return {
        "ours": errors["ours"][str(ALPHA)],
        "peer": errors["peer"][str(ALPHA)],
        "ratio": errors["peer"][str(ALPHA)] / errors["ours"][str(ALPHA)],
        "unit": "median relative error",
        "peer_name": "TRL SDPO full logits under its default bfloat16 autocast",
        "tokens": tokens,
        "vocabulary": vocabulary,
        "width": width,
        "mean_forward_kl_nats": kl,
        "by_alpha": errors,
    }


def _median_error(values: Tensor, truth: Tensor) -> float:
    return float(((values.double() - truth).abs() / truth).median())
