"""The head pass and the objectives against float64 autograd over the full logits, closed forms and scipy."""

import math
import shutil
from collections.abc import Callable

import numpy as np
import pytest
import scipy.special
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from frown.losses.advantages import group_advantages
from frown.losses.head import Leaves, LinearHead, OwnHead, head_pass, read_signals
from frown.losses.objectives import (
    binned_divergence_and_gradient,
    divergence,
    divergence_and_gradient,
    policy_gradient,
    teacher_confidence,
)
from frown.signals.token import log_probabilities

ALPHAS = [0.0, 0.25, 0.5, 1.0]
TEACHER_SIGNALS = {"teacher_logp", "log_ratio", "teacher_entropy", "divergence"}
OWN_SIGNALS = {"surprisal", "entropy", "varentropy", "top_probability", "margin", "self_certainty"}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def inputs(n: int = 23, v: int = 61, h: int = 12, dtype: torch.dtype = torch.float32, seed: int = 0) -> dict:
    g = rng(seed)
    hidden = torch.randn(n, h, generator=g)
    return {
        "hidden": hidden.to(dtype),
        "teacher_hidden": (hidden + 0.4 * torch.randn(n, h, generator=g)).to(dtype),
        "weight": (torch.randn(v, h, generator=g) * 0.8).to(dtype),
        "targets": torch.randint(0, v, (n,), generator=g),
    }


def scipy_divergence(student: np.ndarray, teacher: np.ndarray, alpha: float) -> np.ndarray:
    """[C, V] logits -> [C] nats, from relative entropies in float64."""
    p = scipy.special.softmax(student.astype(np.float64), -1)
    q = scipy.special.softmax(teacher.astype(np.float64), -1)
    kl = lambda a, b: scipy.special.rel_entr(a, b).sum(-1)  # noqa: E731
    if alpha in (0.0, 1.0):
        return kl(q, p) if alpha == 0.0 else kl(p, q)
    m = (1 - alpha) * p + alpha * q
    return (1 - alpha) * kl(p, m) + alpha * kl(q, m)


def full_logits_loss(x: dict, loss: Callable, alpha: float, temperature: float) -> tuple[Tensor, Tensor, Tensor, dict]:
    """Float64, everything kept, nothing clever: loss, dH, dW, signals."""
    hidden = x["hidden"].double().requires_grad_()
    weight = x["weight"].double().requires_grad_()
    logp = (hidden @ weight.T / temperature).log_softmax(-1)
    logq = (x["teacher_hidden"].double() @ weight.detach().T / temperature).log_softmax(-1)
    p, q = logp.exp(), logq.exp()
    if alpha == 0.0:
        d = (q * (logq - logp)).sum(-1)
    elif alpha == 1.0:
        d = (p * (logp - logq)).sum(-1)
    else:
        logm = torch.logaddexp(logp + math.log(1 - alpha), logq + math.log(alpha))
        d = (1 - alpha) * (p * (logp - logm)).sum(-1) + alpha * (q * (logq - logm)).sum(-1)
    entropy = -(p * logp).sum(-1)
    at = logp.gather(1, x["targets"][:, None])[:, 0]
    at_teacher = logq.gather(1, x["targets"][:, None])[:, 0]
    top = p.topk(2, -1).values
    signals = {
        "surprisal": -at,
        "entropy": entropy,
        "varentropy": (p * (logp + entropy[:, None]) ** 2).sum(-1),
        "top_probability": top[:, 0],
        "margin": top[:, 0] - top[:, 1],
        "self_certainty": -logp.mean(-1) - math.log(logp.shape[-1]),
        "teacher_logp": at_teacher,
        "log_ratio": at_teacher - at,
        "teacher_entropy": -(q * logq).sum(-1),
        "divergence": d,
    }
    signals = {k: s.detach() for k, s in signals.items()}
    total = loss(Leaves(d, at, entropy, signals), slice(0, len(hidden))).sum()
    total.backward()
    assert hidden.grad is not None and weight.grad is not None
    return total.detach(), hidden.grad, weight.grad, signals


def mixed_loss(n: int, seed: int = 5) -> Callable[[Leaves, slice], Tensor]:
    """A gated divergence, a clipped policy gradient off policy, and an entropy bonus."""
    g = rng(seed)
    weights = torch.rand(n, generator=g)
    advantage = torch.randn(n, generator=g)
    drift = 0.3 * torch.randn(n, generator=g)

    def loss(leaves: Leaves, rows: slice) -> Tensor:
        gate = weights[rows] * torch.sigmoid(leaves.signals["entropy"] - 2.0)
        old = leaves.logp.detach() + drift[rows]
        surrogate = policy_gradient(leaves.logp, old, advantage[rows], clip=0.2)
        assert leaves.divergence is not None
        return (gate * leaves.divergence + surrogate - 0.05 * leaves.entropy) / n

    return loss


