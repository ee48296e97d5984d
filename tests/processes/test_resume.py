"""Long runs: what survives a kill, a damaged file and a full disk, and that a resumed run ends as if never stopped."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from frown.comparison.cells import Cell
from frown.comparison.workers import _run_cell, run_all
from frown.config import OptimiserConfig, RunConfig, load
from frown.critics.chat.budget import Budget
from frown.errors import FrownError
from frown.learner.schedule import rate
from frown.practice import replay
from frown.store import checkpoints as checkpoint
from frown.store.run_directory import RunDirectory
from frown.training.run import train
from frown.types import Rollout, Task, TeacherView
from kill_loop import LAB, command, differences, kill_and_resume, modified
from small_run import SMALL, interrupted, settings
from warm import Process, completed


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(settings(), folder)
    return folder


@pytest.fixture(scope="module")
def stopped_once(tmp_path_factory):
    """A run that was stopped by hand in its fifth step."""
    with pytest.MonkeyPatch.context() as patch:
        return interrupted(tmp_path_factory.mktemp("stopped") / "run", patch)


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """A copy of it."""
    return shutil.copytree(stopped_once, tmp_path / "run", symlinks=True)


@pytest.mark.parametrize(
    "overrides",
    [
        [o for o in LAB if o.startswith(("method", "teacher", "practice"))],
        ["method=grpo"],
        ["method.distillation=0.5", "teacher.weights=frozen", "affect.weight.by=quadrant",
         "affect.control=shuffled_spans", "optimiser.warmup_steps=5"],
        ["teacher.weights=live", "checkpoint.every=1", "checkpoint.keep=1"],
        ["model.lora.rank=2"],
        ["model.lora.rank=2", "model.dtype=bfloat16", "teacher.weights=live"],
    ],
)  # fmt: skip
def test_a_resumed_run_is_the_uninterrupted_run(overrides, tmp_path, monkeypatch):
    if any("lora" in o for o in overrides):
        pytest.importorskip("peft")
    train(settings(*overrides), tmp_path / "whole")
    again = interrupted(tmp_path / "again", monkeypatch, *overrides)
    seconds = RunDirectory(again).seconds
    train(settings(*overrides), again, resume=True)
    assert RunDirectory(again).status == ("finished", "") and RunDirectory(again).seconds > seconds
    assert differences(tmp_path / "whole", again) == []


def test_a_killed_run_loses_at_most_the_steps_since_the_last_save(tmp_path):
    """Real processes and SIGKILL; `python tests/helpers/kill_loop.py --kills 50` does it for longer."""
    few = (*LAB, "optimiser.steps=8", "eval.every=4", "sampling.prompts_per_step=2")
    train(load(RunConfig, None, few), tmp_path / "whole")
    killed = kill_and_resume(tmp_path / "again", 3, random.Random(), few)
    assert all(k.reached - (k.kept or 0) <= 2 for k in killed), killed
    assert differences(tmp_path / "whole", tmp_path / "again") == []


# -- what is refused -----------------------------------------------------------------------------------------------


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def flip_a_bit(file: Path) -> None:
    held = bytearray(file.read_bytes())
    held[len(held) // 2] ^= 1
    file.write_bytes(held)


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("teacher.safetensors", flip_a_bit, "teacher.safetensors has another checksum"),
        ("optimiser.safetensors", truncate, "optimiser.safetensors has 1"),
        ("state.json", Path.unlink, "state.json is missing"),
        ("model/model.safetensors", truncate, "model/model.safetensors has "),
        ("manifest.json", truncate, "manifest.json cannot be read"),
        ("manifest.json", Path.unlink, "it has no manifest.json"),
    ],
)
def test_a_damaged_checkpoint_is_refused_by_name_and_the_one_before_is_used(name, damage, said, whole, stopped):
    run = stopped
    damage(run / "checkpoints" / "step=000004" / name)
    heard: list[str] = []
    train(settings(), run, heard.append, resume=True)
    assert heard[0].startswith(f"checkpoint step=000004 is damaged: {said}")
    assert heard[0].endswith("; using step=000002")
    assert differences(whole, run) == []


def test_a_run_without_a_whole_checkpoint_is_refused_and_left_as_it_is(tmp_path, monkeypatch):
    run = interrupted(tmp_path / "run", monkeypatch, "checkpoint.keep=1")
    flip_a_bit(run / "checkpoints" / "step=000004" / "model" / "model.safetensors")
    held = (run / "metrics.jsonl").read_bytes()
    with pytest.raises(FrownError, match="no checkpoint is whole.*step=000004 is damaged: model/model.safetensors"):
        train(settings("checkpoint.keep=1"), run, resume=True)
    assert (run / "metrics.jsonl").read_bytes() == held


def test_without_resume_this_very_run_is_refused_and_told_how_to_go_on(stopped):
    run = stopped
    with pytest.raises(FrownError, match="holds this very run, interrupted; --resume goes on with it"):
        train(settings(), run)
    with pytest.raises(FrownError, match=r"another configuration \(optimiser.lr, seed\); choose"):
        train(settings("seed=5", "optimiser.lr=1e-5"), run, resume=True)


def test_a_second_process_does_not_write_to_a_run_that_another_is_at(whole, tmp_path):
    """Real processes: one trains, another is told so and changes nothing, and a kill frees the folder at once."""
    folder = tmp_path / "run"
    training = Process(*command(folder, SMALL))
    try:
        while not modified(folder) and training.poll() is None:
            time.sleep(0.005)
        os.kill(training.pid, signal.SIGSTOP)
        held = (folder / "status.json").read_bytes()
        with pytest.raises(FrownError, match=f"another process is writing to {folder}; wait until it ends, stop it"):
            train(settings(), folder, resume=True)
        with pytest.raises(FrownError, match="another process is writing"):
            run_all([Cell("arm", 0, settings(), folder)], 1, lambda: None)
        assert (folder / "status.json").read_bytes() == held
    finally:
        training.kill()
        training.communicate()
    train(settings(), folder, resume=True)
    assert differences(whole, folder) == []


def test_a_run_that_cannot_begin_leaves_no_folder(tmp_path):
    with pytest.raises(FrownError, match="nowhere"):
        train(settings(f"model.path={tmp_path / 'nowhere'}"), tmp_path / "runs" / "run")
    assert not (tmp_path / "runs" / "run").exists()
    (tmp_path / "mine").mkdir()  # a folder that was there stays, as it was
    with pytest.raises(FrownError, match="nowhere"):
        train(settings(f"model.path={tmp_path / 'nowhere'}"), tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_stopped_cell_of_a_comparison_goes_on_from_its_checkpoint(whole, stopped):
    run = stopped
    first = run / "rollouts" / "step=000001.parquet"
    made = first.stat().st_mtime_ns
    RunDirectory(run).forget()
    _run_cell(Cell("arm", 0, settings(), run))
    assert RunDirectory(run).status == ("finished", "") and differences(whole, run) == []
    assert first.stat().st_mtime_ns == made


@pytest.mark.parametrize("warmup", [0, 3])
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_the_learning_rate_goes_as_in_transformers(schedule, warmup):
    transformers = pytest.importorskip("transformers")
    config = OptimiserConfig(steps=12, lr=0.5, warmup_steps=warmup, schedule=schedule)
    made = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    name = f"{schedule}_with_warmup" if schedule == "constant" else schedule
    oracle = transformers.get_scheduler(name, made, num_warmup_steps=warmup, num_training_steps=12)
    for step in range(1, 13):
        if step > warmup:  # theirs begins its warm-up with a step at rate 0
            assert rate(step, config) == pytest.approx(oracle.get_last_lr()[0], abs=1e-12)
        else:
            assert rate(step, config) == pytest.approx(0.5 * step / warmup)
        made.step()
        oracle.step()


def test_other_versions_are_said(stopped):
    run = stopped
    held = (run / "environment.json").read_text()
    (run / "environment.json").write_text(held.replace('"torch": "', '"torch": "0.'))
    heard: list[str] = []
    train(settings(), run, heard.append, resume=True)
    assert heard[0].startswith("resumed with other versions (torch 0.")


def test_a_finished_run_is_left_alone(whole):
    before = {f: f.stat().st_mtime_ns for f in whole.rglob("*")}
    train(settings(), whole, resume=True)
    assert before == {f: f.stat().st_mtime_ns for f in whole.rglob("*")}


def test_a_run_killed_before_its_first_checkpoint_begins(whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole, run, symlinks=True)
    for name in ("checkpoints", "rollouts"):
        shutil.rmtree(run / name)
    (run / "checkpoint").unlink()
    (run / ".config.json.part").write_text("{")
    (run / "status.json").write_text('{"status": "running", "why": "", "seconds": 0.0}')
    train(settings(), run, resume=True)
    assert differences(whole, run) == []


def test_as_many_checkpoints_are_kept_as_asked_for_and_the_link_is_the_newest(whole):
    assert [c.step for c in checkpoint.existing(whole / "checkpoints")] == [6, 4]
    assert (whole / "checkpoint").resolve() == (whole / "checkpoints" / "step=000006" / "model").resolve()
    assert [p.name for p in whole.rglob(".*")] == [".lock"]


# -- a full disk ---------------------------------------------------------------------------------------------------

LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
from frown.cli.app import main
main(sys.argv[1:])
"""
"""As if the disk were full when a file reaches 2 MB: AdamW's moments of the lab's model take 2.7 MB."""


