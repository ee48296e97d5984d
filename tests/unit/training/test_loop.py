"""Training from end to end on tiny random models, and what a run leaves behind when it ends early."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from frown.config import RunConfig, parse
from frown.errors import FrownError
from frown.learner.learner import Learner
from frown.store.run_directory import RunDirectory
from frown.training.run import train
from tiny import byte_model, gsm8k_rows, write_jsonl

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return byte_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return write_jsonl(tmp_path_factory.mktemp("data") / "rows.jsonl", gsm8k_rows(40))


def config(folder, rows, **changes) -> RunConfig:
    values = {
        "model": {"path": str(folder)},
        "task": {"kind": "math", "data": str(rows)},
        "sampling": {"prompts_per_step": 2, "responses_per_prompt": 2, "max_new_tokens": 24},
        "method": {"type": "sdpo", "feedback": ["sibling", "outcome"]},
        "optimiser": {"steps": 2},
        "eval": {"every": 2, "prompts": 2, "samples": 2},
    }
    return parse(RunConfig, values | changes, "test")


def steps(run: RunDirectory) -> list[dict]:
    return [m for m in run.metrics() if "loss" in m]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model_lora": {"rank": 2}},
        {"method": {"type": "sdpo", "feedback": ["sibling", "outcome"], "distillation": 0.5}},
        {"method": {"type": "opsd", "feedback": ["reference"]}, "teacher": {"weights": "live"}},
    ],
)
def test_two_steps_on_word_problems(folder, rows, tmp_path, changes):
    changes = dict(changes)
    if lora := changes.pop("model_lora", None):
        pytest.importorskip("peft")
        changes["model"] = {"path": str(folder), "lora": lora}
    settings = config(folder, rows, **changes)
    train(settings, tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    assert run.status == ("finished", "")
    assert [m["step"] for m in steps(run)] == [1, 2]
    for m in steps(run):
        assert math.isfinite(m["loss"]) and math.isfinite(m["grad_norm"]) and m["grad_norm"] > 0
        assert m["unscored"] == 0 and m["views"] > 0
        assert m["weighted_tokens"] <= m["train_tokens"]
    assert steps(run)[-1]["train_rollouts"] == 8
    assert [s.step for s in run.evals("test")] == [0, 2]

    import pyarrow.parquet as pq

    for step in (1, 2):
        written = pq.read_table(run.path / "rollouts" / f"step={step:06d}.parquet").to_pylist()
        assert len(written) == 4 and {r["group"] for r in written} == {0, 1}
        for r in written:
            assert len(r["ids"]) == len(r["logp"]) == len(r["signal_entropy"]) <= 24
            assert r["score"] in (0.0, 1.0)
    total = sum(len(r["ids"]) for step in (1, 2) for r in pq.read_table(
        run.path / "rollouts" / f"step={step:06d}.parquet").to_pylist())  # fmt: skip
    assert total == steps(run)[-1]["train_tokens"]
    saved = "adapter_model.safetensors" if lora else "model.safetensors"
    assert (run.path / "checkpoint" / saved).is_file()
    assert (run.path / "checkpoint" / "tokenizer.json").is_file()


def test_a_checkpoint_is_an_ordinary_model_folder_with_the_trained_weights(folder, rows, tmp_path):
    from transformers import AutoModelForCausalLM

    train(config(folder, rows, optimiser={"steps": 1, "lr": 0.01}), tmp_path / "run")
    before = AutoModelForCausalLM.from_pretrained(folder)
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "checkpoint")
    change = max(
        float((a - b).detach().abs().max()) for a, b in zip(after.parameters(), before.parameters(), strict=True)
    )
    assert 1e-4 < change < 0.1


def test_a_reasoning_gym_task(folder, tmp_path):
    pytest.importorskip("reasoning_gym")
    settings = config(folder, "", task={"kind": "gym:chain_sum"}, method={"type": "sdpo", "feedback": ["outcome"]})
    train(settings, tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    assert all(math.isfinite(m["loss"]) and m["unscored"] == 0 for m in steps(run))


def test_the_same_configuration_gives_the_same_run(folder, rows, tmp_path):
    for name in "ab":
        train(config(folder, rows), tmp_path / name)
    a, b = (RunDirectory(tmp_path / name) for name in "ab")

    def without_clocks(run):
        return [{k: v for k, v in m.items() if k != "train_seconds"} for m in run.metrics()]

    assert without_clocks(a) == without_clocks(b)
    for x, y in zip(a.evals("test"), b.evals("test"), strict=True):
        np.testing.assert_array_equal(x.mean_probability, y.mean_probability)
    train(config(folder, rows, seed=1), tmp_path / "c")
    assert without_clocks(RunDirectory(tmp_path / "c")) != without_clocks(a)


def test_a_loss_that_is_not_finite_names_the_step_and_keeps_the_last_good_checkpoint(
    folder, rows, tmp_path, monkeypatch
):
    settings = config(folder, rows, optimiser={"steps": 4}, eval={"every": 2, "prompts": 2, "samples": 2})
    poisoned = Learner.learn

    def learn(self, *arguments, **settings):
        if self.policy.steps_taken == 2:
            with torch.no_grad():
                self.parameters[0].fill_(float("nan"))
        return poisoned(self, *arguments, **settings)

    monkeypatch.setattr(Learner, "learn", learn)
    with pytest.raises(FrownError, match="step 3: the loss is nan"):
        train(settings, tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    assert run.status[0] == "failed" and "step 3" in run.status[1]
    from transformers import AutoModelForCausalLM

    kept = AutoModelForCausalLM.from_pretrained(run.path / "checkpoint")
    assert all(bool(p.isfinite().all()) for p in kept.parameters())
    assert [m["step"] for m in steps(run)] == [1, 2]


def test_another_run_is_never_written_over(folder, rows, tmp_path):
    train(config(folder, rows), tmp_path / "run")
    held = (tmp_path / "run" / "metrics.jsonl").read_text()
    with pytest.raises(FrownError, match="holds a run with another configuration"):
        train(config(folder, rows, seed=9), tmp_path / "run")
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == held
    assert RunDirectory(tmp_path / "run").status[0] == "finished"
    with pytest.raises(FrownError, match="holds this very run, finished"):
        train(config(folder, rows), tmp_path / "run")
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == held
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(FrownError, match="is not empty"):
        train(config(folder, rows), tmp_path / "other")
    assert (tmp_path / "other" / "thesis.txt").read_text() == "mine"


def test_the_teacher_is_checked_before_training(folder, rows, tmp_path):
    """A random model's teacher knows nothing: the run says so at step 0."""
    heard = []
    train(config(folder, rows, method={"type": "sdpo", "feedback": ["reference"]}), tmp_path / "run", heard.append)
    first = next(m for m in RunDirectory(tmp_path / "run").metrics() if "teacher_gap" in m)
    assert first["step"] == 0 and first["teacher_gap"]["n"] == 128
    assert first["warning"] in heard and "the teacher is not better than the student" in first["warning"]