def run(x: dict, loss: Callable, **options) -> tuple[Tensor, Tensor | None, Tensor | None, dict]:
    hidden = x["hidden"].detach().clone().requires_grad_()
    weight = x["weight"].detach().clone().requires_grad_()
    out = head_pass(hidden, weight, x["targets"], token_loss=loss, teacher_hidden=x["teacher_hidden"], **options)
    out.loss.backward()
    return out.loss.detach(), hidden.grad, weight.grad, out.signals


def relative(found: Tensor, expected: Tensor) -> float:
    return ((found.double() - expected).norm() / expected.norm()).item()


# --- the divergence
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("spread", [0.1, 1.0, 6.0])
def test_divergence_is_the_relative_entropy(alpha: float, spread: float) -> None:
    student = torch.randn(40, 50, generator=rng()) * 3
    teacher = student + spread * torch.randn(40, 50, generator=rng(1))
    found = divergence(log_probabilities(student), log_probabilities(teacher), alpha)
    np.testing.assert_allclose(found, scipy_divergence(student.numpy(), teacher.numpy(), alpha), rtol=2e-5)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_divergence_of_two_outcomes_in_closed_form(alpha: float) -> None:
    p, q = np.array([0.9, 0.1]), np.array([0.4, 0.6])
    m = (1 - alpha) * p + alpha * q
    expected = {0.0: sum(q * np.log(q / p)), 1.0: sum(p * np.log(p / q))}.get(
        alpha, (1 - alpha) * sum(p * np.log(p / m)) + alpha * sum(q * np.log(q / m))
    )
    found = divergence(torch.tensor(p).log()[None], torch.tensor(q).log()[None], alpha)
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("vocabulary", [40, 30_000])
def test_a_small_divergence_keeps_its_digits(alpha: float, vocabulary: int) -> None:
    student = torch.randn(32, vocabulary, generator=rng()) * 2
    for step in (3e-2, 3e-3, 1.5e-3):
        teacher = student + step * torch.randn(32, vocabulary, generator=rng(1))
        logp, logq = log_probabilities(student), log_probabilities(teacher)
        exact = scipy_divergence(student.numpy(), teacher.numpy(), alpha)
        np.testing.assert_allclose(divergence(logp, logq, alpha), exact, rtol=1e-3, err_msg=f"step {step}")
    # The last step is the regime that is promised.
    assert 1e-8 < np.median(exact) < 2e-6
    if alpha == 1.0:
        plain = (logp.exp() * (logp - logq)).sum(-1).numpy()
        bregman = divergence(logp, logq, alpha).numpy()
        assert np.median(np.abs(bregman / exact - 1)) < np.median(np.abs(plain / exact - 1)) / 10


@pytest.mark.parametrize("alpha", ALPHAS)
def test_equal_distributions_are_no_distance_apart(alpha: float) -> None:
    logp = log_probabilities(torch.randn(7, 20, generator=rng()) * 5)
    value, gradient = divergence_and_gradient(logp, logp.clone(), alpha)
    assert (value == 0).all()
    assert gradient.abs().max() < 1e-7


def test_swapping_roles_mirrors_alpha_and_the_middle_is_bounded() -> None:
    a = log_probabilities(torch.randn(30, 9, generator=rng()).double() * 8)
    b = log_probabilities(torch.randn(30, 9, generator=rng(1)).double() * 8)
    for alpha in (0.0, 0.1, 0.25, 0.5, 0.9, 1.0):
        torch.testing.assert_close(divergence(a, b, alpha), divergence(b, a, 1 - alpha))
    assert (divergence(a, b, 0.5) <= math.log(2) + 1e-12).all()
    # Near an end the Jensen-Shannon value is the KL of that end times the distance to it.
    c = log_probabilities(a + 0.1 * b)
    torch.testing.assert_close(divergence(a, c, 1e-3) / 1e-3, divergence(a, c, 0.0), rtol=0.02, atol=1e-6)
    torch.testing.assert_close(divergence(a, c, 0.999) / 1e-3, divergence(a, c, 1.0), rtol=0.02, atol=1e-6)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_gradient_is_the_derivative(alpha: float) -> None:
    z = (torch.randn(6, 8, generator=rng()).double() * 2).requires_grad_()
    logq = log_probabilities(torch.randn(6, 8, generator=rng(1)).double() * 2)
    assert torch.autograd.gradcheck(lambda z: divergence(log_probabilities(z), logq, alpha), z)
    value, gradient = divergence_and_gradient(log_probabilities(z), logq, alpha)
    (expected,) = torch.autograd.grad(value.sum(), z)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("alpha", [-0.1, 1.5, math.nan, 1e-9, 1 - 1e-9])
