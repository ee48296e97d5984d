"""The objectives, each written once: pure functions of log-probabilities, in nats.

Shapes: C tokens, V vocabulary entries. Log-probabilities come from `frown.signals.token.log_probabilities`:
finite, so that a masked vocabulary (logits of -inf) costs nothing where both agree and up to 1e4 nats where
they do not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from frown.signals.token import LOG_ZERO

_SMALL = 1.0
"""Nats. Below this |log b - log a|, b - a is taken from expm1, which keeps its relative precision."""
_ALPHA_MARGIN = 1e-3


def _difference(a: Tensor, b: Tensor, log_b_over_a: Tensor) -> Tensor:
    """Return b - a, to relative precision also where a and b nearly agree."""
    d = log_b_over_a
    # The clamp keeps the branch that is not taken finite, for the sake of its gradient.
    return torch.where(d.abs() < _SMALL, a * torch.expm1(d.clamp(-_SMALL, _SMALL)), b - a)


def divergence_and_gradient(
    student_logp: Tensor,
    teacher_logp: Tensor,
    alpha: float,
    student_p: Tensor | None = None,
    teacher_p: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Divergence of each token [C] in nats, and its gradient [C, V] by the logits that gave `student_logp`.

    With student p, teacher q and mixture m = (1 - alpha) p + alpha q:

    - alpha = 0: forward KL(q || p), gradient p - q;
    - alpha = 1: reverse KL(p || q), gradient p (log p/q - KL);
    - else generalised Jensen-Shannon (1 - alpha) KL(p || m) + alpha KL(q || m), in [0, log 2],
      gradient (1 - alpha) p (log p/m - KL(p || m)).

    The convention is that of SDPO's released code (lasgroup/SDPO, `core_algos.py`; arXiv 2601.20802): as
    alpha goes to 0 or 1 the Jensen-Shannon value goes to 0 in proportion (alpha * forward KL, (1 - alpha) *
    reverse KL), so the ends are not limits of the middle.

    The KL is summed in its Bregman form, sum a (e^d - 1 - d) with d = log b - log a: no term is negative, and
    the rounding of either normaliser enters only to second order. The plain sum of a (log a - log b) is off
    by 1e-3 of its value at 1e-3 nats, and self-distillation lives there.

    Args:
        student_logp: [C, V] nats, finite.
        teacher_logp: [C, V] nats, finite.
        alpha: 0, 1, or in [0.001, 0.999]: nearer to an end, float32 loses what little is left of the value.
        student_p: `student_logp.exp()` if it is at hand.
        teacher_p: `teacher_logp.exp()` if it is at hand.

    Raises:
        ValueError: alpha lies elsewhere.
    """
    if alpha not in (0.0, 1.0) and not _ALPHA_MARGIN <= alpha <= 1.0 - _ALPHA_MARGIN:
        raise ValueError(
            f"alpha is 0 (forward KL), 1 (reverse KL) or in [{_ALPHA_MARGIN}, {1.0 - _ALPHA_MARGIN}], got {alpha}"
        )
    p = student_logp.exp() if student_p is None else student_p
    q = teacher_logp.exp() if teacher_p is None else teacher_p
    if alpha == 0.0:
        d = student_logp - teacher_logp
        gradient = _difference(q, p, d)
        return (gradient - q * d).sum(-1).clamp_min(0.0), gradient
    u = teacher_logp - student_logp
    if alpha == 1.0:
        pu = p * u
        value = (_difference(p, q, u) - pu).sum(-1).clamp_min(0.0)
        # -sum(pu) is the plain KL; its rounding is harmless beside log p/q, of which it is subtracted.
        return value, p * pu.sum(-1, keepdim=True) - pu
    # log m = max(log p, log q) + excess, and the excess (<= 0) from log1p and expm1 of -|u|: precise however
    # close p and q are, finite however far.
    up = u.relu()
    down = up - u
    smaller_share = (u > 0).to(u.dtype) * (1.0 - 2.0 * alpha) + alpha
    excess = torch.log1p(smaller_share * torch.expm1(u - 2.0 * up))
    pd = p * (up + excess)  # p log m/p
    kl_p = -pd.sum(-1, keepdim=True)
    kl_q = -(q * (down + excess)).sum(-1)
    value = (1.0 - alpha) * kl_p[:, 0] + alpha * kl_q
    return value.clamp_min(0.0), (alpha - 1.0) * (p * kl_p + pd)


