"""SFT and RFT raise the likelihood of what they should, against a plain mean of log-probabilities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from frown.config import RunConfig, parse
from frown.errors import FrownError
from frown.methods import RFT, SFT
from frown.methods.base import Classroom, likelihood_credit
from frown.store.rollouts import read_rollouts
from frown.store.run_directory import RunDirectory
from frown.tasks.load import load_environment
from frown.tasks.rollouts import demonstrations, judge
from frown.training.run import train
from frown.types import Verdict
from learning import parsed

SETTINGS = {"model": {"path": "lab:chains-0"}, "task": {"kind": "lab:chains"}, "sampling": {"max_new_tokens": 48}}


@pytest.fixture(scope="module")
def lab():
    learner = parsed(SETTINGS | {"method": "rft"})
    environment = load_environment(learner.config.task)
    tasks = environment.train_tasks(np.random.default_rng(0), 6)
    return learner, environment, tasks


def gradient_of_mean_logp(model, answers) -> list[torch.Tensor]:
    """Of the mean over all tokens of the answers of -log pi(token), by plain forward passes."""
    model.zero_grad(set_to_none=True)
    total, tokens = 0.0, 0
    for r in answers:
        ids = torch.tensor(np.concatenate([r.prompt_ids, r.ids]))[None]
        logp = model(input_ids=ids).logits[0, len(r.prompt_ids) - 1 : -1].log_softmax(-1)
        total = total - logp.gather(1, torch.tensor(r.ids)[:, None]).sum()
        tokens += len(r.ids)
    (total / tokens).backward()
    return [p.grad.clone() for p in model.parameters()]


def assert_gradient(learner, answers, credit, chosen):
    expected = gradient_of_mean_logp(learner.policy.model, chosen)
    learner.policy.model.zero_grad(set_to_none=True)
    update = learner.backward(answers, [], credit, distillation=0.0)
    assert all(np.isfinite(v) for v in update.averages.values())
    for p, gradient in zip(learner.policy.model.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, gradient, atol=2e-6, rtol=2e-3)
    learner.policy.model.zero_grad(set_to_none=True)


def test_sft_descends_the_mean_negative_log_likelihood_of_the_solutions(lab):
    learner, environment, tasks = lab
    answers = demonstrations(tasks, environment, learner.policy)
    assert [r.text for r in answers] == [t.solution for t in tasks]
    assert all(r.verdict.right and r.demonstrated and r.ids[-1] in learner.policy.eos_ids for r in answers)
    credit = SFT().credit(answers, None, None)
    assert_gradient(learner, answers, credit, answers)


def test_rft_learns_from_distinct_right_answers_alone(lab):
    learner, environment, tasks = lab
    answers = judge(learner.policy.sample(tasks, 8, seed=3, temperature=1.0), environment, learner.policy)
    room = Classroom(learner.config, environment, learner.policy, np.random.default_rng(0))
    credit = RFT().credit(answers, None, room)
    distinct = list({(r.group, r.text): r for r in answers if r.verdict.right}.values())
    right = [r for r in answers if r.verdict.right]
    assert 0 < len(distinct) < len(right) < len(answers)  # all three cases are there
    assert_gradient(learner, answers, credit, distinct)


def test_without_a_right_answer_nothing_is_learnt(lab):
    learner, _, tasks = lab
    wrong = Verdict(score=0.0, scored=True, message="", well_formed=True)
    answers = [
        replace(r, verdict=v)
        for r, v in zip(
            learner.policy.sample(tasks[:2], 1, seed=0, temperature=1.0), [wrong, Verdict.unscored("why")], strict=True
        )
    ]
    credit = RFT().credit(answers, None, None)
    assert not any(a.any() for a in credit) and [len(a) for a in credit] == [len(r.ids) for r in answers]
    assert likelihood_credit([], ()) == []


def test_prompts_without_a_solution_are_left_out_and_none_at_all_is_an_error(lab):
    learner, environment, tasks = lab
    bare = [replace(t, solution=None) for t in tasks]
    assert len(demonstrations([*tasks[:2], *bare[2:]], environment, learner.policy)) == 2
    with pytest.raises(FrownError, match="none of 6 prompts has a worked solution"):
        demonstrations(bare, environment, learner.policy)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"sampling": {"responses_per_prompt": 4}}, "one worked solution"),
        ({"practice": {"candidates": 2}}, "samples no answers to choose"),
        ({"sampling": {"temperature": 0.7}}, "temperature 1"),
        ({"loss": {"importance_cap": 2.0}}, "no sampler to correct"),
    ],
)
def test_settings_that_only_samples_have_a_use_for_are_refused(more, why):
    with pytest.raises(FrownError, match=why):
        parse(RunConfig, {"method": "sft", **more}, "test")


@pytest.mark.slow
def test_a_run_of_solutions_learns_and_is_read_again(tmp_path):
    config = parse(
        RunConfig,
        SETTINGS | {
            "method": "sft",
            "sampling": {"prompts_per_step": 16, "max_new_tokens": 48},
            "optimiser": {"steps": 8, "lr": 1e-3},
            "eval": {"prompts": 4, "samples": 2},
        },
        "test",
    )  # fmt: skip
    train(config, tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    steps = [m for m in run.metrics() if "loss" in m]
    assert steps[-1]["surprisal"] < steps[0]["surprisal"] and steps[-1]["train_tokens"] == 0
    assert all(m["doubt"] is None and m["without_solution"] == 0 for m in steps)
    with read_rollouts(tmp_path / "run" / "rollouts" / "step=000001.parquet") as records:
        assert all(np.isnan(r.rollout.logp).all() and r.unknown == {"logp"} for r in records)
