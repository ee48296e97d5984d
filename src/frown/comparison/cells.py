"""Arms x seeds at matched budgets: the runs of a comparison, its folder, and its summary from what they wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frown.config import CompareConfig, RunConfig, to_json
from frown.errors import FrownError
from frown.evals.summary import RunResult, summarise
from frown.evals.summary import to_json as summary_json
from frown.policy.folder import resolve
from frown.store.files import write_text
from frown.store.machine import machine_record
from frown.store.run_directory import RunDirectory
from frown.tasks.load import load_environment
from frown.training.context import fitting_models


@dataclass(frozen=True)
class Cell:
    """One run of a comparison."""

    arm: str
    seed: int
    config: RunConfig
    path: Path


def cells(config: CompareConfig, out: Path) -> list[Cell]:
    """All runs, seed by seed, so that every arm has its first seed early."""
    return [
        Cell(arm, seed, config.run(arm, seed), out / "runs" / arm / f"seed{seed}")
        for seed in config.seeds
        for arm in config.arms
    ]


def begin(config: CompareConfig, out: Path) -> list[Cell]:
    """Prepare the folder of a comparison. A comparison that stopped goes on where it was; another is refused."""
    todo = cells(config, out)
    for cell in todo:  # what every worker would stumble over is said now, once
        resolve(cell.config.model.path)
    with closing(load_environment(todo[0].config.task, conversation=todo[0].config.conversation)) as environment:
        models = [(c.config.model.path, c.config.sampling.max_new_tokens) for c in todo]
        fitting_models(environment, models, split=None)
    file = out / "config.json"
    if file.is_file() and file.read_text(encoding="utf-8") != to_json(config):
        raise FrownError(f"{out} holds another comparison; choose another --out or delete it")
    if not file.is_file() and out.is_dir() and any(out.iterdir()):
        raise FrownError(f"{out} is not empty and holds no comparison; choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_text(file, to_json(config))
    except OSError as error:
        raise FrownError(f"cannot write {out}: {error.strerror}") from None
    return todo


def is_finished(cell: Cell) -> bool:
    """Whether this very run is already done."""
    run = RunDirectory(cell.path)
    return run.status[0] == "finished" and run.config_is(cell.config)


def results(runs: Sequence[Cell]) -> Iterator[RunResult]:
    """What each run left on disk."""
    for cell in runs:
        yield result_of(cell.arm, cell.seed, cell.path)


def result_of(arm: str, seed: int, path: Path) -> RunResult:
    """What one run left on disk."""
    run = RunDirectory(path)
    status, why = run.status
    heldout = run.evals("heldout")
    return RunResult(
        arm=arm,
        seed=seed,
        evals=tuple(run.evals("test")),
        heldout=heldout[-1] if heldout else None,
        seconds=run.seconds,
        # A run that was killed had no time to say so.
        status=status if status in ("finished", "failed") else "interrupted",
        message=why,
        warnings=tuple(f"{arm} seed {seed}: {m['warning']}" for m in run.metrics() if m.get("warning")),
    )


def summary(config: CompareConfig, runs: Sequence[Cell], out: Path, command: str) -> dict[str, Any]:
    """Summarise what is on disk and write summary.json; `command` is for the record."""
    summarised = summarise(
        list(results(runs)),
        baseline=config.baseline,
        threshold=config.threshold,
        pairs=config.pairs,
        config=config.model_dump(mode="json"),
        environment={**machine_record(), "command": command},
    )
    write_text(out / "summary.json", summary_json(summarised))
    return summarised
