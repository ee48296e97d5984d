"""Worker processes that run whole cells of a comparison. They talk through the run directories alone."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from frown.comparison.cells import Cell, is_finished
from frown.errors import FrownError, first_line
from frown.store.run_directory import RunDirectory

GPU = Path("/dev/nvidia0")


def worker_count(cells: Sequence[Cell]) -> int:
    """Runs at a time: one a core, or a core's worth of the container's time; one alone where runs would share a GPU."""
    from frown.runtime.threads import cpu_quota, own_cores

    if GPU.exists() and any(c.config.model.device != "cpu" for c in cells):
        return 1
    return max(1, int(min(len(own_cores()), cpu_quota() or math.inf)))


def run_all(cells: Sequence[Cell], workers: int, watch: Callable[[], None], every: float = 0.5) -> None:
    """Run the cells that are not done, `workers` at a time, calling `watch` every `every` seconds.

    A run that fails is marked so in its directory and the others go on.
    """
    todo = [c for c in cells if not is_finished(c)]
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
                _mark_failed(cell, "its worker process died, or another's did; is there memory enough? Try --workers 1")
    except BaseException:
        # Ctrl-C reaches the workers as a SIGTERM that they turn into an orderly end of their run.
        for process in multiprocessing.active_children():
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()


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
"""In a worker: whether it has to end, so that a run already handed to it does not begin."""


def _interrupt(*_: Any) -> None:
    global _stopping
    _stopping = True
    raise KeyboardInterrupt


def _mark_failed(cell: Cell, why: str) -> None:
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
            _mark_failed(cell, first_line(error))