def test_alpha_out_of_range_is_refused(alpha: float) -> None:
    logp = log_probabilities(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="alpha"):
        divergence(logp, logp, alpha)


@settings(max_examples=80, deadline=None)
@given(
    logits=st.lists(st.floats(-300, 300, width=32), min_size=8, max_size=8),
    alpha=st.sampled_from([0.0, 1.0]) | st.floats(1e-3, 1 - 1e-3),
)
def test_divergence_is_finite_and_not_negative(logits: list[float], alpha: float) -> None:
    z = torch.tensor(logits).reshape(2, 4)
    value, gradient = divergence_and_gradient(log_probabilities(z[:1]), log_probabilities(z[1:]), alpha)
    assert value.isfinite().all() and gradient.isfinite().all() and (value >= 0).all()
    assert abs(gradient.sum().item()) < 1e-3 * (1 + gradient.abs().max().item())


# --- the policy gradient and the advantages
# ---------------------------------------------------------------------


def test_policy_gradient_on_policy_is_reinforce() -> None:
    logp = torch.tensor([-1.0, -2.0, -0.5], requires_grad=True)
    advantage = torch.tensor([1.0, -2.0, 0.0])
    for clip in (None, 0.2):
        loss = policy_gradient(logp, None, advantage, clip)
        np.testing.assert_allclose(loss.detach(), -advantage)
        (gradient,) = torch.autograd.grad(loss.sum(), logp)
        np.testing.assert_allclose(gradient, -advantage)


def test_policy_gradient_clips_only_where_it_would_go_further() -> None:
    # (ratio, advantage) -> does the gradient flow? Figure 1 of PPO, arXiv 1707.06347.
    cases = [(1.5, 1.0, False), (0.5, 1.0, True), (1.5, -1.0, True), (0.5, -1.0, False), (1.1, 1.0, True)]
    for ratio, advantage, flows in cases:
        logp = torch.tensor([math.log(ratio)], requires_grad=True)
        loss = policy_gradient(logp, torch.zeros(1), torch.tensor([advantage]), clip=0.2)
        expected = -min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage)
        assert loss.item() == pytest.approx(expected)
        (gradient,) = torch.autograd.grad(loss.sum(), logp)
        assert gradient.item() == pytest.approx(-ratio * advantage if flows else 0.0)


def test_advantages_in_closed_form() -> None:
    scores = np.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    np.testing.assert_allclose(group_advantages(scores), scores - scores.mean(1, keepdims=True))
    spread = scores.std(1, ddof=1, keepdims=True)
    np.testing.assert_allclose(group_advantages(scores, std=True), (scores - scores.mean(1, keepdims=True)) / spread)