def no_room(out: Path, *flags: str) -> str:
    """What `frown train` says where no file may grow past 2 MB; it has to fail."""
    script = out.parent / "limited.py"
    script.write_text(LIMITED)
    done = completed(*command(out, SMALL, *flags), script=script)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    return next(line for line in done.stderr.splitlines() if line.startswith("frown: "))


def test_a_full_disk_stops_the_run_and_leaves_the_checkpoint_before(whole, tmp_path, monkeypatch):
    run = interrupted(tmp_path / "run", monkeypatch, step=3)
    before = {f: f.read_bytes() for f in (run / "checkpoints").rglob("*") if f.is_file()}
    said = no_room(run, "--resume")
    assert "cannot write" in said and "step=000004" in said and "--resume goes on" in said
    status, why = RunDirectory(run).status
    assert status == "failed" and "step=000004" in why
    assert before == {f: f.read_bytes() for f in (run / "checkpoints").rglob("*") if f.is_file()}
    train(settings(), run, resume=True)
    assert differences(whole, run) == []


def test_a_disk_that_is_full_for_good(whole, tmp_path, monkeypatch):
    """A file system of its own with no byte left: even the status has to be written over the old one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(disk)], capture_output=True,
                             check=False)  # fmt: skip
    if mounted.returncode:
        pytest.skip("a file system can be mounted by root alone")
    try:
        run = interrupted(disk / "run", monkeypatch, step=3)
        with (disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError):
            while True:
                filler.write(bytes(4096))
        with pytest.raises(FrownError, match="cannot write .*No space left on device"):
            train(settings(), run, resume=True)
        status, why = RunDirectory(run).status
        assert status == "failed" and "No space left" in why
        (disk / "filler").unlink()
        train(settings(), run, resume=True)
        assert differences(whole, run) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# -- the parts -----------------------------------------------------------------------------------------------------


def test_lessons_are_kept_exactly(tmp_path):
    rng = np.random.default_rng(0)
    task = Task("t", ({"role": "user", "content": "naïve?\n"},), "7")

    def lesson(n: int) -> replay.ReplayItem:
        logp = -rng.random(n).astype(np.float32)
        rollout = Rollout(task, 3, np.arange(4), rng.integers(9, size=n), logp, 0.7, "length", "", policy_step=5)
        return replay.ReplayItem(
            rollout, TeacherView(2, np.arange(n + 9), rng.random(n).astype(np.float32)), rng.random()
        )

    kept = [lesson(n) for n in (0, 1, 40)]
    replay.write(kept, tmp_path / "kept.parquet")
    for place, (one, other) in enumerate(zip(kept, replay.read(tmp_path / "kept.parquet"), strict=True)):
        assert one.unresolved == other.unresolved and one.rollout.task == other.rollout.task
        for name in ("prompt_ids", "ids", "logp"):
            a, b = getattr(one.rollout, name), getattr(other.rollout, name)
            assert a.dtype == b.dtype and a.tobytes() == b.tobytes()
        assert one.view.weight.tobytes() == other.view.weight.tobytes()
        assert one.view.context_ids.tobytes() == other.view.context_ids.tobytes() and other.view.rollout == place
        assert (other.rollout.stop, other.rollout.temperature, other.rollout.policy_step) == ("length", 0.7, 5)
    replay.write([], tmp_path / "none.parquet")
    assert replay.read(tmp_path / "none.parquet") == ()


def test_a_critics_budget_goes_on():
    spent = Budget(2, 100)
    spent.reserve(40)
    spent.settle(40, spent.count_tokens(30, 5))
    spent.count("asked", 3)
    spent.count_lost("timeout")
    after = Budget(2, 100)
    after.restore(spent.state())
    assert after.statistics() == spent.statistics()
    assert after.refusal(66) and after.refusal(65) is None
    after.reserve(65)
    assert after.refusal(0) == "the budget of 2 calls is spent"


def test_a_checkpoint_whose_writing_fails_leaves_nothing(tmp_path):
    def fails(folder):
        (folder / "half").write_text("x")
        raise OSError(28, "No space left on device")

    checkpoint.write(tmp_path / "c", 1, lambda folder: (folder / "a").write_text("1"))
    for step in (1, 2):
        with pytest.raises(OSError):
            checkpoint.write(tmp_path / "c", step, fails)
    assert [(c.step, (c.path / "a").read_text()) for c in checkpoint.existing(tmp_path / "c")] == [(1, "1")]
    assert [p.name for p in (tmp_path / "c").iterdir()] == ["step=000001"]
    assert checkpoint.fault(tmp_path / "c" / "step=000001") is None
    (tmp_path / "c" / "step=000001" / "stray").write_text("")
    assert checkpoint.fault(tmp_path / "c" / "step=000001") == "stray is not in its manifest.json"
