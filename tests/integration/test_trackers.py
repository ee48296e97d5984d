"""Who else hears of a run's metrics: TensorBoard for real, services by stand-ins that write down what they are told."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import types

import pytest

from frown.cli.app import main
from frown.config import RunConfig, load
from frown.errors import FrownError
from frown.store.run_directory import RunDirectory
from frown.store.trackers import numbers
from frown.training.run import train
from kill_loop import command
from small_run import SMALL, interrupted, settings


@pytest.fixture(autouse=True)
def nothing_set_up():
    """Each run begins as in a new process: accelerate knows of none."""
    accelerate = pytest.importorskip("accelerate")
    accelerate.PartialState._reset_state()


TINY = (*SMALL, "optimiser.steps=2", 'method={type="sdpo", feedback=["outcome"]}', "keep_rollouts=false")


class Service(types.ModuleType):
    """Stands in for the module of a service."""

    def __init__(self, name: str, fails_at: int | None = None):
        super().__init__(name)
        self.told: list = []
        self.given: dict = {}
        self.finished = False
        self.fails_at = fails_at
        self.config = types.SimpleNamespace(update=lambda values, **_: self.given.update(config=values))

    def init(self, **given):
        self.given |= given
        return self

    def log(self, values, step=None, **_):
        if self.fails_at is not None and step is not None and step >= self.fails_at:
            raise ConnectionError("no route to host")
        self.told.append((step, values))

    def finish(self):
        self.finished = True


def scalars(folder) -> dict[str, list[tuple[int, float]]]:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = event_accumulator.EventAccumulator(str(folder / "tensorboard"))
    read.Reload()
    return {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def metrics(folder, name, where) -> list[tuple[int, float]]:
    lines = [m for m in RunDirectory(folder).metrics() if m.get("split", "train") == where]
    return [(m["step"], m[name]) for m in lines if name in m]


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_the_real_services_hear_of_a_run_offline(name, tmp_path):
    """In a process of its own, as they leave threads and servers behind."""
    pytest.importorskip(name)
    own = {**os.environ, "WANDB_MODE": "offline", "TRACKIO_DIR": str(tmp_path / "trackio"), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "frown", *command(tmp_path / "run", (*TINY, f'track=["{name}"]'))],
        env=own, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "no longer hears" not in done.stdout + done.stderr and "did not end well" not in done.stdout + done.stderr
    if name == "wandb":
        held = next((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")).read_bytes()
        assert b"train/loss" in held and b"optimiser.steps" in held
    else:
        with sqlite3.connect(tmp_path / "trackio" / "frown.db") as kept:
            told = [json.loads(row) for (row,) in kept.execute("select metrics from metrics order by step")]
        losses = [m["train/loss"] for m in told if "train/loss" in m]
        assert losses == [loss for _, loss in metrics(tmp_path / "run", "loss", "train")]


def test_tensorboard_shows_what_metrics_hold_also_after_a_resumption(tmp_path, monkeypatch):
    pytest.importorskip("accelerate")
    run = interrupted(tmp_path / "run", monkeypatch, 'track=["tensorboard"]')
    train(settings('track=["tensorboard"]'), run, resume=True)
    found = scalars(run)
    for tag, name, where in (("train/loss", "loss", "train"), ("test/avg_at_k", "avg_at_k", "test")):
        expected = metrics(run, name, where)
        assert [step for step, _ in found[tag]] == [step for step, _ in expected]
        assert [value for _, value in found[tag]] == pytest.approx([value for _, value in expected], rel=1e-6)


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_service_is_told_the_same_numbers_and_no_key(name, tmp_path, monkeypatch):
    pytest.importorskip("accelerate")
    service = Service(name)
    monkeypatch.setitem(sys.modules, name, service)
    monkeypatch.setenv("WANDB_API_KEY", "sesame-0451")
    main(["train", *TINY, "--track", name, "--out", str(tmp_path / "run")])
    assert service.finished and service.given["project"] == "frown"
    assert service.given["config"]["optimiser.steps"] == 2
    told = [(step, values["train/loss"]) for step, values in service.told if "train/loss" in values]
    assert told == metrics(tmp_path / "run", "loss", "train") and len(told) == 2
    assert any("test/avg_at_k" in values for _, values in service.told)
    written = [f.read_bytes() for f in (tmp_path / "run").rglob("*") if f.is_file()]
    assert not any(b"sesame-0451" in text for text in written)


def test_a_service_that_fails_is_let_go_of_and_training_goes_on(tmp_path, monkeypatch):
    pytest.importorskip("accelerate")
    monkeypatch.setitem(sys.modules, "wandb", Service("wandb", fails_at=1))
    heard: list[str] = []
    train(load(RunConfig, None, [*TINY, 'track=["wandb"]']), tmp_path / "run", heard.append)
    assert sum(line == "wandb no longer hears of this run: no route to host" for line in heard) == 1
    assert RunDirectory(tmp_path / "run").status[0] == "finished"


def test_a_tracker_that_is_not_there_is_named_with_the_mend(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(FrownError, match=r'pip install "frown\[wandb\]"'):
        train(load(RunConfig, None, [*TINY, 'track=["wandb"]']), tmp_path / "run")
    with pytest.raises(FrownError, match="'tensorboard', 'trackio' or 'wandb'"):
        load(RunConfig, None, ['track=["excel"]'])


def test_numbers_are_named_by_where_they_come_from():
    line = {"step": 3, "loss": 0.5, "critic": {"asked": 2, "lost": {"timeout": 1}}, "warning": "x", "views": None}
    assert numbers(line) == {"train/loss": 0.5, "train/critic/asked": 2, "train/critic/lost/timeout": 1}
    assert numbers({"step": 3, "split": "test", "avg_at_k": 0.25}) == {"test/avg_at_k": 0.25}
    assert numbers({"step": 3, "guard": "length", "value": 9.0, "action": "warn"}) == {"guard/value": 9.0}
    assert json.loads(json.dumps(numbers({"step": 0, "note": "x"}))) == {}
