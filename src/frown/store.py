"""The run directory: everything a run leaves behind, readable without the model.

config.json        the resolved configuration
environment.json   versions, machine, and how many threads for which reason
metrics.jsonl      one line a training step
rollouts/          step=000001.parquet: every training rollout with its signals, spans and feedback
evals/             step=000000-test.parquet: every graded sample
checkpoint/        the last good weights, an ordinary model folder
status.json        running, finished, interrupted or failed, and why
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from frown.config import Config, to_json
from frown.errors import FrownError
from frown.evals.samples import GradedSamples
from frown.types import Appraisal, Feedback, Rollout

Status = Literal["new", "running", "finished", "interrupted", "failed"]


class RunDirectory:
    """One run's folder. Files appear whole or not at all."""

    def __init__(self, path: Path):
        self.path = path

    # -- write -------------------------------------------------------------------------------------------------

    def refuse_unless_free(self, config: Config, *, restart: bool = False) -> None:
        """Raise FrownError where this folder holds something that must not be written over.

        That is another run, anything that is no run, and without `restart` this very run, however it ended.
        """
        held = self.path / "config.json"
        if held.is_file() and not self.config_is(config):
            raise FrownError(f"{self.path} holds a run with another configuration; choose another folder or delete it")
        if not held.is_file() and self.path.is_dir() and any(self.path.iterdir()):
            raise FrownError(f"{self.path} is not empty and holds no run; choose another folder")
        if not restart and self.status[0] != "new":
            raise FrownError(f"{self.path} holds this very run, {self.status[0]}; choose another folder or delete it")

    def begin(self, config: Config, *, restart: bool = False, threads: str | None = None) -> None:
        """Make the folder and say what is being run, and on how many threads for which reason."""
        self.refuse_unless_free(config, restart=restart)
        held = self.path / "config.json"
        try:
            for part in ("metrics.jsonl", "status.json"):
                (self.path / part).unlink(missing_ok=True)
            for part in ("rollouts", "evals", "checkpoint"):
                shutil.rmtree(self.path / part, ignore_errors=True)
            (self.path / "rollouts").mkdir(parents=True)
            (self.path / "evals").mkdir()
            write_text(held, to_json(config))
            write_text(
                self.path / "environment.json", json.dumps({**environment(), "threads": threads}, indent=2) + "\n"
            )
        except OSError as error:
            raise FrownError(f"cannot write the run directory {self.path}: {error.strerror}") from None
        self.mark("running")

    def forget(self) -> None:
        """Take back how an earlier attempt ended, before the next one starts."""
        (self.path / "status.json").unlink(missing_ok=True)

    def mark(self, status: Status, why: str = "", seconds: float = 0.0) -> None:
        """Say how the run stands: its status, why, and how long it has taken."""
        found = {"status": status, "why": why, "seconds": round(seconds, 3)}
        write_text(self.path / "status.json", json.dumps(found) + "\n")

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics, allow_nan=False) + "\n")

    def add_rollouts(
        self,
        step: int,
        rollouts: Sequence[Rollout],
        appraisals: Sequence[Appraisal],
        feedback: Sequence[Feedback],
        tokens: Sequence[Sequence[str]],
        seen: Mapping[int, Mapping[str, Any]],
    ) -> None:
        """Write the rollouts of one training step with what was read in them and said about them.

        `tokens`: each answer token by token. `seen`: of the rollouts (by index) that the teacher looked at, the
        `teacher_prompt`, and per token the loss `weight`, `log_ratio`, `teacher_entropy` and `divergence`, NaN at
        tokens that did not count.
        """
        rows = [
            _row(*x) | {"tokens": list(tokens[i])} | dict(seen.get(i, {}))
            for i, x in enumerate(zip(rollouts, appraisals, feedback, strict=True))
        ]
        _write_parquet(self.path / "rollouts" / f"step={step:06d}.parquet", rows)

    def add_eval(self, samples: GradedSamples) -> None:
        """Write the graded samples of one evaluation."""
        import pyarrow.parquet as pq

        path = self.path / "evals" / f"step={samples.step:06d}-{samples.split}.parquet"
        _replace(path, lambda part: pq.write_table(samples.to_table(), part, compression="zstd"))

    def checkpoint(self, save: Callable[[Path], None]) -> None:
        """Replace the checkpoint by what `save(folder)` writes; the old one stays until the new one is whole."""
        new, old, final = (self.path / f"checkpoint{s}" for s in (".new", ".old", ""))
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        save(new)
        if final.exists():
            final.rename(old)
        new.rename(final)
        shutil.rmtree(old, ignore_errors=True)

    # -- read --------------------------------------------------------------------------------------------------

    @property
    def status(self) -> tuple[Status, str]:
        """How the run stands, and why; ("new", "") before it began."""
        found = self._status()
        return found["status"], found["why"]

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the whole run, evaluations included; 0 before it ended."""
        return float(self._status()["seconds"])

    def _status(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.path / "status.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {"status": "new", "why": "", "seconds": 0.0}

    def config_is(self, config: Config) -> bool:
        """Whether this folder holds a run of exactly this configuration."""
        held = self.path / "config.json"
        return held.is_file() and held.read_text(encoding="utf-8") == to_json(config)

    def metrics(self) -> Iterator[dict[str, Any]]:
        """The lines of metrics.jsonl; a last line that is still being written is left out."""
        path = self.path / "metrics.jsonl"
        if path.is_file():
            for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
                yield json.loads(line)

    def evals(self, split: str) -> list[GradedSamples]:
        """The graded samples of a split, in order of training step."""
        import pyarrow.parquet as pq

        files = sorted((self.path / "evals").glob(f"step=*-{split}.parquet"))
        return [GradedSamples.from_table(pq.read_table(f)) for f in files]


def environment() -> dict[str, Any]:
    """Versions and machine, for the record. Nothing about the person or the network."""
    names = ("frown", "torch", "transformers", "numpy", "peft", "math-verify", "reasoning-gym")
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": versions,
    }


def write_text(path: Path, text: str) -> None:
    """Write a whole file or nothing."""
    _replace(path, lambda part: part.write_text(text, encoding="utf-8"))


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    part = path.with_name(f".{path.name}.part")
    write(part)
    part.replace(path)


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    signals = {name: pa.list_(pa.float32()) for name in rows[0] if name.startswith("signal_")} if rows else {}
    table = pa.Table.from_pylist(rows, schema=pa.schema({**_columns(), **signals}))
    _replace(path, lambda part: pq.write_table(table, part, compression="zstd"))


def _columns() -> dict[str, Any]:
    """The columns of a rollout file, the same in every file of a run, so that they can be read together."""
    import pyarrow as pa

    text, whole, real, flag = pa.string(), pa.int64(), pa.float32(), pa.bool_()
    span = {"start": whole, "end": whole, "step": whole, "label": text, "intensity": real}
    span |= {"valence": real, "arousal": real, "dominance": real, "evidence": text}
    return {
        **{"task": text, "question": text, "group": whole, "policy_step": whole, "text": text, "stop": text},
        **{"temperature": real, "prompt_ids": pa.list_(whole), "ids": pa.list_(whole), "logp": pa.list_(real)},
        **{"steps": pa.list_(pa.list_(whole)), "score": real, "verdict": text, "answer": text, "well_formed": flag},
        **{"step_right": pa.list_(flag), "step_doubt": pa.list_(real), "unread": pa.list_(text)},
        "spans": pa.list_(pa.struct(list(span.items()))),
        "feedback": pa.list_(pa.struct([("kind", text), ("text", text), ("steps", pa.list_(whole))])),
        **{"tokens": pa.list_(text), "teacher_prompt": text, "weight": pa.list_(real)},
        **{name: pa.list_(real) for name in ("log_ratio", "teacher_entropy", "divergence")},
    }


def _row(rollout: Rollout, appraisal: Appraisal, feedback: Feedback) -> dict[str, Any]:
    verdict = rollout.verdict
    signals = rollout.signals.values if rollout.signals else {}
    return {
        "task": rollout.task.id,
        "question": rollout.task.question,
        "group": rollout.group,
        "policy_step": rollout.policy_step,
        "text": rollout.text,
        "stop": rollout.stop,
        "temperature": rollout.temperature,
        "prompt_ids": rollout.prompt_ids,
        "ids": rollout.ids,
        "logp": rollout.logp,
        "steps": [list(step) for step in rollout.steps],
        "score": verdict.score if verdict and verdict.scored else None,
        "verdict": verdict.message if verdict else "",
        "answer": verdict.answer if verdict else None,
        "well_formed": verdict.well_formed if verdict else None,
        "step_doubt": appraisal.step_doubt,
        "unread": appraisal.unread,
        "step_right": list(verdict.step_right) if verdict and verdict.step_right is not None else None,
        **{f"signal_{name}": values for name, values in signals.items()},
        "spans": [
            {
                "start": s.start,
                "end": s.end,
                "step": s.step,
                "label": s.label,
                "intensity": s.intensity,
                "valence": s.valence,
                "arousal": s.arousal,
                "dominance": s.dominance,
                "evidence": json.dumps(dict(s.evidence)),
            }
            for s in appraisal.spans
        ],
        "feedback": [{"kind": p.kind, "text": p.text, "steps": p.steps} for p in feedback.parts],
    }
