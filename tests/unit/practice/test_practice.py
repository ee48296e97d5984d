"""What is practised: which prompts, how difficult, and what is replayed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frown.config import PracticeConfig, RunConfig, parse
from frown.errors import FrownError
from frown.lab.environment import LabEnvironment
from frown.losses.advantages import tail_advantages
from frown.methods.base import Classroom, Lesson
from frown.practice import prompts as curriculum
from frown.practice.difficulty import Candidate, Difficulty, worth
from frown.practice.replay import ReplayItem, draw, remember, unresolved
from frown.store.run_directory import RunDirectory
from frown.training.run import train
from frown.types import Appraisal, Rollout, Signals, Task, TeacherView, Verdict

TASK = Task("t", ({"role": "user", "content": "q"},), "a")


def rollout(group=0, score=1.0, surprisal=(1.0, 1.0)) -> Rollout:
    s = np.array(surprisal, np.float32)
    return Rollout(TASK, group, np.arange(2), np.arange(len(s)), -s, 1.0, "eos", "", verdict=Verdict(score))


def view(*weight):
    return TeacherView(0, np.arange(3), np.array(weight, np.float32))


# -- OPSA ----------------------------------------------------------------------------------------------------------


def test_the_tail_is_pushed_down_harder_where_entropy_is_high():
    logp, entropy = np.log([0.9, 0.1, 0.8, 0.2, 0.7]), np.array([0.1, 2.0, 0.2, 1.0, 0.3])
    np.testing.assert_allclose(tail_advantages(logp, entropy, 0.4), [0, -1.0, 0, -0.5, 0])
    np.testing.assert_allclose(tail_advantages(logp, np.ones(5), 0.4), [0, -0.5, 0, -0.5, 0])
    assert tail_advantages([], []).shape == (0,)
    with pytest.raises(ValueError, match="share"):
        tail_advantages(logp, entropy, 0.0)


@given(st.lists(st.tuples(st.floats(-9, 0), st.floats(0, 3)), min_size=1, max_size=30))
def test_a_fifth_of_the_tokens_are_pushed_and_none_is_pulled(rows):
    logp, entropy = np.array(rows).T
    a = tail_advantages(logp, entropy)
    assert (a <= 0).all() and (a >= -1).all() and (a < 0).sum() == np.ceil(len(rows) / 5)
    assert logp[a < 0].max() <= logp[a == 0].min(initial=np.inf)


# -- which prompts -------------------------------------------------------------------------------------------------


def test_success_alone_is_the_control_of_learnable_doubt():
    half, sure = Candidate(4, 8, 0.5), Candidate(8, 8, 5.0)
    by_success, by_both = worth([half, sure], "success"), worth([half, sure], "learnable")
    assert by_success[0] == pytest.approx(0.5) and by_success[0] > by_success[1]
    np.testing.assert_allclose(by_both, by_success * [0.5, 5.0])


def test_whole_groups_are_learnt_from_and_those_worth_most():
    answers = [rollout(g, float(k < right)) for g, right in enumerate([4, 2, 0, 1]) for k in range(4)]
    settings = {"sampling": {"prompts_per_step": 2}, "practice": {"choose": "success", "candidates": 2}}
    chosen = curriculum.select(answers, parse(RunConfig, settings, "test"), np.random.default_rng(0))
    assert [r.group for r in chosen] == [1] * 4 + [3] * 4
    assert curriculum.select(answers, parse(RunConfig, {}, "test"), np.random.default_rng(0)) == answers


# -- how difficult -------------------------------------------------------------------------------------------------


def test_difficulty_follows_success_and_doubt_tempers_it():
    lab = LabEnvironment("chains", 5)
    flow = curriculum.flow_of(PracticeConfig(difficulty="flow"), lab)
    at = Difficulty(flow.start)
    assert (at.level, flow.least, flow.most) == (2.0, 2, 15)
    right, calm, doubtful = [rollout()] * 4, [Appraisal(step_doubt=(0.1,))] * 4, [Appraisal(step_doubt=(2.0,))] * 4
    for _ in range(2):
        at = curriculum.progress(at, flow, right, calm)
    assert at.level == 3.0
    unsure = Difficulty(3.0)
    for _ in range(4):
        unsure = curriculum.progress(unsure, flow, right, doubtful)
    assert unsure.level == 3.0  # right but unsure stays
    success_alone = curriculum.flow_of(PracticeConfig(difficulty="flow", use_doubt=False), lab)
    at = Difficulty(success_alone.start)
    for _ in range(2):
        at = curriculum.progress(at, success_alone, right, doubtful)
    assert at.level == 3.0
    config = parse(RunConfig, {"sampling": {"prompts_per_step": 3}, "practice": {"candidates": 2}}, "test")
    tasks = curriculum.draw(lab, config, np.random.default_rng(0), Difficulty(7.0))
    assert len(tasks) == 6 and all(t.data["steps"] == 7 for t in tasks)


def test_a_level_that_does_not_exist_is_named():
    with pytest.raises(FrownError, match="levels 2 to 15"):
        curriculum.flow_of(PracticeConfig(difficulty="flow", start=1), LabEnvironment("chains", 5))


@pytest.mark.slow
def test_the_levels_of_a_reasoning_gym_curriculum():
    pytest.importorskip("reasoning_gym")
    from frown.tasks.gym import GymEnvironment

    env = GymEnvironment("chain_sum", workers=1)
    try:
        assert len(env.levels) > 2
        rng = np.random.default_rng(0)
        easy, hard = (env.train_tasks(rng, 8, level=n) for n in (0, env.levels[-1]))
        assert np.mean([len(t.question) for t in hard]) > np.mean([len(t.question) for t in easy])
        assert all(v.right for v in env.verify(hard, [f"<answer>{t.answer}</answer>" for t in hard]))
    finally:
        env.close()


# -- what is replayed ---------------------------------------------------------------------------------------------


def test_what_is_left_to_learn_is_the_weighted_mean_divergence():
    assert unresolved(view(1, 0, 3), np.array([0.4, 9.0, 0.2])) == pytest.approx((0.4 + 0.6) / 4)
    assert unresolved(view(1, 1), np.array([np.nan, 0.5])) == pytest.approx(0.5)
    assert unresolved(view(1), np.array([np.nan])) == 0.0


def test_unresolved_lessons_are_replayed_in_proportion():
    kept = [ReplayItem(rollout(), view(1), left) for left in (0.0, 1.0, 3.0)]
    rng = np.random.default_rng(0)

    def choose(items, n, by, rng):
        return draw(items, PracticeConfig(replay=n, replay_by=by), rng)

    drawn = np.bincount([choose(kept, 1, "unresolved", rng)[0] for _ in range(4000)], minlength=3)
    assert drawn[0] == 0 and abs(drawn[2] - 3000) < 5 * np.sqrt(4000 * 3 / 16)
    assert choose(kept, 3, "unresolved", rng) == [0, 1, 2]  # a resolved one comes last, not never
    even = np.bincount([i for _ in range(3000) for i in choose(kept, 2, "uniform", rng)], minlength=3)
    assert abs(even - 2000).max() < 5 * np.sqrt(3000 * 2 / 9)
    assert choose([], 5, "uniform", rng) == []


def test_replayed_lessons_are_rated_anew_and_new_ones_join():
    old = (ReplayItem(rollout(), view(1), 1.0), ReplayItem(rollout(), view(1), 2.0))
    fresh = rollout(3)
    after = remember(old, [1], [fresh], [view(1, 1)], [np.array([0.1, 0.3]), np.array([0.5])])
    assert [k.unresolved for k in after] == pytest.approx([1.0, 0.5, 0.2]) and after[2].rollout.group == fresh.group


# -- the policy gradient -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("control", ["off", "shuffled_spans"])
def test_advantages_weighted_by_affect_keep_their_mean_size(control):
    def settings(**weight):
        values = {"method": "grpo", "sampling": {"responses_per_prompt": 2}}
        return parse(RunConfig, {**values, "affect": {"weight": weight, "control": control}}, "test")

    entropy = np.array([0.1, 2.0, 0.1], np.float32)
    two = [replace(rollout(), ids=np.arange(3), logp=-entropy, signals=Signals({"entropy": entropy})) for _ in range(2)]
    two = [replace(r, verdict=Verdict(score)) for r, score in zip(two, (1.0, 0.0), strict=True)]
    lesson, rng = Lesson([Appraisal()] * 2, [], [], {}, ()), np.random.default_rng(0)

    def advantages(config):
        return config.method.credit(two, lesson, Classroom(config, None, None, rng))

    plain = advantages(settings())
    np.testing.assert_allclose(plain, [[0.5] * 3, [-0.5] * 3])
    found = advantages(settings(by="signal", strength=4.0))
    factors = np.array(found) / np.array(plain)
    assert factors.mean() == pytest.approx(1.0, rel=1e-6)
    expected = 1 + 4 * entropy / entropy.mean()
    expected /= expected.mean()
    if control == "off":
        np.testing.assert_allclose(factors, [expected] * 2, rtol=1e-6)
    else:
        np.testing.assert_allclose(np.sort(factors), np.sort([expected] * 2), rtol=1e-6)


# -- a run ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_counts_candidates_replays_and_rises(tmp_path):
    config = parse(
        RunConfig,
        {
            "model": {"path": "lab:chains-0"},
            "task": {"kind": "lab:chains"},
            "sampling": {"prompts_per_step": 4, "responses_per_prompt": 2, "max_new_tokens": 96},
            "method": {"type": "aimed", "anchor": 0.0},
            "practice": {"candidates": 2, "choose": "learnable", "replay": 5, "difficulty": "flow", "start": 2},
            "optimiser": {"steps": 4},
            "eval": {"every": 4, "prompts": 4, "samples": 2},
        },
        "test",
    )
    train(config, tmp_path / "run")
    lines = [m for m in RunDirectory(tmp_path / "run").metrics() if "loss" in m]
    assert [m["train_rollouts"] for m in lines] == [16, 32, 48, 64]
    assert [m["replayed"] for m in lines] == [0, 5, 5, 5]
    assert lines[0]["level"] == 2.0 and all(2.0 <= m["level"] <= 15.0 for m in lines)
    assert replace(rollout(), group=1).group == 1


@pytest.mark.slow
def test_an_affect_reward_and_tail_suppression_train_without_a_teacher(tmp_path):
    for name, changes in (("reward", {"affect": {"reward": 0.5}}), ("tail", {"method": "opsa"})):
        values = {
            "model": {"path": "lab:chains-0"},
            "task": {"kind": "lab:chains"},
            "sampling": {"prompts_per_step": 2, "responses_per_prompt": 4, "max_new_tokens": 48},
            "optimiser": {"steps": 2},
            "eval": {"every": 2, "prompts": 2, "samples": 2},
        }
        train(parse(RunConfig, {"method": "grpo"} | values | changes, "test"), tmp_path / name)
        lines = [m for m in RunDirectory(tmp_path / name).metrics() if "loss" in m]
        assert all(m["views"] == 0 and m["grad_norm"] > 0 for m in lines)
