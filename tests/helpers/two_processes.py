"""Runs in two processes, and how far their folders may differ from a run in one."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
from safetensors.torch import load_file

from frown.store import checkpoints as checkpoint
from frown.store.run_directory import RunDirectory
from warm import Pair, Process

ACCELERATE = (
    "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
    "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0",
)  # fmt: skip
"""--cpu would start one process: accelerate leaves several of them on CPUs to MPI."""

SETTINGS = (
    "model.device=cpu", "distributed.timeout=600", "sampling.prompts_per_step=3", "sampling.responses_per_prompt=4",
    "sampling.max_new_tokens=48", "method.type=sdpo", 'method.feedback=["sibling", "critique"]',
    "method.distillation=0.7",
    "practice.replay=2", "practice.candidates=2", "practice.choose=doubt",
    "loss.kl_anchor=0.1", "optimiser.steps=4", "optimiser.lr=1e-4", "optimiser.max_grad_norm=0.01",
    "eval.every=4", "eval.prompts=5",
    "eval.samples=2", "micro_batch_tokens=400", "checkpoint.every=1", "checkpoint.keep=9",
)  # fmt: skip
"""Shares that differ in size, several micro-batches, feedback of siblings and a critic, replay, an anchor."""
CLOCKS = {"train_seconds"}


def launched(*arguments: str, cwd: Path | None = None) -> subprocess.Popen:
    """A fresh interpreter, e.g. a launcher."""
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )


def finished(process: subprocess.Popen | Process | Pair) -> None:
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr


def close(a: object, b: object) -> bool:
    """Equal but for the rounding of sums in another order."""
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-5) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(close(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(close, a, b))
    return a == b


def differences(a: Path, b: Path, weights: float = 1e-6) -> list[str]:
    """What two run directories of the same settings differ in, beyond rounding."""
    different = []
    for m, n in zip(*(list(RunDirectory(x).metrics()) for x in (a, b)), strict=True):
        different += [f"{m['step']} {k}: {m.get(k)} {n.get(k)}" for k in (m.keys() | n.keys()) - CLOCKS
                  if not close(m.get(k), n.get(k))]  # fmt: skip
    names = [sorted(str(f.relative_to(x)) for f in x.rglob("*.parquet")) for x in (a, b)]
    assert names[0] == names[1]
    for name in names[0]:
        rows = [pq.read_table(x / name).to_pylist() for x in (a, b)]
        for i, (r, s) in enumerate(zip(*rows, strict=True)):
            different += [f"{name} row {i} {k}" for k in r.keys() - CLOCKS if not close(unpacked(r[k]), unpacked(s[k]))]
    last = [checkpoint.newest(x / "checkpoints")[0].path for x in (a, b)]
    files = [{str(f.relative_to(x)) for f in x.rglob("*.safetensors")} for x in last]
    assert files[0] == files[1] and len(files[0]) > 1
    for file in files[0] - {"optimiser.safetensors"}:
        x, y = (load_file(folder / file) for folder in last)
        assert x.keys() == y.keys()
        different += [f"{file} {k}: {gap}" for k in x if not (gap := float((x[k] - y[k]).abs().max())) <= weights]
    return different


def unpacked(value: object) -> object:
    """Spans keep their evidence as JSON, context and rehearsal files their arrays as lists."""
    if isinstance(value, list):
        return [unpacked(v) for v in value]
    if isinstance(value, dict):
        return {k: json.loads(v) if k == "evidence" else v for k, v in value.items()}
    return value
