"""Whose weights the teacher has: under LoRA a running mean is that of the weights; a trust region is the mixture."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from families import family_model
from frown.config import TeacherConfig
from frown.learner.learner import Learner
from frown.policy.text import prompt_ids
from frown.teacher.weights import Teacher, merged_weights
from frown.types import Task, TeacherView
from learning import parsed
from tiny import byte_model

RATE, STEPS = 0.05, 10
LORA = {"rank": 4, "alpha": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return byte_model(tmp_path_factory.mktemp("model"))


def learner(folder, **changes) -> Learner:
    values = {"model": {"path": str(folder), **changes.pop("model", {})}, "task": {"kind": "exact"}, **changes}
    return parsed(values)


def wander(parameters, seed=0):
    """Weights on their way, with no need of a loss: every step adds a small random update."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in parameters:
            p += 0.02 * torch.randn(p.shape, generator=g)


def test_under_lora_the_running_mean_is_that_of_full_weights_from_the_first_step(folder):
    """The same path of merged weights, once with adapters and once as an ordinary model: the same teacher."""
    pytest.importorskip("peft")
    adapted = learner(folder, model={"lora": LORA}, teacher={"weights": "ema", "ema_rate": RATE})
    full = copy.deepcopy(learner(folder, teacher={"weights": "live"}).policy.model)
    start = {name: p.detach().clone() for name, p in full.named_parameters()}
    teacher = Teacher(full, TeacherConfig(weights="ema", ema_rate=RATE))
    for step in range(STEPS):
        wander(adapted.parameters, step)
        merged = dict(merged_weights(adapted.policy.model))
        with torch.no_grad():
            for name, p in full.named_parameters():
                p.copy_(merged[name])
        adapted.teacher.update()
        teacher.update()
        with adapted.teacher.model() as ours, teacher.model() as theirs:
            for (name, a), (other, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
                assert name == other
                torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)
            moved = sum(float((a - start[name]).abs().sum()) for name, a in ours.named_parameters())
            assert moved > 0


def test_a_running_mean_of_a_student_that_stays_comes_at_the_rate_it_says(folder):
    """A student that jumps once: after n steps the teacher has 1 - (1 - rate)^n of its delta, 40 % at step 10."""
    pytest.importorskip("peft")
    e = learner(folder, model={"lora": LORA}, teacher={"weights": "ema", "ema_rate": RATE})
    start = {n: p.detach().clone() for n, p in merged_weights(e.policy.model)}
    wander(e.parameters)
    end = dict(merged_weights(e.policy.model))
    for _ in range(STEPS):
        e.teacher.update()
    with e.teacher.model() as teacher:
        share = _share(dict(teacher.named_parameters()), start, end)
    assert share == pytest.approx(1 - (1 - RATE) ** STEPS, abs=1e-4) == pytest.approx(0.40, abs=0.005)


def test_trl_averages_the_factors_from_zero_and_has_16_percent(folder):
    """What TRL 1.16 does with the same student: its shadow factors start at zero and are averaged one by one, so their
    product has (1 - (1 - rate)^n)^2 of the delta."""
    pytest.importorskip("peft")
    sync = pytest.importorskip("trl.experimental.sdpo.teacher_sync")
    from types import SimpleNamespace

    e = learner(folder, model={"lora": LORA}, teacher={"weights": "live"})
    start = {n: p.detach().clone() for n, p in merged_weights(e.policy.model)}
    shadow = sync.PEFTAdapterEMACallback(e.policy.model, "teacher", update_rate=RATE)
    shadow.on_train_begin(None, None, None)
    wander([p for n, p in e.policy.model.named_parameters() if "lora_" in n and ".default." in n])
    end = {n: p.detach().clone() for n, p in merged_weights(e.policy.model)}
    for step in range(1, STEPS + 1):
        shadow.on_step_end(None, SimpleNamespace(global_step=step), None)
    e.policy.model.set_adapter("teacher")
    theirs = dict(merged_weights(e.policy.model))
    share = _share(theirs, start, end)
    assert share == pytest.approx((1 - (1 - RATE) ** STEPS) ** 2, abs=0.02) == pytest.approx(0.16, abs=0.02)


def _share(teacher, start, end) -> float:
    """How much of the way from start to end the teacher has gone: least squares over all weights."""
    names = [n for n in end if not torch.equal(start[n], end[n])]
    assert names
    way = torch.cat([(end[n] - start[n]).flatten() for n in names]).double()
    gone = torch.cat([(teacher[n].detach() - start[n]).flatten() for n in names]).double()
    return float((way @ gone / (way @ way)).detach())


# -- trust region --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("family", ["qwen3", "gemma2"])
def test_a_trust_region_teacher_is_the_geometric_mixture(family, lora, tmp_path):
    """Against plain forward passes: the normalised (1 - a) log q_start + a log q_student, on the teacher's context."""
    if lora:
        pytest.importorskip("peft")
    a = 0.3
    folder = family_model(family, tmp_path / "model")
    e = learner(folder, model={"lora": lora}, teacher={"weights": "trust_region", "student_share": a})
    start = learner(folder, teacher={"weights": "live"}).policy.model
    wander(e.parameters)
    task = Task("t", ({"role": "user", "content": "How many?"},), "")
    rollouts = e.policy.sample([task], 3, seed=0, temperature=1.0)
    context = prompt_ids(e.policy.tokenizer, [{"role": "user", "content": "How many? It is 42."}])
    views = [TeacherView(i, context, np.ones(len(r.ids), np.float32)) for i, r in enumerate(rollouts)]
    for r, read in zip(rollouts, e.score(rollouts, views), strict=True):
        ids = torch.tensor(np.concatenate([context, r.ids]))[None]
        with torch.no_grad():
            log_q = [
                m(input_ids=ids).logits[0, len(context) - 1 : -1].double().log_softmax(-1)
                for m in (start, e.policy.model)
            ]
        mixture = ((1 - a) * log_q[0] + a * log_q[1]).log_softmax(-1)
        np.testing.assert_allclose(read["teacher_entropy"], -(mixture.exp() * mixture).sum(-1), atol=1e-4)
        taken = mixture.gather(1, torch.tensor(r.ids)[:, None])[:, 0]
        np.testing.assert_allclose(read["teacher_logp"], taken, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("share", "same"), [(0.0, "frozen"), (1.0, "live")])
def test_the_ends_of_a_trust_region_are_the_frozen_and_the_live_teacher(folder, share, same):
    found = []
    for teacher in ({"weights": "trust_region", "student_share": share}, {"weights": same}):
        e = learner(folder, teacher=teacher)
        wander(e.parameters)
        task = Task("t", ({"role": "user", "content": "Hi"},), "")
        rollouts = e.policy.sample([task], 2, seed=0, temperature=1.0)
        context = prompt_ids(e.policy.tokenizer, [{"role": "user", "content": "It is 42."}])
        views = [TeacherView(i, context, np.ones(len(r.ids), np.float32)) for i, r in enumerate(rollouts)]
        update = e.backward(rollouts, views, [np.zeros(len(r.ids), np.float32) for r in rollouts], distillation=1.0)
        found.append((update.averages["loss"], [p.grad.clone() for p in e.parameters]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    for a, b in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(a, b, atol=1e-7, rtol=1e-4)
