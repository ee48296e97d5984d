"""Arms x seeds at matched budgets: run them in worker processes, then one summary from what they wrote."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frown.config import CompareConfig, RunConfig, to_json
from frown.errors import FrownError, first_line
from frown.evals.summary import RunResult, summarise
from frown.evals.summary import to_json as summary_json
from frown.policy.load import resolve
from frown.store.files import write_text
from frown.store.machine import machine_record
from frown.store.run_directory import RunDirectory
from frown.tasks.load import load_environment


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
    load_environment(todo[0].config.task, conversation=todo[0].config.conversation).close()
    held = out / "config.json"
    if held.is_file() and held.read_text(encoding="utf-8") != to_json(config):
        raise FrownError(f"{out} holds another comparison; choose another --out or delete it")
    if not held.is_file() and out.is_dir() and any(out.iterdir()):
        raise FrownError(f"{out} is not empty and holds no comparison; choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_text(held, to_json(config))
    except OSError as error:
        raise FrownError(f"cannot write {out}: {error.strerror}") from None
    return todo


def run_all(todo: Sequence[Cell], workers: int, watch: Callable[[], None], every: float = 0.5) -> None:
    """Run the cells that are not done, `workers` at a time, calling `watch` every `every` seconds.

    A run that fails is marked so in its directory and the others go on.
    """
    todo = [c for c in todo if not finished(c)]
    if not todo:
        return
    if workers > 1 and any(c.config.sampling.vllm for c in todo):
        raise FrownError(
            "sampling.vllm: one vLLM serves one run at a time, or runs get each other's weights; --workers 1"
        )
    for cell in todo:
        run = RunDirectory(cell.path)
        run.claim()  # an error now, where another comparison is at work here
        run.forget()
        run.release()
    # Workers inherit these: tiny models on several threads each were thirty times slower on a busy machine.
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    pool = ProcessPoolExecutor(
        min(workers, len(todo)), mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
    )
    waiting: set[Future[None]] = {pool.submit(_run_cell, c) for c in todo}
    try:
        while waiting:
            done, waiting = wait(waiting, timeout=every, return_when=FIRST_COMPLETED)
            watch()
            for future in done:
                future.result()
    except BrokenProcessPool:
        # A worker died without a word (out of memory, most likely), and the pool with it.
        for cell in todo:
            if RunDirectory(cell.path).status[0] != "finished":
                _fail(cell, "its worker process died, or another's did; is there memory enough? Try --workers 1")
    except BaseException:
        # Ctrl-C reaches the workers as a SIGTERM that they turn into an orderly end of their run.
        for process in multiprocessing.active_children():
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()


def finished(cell: Cell) -> bool:
    """Whether this very run is already done."""
    run = RunDirectory(cell.path)
    return run.status[0] == "finished" and run.config_is(cell.config)


def results(todo: Sequence[Cell]) -> Iterator[RunResult]:
    """What each run left on disk."""
    for cell in todo:
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


def summary(config: CompareConfig, todo: Sequence[Cell], out: Path, command: str) -> dict[str, Any]:
    """Summarise what is on disk and write summary.json; `command` is for the record."""
    found = summarise(
        list(results(todo)),
        baseline=config.baseline,
        threshold=config.threshold,
        pairs=config.pairs,
        config=config.model_dump(mode="json"),
        environment={**machine_record(), "command": command},
    )
    write_text(out / "summary.json", summary_json(found))
    return found


def _start_worker() -> None:
    """The parent decides when a worker ends: it alone hears Ctrl-C, and no worker outlives it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


_stopping = False
"""In a worker: whether it was told to end, so that a run already handed to it does not begin."""


def _interrupt(*_: Any) -> None:
    global _stopping
    _stopping = True
    raise KeyboardInterrupt


def _fail(cell: Cell, why: str) -> None:
    cell.path.mkdir(parents=True, exist_ok=True)
    RunDirectory(cell.path).mark("failed", why)


def _run_cell(cell: Cell) -> None:
    """Execute one run in this process. Why it failed is recorded in its directory; the other runs go on."""
    if _stopping:
        return
    import torch

    from frown.training.run import train

    torch.set_num_threads(1)
    try:
        train(cell.config, cell.path, resume=True)  # one that was stopped ends as if it had not been
    except Exception as error:
        if RunDirectory(cell.path).status[0] == "new":
            _fail(cell, first_line(error))
