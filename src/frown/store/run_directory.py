"""The run directory: everything a run leaves behind, readable without the model.

config.json        the resolved configuration
environment.json   versions, machine, and how many threads for which reason
metrics.jsonl      one line a training step
rollouts/          step=000001.parquet: every training rollout with its signals, spans, feedback and advantages
answers/           step=000000-test.parquet: the answers of every evaluation on the test split, in the same columns
evals/             step=000000-test.parquet: every graded sample
checkpoints/       step=000010/: all that the run needs to go on from there; the newest few (`frown.training.state`)
checkpoint/        a link to the newest one's model folder: the last good weights, an ordinary Hugging Face folder
tensorboard/       what TensorBoard shows, where it is asked for (`track`)
status.json        running, finished, interrupted or failed, and why
.lock              held by the process that writes here, so that no second one does
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from frown.config import Config, flat, to_json
from frown.errors import FrownError, first_line
from frown.evals.profile import Judged
from frown.evals.samples import GradedSamples
from frown.store import checkpoints as checkpoint
from frown.types import Appraisal, Feedback, Floats, Rollout

if TYPE_CHECKING:
    from filelock import FileLock

Status = Literal["new", "running", "finished", "interrupted", "failed"]
ROW_GROUP = 64
"""Rollouts of a file that are read at a time, at most, so that one among many opens at once."""


_LOCK = ".lock"


class RunDirectory:
    """One run's folder. Files appear whole or not at all."""

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.hear: Callable[[Mapping[str, Any]], None] = lambda line: None
        """Who else is told each line of metrics."""
        self._since: float | None = None
        """When this process took the run up, less the seconds that it had already taken."""
        self._lock: FileLock | None = None
        self._made = False
        """Whether `claim` made the folder."""

    # -- write -------------------------------------------------------------------------------------------------

    def claim(self) -> None:
        """Keep other processes from writing here until `release`, or until this one has ended, however it ends.

        Raises FrownError where another one does write here now.
        """
        from filelock import FileLock, Timeout

        lock, made = FileLock(self.path / _LOCK, timeout=0), not self.path.exists()
        with _writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except Timeout:
                raise FrownError(
                    f"another process is writing to {self.path}; wait until it ends, stop it, or choose another folder"
                ) from None
        self._lock, self._made = lock, made

    def release(self) -> None:
        """Let others write here. Of a folder that `claim` made and in which nothing was begun nothing is left."""
        if self._lock is None:
            return
        with suppress(OSError):
            if [p.name for p in self.path.iterdir()] == [_LOCK]:
                (self.path / _LOCK).unlink()
                if self._made:
                    self.path.rmdir()
        self._lock.release()
        self._lock = None

    def refuse_unless_free(self, config: Config, *, resume: bool = False) -> None:
        """Raise FrownError where this folder holds something that must not be written over.

        That is another run, anything that is no run, and without `resume` this very run, however it ended.
        """
        held = self.path / "config.json"
        if held.is_file() and (others := self._other_settings(config)) != []:
            named = f" ({', '.join(others[:4])}{', ...' if len(others) > 4 else ''})" if others else ""
            raise FrownError(
                f"{self.path} holds a run with another configuration{named}; choose another folder or delete it"
            )
        strangers = (
            [p for p in self.path.iterdir() if p.name != _LOCK and not _is_part(p)] if self.path.is_dir() else []
        )
        if not held.is_file() and strangers:
            raise FrownError(f"{self.path} is not empty and holds no run; choose another folder")
        if not resume and self.status[0] != "new":
            raise FrownError(
                f"{self.path} holds this very run, {self.status[0]}; --resume goes on with it; or choose another "
                "folder, or delete it"
            )

    def begin(self, config: Config, *, threads: str) -> None:
        """Make the folder and say what is being run, and on how many threads for which reason.

        What an attempt without a checkpoint left is removed.
        """
        with _writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            write_text(self.path / "config.json", to_json(config))  # first: from now on the folder is this run's
            for part in ("metrics.jsonl", "status.json"):
                (self.path / part).unlink(missing_ok=True)
            for part in ("rollouts", "answers", "evals"):
                shutil.rmtree(self.path / part, ignore_errors=True)
                (self.path / part).mkdir()
            here = {**environment(), "threads": threads}
            write_text(self.path / "environment.json", json.dumps(here, indent=2) + "\n")
        self._since = time.monotonic()
        self.mark("running")

    def cut_back(self, step: int, metrics_bytes: int) -> None:
        """Forget what was written after a checkpoint: lines of metrics, rollouts, evaluations, later checkpoints."""
        metrics = self.path / "metrics.jsonl"
        if self.metrics_bytes < metrics_bytes:
            raise FrownError(f"{metrics} is shorter than it was at checkpoint step={step}; start a new run")
        with _writing(self.path):
            for later in checkpoint.held(self.path / "checkpoints"):
                if later.step > step:
                    checkpoint.remove(later.path)
            checkpoint.sweep(self.path / "checkpoints")
            self._link(step)
            if metrics.exists():
                os.truncate(metrics, metrics_bytes)
            for file in (f for part in ("rollouts", "answers", "evals") for f in (self.path / part).glob("*")):
                if _is_part(file) or int(file.name.removeprefix("step=")[:6]) > step:
                    file.unlink()

    def go_on(self, warn: Callable[[str], None]) -> None:
        """Take the run up again. Warns where it began with other versions than are here now."""
        began = self._environment()["packages"]
        other = [f"{k} {began.get(k)} -> {v}" for k, v in environment()["packages"].items() if began.get(k) != v]
        if other:
            warn(f"resumed with other versions ({', '.join(other)}): it may end otherwise than without the stop")
        self._since = time.monotonic() - self.seconds
        self.mark("running")

    def forget(self) -> None:
        """Take back how an earlier attempt ended, before the next one starts; the seconds it took are kept."""
        if self.status[0] != "new":
            self.mark("new")

    def mark(self, status: Status, why: str = "") -> None:
        """Say how the run stands: its status, why, and how long it has taken."""
        seconds = self.seconds if self._since is None else time.monotonic() - self._since
        text = json.dumps({"status": status, "why": why, "seconds": round(seconds, 3)}) + "\n"
        file = self.path / "status.json"
        try:
            write_text(file, text)
        except FrownError:
            # A full disk: what is written over the old text needs no more room. Else the old one has to do.
            with suppress(OSError), file.open("r+", encoding="utf-8") as old:
                old.write(text)
                old.truncate()

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        file = self.path / "metrics.jsonl"
        with _writing(file), file.open("a", encoding="utf-8") as opened:
            opened.write(json.dumps(metrics, allow_nan=False) + "\n")
        self.hear(metrics)

    def add_rollouts(
        self,
        step: int,
        rollouts: Sequence[Rollout],
        appraisals: Sequence[Appraisal],
        feedback: Sequence[Feedback],
        advantages: Sequence[Floats],
        tokens: Sequence[Sequence[str]],
        prompts: Sequence[str],
        seen: Mapping[int, Mapping[str, Any]],
    ) -> None:
        """Write the rollouts of one training step with what was read in them and said about them.

        `advantages`: of each token for the policy gradient, float32[T]. `tokens`: each answer token by token.
        `prompts`: what the student was shown, the chat template's marks included. `seen`: of the rollouts (by index)
        that the teacher looked at, the `teacher_prompt`, and per token the loss `weight`, `log_ratio`,
        `teacher_entropy` and `divergence`, NaN at tokens that did not count.
        """
        texts = zip(advantages, tokens, prompts, strict=True)
        told = [{"advantage": a, "tokens": list(t), "prompt": p} for a, t, p in texts]
        rows = [
            rollout_row(*x) | told[i] | dict(seen.get(i, {}))
            for i, x in enumerate(zip(rollouts, appraisals, feedback, strict=True))
        ]
        write_rollouts(self.path / "rollouts" / f"step={step:06d}.parquet", rows)

    def add_answers(
        self,
        step: int,
        split: str,
        rollouts: Sequence[Rollout],
        appraisals: Sequence[Appraisal],
        tokens: Sequence[Sequence[str]],
        prompts: Sequence[str],
    ) -> None:
        """Write the answers of one evaluation; columns and arguments as of `add_rollouts`."""
        rows = [
            rollout_row(rollout, appraisal, Feedback()) | {"tokens": list(pieces), "prompt": prompt}
            for rollout, appraisal, pieces, prompt in zip(rollouts, appraisals, tokens, prompts, strict=True)
        ]
        (self.path / "answers").mkdir(exist_ok=True)  # a run that began before answers were kept may go on
        write_rollouts(self.path / "answers" / f"step={step:06d}-{split}.parquet", rows)

    def add_eval(self, samples: GradedSamples) -> None:
        """Write the graded samples of one evaluation."""
        write_samples(self.path / "evals" / f"step={samples.step:06d}-{samples.split}.parquet", samples)

    def add_checkpoint(self, step: int, save: Callable[[Path], None], keep: int) -> None:
        """Keep what `save(folder)` writes as the newest checkpoint, and of the older ones all but `keep` - 1.

        What was written of the run so far is on the disk before. Raises FrownError where it cannot be written, and
        leaves the older ones as they are.
        """
        folder = self.path / "checkpoints"
        try:
            if (metrics := self.path / "metrics.jsonl").exists():
                checkpoint.flush(metrics)
            checkpoint.write(folder, step, save)
            self._link(step)
            checkpoint.prune(folder, keep)
        except Exception as error:  # whatever a full disk makes the libraries raise
            raise FrownError(
                f"cannot write {folder / f'step={step:06d}'}: {first_line(error)}; once there is room, --resume goes "
                "on from the checkpoint before"
            ) from error
        self.mark("running")

    def _link(self, step: int) -> None:
        part = self.path / ".checkpoint.part"
        part.unlink(missing_ok=True)
        part.symlink_to(Path("checkpoints") / f"step={step:06d}" / "model", target_is_directory=True)
        part.replace(self.path / "checkpoint")

    # -- read --------------------------------------------------------------------------------------------------

    @property
    def status(self) -> tuple[Status, str]:
        """How the run stands, and why; ("new", "") before it began."""
        found = self._status()
        return found["status"], found["why"]

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
        return self._other_settings(config) == []

    def _other_settings(self, config: Config) -> list[str] | None:
        """The settings by which this folder's run differs from a configuration; None where they cannot be read."""
        try:
            held = flat(json.loads((self.path / "config.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, AttributeError):
            return None
        asked = flat(json.loads(to_json(config)))
        other = sorted(k for k in held.keys() | asked.keys() if held.get(k) != asked.get(k))
        return [k for k in other if not k.startswith("distributed.")]

    @property
    def threads(self) -> int:
        """How many threads the run began with."""
        return int(self._environment()["threads"].split(":")[0])

    def _environment(self) -> dict[str, Any]:
        return dict(json.loads((self.path / "environment.json").read_text(encoding="utf-8")))

    @property
    def metrics_bytes(self) -> int:
        """How long metrics.jsonl is."""
        file = self.path / "metrics.jsonl"
        return file.stat().st_size if file.exists() else 0

    def newest_checkpoint(self, warn: Callable[[str], None]) -> checkpoint.Checkpoint | None:
        """The newest whole checkpoint; None where there never was one. Damaged ones are warned about by name.

        Raises FrownError where all are damaged.
        """
        found, damaged = checkpoint.newest(self.path / "checkpoints")
        if found is None and damaged:
            raise FrownError(f"{self.path}: no checkpoint is whole ({'; '.join(damaged)}); delete it to start anew")
        for line in damaged:
            warn(f"{line}; using step={found.step:06d}" if found else line)
        return found

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

    def advantages(self) -> Iterator[tuple[str, Judged]]:
        """Each training rollout that a teacher looked at and whose steps are judged: what it was told ("sibling",
        "critique+outcome", ...), and the advantage of its tokens."""
        import pyarrow.parquet as pq

        columns = ["task", "steps", "step_right", "feedback", "log_ratio"]
        for file in sorted((self.path / "rollouts").glob("step=*.parquet")):
            for row in pq.read_table(file, columns=columns).to_pylist():
                steps, right = row["steps"], row["step_right"]
                if row["log_ratio"] is None or not row["feedback"] or right is None or len(right) != len(steps):
                    continue
                told = "+".join(dict.fromkeys(part["kind"] for part in row["feedback"]))
                judged = [((a, b), bool(ok)) for (a, b), ok in zip(steps, right, strict=True)]
                yield told, Judged(row["task"], judged, np.array(row["log_ratio"], dtype=np.float64))


def run_name(path: Path) -> str:
    """What a run is called: its folder, with the arm's before it where that is one of several seeds."""
    whole = path.resolve()
    return f"{whole.parent.name}/{whole.name}" if whole.name.startswith("seed") else whole.name


class Unwritten(RunDirectory):
    """The run directory in a process that leaves writing to another: nothing is read or written."""

    def claim(self) -> None:  # noqa: D102
        return

    def release(self) -> None:  # noqa: D102
        return

    def refuse_unless_free(self, config: Config, *, resume: bool = False) -> None:  # noqa: D102
        return

    def begin(self, config: Config, *, threads: str) -> None:  # noqa: D102
        return

    def cut_back(self, step: int, metrics_bytes: int) -> None:  # noqa: D102
        return

    def go_on(self, warn: Callable[[str], None]) -> None:  # noqa: D102
        return

    def mark(self, status: Status, why: str = "") -> None:  # noqa: D102
        return

    def log(self, metrics: Mapping[str, Any]) -> None:  # noqa: D102
        return

    def add_rollouts(self, *what: Any) -> None:  # noqa: D102
        return

    def add_answers(self, *what: Any) -> None:  # noqa: D102
        return

    def add_eval(self, samples: GradedSamples) -> None:  # noqa: D102
        return

    def add_checkpoint(self, step: int, save: Callable[[Path], None], keep: int) -> None:  # noqa: D102
        return


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
    """Write a whole file or nothing. Raises FrownError where the disk refuses it."""
    _replace(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_samples(path: Path, samples: GradedSamples) -> None:
    """Write graded samples as a Parquet table, whole or not at all."""
    import pyarrow.parquet as pq

    _replace(path, lambda part: pq.write_table(samples.to_table(), part, compression="zstd"))


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    part = path.with_name(f".{path.name}.part")
    with _writing(path):
        try:
            write(part)
            checkpoint.flush(part)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _is_part(path: Path) -> bool:
    """Whether this is what a killed process left of a file it was writing."""
    return path.name.startswith(".") and path.name.endswith(".part")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FrownError(f"cannot write {path}: {error.strerror or first_line(error)}") from error


def write_rollouts(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of the columns `rollout_columns` and `signal_NAME` (float32[T]); what a row lacks is null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    signals = {name: pa.list_(pa.float32()) for row in rows for name in row if name.startswith("signal_")}
    table = pa.Table.from_pylist(list(rows), schema=pa.schema({**rollout_columns(), **signals}))
    _replace(path, lambda part: pq.write_table(table, part, compression="zstd", row_group_size=ROW_GROUP))


def rollout_columns() -> dict[str, Any]:
    """The columns of a rollout file, the same in every file of a run, so that they can be read together.

    `sampled` is null but in a conversation, where it says which tokens the policy sampled; files of earlier versions
    have neither it nor `step_reward`.
    """
    import pyarrow as pa

    text, whole, real, flag = pa.string(), pa.int64(), pa.float32(), pa.bool_()
    span = {"start": whole, "end": whole, "step": whole, "label": text, "intensity": real}
    span |= {"valence": real, "arousal": real, "dominance": real, "evidence": text}
    return {
        **{"task": text, "question": text, "group": whole, "policy_step": whole, "text": text, "stop": text},
        **{
            "prompt": text,
            "length": whole,
            "temperature": real,
            "prompt_ids": pa.list_(whole),
            "ids": pa.list_(whole),
            "sampled": pa.list_(flag),
            "logp": pa.list_(real),
        },
        **{"steps": pa.list_(pa.list_(whole)), "score": real, "verdict": text, "answer": text, "well_formed": flag},
        **{
            "step_state": pa.list_(text),
            "step_right": pa.list_(flag),
            "step_doubt": pa.list_(real),
            "step_reward": pa.list_(real),
            "unread": pa.list_(text),
        },
        "spans": pa.list_(pa.struct(list(span.items()))),
        "feedback": pa.list_(pa.struct([("kind", text), ("text", text), ("steps", pa.list_(whole))])),
        "advantage": pa.list_(real),
        **{"source": text, "tokens": pa.list_(text), "teacher_prompt": text, "weight": pa.list_(real)},
        **{name: pa.list_(real) for name in ("log_ratio", "teacher_entropy", "divergence")},
    }


def rollout_row(rollout: Rollout, appraisal: Appraisal, feedback: Feedback) -> dict[str, Any]:
    """A rollout as `write_rollouts` takes it, without the texts that need a tokenizer."""
    verdict = rollout.verdict
    signals = rollout.signals.values if rollout.signals else {}
    return {
        "task": rollout.task.id,
        "question": rollout.task.question,
        "group": rollout.group,
        "policy_step": rollout.policy_step,
        "text": rollout.text,
        "stop": rollout.stop,
        "length": len(rollout.ids),
        "temperature": rollout.temperature,
        "prompt_ids": rollout.prompt_ids,
        "ids": rollout.ids,
        "sampled": rollout.sampled,
        "logp": rollout.logp,
        "steps": [list(step) for step in rollout.steps],
        "score": verdict.score if verdict and verdict.scored else None,
        "verdict": verdict.message if verdict else "",
        "answer": verdict.answer if verdict else None,
        "well_formed": verdict.well_formed if verdict else None,
        "step_doubt": appraisal.step_doubt,
        "step_reward": rollout.earned,
        "unread": appraisal.unread,
        "step_right": list(verdict.step_right) if verdict and verdict.step_right is not None else None,
        "step_state": list(verdict.step_state) if verdict and verdict.step_state is not None else None,
        "source": rollout.signals.source if rollout.signals else None,
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
