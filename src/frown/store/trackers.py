"""Metrics for those who watch elsewhere: TensorBoard, trackio and Weights & Biases, through accelerate's trackers.

metrics.jsonl is written whatever is tracked, and is the record. Keys of services are theirs to find (`wandb login`);
frown neither reads nor writes any.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from frown.config import RunConfig, Tracker, flat
from frown.errors import FrownError, first_line

PROJECT = "frown"
Hear = Callable[[Mapping[str, Any]], None]


@contextmanager
def tracking(config: RunConfig, folder: Path, warn: Callable[[str], None], first_step: int = 0) -> Iterator[Hear]:
    """A function that passes the numbers of each line of metrics on to every tracker of `config.track`.

    `first_step`: the first one that is to come; what TensorBoard has of it and later ones is taken back. Raises
    FrownError where a tracker is not installed or cannot begin. One that fails later is let go of with a warning.
    """
    trackers = {name: _begun(name, config, folder, first_step) for name in config.track}

    def hear(line: Mapping[str, Any]) -> None:
        values = numbers(line)
        for name in list(trackers) if values else ():
            try:
                trackers[name].log(values, step=line["step"])
            except Exception as error:  # whatever a service or its client raises: training goes on
                del trackers[name]
                warn(f"{name} no longer hears of this run: {first_line(error)}")

    try:
        yield hear
    finally:
        for name, tracker in trackers.items():
            try:
                tracker.finish()
            except Exception as error:
                warn(f"{name} did not end well: {first_line(error)}")


def numbers(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of metrics under the names that trackers show: test/avg_at_k, train/loss,
    train/critic/asked. Texts and what is not known are left out."""
    where = line.get("split", "guard" if "guard" in line else "train")
    values: dict[str, float] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                add(f"{name}/{key}", inner)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            values[name] = value

    for key, value in line.items():
        if key != "step":
            add(f"{where}/{key}", value)
    return values


def _begun(name: Tracker, config: RunConfig, folder: Path, first_step: int) -> Any:
    try:
        from accelerate import PartialState
        from accelerate import tracking as trackers

        PartialState()  # accelerate's trackers write to its log, which asks which process this is
        run = f"{folder.name}-{_identity(folder)[:8]}"
        tracker: Any
        if name == "tensorboard":
            tracker = trackers.TensorBoardTracker("tensorboard", str(folder), purge_step=first_step)
        elif name == "trackio":
            tracker = trackers.TrackioTracker(PROJECT, name=run, resume="allow")
        else:
            place = {"id": _identity(folder), "dir": str(folder)}
            tracker = trackers.WandBTracker(PROJECT, name=run, resume="allow", **place)
        tracker.start()
        settings = flat(config.model_dump(mode="json")).items()
        tracker.store_init_configuration({k: v if isinstance(v, int | float | str) else str(v) for k, v in settings})
        return tracker
    except ImportError as error:
        raise FrownError(f'track = "{name}" needs another package: pip install "frown[{name}]" ({error})') from None
    except Exception as error:  # whatever a service or its client raises
        raise FrownError(f"track = {name!r}: cannot begin: {first_line(error)}") from error


def _identity(folder: Path) -> str:
    """A name for the run that no other has, the same when it is resumed."""
    file = folder / "tracking-id"
    if not file.exists():
        file.write_text(uuid.uuid4().hex, encoding="utf-8")
    return file.read_text(encoding="utf-8")
