"""What one next-token distribution says: each signal once, as a pure function of log-probabilities.

Shapes: C tokens, V vocabulary entries; `logp` is [C, V] in nats at the temperature that the caller divided
the logits by, `p` is `logp.exp()` where the caller has it already. Give float32 or wider: logits rounded to
bfloat16 move an entropy by about 0.01 nats. Functions use tensor methods only, so importing this file does
not import torch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LOG_ZERO = -1e4
"""Nats. Log-probability of an impossible token: exp gives 0 and 0 * LOG_ZERO is 0, where -inf would give
nan."""

_LARGE_VOCABULARY = 1 << 16


def log_probabilities(logits: Tensor) -> Tensor:
    """Normalise logits [C, V] to log-probabilities [C, V] in nats, within [`LOG_ZERO`, 0].

    Logits of -inf (masked vocabulary) are legal. Half-precision logits are widened to float32. Shifted to the
    largest logit first, so that a likely token's log-probability is precise however large the logits; and
    summed by `sum`, which is pairwise, because the running sum of torch's CPU `log_softmax` loses the tail of
    a peaked distribution over a large vocabulary.
    """
    z = logits.float() if logits.element_size() < 4 else logits
    z = z - z.amax(-1, keepdim=True)
    return (z - z.exp().sum(-1, keepdim=True).log()).clamp_(LOG_ZERO, 0.0)


def token_logp(logp: Tensor, targets: Tensor) -> Tensor:
    """Log-probability of the sampled token: [C] nats, <= 0. `targets`: int64[C], each in [0, V)."""
    return logp.gather(-1, targets[:, None])[:, 0]


def surprisal(logp: Tensor, targets: Tensor) -> Tensor:
    """-log p of the sampled token: [C] nats, >= 0 (Shannon 1948, self-information)."""
    return -token_logp(logp, targets)


def entropy(logp: Tensor, p: Tensor | None = None) -> Tensor:
    """Mean surprisal, H = -sum_v p log p: [C] nats, in [0, log V] (Shannon 1948)."""
    return -((logp.exp() if p is None else p) * logp).sum(-1)


def varentropy(logp: Tensor, p: Tensor | None = None, mean: Tensor | None = None) -> Tensor:
    """Variance of the surprisal, sum_v p (log p + H)^2: [C] nats squared, >= 0 (Kontoyiannis & Verdu 2014,
    eq. 3).

    Centred: E[x^2] - E[x]^2 loses one percent and more in float32. `mean`: the entropy H [C] if it is at
    hand.
    """
    p = logp.exp() if p is None else p
    h = entropy(logp, p) if mean is None else mean
    return (p * (logp + h[:, None]).square()).sum(-1)


def top_two(logp: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities of the likeliest and the second likeliest token: two [C], in [0, 1]. Equal on a tie."""
    if logp.shape[-1] >= _LARGE_VOCABULARY and not _compiling():
        best, second = _top_two_by_stretches(logp)
        return best.exp(), second.exp()
    top, where = logp.max(-1, keepdim=True)
    # A second maximum with the first masked out: cheaper than a sort for the top two.
    return top[:, 0].exp(), logp.scatter(-1, where, LOG_ZERO).amax(-1).exp()


def _top_two_by_stretches(logp: Tensor) -> tuple[Tensor, Tensor]:
    """The two largest of each row, two [C]: the largest of each stretch of sqrt(V) entries, and then of the best one.

    A plain maximum is vectorised where one with its place is not: three times faster on a CPU.
    """
    import torch

    v = logp.shape[-1]
    width = math.isqrt(v)
    whole = v - v % width
    best = logp[:, :whole].unflatten(-1, (-1, width)).amax(-1)
    if whole < v:
        best = torch.cat([best, logp[:, whole:].amax(-1, keepdim=True)], -1)
    two = best.topk(2, -1)
    at = two.indices[:, :1] * width + torch.arange(width, device=logp.device)
    inside = logp.gather(-1, at.clamp(max=v - 1)).masked_fill_(at >= v, LOG_ZERO)
    return two.values[:, 0], inside.topk(2, -1).values[:, 1].maximum(two.values[:, 1])


def self_certainty(logp: Tensor) -> Tensor:
    """How far the distribution is from uniform, KL(U || p) = -(1/V) sum_v log(V p_v): [C] nats, >= 0, higher is
    surer, unbounded (Kang et al. 2025, arXiv 2502.18581; the reward of Intuitor, arXiv 2505.19590).

    Every vocabulary entry counts alike, so it lives on the tail: it says how firmly the impossible is ruled out,
    where the entropy says how many choices are left. The definition is infinite for a masked vocabulary (logits
    of -inf). Here entries at `LOG_ZERO` are left out and V is the number of the others, so that a mask is as if
    the entries were not there. Cost: no forward, one pass over `logp`.
    """
    if not _compiling() and (not logp.numel() or bool(logp.amin() > LOG_ZERO)):  # a look is cheap, counting is not
        return (-logp.mean(-1) - math.log(logp.shape[-1])).clamp_(min=0.0)
    possible = logp > LOG_ZERO
    n = possible.sum(-1).to(logp.dtype)
    return (-(logp * possible).sum(-1) / n - n.log()).clamp_(min=0.0)


def _compiling() -> bool:
    """Whether torch.compile is tracing, which cannot follow a look at a value."""
    import torch

    return torch.compiler.is_compiling()


def effective_choices(entropy: Tensor) -> Tensor:
    """Over how many equally likely tokens the entropy [C] (nats) would spread: exp(H), [C], in [1, V].

    The perplexity of the distribution itself, not of a text (Jelinek et al. 1977; as a number of species, Hill
    1973, order 1). Cost: none beside the entropy's.
    """
    return entropy.exp()


def log_ratio(student_token_logp: Tensor, teacher_token_logp: Tensor) -> Tensor:
    """How much likelier the teacher holds the token, log q(token) - log pi(token): [C] nats.

    The per-token advantage of self-distillation (SDPO, arXiv 2601.20802, section 3).
    """
    return teacher_token_logp - student_token_logp


def token_signals(logp: Tensor, p: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """`surprisal`, `entropy`, `varentropy`, `top_probability`, `margin`, `self_certainty`: [C] each.

    `logp`: [C, V] nats; `p`: its exponential; `targets`: int64[C], the sampled tokens.
    """
    h = entropy(logp, p)
    first, second = top_two(logp)
    return {
        "surprisal": surprisal(logp, targets),
        "entropy": h,
        "varentropy": varentropy(logp, p, h),
        "top_probability": first,
        "margin": first - second,
        "self_certainty": self_certainty(logp),
    }


def signals_of_logits(logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """`token_signals` of logits [C, V] that were divided by the temperature; `targets` int64[C]."""
    logp = log_probabilities(logits)
    return token_signals(logp, logp.exp(), targets)
