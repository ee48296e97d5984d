"""Runs of a few small steps on the lab, and runs that are stopped by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from frown.config import RunConfig, load
from frown.store.run_directory import RunDirectory
from frown.training.run import train

SMALL = (
    "sampling.prompts_per_step=2", "sampling.responses_per_prompt=2", "sampling.max_new_tokens=48",
    "optimiser.steps=6", "eval.every=2", "eval.prompts=4", "eval.samples=2",
)  # fmt: skip


def settings(*overrides: str) -> RunConfig:
    return load(RunConfig, None, [*SMALL, *overrides])


def stop_in(monkeypatch, step: int) -> None:
    """Let the run be interrupted by hand just after it has written the metrics of a step."""
    log = RunDirectory.log

    def stopped(self, metrics):
        log(self, metrics)
        if metrics["step"] == step and "loss" in metrics:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunDirectory, "log", stopped)


def interrupted(folder: Path, monkeypatch, *overrides: str, step: int = 5) -> Path:
    with monkeypatch.context() as patch:
        stop_in(patch, step)
        with pytest.raises(KeyboardInterrupt):
            train(settings(*overrides), folder)
    assert RunDirectory(folder).status == ("interrupted", "stopped by hand")
    return folder
