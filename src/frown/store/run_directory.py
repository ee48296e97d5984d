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
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frown.config import Config, to_json
from frown.errors import FrownError, first_line
from frown.evals.samples import GradedSamples
from frown.store import checkpoints
from frown.store.files import disk_errors, flush, is_part, write_text
from frown.store.machine import machine_record
from frown.store.record import RolloutRecord
from frown.store.rollouts import write_rollouts
from frown.store.run_reader import RunReader, Status
from frown.store.samples import write_samples

if TYPE_CHECKING:
    from filelock import FileLock

_LOCK = ".lock"


class RunDirectory(RunReader):
    """One run's folder. Files appear whole or not at all."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(Path(path))
        self.hear: Callable[[Mapping[str, Any]], None] = lambda line: None
        """Who else is told each line of metrics."""
        self._since: float | None = None
        """When this process took the run up, less the seconds that it had already taken."""
        self._lock: FileLock | None = None
        self._made = False
        """Whether `claim` made the folder."""

    def claim(self) -> None:
        """Keep other processes from writing here until `release`, or until this one has ended, however it ends.

        Raises FrownError where another one does write here now.
        """
        from filelock import FileLock, Timeout

        lock, made = FileLock(self.path / _LOCK, timeout=0), not self.path.exists()
        with disk_errors(self.path):
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
        settings = self.path / "config.json"
        if settings.is_file() and (others := self.other_settings(config)) != []:
            named = f" ({', '.join(others[:4])}{', ...' if len(others) > 4 else ''})" if others else ""
            raise FrownError(
                f"{self.path} holds a run with another configuration{named}; choose another folder or delete it"
            )
        strangers = [p for p in self.path.iterdir() if p.name != _LOCK and not is_part(p)] if self.path.is_dir() else []
        if not settings.is_file() and strangers:
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
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            write_text(self.path / "config.json", to_json(config))  # first: from now on the folder is this run's
            for part in ("metrics.jsonl", "status.json"):
                (self.path / part).unlink(missing_ok=True)
            for part in ("rollouts", "answers", "evals"):
                shutil.rmtree(self.path / part, ignore_errors=True)
                (self.path / part).mkdir()
            here = {**machine_record(), "threads": threads}
            write_text(self.path / "environment.json", json.dumps(here, indent=2) + "\n")
        self._since = time.monotonic()
        self.mark("running")

    def cut_back(self, step: int, metrics_bytes: int) -> None:
        """Forget what was written after a checkpoint: lines of metrics, rollouts, evaluations, later checkpoints."""
        metrics = self.path / "metrics.jsonl"
        if self.metrics_bytes < metrics_bytes:
            raise FrownError(f"{metrics} is shorter than it was at checkpoint step={step}; start a new run")
        with disk_errors(self.path):
            for later in checkpoints.existing(self.path / "checkpoints"):
                if later.step > step:
                    checkpoints.remove(later.path)
            checkpoints.sweep(self.path / "checkpoints")
            self._link(step)
            if metrics.exists():
                os.truncate(metrics, metrics_bytes)
            for file in (f for part in ("rollouts", "answers", "evals") for f in (self.path / part).glob("*")):
                if is_part(file) or int(file.name.removeprefix("step=")[:6]) > step:
                    file.unlink()

    def go_on(self, warn: Callable[[str], None]) -> None:
        """Take the run up again. Warns where it began with other versions than are here now."""
        began = self.machine().get("packages")
        began = began if isinstance(began, dict) else {}
        other = [f"{k} {began.get(k)} -> {v}" for k, v in machine_record()["packages"].items() if began.get(k) != v]
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
        with disk_errors(file), file.open("a", encoding="utf-8") as opened:
            opened.write(json.dumps(metrics, allow_nan=False) + "\n")
        self.hear(metrics)

    def add_rollouts(self, step: int, records: Sequence[RolloutRecord]) -> None:
        """Write the rollouts of one training step with what was read in them and said about them."""
        write_rollouts(self.path / "rollouts" / f"step={step:06d}.parquet", records)

    def add_answers(self, step: int, split: str, records: Sequence[RolloutRecord]) -> None:
        """Write the answers of one evaluation."""
        (self.path / "answers").mkdir(exist_ok=True)  # a run that began before answers were kept may go on
        write_rollouts(self.path / "answers" / f"step={step:06d}-{split}.parquet", records)

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
                flush(metrics)
            checkpoints.write(folder, step, save)
            self._link(step)
            checkpoints.prune(folder, keep)
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


class SilentRunDirectory(RunDirectory):
    """The run directory in a process that leaves writing to another: nothing is written."""

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
