"""A small pool of worker processes with a time limit that is kept by killing.

Graders that parse mathematics can hang inside C code, where no exception and no alarm handler reaches. Each
worker is therefore a fresh interpreter (no fork, so no lock or GPU state is inherited, and the caller's main
module is not run again) that reads one JSON payload a line and writes one JSON reply a line. A worker that
exceeds the limit is killed and replaced; it costs its own item only.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TextIO

from frown.errors import FrownError

_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from frown.tasks.workers import serve; "
    "serve(sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))"
)
_START_LIMIT = 120.0
_TRIES = 2


@dataclass(frozen=True)
class Failure:
    """An item that no worker could finish, and why."""

    why: str


class _DiedError(Exception):
    """The worker ended before it replied."""


class _Worker:
    """One process, owned by one thread at a time."""

    def __init__(self, target: str, limit: float, memory_mb: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(sys.path), target, str(limit), str(memory_mb)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            reply = self._exchange("", _START_LIMIT)
        except (TimeoutError, _DiedError) as e:
            raise FrownError(f"the grading worker {target} could not be started: {e}") from None
        if "failed" in reply:
            self.kill()
            raise FrownError(f"the grading worker {target} could not be started: {reply['failed']}")

    def ask(self, payload: Any, limit: float) -> Any | Failure:
        """The worker's result. TimeoutError past the limit (seconds), _DiedError when it ended itself."""
        reply = self._exchange(json.dumps(payload) + "\n", limit)
        return Failure(reply["failed"]) if "failed" in reply else reply["result"]

    def _exchange(self, line: str, limit: float) -> dict[str, Any]:
        late = threading.Event()

        def stop() -> None:
            late.set()
            self._process.kill()

        assert self._process.stdin is not None and self._process.stdout is not None
        timer = threading.Timer(limit, stop)
        timer.daemon = True
        timer.start()
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
            reply = self._process.stdout.readline()
        except (OSError, ValueError):
            reply = ""
        finally:
            timer.cancel()
        if reply.endswith("\n"):
            answer: dict[str, Any] = json.loads(reply)
            return answer
        self.kill()
        if late.is_set():
            raise TimeoutError(f"no result within {limit:g} s")
        raise _DiedError(f"the worker process ended with status {self._process.returncode}")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """End the process and release its pipes. Safe to call twice."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # unsent input of a worker that is gone
                    pass


class WorkerPool:
    """Runs `module:function` on payloads in worker processes, started when first needed.

    `target`: "module:function"; the function takes one JSON value and returns one, and is imported inside the
    worker only. `limit`: seconds a payload may take, start-up not counted. `memory_mb`: address space of a
    worker in MiB (enforced where the system can). `share`: payloads of one call for which one more worker is used; more
    than one where a worker takes far longer to start than a payload. Calls may come from any thread.
    """

    def __init__(
        self, target: str, workers: int = 2, limit: float = 10.0, memory_mb: int = 2048, share: int = 1
    ) -> None:
        if workers < 1 or limit <= 0:
            raise ValueError(f"a pool has workers and a positive limit, got {workers} and {limit}")
        self._target, self._limit, self._memory_mb, self._size = target, limit, memory_mb, workers
        self._share = share
        self._slots: SimpleQueue[_Worker | None] = SimpleQueue()
        for _ in range(workers):
            self._slots.put(None)
        self._live: set[_Worker] = set()
        self._lock = threading.Lock()
        self._closed = False
        _pools.add(self)

    def map(self, payloads: Sequence[Any]) -> list[Any | Failure]:
        """One result a payload, in order; `Failure` where the limit passed or the worker broke down twice.

        Raises FrownError when a worker cannot be started at all, ValueError on a closed pool.
        """
        if self._closed:
            raise ValueError("this worker pool was closed")
        results: list[Any | Failure] = [Failure("not reached")] * len(payloads)
        todo: SimpleQueue[int] = SimpleQueue()
        for i in range(len(payloads)):
            todo.put(i)
        errors: list[BaseException] = []

        def work() -> None:
            try:
                self._drain(todo, payloads, results)
            except BaseException as e:  # handed to the caller's thread below
                errors.append(e)

        several = min(self._size, -(-len(payloads) // self._share))
        helpers = [threading.Thread(target=work, daemon=True) for _ in range(several - 1)]
        for helper in helpers:
            helper.start()
        try:
            if payloads:
                self._drain(todo, payloads, results)
        finally:
            _empty(todo)  # nothing is left after a normal end; after an interrupt the helpers stop here
            for helper in helpers:
                helper.join()
        if errors:
            raise errors[0]
        return results

    def close(self) -> None:
        """End every worker. Safe to call twice."""
        self._closed = True
        with self._lock:
            live, self._live = self._live, set()
        for worker in live:
            worker.kill()

    def _drain(self, todo: SimpleQueue[int], payloads: Sequence[Any], results: list[Any | Failure]) -> None:
        worker = self._slots.get()
        try:
            while (i := _next(todo)) is not None:
                worker, results[i] = self._run(worker, payloads[i])
        finally:
            self._slots.put(worker if worker is not None and worker.alive else None)

    def _run(self, worker: _Worker | None, payload: Any) -> tuple[_Worker | None, Any | Failure]:
        why = ""
        for _ in range(_TRIES):  # a worker can be killed from outside (out of memory): one more try, no more
            if self._closed:
                return None, Failure("the grader was closed")
            if worker is None or not worker.alive:
                self._forget(worker)
                worker = self._start()
            try:
                return worker, worker.ask(payload, self._limit)
            except TimeoutError as e:
                self._forget(worker)
                return None, Failure(str(e))
            except _DiedError as e:
                why = f"{e}, in each of {_TRIES} tries"
        self._forget(worker)
        return None, Failure(why)

    def _start(self) -> _Worker:
        worker = _Worker(self._target, self._limit, self._memory_mb)
        with self._lock:
            self._live.add(worker)
        if self._closed:  # closed while it started: `close` did not see it, its next use will
            worker.kill()
        return worker

    def _forget(self, worker: _Worker | None) -> None:
        if worker is not None:
            worker.kill()
            with self._lock:
                self._live.discard(worker)


_pools: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for pool in list(_pools):
        pool.close()


def _next(todo: SimpleQueue[int]) -> int | None:
    try:
        return todo.get_nowait()
    except Empty:
        return None


def _empty(todo: SimpleQueue[int]) -> None:
    while _next(todo) is not None:
        pass


def serve(target: str, limit: float, memory_mb: int) -> None:
    """The worker's side: reply to each line of standard input until it ends."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a library that prints must not break the replies
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    _limit_memory(memory_mb)
    try:
        module, _, name = target.partition(":")
        function = getattr(importlib.import_module(module), name)
    except Exception as e:
        _reply(out, {"failed": f"{type(e).__name__}: {e}"})
        return
    _reply(out, {"ready": True})
    for line in sys.stdin:
        _alarm(int(limit) + 5)
        reply = _call(function, line)
        _alarm(0)
        _reply(out, reply)


def _call(function: Callable[[Any], Any], line: str) -> dict[str, Any]:
    try:
        return {"result": function(json.loads(line))}
    except MemoryError:
        return {"failed": "out of memory"}
    except Exception as e:
        return {"failed": f"{type(e).__name__}: {e}"[:300]}


def _reply(out: TextIO, reply: dict[str, Any]) -> None:
    out.write(json.dumps(reply) + "\n")
    out.flush()


def _alarm(seconds: int) -> None:
    """Die by the default action of SIGALRM: the parent that should kill a stuck worker may itself be gone."""
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds)


def _limit_memory(memory_mb: int) -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_mb * 2**20, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (
        ImportError,
        ValueError,
        OSError,
    ):  # not everywhere; the time limit holds
        pass
