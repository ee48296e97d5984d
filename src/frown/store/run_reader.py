"""What a run directory says, read without the model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from frown.config import Config, flat, to_json
from frown.errors import FrownError
from frown.evals.profile import JudgedAnswer
from frown.evals.samples import GradedSamples
from frown.store import checkpoints
from frown.store.rollouts import RolloutFile, read_rollouts
from frown.store.samples import read_samples

Status = Literal["new", "running", "finished", "interrupted", "failed"]


class RunReader:
    """One run's folder, of which nothing is changed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def status(self) -> tuple[Status, str]:
        """How the run stands, and why; ("new", "") before it began."""
        status = self._status()
        return status["status"], status["why"]

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the whole run, evaluations included, up to its last checkpoint or its end."""
        return float(self._status()["seconds"])

    def _status(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.path / "status.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {"status": "new", "why": "", "seconds": 0.0}

    def config_is(self, config: Config) -> bool:
        """Whether this folder holds a run of exactly this configuration, be it spread over processes or not."""
        return self.other_settings(config) == []

    def other_settings(self, config: Config) -> list[str] | None:
        """The settings by which this folder's run differs from a configuration; None where they cannot be read."""
        try:
            kept = flat(json.loads((self.path / "config.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, AttributeError):
            return None
        asked = flat(json.loads(to_json(config)))
        other = sorted(k for k in kept.keys() | asked.keys() if kept.get(k) != asked.get(k))
        return [k for k in other if not k.startswith("distributed.")]

    @property
    def threads(self) -> int:
        """How many threads the run began with."""
        return int(self.machine()["threads"].split(":")[0])

    def machine(self) -> dict[str, Any]:
        """The versions and the machine that the run began with."""
        return dict(json.loads((self.path / "environment.json").read_text(encoding="utf-8")))

    @property
    def metrics_bytes(self) -> int:
        """How long metrics.jsonl is."""
        file = self.path / "metrics.jsonl"
        return file.stat().st_size if file.exists() else 0

    def newest_checkpoint(self, warn: Callable[[str], None]) -> checkpoints.Checkpoint | None:
        """The newest whole checkpoint; None where there never was one. Damaged ones are warned about by name.

        Raises FrownError where all are damaged.
        """
        newest, damaged = checkpoints.newest(self.path / "checkpoints")
        if newest is None and damaged:
            raise FrownError(f"{self.path}: no checkpoint is whole ({'; '.join(damaged)}); delete it to start anew")
        for line in damaged:
            warn(f"{line}; using step={newest.step:06d}" if newest else line)
        return newest

    def metrics(self) -> Iterator[dict[str, Any]]:
        """The lines of metrics.jsonl; a last line that is still being written is left out."""
        path = self.path / "metrics.jsonl"
        if path.is_file():
            for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
                yield json.loads(line)

    def evals(self, split: str) -> list[GradedSamples]:
        """The graded samples of a split, in order of training step."""
        return [read_samples(file) for file in sorted((self.path / "evals").glob(f"step=*-{split}.parquet"))]

    def rollouts(self) -> Iterator[RolloutFile]:
        """The files of training rollouts, in order of training step."""
        for file in sorted((self.path / "rollouts").glob("step=*.parquet")):
            with read_rollouts(file) as opened:
                yield opened

    def advantages(self) -> Iterator[tuple[str, JudgedAnswer]]:
        """Each training rollout that a teacher looked at and whose steps are judged: its kinds of feedback ("sibling",
        "critique+outcome", ...), and the advantage of its tokens."""
        columns = ["task", "steps", "step_right", "feedback", "log_ratio"]
        for file in self.rollouts():
            for row in file.rows(columns):
                steps, right = row["steps"], row["step_right"]
                if row["log_ratio"] is None or not row["feedback"] or right is None or len(right) != len(steps):
                    continue
                kinds = "+".join(dict.fromkeys(part["kind"] for part in row["feedback"]))
                judged = [((a, b), bool(ok)) for (a, b), ok in zip(steps, right, strict=True)]
                yield kinds, JudgedAnswer(row["task"], judged, np.array(row["log_ratio"], dtype=np.float64))


def run_name(path: Path) -> str:
    """What a run is called: its folder, with the arm's before it where that is one of several seeds."""
    whole = path.resolve()
    return f"{whole.parent.name}/{whole.name}" if whole.name.startswith("seed") else whole.name
