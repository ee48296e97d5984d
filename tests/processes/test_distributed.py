"""Runs in two real processes against the same run in one: equal numbers, one writer, a clear end of a broken one."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from frown.config import RunConfig, load, parse
from frown.errors import FrownError
from frown.lab.base import model_path
from frown.learner.rows import TrainingRow, counted, in_step, shared_out
from frown.plan.batch import Lengths, batch_of
from frown.plan.memory import memory_of
from frown.plan.sizes import shapes
from frown.runtime.processes import ALONE, Ranks, joined
from frown.store import checkpoints as checkpoint
from frown.store.run_directory import RunDirectory, SilentRunDirectory
from paths import HELPERS
from two_processes import ACCELERATE, SETTINGS, differences, finished, launched
from two_talk import ALIKE, MODELS
from warm import Pair, Process


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Path:
    """The run in one process."""
    out = tmp_path_factory.mktemp("one") / "run"
    finished(Process("train", *SETTINGS, "--out", str(out)))
    return out


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """The same in two."""
    pytest.importorskip("accelerate")
    out = tmp_path_factory.mktemp("two") / "run"
    finished(launched(*ACCELERATE, "-m", "frown", "train", *SETTINGS, "--out", str(out)))
    return out


def test_two_processes_train_as_one(one, two):
    assert RunDirectory(two).status == ("finished", "")
    assert differences(one, two) == []
    before, after = load_file(model_path("chains-0") / "model.safetensors"), load_file(
        two / "checkpoint" / "model.safetensors")  # fmt: skip
    assert max(float((before[k] - after[k]).abs().max()) for k in before) > 1e-4  # far more than may differ


def test_feedback_reaches_the_rollout_it_is_about(two):
    kinds = set()
    for file in sorted((two / "rollouts").iterdir()):
        rows = pq.read_table(file).to_pylist()
        for group in {r["group"] for r in rows}:
            members = [r for r in rows if r["group"] == group]
            assert len(members) == 4 and len({r["task"] for r in members}) == 1  # whole
        for r in rows:
            siblings = [s["text"].strip() for s in rows if s["group"] == r["group"] and s["score"] == 1.0]
            for part in r["feedback"]:
                kinds.add(part["kind"])
                assert part["text"] in r["teacher_prompt"] and r["question"] in r["teacher_prompt"]
                if part["kind"] == "sibling":
                    assert part["text"].strip() in siblings
                else:
                    assert set(part["steps"]) <= set(range(len(r["steps"])))
            assert (r["log_ratio"] is None) == (not r["feedback"])
    assert kinds == {"sibling", "critique"}


@pytest.mark.parametrize(("sharding", "goes_on_in"), [("none", 1), ("fsdp2", 2)])
def test_a_killed_process_ends_the_run_which_goes_on_from_its_checkpoint(one, tmp_path, sharding, goes_on_in):
    """Processes that share no folder, of which the second writes nothing."""
    settings = ("train", *SETTINGS, f"distributed.sharding={sharding}", "--out", "run", "--resume")
    both = lambda: Pair(str(tmp_path), *settings, script=HELPERS / "two_apart.py")  # noqa: E731
    process, run = both(), RunDirectory(tmp_path / "0" / "run")
    while not any("loss" in m for m in run.metrics()) and process.poll() is None:
        time.sleep(0.01)
    os.kill(int((tmp_path / "1.pid").read_text()), signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode != 0
    [line] = [x for x in said.splitlines() if x.startswith("frown: ")]
    assert "another one has ended" in line or "another process of this run has ended" in line
    status, why = run.status
    assert status == "failed" and why in line
    found, damaged = checkpoint.newest(run.path / "checkpoints")
    assert found is not None and not damaged and found.step < 4
    finished(both() if goes_on_in == 2 else Process(*settings, cwd=tmp_path / "0"))
    assert run.status == ("finished", "")
    assert differences(one, run.path) == []
    assert not any((tmp_path / "1").iterdir())


def test_what_passes_between_processes(tmp_path):
    finished(Pair(str(tmp_path), script=HELPERS / "two_talk.py"))
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first.pop("first_failed") == "FrownError: no such folder"
    assert first.pop("one_failed") == "FrownError: no answer"
    for failed in ("first_failed", "one_failed"):
        assert second.pop(failed) == "Elsewhere: the first process says why"
    assert [first.pop("together"), second.pop("together")] == [[0], [1]]
    seconds = second.pop("taken")
    assert {**first, "taken": None} == {**second, "taken": None}
    held, taken = first.pop("held"), first.pop("taken")
    assert 0.45 < held["layers"] < 0.55 and held["others"] == 1.0 and held["together"] == 1.0
    assert held["steps"] == [3, 9]
    for model, mine, others in zip(MODELS, taken, seconds, strict=True):
        assert planned(model) == mine
        assert {"weights": mine["weights"], "layers": mine["layers"]}.items() <= others.items()
        assert all(others[name] <= mine[name] for name in mine)
    assert first == {
        "gathered": list("abcde"),
        "from_first": [0, "made"],
        "total": 2.0,
        "gradients": [[[3.0] * 3] * 2, [[1.0] * 3] * 2, None],
        "tensors": {"a": ["torch.float32", [[0, 3], [1, 4], [2, 5]]], "b": ["torch.bfloat16", 7.0]},
        "agree": ["nothing: None", "FrownError: processes 0 and 1 of 2 have come apart: they differ in their ranks"],
        "not_finite": "NotFinite: nan",
        "one_not_finite": "NotFinite: nan",
        "still_together": [0, 1],
    }


def planned(model: dict) -> dict[str, int]:
    """Bytes of one process of two, by a plan."""
    config = parse(RunConfig, {**ALIKE, "model": {"device": "cpu", **model}}, "test")
    lengths = Lengths(prompt=3, answer=8, context=3, measured=True)
    batch = batch_of(config, lengths, 2)
    sizes = shapes(config.model, rows=batch.rows, length=lengths.student, spread_over=2)
    memory = memory_of(config, sizes, batch, lengths, chunk_bytes=1 << 20)
    items = {item.name: item.bytes for item in (*memory.always, *memory.learning, *memory.sampling)}
    return {name: items[name] for name in ("gradients", "weights", "optimiser", "teacher", "layers")}


def test_what_writes_does_nothing_in_the_other_processes():
    """A method of the run directory that is new must be looked at: it is overridden."""
    methods = {name for name, x in vars(RunDirectory).items() if callable(x) and not name.startswith("_")}
    assert methods - {"forget"} == {name for name in vars(SilentRunDirectory) if not name.startswith("_")}


@given(st.integers(0, 60), st.integers(1, 9))
def test_shares_are_a_partition_side_by_side_of_like_size(n, size):
    shares = [list(range(n))[Ranks(rank, size).share(n)] for rank in range(size)]
    assert [i for share in shares for i in share] == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def row(prompt: int, ids: np.ndarray, context: np.ndarray | None = None) -> TrainingRow:
    return TrainingRow(np.array([prompt, prompt]), context, ids, np.ones(len(ids), np.float32), np.zeros(len(ids)))


@given(st.lists(st.lists(st.booleans(), max_size=4), min_size=1, max_size=4))
def test_batches_in_step_are_as_many_of_each_kind_everywhere(taught):
    """Idle ones are added, none is lost, and those with a teacher come first."""
    ids, context = np.arange(5), np.arange(9)

    def batch(i: int, with_teacher: bool) -> list:
        return [row(i, ids, context if with_teacher else None)] * 2

    plans = [[batch(i, t) for i, t in enumerate(sorted(plan, reverse=True))] for plan in taught]
    found = [in_step(plans, rank) for rank in range(len(plans))]
    kinds = [[batch[0].context_ids is not None for batch in mine] for mine in found]
    assert all(k == kinds[0] == sorted(k, reverse=True) for k in kinds)
    for own, mine in zip(plans, found, strict=True):
        busy = [b for b in mine if len(b) == 2]
        assert [b[0].prompt_ids[0] for b in busy] == [b[0].prompt_ids[0] for b in own]
        assert not any(len(counted(row)) for b in mine if len(b) == 1 for row in b)


@given(st.lists(st.integers(0, 5), max_size=20), st.integers(1, 4))
def test_rows_of_a_prompt_are_computed_in_one_process(prompts, size):
    rows = [row(p, np.array([i])) for i, p in enumerate(prompts)]
    shares = [shared_out(rows, Ranks(rank, size)) for rank in range(size)]
    assert sorted(int(r.ids[0]) for share in shares for r in share) == list(range(len(rows)))
    homes = [{int(r.prompt_ids[0]) for r in share} for share in shares]
    assert sum(map(len, homes)) == len(set(prompts))


def test_one_process_has_everything_and_waits_for_nobody():
    with joined(load(RunConfig, None, [])) as ranks:
        assert ranks is ALONE and ranks.first and ranks.share(7) == slice(0, 7)
    weight = torch.nn.Parameter(torch.zeros(2))
    ALONE.add_gradients([weight])
    assert weight.grad is None and ALONE.gather(lambda: [1, 2]) == [1, 2] and ALONE.total(3.0) == 3.0


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (["model.device=cuda:0"], "model.device = 'cuda:0'"),
        (["sampling.vllm.mode=colocate"], "sampling.vllm.mode = .colocate. goes with one process; start a server"),
    ],
)
def test_what_several_processes_cannot_do_is_refused_by_name(settings, why, monkeypatch):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(FrownError, match=why), joined(load(RunConfig, None, settings)):
        pass


def test_sharding_needs_several_processes():
    with (
        pytest.raises(FrownError, match="needs several processes"),
        joined(load(RunConfig, None, ["distributed.sharding=fsdp2"])),
    ):
        pass


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("compare", ["--preset", "smoke"]), ("probe", []), ("eval", ["lab:chains-0"]),
        ("recipe negotiation select", ["no=1"]),
        ("recipe negotiation express", ["no=1"]), ("recipe empathy", ["--turns", "0"]),
        ("recipe empathy model", ["--turns", "0"]),
        ("recipe empathy fit", ["none.jsonl"]), ("recipe empathy train", []), ("recipe empathy eval", []),
    ],
)  # fmt: skip
def test_commands_that_are_one_process_say_so(command, more, monkeypatch, capsys):
    from frown.cli.app import main

    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit):
        main([*command.split(), *more])
    assert f"`frown {command}` is one process" in capsys.readouterr().err
