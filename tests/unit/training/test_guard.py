"""The guard: what it trips on, what is done then, and that a lab run which collapses without it is held by it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from frown.config import GuardConfig, RunConfig, load
from frown.errors import FrownError, NotFinite
from frown.learner.learner import Learner
from frown.store.run_directory import RunDirectory
from frown.training.guard import Guard, Trip, bounds, watch
from frown.training.record import flat_groups, repetition
from frown.training.run import train
from kill_loop import differences
from learning import learner_of
from small_run import stop_in

pytestmark = pytest.mark.slow

HEALTHY = {"length": 30.0, "policy_entropy": 0.4, "repetition": 0.1, "truncated": 0.0, "flat_groups": 0.3,
           "well_formed": 0.98}  # fmt: skip


def after(lines, config: GuardConfig | None = None) -> tuple[Guard, list[tuple[int, Trip]]]:
    """The guard after some steps, and what tripped at which."""
    config = config or GuardConfig()
    guard, trips = Guard(), []
    for step, line in enumerate(lines, 1):
        guard, fresh = watch(guard, step, line, config)
        trips += [(step, t) for t in fresh]
        guard = TypeAdapter(Guard).validate_python(json.loads(json.dumps(guard.state())))  # it survives a checkpoint
    return guard, trips


@pytest.mark.parametrize(
    ("canary", "value", "limit"),
    [
        ("length", 10.0, 15.0),
        ("length", 90.0, 60.0),
        ("policy_entropy", 0.001, 0.004),
        ("policy_entropy", 3.0, 2.0),
        ("repetition", 0.5, 0.3),
        ("truncated", 0.5, 0.2),
        ("flat_groups", 0.9, 0.8),
        ("well_formed", 0.5, 0.78),
    ],
)
def test_each_canary_trips_by_its_mean_over_the_window_and_says_which_and_since_when(canary, value, limit):
    guard, trips = after([HEALTHY] * 4 + [HEALTHY | {canary: value}] * 4)
    assert guard.start == HEALTHY
    assert [(t.canary, t.since) for _, t in trips] == [(canary, trips[0][0] - 2)] and 5 <= trips[0][0] <= 7
    trip = trips[0][1]
    assert trip.limit == pytest.approx(limit)
    assert (trip.value > trip.limit) == (value > limit)
    assert f"{trip.value:.3g}" in trip.sentence and f"since step {trip.since}" in trip.sentence
    for off in (None, canary):
        name = {"policy_entropy": "entropy"}.get(canary, canary)
        config = GuardConfig(**{name: None}) if off else GuardConfig(window=9)
        assert after([HEALTHY] * 4 + [HEALTHY | {canary: value}] * 4, config)[1] == []


def test_a_canary_trips_once_until_it_has_come_back():
    bad = HEALTHY | {"truncated": 1.0}
    _, trips = after([HEALTHY, *[bad] * 6, *[HEALTHY] * 4, *[bad] * 3])
    assert [step for step, _ in trips] == [3, 12]


def test_what_is_not_measured_does_not_trip():
    assert after([{"length": 30.0, "policy_entropy": None}] * 5)[1] == []
    assert after([HEALTHY] * 3 + [{}] * 5)[1] == []


def test_accuracy_on_the_dev_split_is_held_against_its_best():
    lines = [HEALTHY | {"dev_accuracy": a} for a in (0.3, None, 0.6, 0.52, 0.4, 0.3, 0.7, 0.5)]
    guard, trips = after(lines)
    assert [(s, t.canary, t.limit) for s, t in trips] == [(5, "dev_accuracy", 0.5), (8, "dev_accuracy", 0.6)]
    assert guard.best == 0.7


def test_kl_is_watched_where_it_is_asked_for():
    lines = [HEALTHY | {"kl_to_start": 0.1 * i} for i in range(9)]
    assert after(lines)[1] == []
    (step, trip), = after(lines, GuardConfig(kl=0.25))[1]  # fmt: skip
    assert (step, trip.canary, trip.limit) == (5, "kl_to_start", 0.25)


@given(st.lists(st.fixed_dictionaries({n: st.floats(0, 100) for n in HEALTHY}), max_size=12), st.integers(1, 4))
def test_a_trip_is_always_beyond_its_limit_and_no_run_trips_before_the_window_is_full(lines, window):
    config = GuardConfig(window=window)
    guard, trips = after(lines, config)
    for step, trip in trips:
        assert step >= window and trip.since == step - window + 1
        low, high = bounds(lines[0], config)[trip.canary]
        assert trip.limit in (low, high) and not low <= trip.value <= high
    assert len(guard.recent) == min(window, len(lines))


def test_cuts_and_rollbacks_halve_what_they_change():
    assert (Guard().distillation_factor, Guard().lr_factor) == (1.0, 1.0)
    guard, method = Guard(cuts=2, rollbacks=1), load(RunConfig, None, []).method
    assert (method.scaled(guard.distillation_factor).share, guard.lr_factor) == (0.25, 0.5)
    assert method.scaled(1.0) is method and method.share == 1.0


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (['guard.actions=["cut"]', "method=grpo"], "a method that has a teacher"),
        (['guard.actions=["freeze"]', "teacher.weights=frozen"], "a teacher that moves"),
        (['guard.actions=["cut"]', "sampling.responses_per_prompt=1", "method=opsd"], "2 or more"),
        (['guard.actions=["rollback"]', "checkpoint.keep=1"], "raise checkpoint.keep"),
    ],
)
def test_an_action_that_could_do_nothing_is_refused(overrides, said):
    with pytest.raises(FrownError, match=said):
        load(RunConfig, None, overrides)


# -- what it reads -------------------------------------------------------------------------------------------------


def test_repetition_is_the_share_of_4_grams_seen_before():
    assert repetition([1, 2, 3, 4, 5, 6]) == 0.0
    assert repetition([7] * 10) == pytest.approx(6 / 7)
    assert repetition([1, 2, 3, 4, 1, 2, 3, 4]) == pytest.approx(1 / 5)
    assert repetition([1, 2]) == 0.0


def test_flat_groups_are_those_that_teach_nothing_and_are_not_mastered():
    nan = math.nan
    found = flat_groups([np.array(s) for s in ([0, 0.0], [1, 1.0], [0, 1.0], [0, nan, 0.0], [nan, 0.0])])
    assert found == pytest.approx(2 / 4)
    assert flat_groups([np.array([nan, 1.0])]) is None


@pytest.mark.parametrize("lora", [False, True])
def test_the_divergence_from_the_start_is_measured(lora):
    """Against log-probabilities of whole forward passes: 0 before training, and right after the weights have moved."""
    if lora:
        pytest.importorskip("peft")
    extra = ["model.lora.rank=2"] if lora else []
    learner = learner_of(load(RunConfig, None, ["guard.kl=1.0", "micro_batch_tokens=200", *extra]))
    from frown.lab.environment import LabEnvironment

    tasks = LabEnvironment("chains").test_tasks("dev", 3)
    answers = learner.policy.sample(tasks, 4, seed=0, temperature=1.0)
    assert learner.kl_to_start(answers) == pytest.approx(0.0, abs=1e-9)

    def logp(rollout):
        ids = torch.as_tensor(np.concatenate([rollout.prompt_ids, rollout.ids]))[None]
        with torch.no_grad():
            found = torch.log_softmax(learner.policy.model(input_ids=ids).logits[0].double(), -1)
        at = torch.arange(len(rollout.prompt_ids) - 1, ids.shape[1] - 1)
        return found[at, ids[0, at + 1]].numpy()

    answers_before = [logp(r) for r in answers]
    with torch.no_grad():
        for p in learner.parameters:
            p.add_(0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    moved = learner.policy.sample(tasks, 4, seed=1, temperature=1.0)
    policy = np.concatenate([logp(r) for r in moved])
    with torch.no_grad():
        for p in learner.parameters:
            p.sub_(0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    assert np.abs(np.concatenate([logp(r) for r in answers]) - np.concatenate(answers_before)).max() < 1e-4
    ratio = np.concatenate([logp(r) for r in moved]) - policy
    k3 = float(np.mean(np.expm1(ratio) - ratio))
    assert learner.kl_to_start(moved) == pytest.approx(k3, rel=1e-3) and k3 > 0.001


# -- what is done --------------------------------------------------------------------------------------------------

COLLAPSES = (
    "sampling.prompts_per_step=4", "sampling.responses_per_prompt=4", "sampling.max_new_tokens=48",
    "teacher.weights=live", "optimiser.lr=5e-3", "optimiser.steps=8", "eval.every=8", "eval.prompts=4",
    "eval.samples=2", "checkpoint.every=2", "checkpoint.keep=3", "guard.window=2",
)  # fmt: skip


HOPELESS = ("guard.rollbacks=2", "guard.length=[1.5, 2.0]")
"""A limit beyond which every run is from the beginning."""


def collapse(folder, action: str, *overrides: str, resume: bool = False) -> tuple[RunDirectory, list[dict]]:
    train(
        load(RunConfig, None, [*COLLAPSES, f"guard.actions={json.dumps(action.split())}", *overrides]),
        folder,
        resume=resume,
    )
    run = RunDirectory(folder)
    return run, [m for m in run.metrics() if "guard" in m]


def test_a_collapse_is_warned_of(tmp_path):
    _, lines = collapse(tmp_path / "run", "")
    assert lines and all(m["warning"].startswith("guard: ") and m["step"] == m["at"] for m in lines)
    assert len({m["guard"] for m in lines}) == len(lines)


def test_a_cut_mixes_the_policy_gradient_in(tmp_path):
    _, lines = collapse(tmp_path / "run", "cut")
    assert "distillation now weighs 0.5" in lines[0]["warning"]


def test_a_frozen_teacher_stays_and_is_in_the_checkpoint(tmp_path, monkeypatch):
    run, lines = collapse(tmp_path / "whole", "freeze")
    assert "the teacher stays as it is now" in lines[0]["warning"]
    held = sorted((run.path / "checkpoints").glob("*/teacher.safetensors"))
    assert len(held) >= 2 and len({f.read_bytes() for f in held}) == 1  # a live teacher has no weights of its own
    with monkeypatch.context() as patch:
        stop_in(patch, 7)
        with pytest.raises(KeyboardInterrupt):
            collapse(tmp_path / "again", "freeze")
    collapse(tmp_path / "again", "freeze", resume=True)
    assert differences(tmp_path / "whole", tmp_path / "again") == []


def test_a_rollback_goes_on_from_before_the_trip_with_half_the_rate_and_stops_in_the_end(tmp_path, monkeypatch):
    """And with a teacher frozen as it was at that checkpoint."""
    with pytest.raises(FrownError, match="after 2 rollbacks; lower optimiser.lr"):
        collapse(tmp_path / "whole", "rollback freeze", *HOPELESS)
    run = RunDirectory(tmp_path / "whole")
    assert run.status[0] == "failed"
    lines = [m for m in run.metrics() if "guard" in m]
    assert all(m["step"] < m["since"] <= m["at"] for m in lines)
    assert "the learning rate is now 0.0025" in lines[0]["warning"]
    steps = [m["step"] for m in run.metrics() if "loss" in m]
    assert steps == sorted(set(steps))  # what was undone is not in the metrics twice
    with monkeypatch.context() as patch:  # a kill after a rollback
        seen: list[int] = []
        log = RunDirectory.log

        def stopped(self, metrics):
            log(self, metrics)
            seen.append(1)
            if "guard" in metrics:
                raise KeyboardInterrupt

        patch.setattr(RunDirectory, "log", stopped)
        with pytest.raises(KeyboardInterrupt):
            collapse(tmp_path / "again", "rollback freeze", *HOPELESS)
    with pytest.raises(FrownError, match="after 2 rollbacks"):
        collapse(tmp_path / "again", "rollback freeze", *HOPELESS, resume=True)
    assert differences(tmp_path / "whole", tmp_path / "again") == []


def test_what_is_not_finite_is_rolled_back(tmp_path, monkeypatch):
    original, failed = Learner.learn, []

    def learn(self, *arguments, **settings):
        if self.policy.steps_taken == 3 and not failed:
            failed.append(True)
            raise NotFinite("the loss is nan")
        return original(self, *arguments, **settings)

    monkeypatch.setattr(Learner, "learn", learn)
    run, lines = collapse(tmp_path / "run", "rollback", "optimiser.lr=1e-4", "optimiser.steps=5")
    assert [(m["guard"], m["step"], m["at"]) for m in lines] == [("finite", 2, 4)]
    assert "not finite at step 4; steps 3 to 4 are undone" in lines[0]["warning"]
    assert [m["step"] for m in run.metrics() if "loss" in m] == [1, 2, 3, 4, 5]
