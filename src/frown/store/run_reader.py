"""What a run directory says, read without the model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from frown.config import Config, flat, to_json
from frown.errors import FrownError, first_line
from frown.evals.profile import JudgedAnswer
from frown.evals.samples import GradedSamples
from frown.store import checkpoints
from frown.store.files import parse_json
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
        file = self.path / "status.json"
        if not file.exists():
            return {"status": "new", "why": "", "seconds": 0.0}
        status = _object(file)
        seconds = status.get("seconds")
        if (
            status.get("status") not in get_args(Status)
            or not isinstance(status.get("why"), str)
            or not isinstance(seconds, int | float)
            or not 0 <= seconds < float("inf")
        ):
            raise FrownError(f"{file} says nothing of a run: it needs status, why and seconds; delete the run")
        return status

    def config_is(self, config: Config) -> bool:
        """Whether this folder holds a run of exactly this configuration, be it spread over processes or not."""
        return self.other_settings(config) == []

    def other_settings(self, config: Config) -> list[str] | None:
        """The settings by which this folder's run differs from a configuration; None where they cannot be read."""
        try:
            kept = flat(_object(self.path / "config.json"))
        except FrownError:
            return None
        asked = flat(json.loads(to_json(config)))
        other = sorted(k for k in kept.keys() | asked.keys() if kept.get(k) != asked.get(k))
        return [k for k in other if not k.startswith("distributed.")]

    @property
    def threads(self) -> int:
        """How many threads the run began with."""
        threads = str(self.machine().get("threads")).split(":")[0]
        if not threads.isdecimal() or not 0 < int(threads) < 1 << 16:
            raise FrownError(f"{self.path / 'environment.json'} does not say how many threads the run began with")
        return int(threads)

    def machine(self) -> dict[str, Any]:
        """The versions and the machine that the run began with."""
        return _object(self.path / "environment.json")

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
        """The lines of metrics.jsonl; a last line that is still being written is left out.

        Raises FrownError for a line that is no object of JSON.
        """
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return
        try:
            lines = path.read_bytes().split(b"\n")[:-1]
        except OSError as error:
            raise FrownError(f"{path} cannot be read: {error.strerror}") from None
        for number, line in enumerate(lines, start=1):
            yield _parsed(line, f"{path}, line {number}", "delete this line")

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


def _object(file: Path) -> dict[str, Any]:
    """The object in a file of a run. Raises FrownError where there is none."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise FrownError(f"{file} cannot be read: {error.strerror}") from None
    return _parsed(raw, str(file), "delete the run")


def _parsed(raw: bytes, place: str, mend: str) -> dict[str, Any]:
    try:
        value = parse_json(raw.decode("utf-8"))
    except ValueError as error:
        raise FrownError(f"{place} is not JSON ({first_line(error)}); {mend}") from None
    if not isinstance(value, dict):
        raise FrownError(f"{place} is no object of JSON; {mend}")
    return value


def run_name(path: Path) -> str:
    """What a run is called: its folder, with the arm's before it where that is one of several seeds."""
    whole = path.resolve()
    return f"{whole.parent.name}/{whole.name}" if whole.name.startswith("seed") else whole.name