@pytest.mark.parametrize("std", [False, True])
def test_a_group_that_agrees_teaches_nothing(std: bool) -> None:
    # The float64 mean of three 0.1 is not 0.1.
    scores = np.array([[0.1, 0.1, 0.1], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    assert (group_advantages(scores, std) == 0).all()


@pytest.mark.parametrize("std", [False, True])
def test_unscored_answers_are_left_out(std: bool) -> None:
    nan = math.nan
    found = group_advantages([[1.0, nan, 0.0], [nan, nan, nan], [0.5, nan, nan]], std)
    np.testing.assert_allclose(found[0, [0, 2]], group_advantages([[1.0, 0.0]], std)[0])
    assert found[0, 1] == 0 and (found[1:] == 0).all()


@settings(max_examples=60, deadline=None)
@given(scores=st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=1, max_size=3), std=st.booleans())
def test_advantages_are_centred_and_do_not_see_a_constant(scores: list[list[float]], std: bool) -> None:
    found = group_advantages(scores, std)
    np.testing.assert_allclose(found.sum(1), 0, atol=1e-6)
    if std:
        varied = np.ptp(np.array(scores), axis=1) > 1e-6
        np.testing.assert_allclose(found[varied].std(1, ddof=1), 1, rtol=1e-6)
    else:
        np.testing.assert_allclose(group_advantages(np.array(scores) + 1.0), found, atol=1e-12)


def test_advantages_want_two_dimensions() -> None:
    with pytest.raises(ValueError, match="prompts, answers"):
        group_advantages([1.0, 0.0])


# --- the pass
# ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("chunk", [None, 1, 7, 23, 100])
def test_the_pass_is_full_logits_autograd(alpha: float, temperature: float, chunk: int | None) -> None:
    x = inputs()
    loss = mixed_loss(23)
    value, dh, dw, signals = full_logits_loss(x, loss, alpha, temperature)
    found, fh, fw, fs = run(x, loss, alpha=alpha, temperature=temperature, chunk=chunk)
    assert abs(found - value) < 1e-5 * (1 + abs(value))
    assert relative(fh, dh) < 1e-5 and relative(fw, dw) < 1e-5
    assert set(fs) == OWN_SIGNALS | TEACHER_SIGNALS
    for name, expected in signals.items():
        assert not fs[name].requires_grad
        np.testing.assert_allclose(fs[name], expected, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("part", ["divergence", "logp", "entropy"])
def test_each_leaf_alone(part: str) -> None:
    x = inputs()
    weights = torch.randn(23, generator=rng(9))
    loss = lambda leaves, rows: weights[rows] * getattr(leaves, part)  # noqa: E731
    _, dh, dw, _ = full_logits_loss(x, loss, 0.5, 1.0)
    _, fh, fw, _ = run(x, loss, chunk=10)
    assert relative(fh, dh) < 1e-5 and relative(fw, dw) < 1e-5


def test_many_blocks_and_a_vocabulary_wider_than_a_block() -> None:
    # 90,000 float32 logits are more than one 256 KiB block a row; also the stacked product (fewer rows than
    # V).
    x = inputs(n=5, v=90_001, h=8)
    loss = mixed_loss(5)
    _, dh, dw, signals = full_logits_loss(x, loss, 0.5, 1.0)
    _, fh, fw, fs = run(x, loss, chunk=2)
    # dH sums 90,000 terms in the product itself; full logits in float32 come to the same 3e-5.
    assert relative(fh, dh) < 1e-4 and relative(fw, dw) < 1e-5
    for name, expected in signals.items():
        np.testing.assert_allclose(fs[name], expected, rtol=2e-5, atol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", ALPHAS)
def test_finite_differences(alpha: float) -> None:
    # float64 hidden states are computed in float64, so a central difference has nine digits to agree in.
    x = inputs(n=4, v=6, h=3, dtype=torch.float64)
    weights = torch.rand(4, generator=rng()).double()

    def value(hidden: Tensor, weight: Tensor) -> Tensor:
        def loss(leaves: Leaves, rows: slice) -> Tensor:
            assert leaves.divergence is not None
            return weights[rows] * leaves.divergence + 0.3 * leaves.logp.exp() - 0.1 * leaves.entropy**2

        return head_pass(
            hidden,
            weight,
            x["targets"],
            token_loss=loss,
            teacher_hidden=x["teacher_hidden"],
            teacher_head=x["weight"],
            alpha=alpha,
            temperature=0.8,
            chunk=3,
        ).loss

    pair = [x["hidden"].clone().requires_grad_(), x["weight"].clone().requires_grad_()]
    value(*pair).backward()
    step = 1e-5
    for which, leaf in enumerate(pair):
        numeric = torch.empty_like(leaf).detach()
        for i in range(leaf.numel()):
            sides = []
            for sign in (1, -1):
                moved = [t.detach().clone() for t in pair]
                moved[which].view(-1)[i] += sign * step
                sides.append(value(*moved))
            numeric.view(-1)[i] = (sides[0] - sides[1]) / (2 * step)
        torch.testing.assert_close(leaf.grad, numeric, rtol=1e-7, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 12),
    v=st.integers(2, 20),
    chunk=st.integers(1, 14),
    alpha=st.sampled_from(ALPHAS),
    seed=st.integers(0, 999),
)
def test_the_chunk_is_an_accident(n: int, v: int, chunk: int, alpha: float, seed: int) -> None:
    x = inputs(n=n, v=v, h=5, seed=seed)
    loss = mixed_loss(n, seed)
    value, dh, dw, signals = run(x, loss, alpha=alpha, chunk=chunk)
    value1, dh1, dw1, signals1 = run(x, loss, alpha=alpha)
    torch.testing.assert_close(value, value1, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(dh, dh1, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(dw, dw1, rtol=1e-4, atol=1e-6)
    for name in signals:
        torch.testing.assert_close(signals[name], signals1[name], rtol=1e-4, atol=1e-5, msg=name)


def test_a_teacher_with_a_head_of_its_own() -> None:
    x = inputs()
    wide = torch.randn(23, 5, generator=rng(3))
    own = torch.randn(61, 5, generator=rng(4))
    out = head_pass(
        x["hidden"],
        x["weight"],
        x["targets"],
        token_loss=lambda leaves, rows: leaves.divergence,
        teacher_hidden=wide,
        teacher_head=own,
        alpha=0.0,
        chunk=9,
    )
    expected = scipy_divergence((x["hidden"] @ x["weight"].T).numpy(), (wide @ own.T).numpy(), 0.0)
    np.testing.assert_allclose(out.signals["divergence"], expected, rtol=1e-4)
    assert out.loss.item() == pytest.approx(expected.sum(), rel=1e-5) and not out.loss.requires_grad


def test_without_a_teacher() -> None:
    x = inputs()
    hidden, weight = x["hidden"].requires_grad_(), x["weight"].requires_grad_()

    def loss(leaves: Leaves, rows: slice) -> Tensor:
        assert leaves.divergence is None
        return -leaves.logp / 23

    out = head_pass(hidden, weight, x["targets"], token_loss=loss, chunk=6)
    out.loss.backward()
    h, w = x["hidden"].detach().clone().requires_grad_(), x["weight"].detach().clone().requires_grad_()
    expected = torch.nn.functional.cross_entropy(h @ w.T, x["targets"])
    expected.backward()
    torch.testing.assert_close(out.loss, expected)
    torch.testing.assert_close(hidden.grad, h.grad, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(weight.grad, w.grad, rtol=1e-5, atol=1e-7)
    assert set(out.signals) == OWN_SIGNALS
    read = read_signals(hidden, weight, x["targets"], chunk=5)
    for name in OWN_SIGNALS:
        torch.testing.assert_close(read[name], out.signals[name])


def test_a_frozen_head_gets_no_gradient_and_frozen_inputs_no_graph() -> None:
    x = inputs()
    loss = mixed_loss(23)
    _, dh, dw, _ = full_logits_loss(x, loss, 0.5, 1.0)
    hidden = x["hidden"].clone().requires_grad_()
    common = {"token_loss": loss, "teacher_hidden": x["teacher_hidden"]}
    head_pass(hidden, x["weight"], x["targets"], **common).loss.backward()
    assert x["weight"].grad is None and relative(hidden.grad, dh) < 1e-5
    weight = x["weight"].clone().requires_grad_()
    head_pass(x["hidden"], weight, x["targets"], **common).loss.backward()
    assert x["hidden"].grad is None and relative(weight.grad, dw) < 1e-5
    with torch.no_grad():
        assert not head_pass(hidden, weight, x["targets"], **common).loss.requires_grad


def test_passes_may_be_scaled_added_and_accumulated() -> None:
    x = inputs()
    loss = mixed_loss(23)
    _, dh, dw, _ = full_logits_loss(x, loss, 0.5, 1.0)
    hidden, weight = x["hidden"].clone().requires_grad_(), x["weight"].clone().requires_grad_()
    for scale in (1.0, 0.25):
        out = head_pass(hidden, weight, x["targets"], token_loss=loss, teacher_hidden=x["teacher_hidden"])
        (out.loss * scale).backward()
    assert relative(hidden.grad, 1.25 * dh) < 1e-5 and relative(weight.grad, 1.25 * dw) < 1e-5
    hidden.grad = weight.grad = None
    both = [
        head_pass(hidden, weight, x["targets"], token_loss=loss, teacher_hidden=x["teacher_hidden"]).loss for _ in "ab"
    ]
    (both[0] - 3 * both[1]).backward()
    assert relative(hidden.grad, -2 * dh) < 1e-5 and relative(weight.grad, -2 * dw) < 1e-5
    with pytest.raises(RuntimeError, match="already"):
        both[0].backward()


def test_a_tied_embedding_gets_both_gradients() -> None:
    ids = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6])
    x = inputs(n=8, v=12, h=6)

    def gradient(head: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        embedding = torch.nn.Embedding(12, 6)
        with torch.no_grad():
            embedding.weight.copy_(x["weight"])
        head(torch.tanh(embedding(ids)), embedding.weight).backward()
        assert embedding.weight.grad is not None
        return embedding.weight.grad

    def ours(hidden: Tensor, weight: Tensor) -> Tensor:
        return head_pass(hidden, weight, x["targets"], token_loss=lambda leaves, rows: -leaves.logp, chunk=3).loss

    def naive(hidden: Tensor, weight: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(hidden @ weight.T, x["targets"], reduction="sum")

    torch.testing.assert_close(gradient(ours), gradient(naive), rtol=1e-5, atol=1e-6)


def test_bfloat16_storage_costs_only_its_own_rounding() -> None:
    x = inputs(dtype=torch.bfloat16)
    loss = mixed_loss(23)
    value, dh, dw, signals = full_logits_loss(x, loss, 0.5, 1.0)
    found, fh, fw, fs = run(x, loss, chunk=9)
    assert fh.dtype == fw.dtype == torch.bfloat16
    # The logits are float32, so values are as good as in float32; the gradients' storage has 8 bits.
    assert abs(found - value) < 1e-5
    for name, expected in signals.items():
        np.testing.assert_allclose(fs[name], expected, rtol=1e-5, atol=1e-5, err_msg=name)
    assert relative(fh, dh) < 3e-3 and relative(fw, dw) < 3e-3


def test_autocast_does_not_reach_the_logits() -> None:
    x = inputs()
    loss = mixed_loss(23)
    plain = run(x, loss)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert run(x, loss)[0] == plain


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("top_k", [None, 3, 19])
def test_a_masked_vocabulary_is_finite_and_as_if_absent(alpha: float, top_k: int | None) -> None:
    # A hidden unit that is 1 in every token and weighs -inf for the masked entries gives logits of -inf.
    x = inputs(n=6, v=20, h=4)
    loss = mixed_loss(6)
    expected = run(x, loss, alpha=alpha, top_k=top_k)
    ones = torch.ones(6, 1)
    masked = torch.cat([torch.randn(5, 4, generator=rng()), torch.full((5, 1), -torch.inf)], 1)
    y = {
        "hidden": torch.cat([x["hidden"], ones], 1),
        "teacher_hidden": torch.cat([x["teacher_hidden"], ones], 1),
        "weight": torch.cat([torch.cat([x["weight"], torch.zeros(20, 1)], 1), masked]),
        "targets": x["targets"],
    }
    # dH would multiply a zero gradient by -inf, which no head can help: the masked head is frozen
    # hidden-wise.
    weight = y["weight"].requires_grad_()
    common = {"teacher_hidden": y["teacher_hidden"], "alpha": alpha, "top_k": top_k}
    out = head_pass(y["hidden"], weight, y["targets"], token_loss=loss, **common)
    out.loss.backward()
    torch.testing.assert_close(out.loss.detach(), expected[0])
    for name, value in out.signals.items():
        torch.testing.assert_close(value, expected[3][name], rtol=1e-5, atol=1e-5, msg=name)
    assert weight.grad is not None and weight.grad.isfinite().all()
    torch.testing.assert_close(weight.grad[:20, :4], expected[2], rtol=1e-5, atol=1e-6)
    assert (weight.grad[20:] == 0).all()


@pytest.mark.parametrize("alpha", ALPHAS)
def test_disjoint_supports_are_finite(alpha: float) -> None:
    a = log_probabilities(torch.tensor([[0.0, 0.0, -torch.inf, -torch.inf]]))
    b = log_probabilities(torch.tensor([[-torch.inf, -torch.inf, 0.0, 0.0]]))
    value, gradient = divergence_and_gradient(a, b, alpha)
    # The cost of an impossible token, or the entropy of the mixture's coin.
    expected = 1e4 if alpha in (0.0, 1.0) else scipy.special.entr([alpha, 1 - alpha]).sum()
    assert value.item() == pytest.approx(expected, rel=1e-3)
    assert gradient.isfinite().all()


class Largest(TorchDispatchMode):
    """Records the largest storage, in elements, that any operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, tuple | list) else (out,):
            if isinstance(t, Tensor):
                self.elements = max(self.elements, t.untyped_storage().nbytes() // t.element_size())
        return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_tensor_of_tokens_times_vocabulary(dtype: torch.dtype) -> None:
    n, v, h, chunk = 256, 3000, 8, 16
    x = inputs(n=n, v=v, h=h, dtype=dtype)
    with Largest() as largest:
        run(x, mixed_loss(n), chunk=chunk)
    # Two chunks of logits; the head itself is smaller. The hook must have seen that buffer to mean anything.
    assert largest.elements == 2 * chunk * v
    with Largest() as largest:
        (x["hidden"].float() @ x["weight"].float().T).log_softmax(-1)
    assert largest.elements == n * v


def test_no_rows_at_all() -> None:
    x = inputs(n=0)
    value, dh, dw, signals = run(x, lambda leaves, rows: leaves.divergence)
    assert value == 0 and dh.shape == (0, 12) and (dw == 0).all()
    assert all(s.shape == (0,) for s in signals.values())


def test_shapes_that_do_not_fit_are_refused() -> None:
    x = inputs()
    loss = lambda leaves, rows: leaves.logp  # noqa: E731
    good = (x["hidden"], x["weight"], x["targets"])
    bad = [
        ((x["hidden"][:, :5], *good[1:]), {}, "hidden is"),
        ((*good[:2], x["targets"][:5]), {}, "targets"),
        (good, {"teacher_hidden": x["teacher_hidden"][:1]}, "teacher"),
        (good, {"teacher_head": x["weight"]}, "teacher_head without"),
        (good, {"temperature": 0.0}, "temperature"),
        (good, {"token_loss": lambda leaves, rows: leaves.logp.mean()}, "one loss a token"),
    ]
    for args, options, message in bad:
        with pytest.raises(ValueError, match=message):
            head_pass(*args, **{"token_loss": loss, **options})


# --- heads that do more than a product, and heads of their own
# ------------------------------------------------------------------------------


def shaped(hidden: Tensor, head: LinearHead) -> Tensor:
    """Float64 logits by autograd's own road."""
    z = hidden @ head.weight.double().T
    z = z if head.bias is None else z + head.bias.double()
    z = z * head.scale
    return z if head.cap is None else head.cap * torch.tanh(z / head.cap)


def by_autograd(hidden: Tensor, head: LinearHead) -> Tensor:
    return shaped(hidden.double(), head).to(hidden.dtype)


def head_of_kind(kind: str, x: dict) -> LinearHead:
    bias = torch.randn(61, generator=rng(7)) if "bias" in kind else None
    return LinearHead(x["weight"], bias, 0.3 if "scale" in kind else 1.0, 1.5 if "cap" in kind else None)


@pytest.mark.parametrize("kind", ["bias", "scale", "cap", "bias scale cap"])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_heads_that_bend_their_logits(kind: str, own: bool, shared: bool) -> None:
    x, loss = inputs(), mixed_loss(23)
    linear = head_of_kind(kind, x)
    learnt = [t.detach().double().requires_grad_() for t in (x["hidden"], *linear.parameters)]
    exact = LinearHead(learnt[1], learnt[2] if "bias" in kind else None, linear.scale, linear.cap)
    logp = (shaped(learnt[0], exact) / 0.8).log_softmax(-1)
    with torch.no_grad():
        teacher = exact if shared else LinearHead(x["weight"].flip(0))
        logq = (shaped(x["teacher_hidden"].double(), teacher) / 0.8 / 0.6).log_softmax(-1)
    d, _ = divergence_and_gradient(logp, logq, 0.5)
    h = -(logp.exp() * logp).sum(-1)
    at = logp.gather(1, x["targets"][:, None])[:, 0]
    value = loss(Leaves(d, at, h, {"entropy": h.detach()}), slice(0, 23)).sum()
    value.backward()

    hidden = x["hidden"].clone().requires_grad_()
    for p in linear.parameters:
        p.requires_grad_()
    head = OwnHead(lambda h: by_autograd(h, linear), linear.vocabulary, linear.parameters) if own else linear
    out = head_pass(
        hidden,
        head,
        x["targets"],
        token_loss=loss,
        teacher_hidden=x["teacher_hidden"],
        teacher_head=(None if shared else LinearHead(x["weight"].detach().flip(0))),
        temperature=0.8,
        teacher_temperature=0.6,
        chunk=9,
    )
    out.loss.backward()
    assert abs(out.loss.detach() - value.detach()) < 1e-5
    for found, expected in zip((hidden, *linear.parameters), learnt, strict=True):
        assert relative(found.grad, expected.grad) < 2e-5


def test_an_own_head_may_learn_nothing_and_a_frozen_one_still_passes_on_the_gradient() -> None:
    x, loss = inputs(), mixed_loss(23)
    _, dh, _, _ = full_logits_loss(x, loss, 0.5, 1.0)
    hidden = x["hidden"].clone().requires_grad_()
    head = OwnHead(lambda h: h @ x["weight"].T, len(x["weight"]))
    out = head_pass(hidden, head, x["targets"], token_loss=loss, teacher_hidden=x["teacher_hidden"], chunk=5)
    out.loss.backward()
    assert relative(hidden.grad, dh) < 1e-5
    with torch.no_grad():
        read = read_signals(x["hidden"], head, x["targets"], chunk=4)
    for name, values in read.items():
        torch.testing.assert_close(values, out.signals[name])


# --- the top K and the tail
# ------------------------------------------------------------------------------


def binned(logp: Tensor, top: Tensor) -> Tensor:
    """Float64 log-probabilities of the top tokens and of the rest as one, by another road: sums of probabilities."""
    rest = logp.exp().scatter(-1, top, 0.0).sum(-1, keepdim=True)
    return torch.cat([logp.gather(-1, top), rest.log()], -1)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("k", [1, 5, 40])
def test_the_top_and_the_tail(alpha: float, k: int) -> None:
    x = inputs()
    weights = torch.rand(23, generator=rng(2))

    def loss(leaves: Leaves, rows: slice) -> Tensor:
        assert leaves.divergence is not None
        return weights[rows] * leaves.divergence

    hidden, weight = x["hidden"].double().requires_grad_(), x["weight"].double().requires_grad_()
    logp = (hidden @ weight.T / 0.7).log_softmax(-1)
    logq = (x["teacher_hidden"].double() @ weight.detach().T / 0.7).log_softmax(-1)
    top = logp.topk(k, -1).indices
    expected = divergence(binned(logp, top), binned(logq, top), alpha)
    (weights * expected).sum().backward()
    _, dh, dw, signals = run(x, loss, alpha=alpha, temperature=0.7, top_k=k, chunk=6)
    np.testing.assert_allclose(signals["divergence"], expected.detach(), rtol=2e-5, atol=1e-7)
    assert relative(dh, hidden.grad) < 1e-5 and relative(dw, weight.grad) < 1e-5
    # Putting tokens into one bin can only hide differences.
    assert (signals["divergence"] <= run(x, loss, alpha=alpha, temperature=0.7)[3]["divergence"] + 1e-6).all()


def test_a_top_that_leaves_no_tail_is_the_whole() -> None:
    x, loss = inputs(), mixed_loss(23)
    for a, b in zip(run(x, loss, top_k=60)[:3], run(x, loss)[:3], strict=True):
        torch.testing.assert_close(a, b)
    with pytest.raises(ValueError, match="top_k"):
        run(x, loss, top_k=0)


def test_the_tail_keeps_its_digits_where_the_top_is_nearly_all() -> None:
    # 20 tokens carry all but e^-18 of the mass: one minus their sum is nothing but rounding in float32.
    g = rng(1)
    z = torch.randn(8, 2000, generator=g) * 0.5
    z[:, :20] += 22.0
    t = z + 0.1 * torch.randn(8, 2000, generator=g)
    logp, logq = log_probabilities(z), log_probabilities(t)
    top = z.topk(20, -1).indices
    exact = binned(z.double().log_softmax(-1), top)
    assert exact[:, -1].max() < -15
    _, gradient = binned_divergence_and_gradient(logp, logq, 1.0, 20)
    leaf = z.double().requires_grad_()
    divergence(binned(leaf.log_softmax(-1), top), binned(t.double().log_softmax(-1), top), 1.0).sum().backward()
    tail = torch.ones_like(z, dtype=torch.bool).scatter(1, top, False)
    assert relative(gradient[tail], leaf.grad[tail]) < 1e-3


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_top_and_the_tail_are_what_trl_computes(alpha: float) -> None:
    trl = pytest.importorskip("trl.experimental.sdpo.loss_utils")
    x = inputs()
    logits = [x[name] @ x["weight"].T for name in ("hidden", "teacher_hidden")]
    expected = trl.compute_topk_self_distillation_loss(
        logits[0][None], logits[1][None], distillation_topk=5, distillation_alpha=alpha, distillation_add_tail=True
    )
    found = run(x, lambda leaves, rows: leaves.divergence, alpha=alpha, top_k=5)[3]["divergence"]
    torch.testing.assert_close(found, expected[0], rtol=1e-3, atol=1e-6)
    whole = trl.compute_full_logit_self_distillation_loss(logits[0][None], logits[1][None], distillation_alpha=alpha)
    found = run(x, lambda leaves, rows: leaves.divergence, alpha=alpha)[3]["divergence"]
    torch.testing.assert_close(found, whole[0], rtol=1e-3, atol=1e-6)


# --- compiled, and on an accelerator
# ------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here")
@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"alpha": 1.0, "top_k": 4, "temperature": 0.7}])
def test_the_compiled_chunk_is_the_eager_one(options: dict) -> None:
    x, loss = inputs(), mixed_loss(23)
    eager = run(x, loss, chunk=10, **options)
    compiled = run(x, loss, chunk=10, compiled=True, **options)
    torch.testing.assert_close(compiled[0], eager[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(compiled[1], eager[1], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(compiled[2], eager[2], rtol=1e-4, atol=1e-6)
    for name, values in eager[3].items():
        torch.testing.assert_close(compiled[3][name], values, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("options", [{}, {"alpha": 0.0}, {"alpha": 1.0, "top_k": 4, "temperature": 0.7}])
def test_on_cuda(dtype: torch.dtype, options: dict) -> None:
    x, loss = inputs(dtype=dtype), mixed_loss(23)
    expected = run(x, loss, chunk=10, **options)
    there = {name: t.cuda() for name, t in x.items()}

    def moved(leaves: Leaves, rows: slice) -> Tensor:
        near = Leaves(*(getattr(leaves, n).cpu() for n in ("divergence", "logp", "entropy")), {
            n: s.cpu() for n, s in leaves.signals.items()
        })  # fmt: skip
        return loss(near, rows).cuda()

    for compiled in (False, True):
        value, dh, dw, signals = run(there, moved, chunk=10, compiled=compiled, **options)
        assert abs(value.cpu() - expected[0]) < 1e-4
        bound = 1e-4 if dtype == torch.float32 else 1e-2
        assert relative(dh.cpu(), expected[1].double()) < bound and relative(dw.cpu(), expected[2].double()) < bound
        for name, values in expected[3].items():
            torch.testing.assert_close(signals[name].cpu(), values, rtol=1e-3, atol=1e-4, msg=name)


def test_a_teacher_that_is_unsure_counts_less() -> None:
    entropy = torch.tensor([0.0, 1.0, 3.0])
    torch.testing.assert_close(teacher_confidence(entropy, 0.5), torch.tensor([0.0, -0.5, -1.5]).exp())
    assert teacher_confidence(entropy, 0.0).tolist() == [1.0, 1.0, 1.0]