def test_a_run_in_which_nobody_is_told_anything_says_so(folder, tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", [{"question": f"{i}?", "answer": str(i)} for i in range(20)])
    heard = []
    settings = config(
        folder, rows, method={"type": "sdpo", "feedback": ["reference"]}, task={"kind": "exact", "data": str(rows)}
    )
    train(settings, tmp_path / "run", heard.append)
    assert any("no answer got any feedback" in line for line in heard)
    assert any("2 of 2 steps had nothing to learn from" in line for line in heard)


def test_rows_left_out_are_said(folder, tmp_path):
    twice = [{"question": f"{i}?", "answer": str(i)} for i in range(20)] * 2
    heard = []
    task = {"kind": "exact", "data": str(write_jsonl(tmp_path / "rows.jsonl", twice))}
    train(
        config(folder, "", task=task, method={"type": "sdpo", "feedback": ["outcome"]}), tmp_path / "run", heard.append
    )
    assert any("20 of 40 rows repeat an earlier row" in line for line in heard)


def test_rollouts_of_all_steps_can_be_read_together(folder, rows, tmp_path):
    import pyarrow.dataset as ds

    train(config(folder, rows), tmp_path / "run")
    table = ds.dataset(tmp_path / "run" / "rollouts").to_table()
    assert table.num_rows == 8
    told = [r for r in table.to_pylist() if r["feedback"]]
    assert told and all(r["question"] in r["teacher_prompt"] for r in told)
    assert all(p["text"] in r["teacher_prompt"] for r in told for p in r["feedback"])


def test_metrics_hold_no_nan(folder, rows, tmp_path):
    train(config(folder, rows), tmp_path / "run")
    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert "NaN" not in text and [json.loads(line) for line in text.splitlines()]
