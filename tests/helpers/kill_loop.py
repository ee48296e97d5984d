"""Kill a training run with SIGKILL at random times, resume it each time, and compare it with one that was left alone.

    python tests/helpers/kill_loop.py --kills 50 --out /tmp/kills

Everything that is written must be equal at the end, but for seconds. `test_resume.py` runs a few kills of this.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import NamedTuple

from frown.store import checkpoints as checkpoint
from frown.store.run_directory import RunDirectory
from warm import Process, completed

CLOCKS = {"train_seconds"}
"""The only figures of a run that may differ."""

LAB = (
    "sampling.prompts_per_step=4", "sampling.responses_per_prompt=4", "sampling.max_new_tokens=48",
    'method={type="aimed", anchor=0.0}', "teacher.temperature=1.0",
    "practice.replay=6", 'practice.replay_by="unresolved"', 'practice.difficulty="flow"',
    "practice.candidates=2", 'practice.choose="doubt"',
    "optimiser.steps=48", "eval.every=6", "eval.prompts=8", "eval.samples=4", "checkpoint.every=2",
)  # fmt: skip
"""A run of the lab in which everything that a checkpoint carries matters."""


class Killed(NamedTuple):
    """One kill: how many steps were on record, and from which one the next attempt can go on (None: from none)."""

    reached: int
    kept: int | None
    half_written: bool
    """Whether it fell into the writing of a checkpoint."""


def command(out: Path, settings: tuple[str, ...], *flags: str) -> list[str]:
    return ["train", *settings, "--out", str(out), *flags]


def run_whole(out: Path, settings: tuple[str, ...] = LAB) -> None:
    done = completed(*command(out, settings))
    assert done.returncode == 0, done.stderr


def kill_and_resume(out: Path, kills: int, rng: random.Random, settings: tuple[str, ...] = LAB) -> list[Killed]:
    """Run to the end, killed up to `kills` times: mostly a moment after a few more steps, else while it starts."""
    killed = []
    while True:
        started = time.time()
        process = Process(*command(out, settings, "--resume"))
        if len(killed) < kills and still_runs_after(process, out, rng):
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            killed.append(standing(out, started))
            continue
        _, stderr = process.communicate()
        assert process.returncode == 0, stderr
        return killed


def still_runs_after(process: Process, out: Path, rng: random.Random) -> bool:
    """Wait for a random moment; False where the process has ended by then."""
    began = modified(out)
    if rng.random() < 0.8:
        for _ in range(rng.randint(1, 6)):  # lines of metrics
            while modified(out) == began and process.poll() is None:
                time.sleep(0.005)
            began = modified(out)
        time.sleep(rng.uniform(0, 0.4))
    else:
        time.sleep(rng.uniform(0, 8))
    return process.poll() is None


def modified(out: Path) -> int:
    file = out / "metrics.jsonl"
    return file.stat().st_mtime_ns if file.exists() else 0


def standing(out: Path, since: float) -> Killed:
    """What a run that was killed in its attempt since a time has left."""
    newest, damaged = checkpoint.newest(out / "checkpoints")
    assert not damaged, damaged  # a checkpoint is whole or not there
    reached = max((m["step"] for m in RunDirectory(out).metrics() if "loss" in m), default=0)
    half = [p for p in (out / "checkpoints").glob(".step=*.new") if p.stat().st_mtime >= since]
    return Killed(reached, newest.step if newest else None, bool(half))


def differences(a: Path, b: Path) -> list[str]:
    """What differs between two run directories; [] where nothing but seconds does."""
    import pyarrow.parquet as pq

    different = []
    lines = [[{k: v for k, v in m.items() if k not in CLOCKS} for m in RunDirectory(x).metrics()] for x in (a, b)]
    if lines[0] != lines[1]:
        different.append("metrics.jsonl")
    tables = [sorted(f.relative_to(x) for f in x.rglob("*/step=*.parquet")) for x in (a, b)]
    if tables[0] != tables[1]:
        different.append("names of rollouts and evals")
    for name in set(tables[0]) & set(tables[1]):
        one, other = (pq.read_table(x / name) for x in (a, b))
        clocks = [c for c in one.column_names if c in CLOCKS]
        same = one.drop_columns(clocks).to_pylist(), other.drop_columns(clocks).to_pylist()
        if json.dumps(same[0], default=repr) != json.dumps(same[1], default=repr):
            different.append(str(name))
    for file in sorted((a / "checkpoints").rglob("*")):
        other_file = b / file.relative_to(a)
        if file.is_file() and file.name not in ("state.json", checkpoint.MANIFEST):  # these hold seconds
            if not other_file.is_file() or file.read_bytes() != other_file.read_bytes():
                different.append(str(file.relative_to(a)))
    return different


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    started = time.monotonic()
    run_whole(given.out / "whole")
    killed: list[Killed] = []
    runs, different = 0, []
    while len(killed) < given.kills:
        out = given.out / f"killed-{runs}"
        shutil.rmtree(out, ignore_errors=True)
        killed += kill_and_resume(out, given.kills - len(killed), rng)
        different += [f"{out.name}: {line}" for line in differences(given.out / "whole", out)]
        runs += 1
        print(f"{len(killed)} kills, {runs} runs finished, differences: {different}", flush=True)
    lost = [k.reached - (k.kept or 0) for k in killed]
    print(json.dumps({
        "kills": len(killed), "runs": runs, "seconds": round(time.monotonic() - started),
        "before_the_first_checkpoint": sum(k.kept is None for k in killed),
        "while_a_checkpoint_was_written": sum(k.half_written for k in killed),
        "steps_on_record_lost": {"most": max(lost), "mean": round(sum(lost) / len(lost), 2)},
        "differences": different,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
