"""What a comparison or a run shows while it works, read from the run directories alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from frown.store.run_directory import RunDirectory


@dataclass(frozen=True)
class RunRow:
    """One run to be watched."""

    name: str
    path: Path
    steps: int


@dataclass(frozen=True)
class RunStatus:
    """How one run stands."""

    status: str
    step: int = 0
    accuracy: float | None = None
    """Of the last evaluation."""
    doubt: float | None = None
    """Mean surprisal of the last training step's sampled tokens, nats."""


class LiveView:
    """A live table on a terminal; one line for each finished run where there is none."""

    def __init__(self, runs: Sequence[RunRow], console: Console):
        self._runs, self._console = runs, console
        self._started = time.monotonic()
        self._total = sum(r.steps for r in runs)
        self._done_before: int | None = None
        self._announced: set[Path] = set()
        self._live = Live(console=console, refresh_per_second=2, transient=True) if console.is_terminal else None

    def __enter__(self) -> LiveView:
        if self._live:
            self._live.start()
        self.update()
        return self

    def __exit__(self, *exception: object) -> None:
        self.update()
        if self._live:
            self._live.stop()

    @contextmanager
    def in_background(self, every: float = 0.5) -> Iterator[None]:
        """Keep updating from a thread while the body works."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(every):
                self.update()

        thread = threading.Thread(target=watch, daemon=True)
        with self:
            thread.start()
            try:
                yield
            finally:
                done.set()
                thread.join()

    def update(self) -> None:
        """Read the directories again and show what they say."""
        standings = {run: standing(run) for run in self._runs}
        if self._live:
            self._live.update(self._table(standings))
            return
        if len(self._runs) == 1:
            return  # how a single run ended is said by whoever ran it
        for run, now in standings.items():
            if now.status not in ("new", "running") and run.path not in self._announced:
                self._announced.add(run.path)
                score = "" if now.accuracy is None else f", accuracy {now.accuracy:.3f}"
                where = f"{run.name} {run.path.name}"
                self._console.print(f"{where}: {now.status} at step {now.step}{score}", highlight=False, markup=False)

    def _table(self, standings: dict[RunRow, RunStatus]) -> Group:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("arm", "runs", "progress", "accuracy", "doubt"):
            table.add_column(title, justify="left" if title in ("arm", "progress") else "right")
        for name in dict.fromkeys(r.name for r in self._runs):
            mine = {r: s for r, s in standings.items() if r.name == name}
            done = sum(s.status not in ("new", "running") for s in mine.values())
            bar = ProgressBar(total=sum(r.steps for r in mine), completed=sum(s.step for s in mine.values()), width=24)
            table.add_row(
                Text(name),
                f"{done}/{len(mine)}",
                bar,
                _mean([s.accuracy for s in mine.values()]),
                _mean([s.doubt for s in mine.values()]),
            )
        return Group(table, Text(self._time_left(sum(s.step for s in standings.values())), style="dim"))

    def _time_left(self, completed: int) -> str:
        if self._done_before is None:
            self._done_before = completed
        fresh = completed - self._done_before
        passed = time.monotonic() - self._started
        if fresh < 2:
            return f"{_clock(passed)} passed"
        return f"{_clock(passed)} passed, about {_clock(passed / fresh * (self._total - completed))} left"


class PromptBar:
    """A bar a model while `frown eval` samples, on a terminal alone; what is said stands above it, or without one on
    lines of its own."""

    def __init__(self, console: Console):
        self._console = console
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._of: dict[str, TaskID] = {}

    def __enter__(self) -> PromptBar:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def update(self, name: str, done: int, of: int) -> None:
        """So many of a model's prompts are done."""
        if name not in self._of:
            self._of[name] = self._bars.add_task(name, total=of)
        self._bars.update(self._of[name], completed=done)

    def say(self, line: str) -> None:
        """Tell a person something."""
        self._console.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)


def standing(run: RunRow) -> RunStatus:
    """How a run stands, from its directory."""
    directory = RunDirectory(run.path)
    step, accuracy, doubt = 0, None, None
    for line in directory.metrics():
        step = max(step, line["step"])
        if line.get("split") == "test":
            accuracy = line["avg_at_k"]
        doubt = line.get("doubt", doubt)
    return RunStatus(directory.status[0], step, accuracy, doubt)


def _mean(values: Sequence[float | None]) -> str:
    known = [v for v in values if v is not None]
    return f"{sum(known) / len(known):.3f}" if known else "-"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes}:{seconds:02d}"
