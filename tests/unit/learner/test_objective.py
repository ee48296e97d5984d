"""Blends of the two losses, the anchor to the start, and the correction for a sampler that is another policy."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from frown.config import RunConfig, parse
from frown.errors import FrownError
from frown.learner.learner import Learner
from frown.losses.objectives import importance_weight, mismatch
from frown.methods import SDPO
from frown.methods.base import Classroom, Lesson
from frown.store.run_directory import RunDirectory
from frown.training.run import train
from frown.types import Appraisal, Rollout, Task, TeacherView, Verdict
from learning import parsed
from tiny import byte_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return byte_model(tmp_path_factory.mktemp("model"))


def learner(folder, **changes) -> Learner:
    values = {
        "model": {"path": str(folder), **changes.pop("model", {})},
        "sampling": {"max_new_tokens": 10},
        "task": {"kind": "exact"},
        **changes,
    }
    return parsed(values)


TASKS = [Task(id=t, messages=({"role": "user", "content": t},), answer="") for t in ("Hi", "How many?")]


def disturb(e: Learner) -> None:
    torch.manual_seed(5)
    with torch.no_grad():
        for p in e.parameters:
            p.add_(0.05 * torch.randn_like(p))


def logp_of(model, r: Rollout) -> torch.Tensor:
    ids = torch.tensor(np.concatenate([r.prompt_ids, r.ids]))[None]
    return model(input_ids=ids).logits[0, len(r.prompt_ids) - 1 : -1].log_softmax(-1)


# -- importance weights


def test_the_importance_weight_in_closed_form() -> None:
    logp = torch.tensor([-1.0, -2.0, -0.5], requires_grad=True)
    sampled = torch.tensor([-1.0, -1.0, -3.0])
    weight = importance_weight(logp, sampled, 2.0)
    torch.testing.assert_close(weight, torch.tensor([1.0, float(np.exp(-1.0)), 2.0]))
    assert not weight.requires_grad


@given(st.lists(st.tuples(st.floats(-8, 0), st.floats(-8, 0)), min_size=1, max_size=20))
def test_the_mismatch_is_not_negative_and_zero_where_policies_agree(pairs: list) -> None:
    a, b = (torch.tensor(side, dtype=torch.float64) for side in zip(*pairs, strict=True))
    assert (mismatch(a, b) >= 0).all() and (mismatch(a, a) == 0).all()


def test_the_mismatch_estimates_the_divergence_of_sampler_and_trainer() -> None:
    g = torch.Generator().manual_seed(0)
    mu, pi = (torch.randn(6, generator=g).double().log_softmax(-1) for _ in range(2))
    # Under mu, exactly: the sum over tokens instead of a sample of them.
    assert (mu.exp() * mismatch(pi, mu)).sum() == pytest.approx((mu.exp() * (mu - pi)).sum().item(), rel=1e-9)


@pytest.mark.parametrize("cap", [None, 1.3])
def test_the_correction_multiplies_each_tokens_losses(folder, cap) -> None:
    e = learner(folder, loss={"importance_cap": cap}, teacher={"weights": "frozen"})
    rollouts = e.policy.sample(TASKS, 2, seed=0, temperature=1.0)
    # As if another policy had sampled them.
    rng = np.random.default_rng(0)
    rollouts = [replace(r, logp=(r.logp + 0.5 * rng.standard_normal(len(r.ids))).astype(np.float32)) for r in rollouts]
    disturb(e)
    views = [TeacherView(i, r.prompt_ids, np.ones(len(r.ids), np.float32)) for i, r in enumerate(rollouts)]
    advantages = [np.full(len(r.ids), 0.5 - i % 2, np.float32) for i, r in enumerate(rollouts)]
    update = e.backward(rollouts, views, advantages, distillation=0.4)

    tokens = sum(len(r.ids) for r in rollouts)
    total, off = torch.zeros(()), []
    plain = copy.deepcopy(e.policy.model)
    plain.zero_grad()
    for i, r in enumerate(rollouts):
        logp = logp_of(plain, r)
        with torch.no_grad(), e.teacher.model() as teacher:
            logq = logp_of(teacher, r)
        m = torch.logaddexp(logp, logq) - np.log(2)
        d = 0.5 * (logp.exp() * (logp - m)).sum(-1) + 0.5 * (logq.exp() * (logq - m)).sum(-1)
        at = logp.gather(1, torch.tensor(r.ids)[:, None])[:, 0]
        ratio = (at.detach() - torch.tensor(r.logp)).exp()
        off.append(ratio - 1 - ratio.log())
        w = ratio.clamp(max=cap) if cap else torch.ones_like(ratio)
        total = total + (w * (0.4 * d / tokens - 0.6 * (0.5 - i % 2) * (at - at.detach()).exp() / tokens)).sum()
    total.backward()
    assert update.averages["loss"] == pytest.approx(total.item(), rel=1e-4)
    assert update.averages["mismatch"] == pytest.approx(torch.cat(off).mean().item(), rel=1e-3)
    for p, q in zip(e.parameters, plain.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-6)


def test_the_policys_own_sampler_agrees_and_replayed_answers_do_not_count(folder) -> None:
    e = learner(folder, teacher={"weights": "frozen"})
    rollouts = e.policy.sample(TASKS, 2, seed=0, temperature=1.0)
    stale = replace(rollouts[0], policy_step=7, logp=rollouts[0].logp - 3)
    batch = [stale, *rollouts[1:]]
    views = [TeacherView(i, r.prompt_ids, np.ones(len(r.ids), np.float32)) for i, r in enumerate(batch)]
    update = e.backward(batch, views, [np.zeros(len(r.ids), np.float32) for r in batch], distillation=1.0)
    assert update.averages["mismatch"] < 1e-8


# -- the anchor


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8}])
def test_the_anchor_is_the_divergence_from_the_start(folder, lora) -> None:
    if lora:
        pytest.importorskip("peft")
    e = learner(folder, model={"lora": lora}, loss={"kl_anchor": 0.3})
    start = copy.deepcopy(e.policy.model)
    disturb(e)
    rollouts = e.policy.sample(TASKS, 2, seed=0, temperature=1.0)
    none = [np.zeros(len(r.ids), np.float32) for r in rollouts]
    update = e.backward(rollouts, [], none, distillation=1.0)  # nothing to learn from, and yet held
    tokens = sum(len(r.ids) for r in rollouts)
    plain = copy.deepcopy(e.policy.model)
    plain.zero_grad()
    total = torch.zeros(())
    for r in rollouts:
        logp, before = logp_of(plain, r), logp_of(start, r).detach()
        total = total + 0.3 * (logp.exp() * (logp - before)).sum() / tokens
    total.backward()
    assert update.averages["loss"] == pytest.approx(total.item(), rel=1e-4)
    assert update.averages["kl_to_start"] == pytest.approx(total.item() / 0.3, rel=1e-4)
    found = {n: p.grad for n, p in e.policy.model.named_parameters() if p.requires_grad}
    for name, p in plain.named_parameters():
        if p.requires_grad:
            torch.testing.assert_close(found[name], p.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_the_anchor_acts(folder) -> None:
    """Descending on the anchor alone brings a disturbed policy back to where it was."""
    e = learner(folder, loss={"kl_anchor": 1.0}, optimiser={"lr": 3e-3})
    disturb(e)
    seen = []
    for step in range(12):
        rollouts = e.policy.sample(TASKS, 4, seed=step, temperature=1.0)
        none = [np.zeros(len(r.ids), np.float32) for r in rollouts]
        seen.append(e.learn(rollouts, [], none, distillation=1.0).averages["kl_to_start"])
    assert seen[-1] < 0.3 * seen[0]


# -- routing


def test_right_answers_go_to_the_reward_and_taught_ones_to_the_teacher(folder) -> None:
    e = learner(folder)
    rollouts = e.policy.sample(TASKS, 2, seed=0, temperature=1.0)
    verdicts = [Verdict(1.0), Verdict(0.0), Verdict(0.0), Verdict.unscored("?")]
    rollouts = [replace(r, verdict=v) for r, v in zip(rollouts, verdicts, strict=True)]
    views = [TeacherView(i, r.prompt_ids, np.ones(len(r.ids), np.float32)) for i, r in enumerate(rollouts) if i != 2]
    method = SDPO(distillation=0.5, blend="route")
    kept = method.routed(rollouts, Lesson([Appraisal()] * 4, [], views, {}, ())).views
    assert [v.rollout for v in kept] == [1, 3]
    lesson = Lesson([Appraisal()] * 4, [], kept, {}, ())
    config = parse(RunConfig, {"method": method, "sampling": {"responses_per_prompt": 4}}, "test")
    credit = method.credit(rollouts, lesson, Classroom(config, None, None, np.random.default_rng(0)))
    assert [bool(a.any()) for a in credit] == [True, False, True, False]


@pytest.mark.slow
def test_a_run_that_routes_and_holds(tmp_path) -> None:
    values = {
        "sampling": {"prompts_per_step": 4, "responses_per_prompt": 4},
        "method": {"type": "sdpo", "distillation": 0.5, "blend": "route"},
        "loss": {"kl_anchor": 0.01, "importance_cap": 2.0},
        "optimiser": {"steps": 2},
        "eval": {"prompts": 2, "samples": 1},
    }
    train(parse(RunConfig, values, "test"), tmp_path / "run")
    steps = [m for m in RunDirectory(tmp_path / "run").metrics() if "loss" in m]
    assert len(steps) == 2 and all(m["mismatch"] < 1e-6 for m in steps)
    assert steps[0]["kl_to_start"] == pytest.approx(0, abs=1e-9) and steps[1]["kl_to_start"] > 0


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"method": {"type": "sdpo", "blend": "route"}}, "gives|give both"),
        ({"loss": {"kl_anchor": 0.1}, "affect": {"weight": {"teacher_beta": 1.0}}}, "kl_anchor"),
        ({"loss": {"importance_cap": 0.5}}, "importance_cap"),
    ],
)
def test_what_does_not_go_together_is_refused(values: dict, word: str) -> None:
    with pytest.raises(FrownError, match=word):
        parse(RunConfig, values, "test")
