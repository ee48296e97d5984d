"""What a user does with a small pretrained model, through the commands: measure, probe, train, look."""

from __future__ import annotations

import json
import math
import os
import signal
import time

import numpy as np
import pytest

from frown.cli.app import main
from frown.store.run_directory import RunDirectory
from frown.viewer.index import read_index
from frown.viewer.page import page
from kill_loop import differences, modified
from warm import Process, completed

TASK = ("--task", "math")
SHORT = ("sampling.prompts_per_step=2", "sampling.max_new_tokens=16", "eval.prompts=1", "eval.samples=1")
AIMED = ("--method", "aimed", 'method.feedback=["critique","reference"]')
ADAPTERS = ("model.lora.rank=4",)
WAYS = {
    "full": ("teacher.weights=live", "checkpoint.keep=1", "optimiser.lr=1e-5"),
    "adapters": ADAPTERS,
    # Many times slower where the processor has no such products.
    "adapters on bfloat16": (
        *ADAPTERS, "model.dtype=bfloat16", "sampling.prompts_per_step=1", "sampling.max_new_tokens=4"
    ),
}  # fmt: skip


def train(model, rows, out, *words: str) -> list[str]:
    return ["train", "--model", str(model), *TASK, "--data", str(rows), "--out", str(out), *SHORT, *words]


@pytest.mark.usefixtures("few_answers")
@pytest.mark.parametrize("way", WAYS)
def test_aimed_distillation_leaves_a_run_to_look_at(way, smollm2, rows, tmp_path, capsys):
    if way != "full":
        pytest.importorskip("peft")
    out = tmp_path / "run"
    main(train(smollm2, rows, out, *AIMED, "optimiser.steps=1", *WAYS[way]))
    run = RunDirectory(out)
    assert run.status == ("finished", "")
    steps = [m for m in run.metrics() if "loss" in m]
    assert len(steps) == 1 and math.isfinite(steps[0]["loss"]) and steps[0]["grad_norm"] > 0
    assert 0 < steps[0]["policy_entropy"] < 8 and steps[0]["mismatch"] < (0.05 if "bfloat16" in way else 1e-4)

    main(["report", str(out)])
    assert "</html>" in (out / "report.html").read_text(encoding="utf-8")
    index = read_index(out)
    assert len(index) >= 1 and not index.unread
    shown = page(index, int(index.order[0]))
    assert shown["tokens"] and len(shown["tokens"]) == index.length[index.order[0]]
    main(["look", str(out), "--out", str(tmp_path / "look.html")])
    capsys.readouterr()

    main(["read", str(out / "checkpoint"), "--prompt", "What is 2 + 3?", "--completion", "2 + 3 = 5", "--json"])
    learnt = json.loads(capsys.readouterr().out)["signals"]["surprisal"]
    main(["read", str(smollm2), "--prompt", "What is 2 + 3?", "--completion", "2 + 3 = 5", "--json"])
    before = json.loads(capsys.readouterr().out)["signals"]["surprisal"]
    assert 0 < np.abs(np.subtract(learnt, before)).max() < 3  # it has moved, and is the same model still


def test_a_killed_warm_start_goes_on_to_the_same_end(smollm2, rows, tmp_path):
    """Real processes and SIGKILL, on worked solutions."""
    pytest.importorskip("peft")
    kept = ("checkpoint.every=1", "checkpoint.keep=4")
    words = (*ADAPTERS, "--method", "sft", "optimiser.steps=4", "eval.every=4", *kept)
    whole, again = tmp_path / "whole", tmp_path / "again"
    done = completed(*train(smollm2, rows, whole, *words))
    assert done.returncode == 0, done.stderr
    process = Process(*train(smollm2, rows, again, *words, "--resume"))
    while sum("loss" in m for m in logged(again)) < 1 and process.poll() is None:
        time.sleep(0.01)
    if process.poll() is None:  # on a machine that stood still meanwhile it may have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = completed(*train(smollm2, rows, again, *words, "--resume"))
    assert done.returncode == 0, done.stderr
    assert differences(whole, again) == []


def logged(out) -> list[dict]:
    return RunDirectory(out).metrics() if modified(out) else []


def test_it_is_measured_with_an_interval(smollm2, rows, tmp_path, capsys):
    out = tmp_path / "eval"
    main(["eval", str(smollm2), *TASK, "--data", str(rows), "--k", "2", "--prompts", "3", "--out", str(out), "--json",
          "max_new_tokens=24"])  # fmt: skip
    summary = json.loads(capsys.readouterr().out)
    assert (summary["k"], summary["prompts"]) == (2, 3) and (out / "report.html").is_file()
    [measured] = summary["arms"].values()
    low, high = measured["surprisal"]["ci95"]
    assert 0 < low < measured["surprisal"]["mean"] < high < 8 and 0 < measured["length"]["mean"] <= 24


@pytest.mark.usefixtures("few_answers")
def test_feedback_is_probed_before_anything_is_trained(smollm2, rows, tmp_path, capsys):
    main(["probe", "--model", str(smollm2), *TASK, "--data", str(rows), *SHORT, *AIMED, "--kinds", "reference",
          "--prompts", "3", "--out", str(tmp_path / "probe.json"), "--json"])  # fmt: skip
    result = json.loads(capsys.readouterr().out)
    assert result["answers"] == 3 and result["kinds"]["reference"]
    assert (tmp_path / "probe.html").is_file()
