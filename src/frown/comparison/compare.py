"""A whole comparison in one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from frown.comparison.cells import begin, summary
from frown.comparison.workers import run_all, worker_count
from frown.config import CompareConfig


def compare(
    config: CompareConfig,
    out: Path | str,
    *,
    workers: int | None = None,
    watch: Callable[[], None] = lambda: None,
    command: str = "",
) -> dict[str, Any]:
    """Train the arms of a comparison against each other at matched budgets, and return the summary of what differs.

    A comparison that `out` holds already goes on where it was stopped. `workers`: runs at a time (None: one a core, or
    one on a GPU), each in a process of its own, so a script calls this under `if __name__ == "__main__":`. `watch` is
    called twice a second; `command` is for the record.

    Everything is written to `out`: a run directory for each arm and seed, config.json and summary.json
    (docs/summary.md). A run that fails is named in the summary's "failures". Raises FrownError for a model, a task or a
    folder that cannot be used.
    """
    folder = Path(out)
    runs = begin(config, folder)
    run_all(runs, workers or worker_count(runs), watch)
    return summary(config, runs, folder, command)