def binned_divergence_and_gradient(
    student_logp: Tensor, teacher_logp: Tensor, alpha: float, top_k: int
) -> tuple[Tensor, Tensor]:
    """The same over top_k + 1 outcomes: the student's top_k likeliest tokens, and all others together (SDPO, arXiv
    2601.20802, appendix on top-K distillation: "tail").

    A lower bound of the divergence over the whole vocabulary (data processing), exact where top_k reaches V - 1. The
    tail's mass is summed over the tail: as one minus the rest it is wrong by nats where the rest is nearly all
    (released trainers do that). With P_b the mass of bin b and g_b the gradient by its logit, token v of b gets
    g_b p_v / P_b. It saves no product with the head; it is here to compare with recipes that need it.

    Args and returns as `divergence_and_gradient`; `top_k` >= 1.
    """
    if top_k < 1:
        raise ValueError(f"top_k is 1 or more, got {top_k}")
    if top_k >= student_logp.shape[-1] - 1:
        return divergence_and_gradient(student_logp, teacher_logp, alpha)
    top = student_logp.topk(top_k, -1).indices
    rest = student_logp.scatter(-1, top, -torch.inf)
    tail = rest.logsumexp(-1, keepdim=True).clamp_min(LOG_ZERO)
    teacher_tail = teacher_logp.scatter(-1, top, -torch.inf).logsumexp(-1, keepdim=True).clamp_min(LOG_ZERO)
    value, by_bin = divergence_and_gradient(
        torch.cat([student_logp.gather(-1, top), tail], -1),
        torch.cat([teacher_logp.gather(-1, top), teacher_tail], -1),
        alpha,
    )
    gradient = (rest - tail).exp_().mul_(by_bin[:, -1:])
    return value, gradient.scatter_(-1, top, by_bin[:, :-1])


def divergence(student_logp: Tensor, teacher_logp: Tensor, alpha: float) -> Tensor:
    """Divergence of each token, [C, V], [C, V] -> [C] nats, >= 0; see `divergence_and_gradient`."""
    return divergence_and_gradient(student_logp, teacher_logp, alpha)[0]


def policy_gradient(logp: Tensor, old_logp: Tensor | None, advantage: Tensor, clip: float | None = None) -> Tensor:
    """Token surrogate of PPO and GRPO, -min(r A, clip(r, 1 - eps, 1 + eps) A) with r = pi / pi_old: [C].

    arXiv 2402.03300, eq. 3, without its KL term (that is a `divergence` to a reference).

    Args:
        logp: [C] nats, log-probability of the sampled token under the policy being trained, differentiable.
        old_logp: [C] nats, under the policy that sampled it, at the same temperature. None: the policy has
            not moved since (one update per batch), so r = 1 and the gradient is -A grad logp.
        advantage: [C], or a scalar that broadcasts.
        clip: eps > 0; None leaves the ratio as it is.
    """
    old = logp.detach() if old_logp is None else old_logp
    ratio = (logp - old).exp()
    if clip is None:
        return -ratio * advantage
    return -torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)


def teacher_confidence(entropy: Tensor, beta: float) -> Tensor:
    """Weight of a token's distillation loss: exp(-beta H_teacher), [C] in (0, 1], less where the teacher is unsure.

    SRPO (arXiv 2604.02288), which weighs by it; not scaled to mean one, so that a teacher unsure everywhere teaches
    little. `entropy`: [C] nats, of the teacher's next-token distribution. `beta`: 1/nats, 0 or more; 0 gives ones.
    """
    return torch.exp(-beta * entropy)


def importance_weight(logp: Tensor, sampled_logp: Tensor, cap: float) -> Tensor:
    """min(pi / mu, cap) of each sampled token, detached: [C], in (0, cap].

    pi is the policy being trained, mu the one that sampled, by `logp` and `sampled_logp` in nats [C]. Truncated
    importance sampling (Ionides 2008; for samplers that are not quite the trainer: Yao et al. 2025, "Your efficient RL
    framework secretly brings you off-policy RL training"; in SDPO's released code `is_clip` = 2).
    """
    return (logp.detach() - sampled_logp).exp().clamp(max=cap)


def mismatch(logp: Tensor, sampled_logp: Tensor) -> Tensor:
    """How far the sampling policy is from the trained one at each token, r - 1 - log r with r = pi / mu: [C], >= 0.

    Its mean over tokens that mu sampled estimates KL(mu || pi) in nats, without bias (Schulman 2020, "Approximating KL
    divergence", k3).
    """
    d = logp.detach() - sampled_logp
    return d.expm1() - d
