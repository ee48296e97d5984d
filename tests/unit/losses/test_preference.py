"""Judge Policy Optimization and DPO: closed forms and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from frown.losses.preference import dpo_loss, judge_advantages, judge_policy_loss


def batch(seed=0, n=4, t=5):
    g = torch.Generator().manual_seed(seed)
    logp = -torch.rand(n, t, generator=g, dtype=torch.float64)
    reference = logp + 0.4 * torch.randn(n, t, generator=g, dtype=torch.float64)
    mask = torch.ones(n, t, dtype=torch.float64)
    mask[0, 3:] = 0.0
    mask[2, 1:] = 0.0
    return logp, reference, mask, torch.tensor([1.5, -0.7, 0.3, -2.0], dtype=torch.float64)


def test_advantages_are_z_scores_of_the_judged():
    table = np.array([[1.0, 2.0, 3.0, 6.0, np.nan], [5.0, 5.0, 5.0, 5.0, 5.0], [1.0, 9.0, 2.0, np.nan, np.nan]])
    found = judge_advantages(table)
    known = table[0, :4]
    assert found[0, :4] == pytest.approx((known - known.mean()) / known.std(ddof=1)) and found[0, 4] == 0.0
    assert not found[1].any() and not found[2].any()  # all alike; fewer than four
    assert judge_advantages(table, least=3)[2, 1] > 0
    assert judge_advantages(np.array([[0.0, 0.0, 0.0, 1.0]]), cap=0.5).max() == 0.5


def by_hand(logp, reference, mask, advantage, clip=0.2, kl=0.04, negative=1.0):
    """The same in numpy, utterance by utterance."""
    total = 0.0
    for lp, ref, m, a in zip(logp, reference, mask, advantage, strict=True):
        lp, ref = lp[m > 0], ref[m > 0]
        a = a if a >= 0 else negative * a
        rho = np.exp((lp - ref).mean())
        d = ref - lp
        total += -min(rho * a, np.clip(rho, 1 - clip, 1 + clip) * a) + kl * (np.exp(d) - d - 1).mean()
    return total / len(logp)


@pytest.mark.parametrize("more", [{}, {"clip": 0.05}, {"kl": 1.0}, {"negative": 0.25}, {"negative": 0.0}])
def test_the_loss_is_its_formula(more):
    rows = batch()
    assert judge_policy_loss(*rows, **more).item() == pytest.approx(by_hand(*(r.numpy() for r in rows), **more))


def test_at_the_snapshot_it_is_the_policy_gradient():
    """rho = 1: the value is -mean A, and each token's gradient -A / (N * its utterance's length)."""
    logp, _, mask, advantage = batch()
    free = logp.clone().requires_grad_()
    loss = judge_policy_loss(free, logp, mask, advantage)
    assert loss.item() == pytest.approx(-advantage.mean().item())
    loss.backward()
    expected = -advantage[:, None] * mask / mask.sum(dim=1, keepdim=True) / 4
    assert torch.allclose(free.grad, expected)


@pytest.mark.parametrize("more", [{}, {"kl": 0.5, "negative": 0.3}])
def test_its_gradient_is_that_of_finite_differences_and_padding_has_none(more):
    logp, reference, mask, advantage = batch(1)
    free = logp.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: judge_policy_loss(x, reference, mask, advantage, **more), (free,))
    junk = reference.where(mask > 0, torch.tensor(float("inf"), dtype=torch.float64))
    loss = judge_policy_loss(free, junk, mask, advantage, **more)
    loss.backward()
    assert torch.isfinite(loss) and not free.grad[mask == 0].any() and torch.isfinite(free.grad).all()


def test_an_utterance_without_a_token_is_refused():
    logp, reference, mask, advantage = batch()
    mask[1] = 0.0
    with pytest.raises(ValueError, match="without a token"):
        judge_policy_loss(logp, reference, mask, advantage)


def after_training(clip):
    """A policy over ten utterances of one token, the first of which the judge likes: its chance, KL to the snapshot."""
    reference = torch.zeros(10, dtype=torch.float64).log_softmax(0)
    logits = torch.zeros(10, dtype=torch.float64, requires_grad=True)
    advantage = torch.tensor(judge_advantages([[10.0] + [1.0] * 9])[0])
    optimiser = torch.optim.SGD([logits], lr=0.5)
    for _ in range(200):
        logp = logits.log_softmax(0)
        loss = judge_policy_loss(logp[:, None], reference[:, None], torch.ones(10, 1), advantage, clip=clip)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    logp = logits.log_softmax(0).detach()
    return logp[0].exp().item(), (logp.exp() * (logp - reference)).sum().item()


def test_a_tiny_policy_says_more_of_what_the_judge_likes_and_stays_near():
    """Clipped at .2, no disliked utterance is pushed far below .8 of its chance, which leaves at most about .28."""
    chance, distance = after_training(0.2)
    unclipped, further = after_training(10.0)
    assert 0.12 < chance < 0.3 < unclipped and distance < 0.15 < 2 * distance < further


def test_dpo_in_closed_form_and_by_finite_differences():
    c, r, rc, rr = (-10 * torch.rand(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))).unbind()
    margin = ((c - rc) - (r - rr)).numpy()
    assert dpo_loss(c, r, rc, rr, 0.3).item() == pytest.approx(np.log1p(np.exp(-0.3 * margin)).mean())
    assert dpo_loss(rc, rr, rc, rr).item() == pytest.approx(np.log(2.0))
    free = (c.clone().requires_grad_(), r.clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda x, y: dpo_loss(x, y, rc, rr), free)
    dpo_loss(*free, rc, rr, 0.3).backward()
    wrong = 1 / (1 + np.exp(0.3 * margin))  # how far the implicit reward has it wrong weighs the gradient
    assert np.allclose(free[0].grad.numpy(), -0.3 * wrong / 6) and torch.allclose(free[0].grad, -free[1].grad)
