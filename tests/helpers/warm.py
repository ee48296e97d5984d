"""Real processes of frown that start in a moment: forked from one that has imported torch and transformers and computed
nothing.

A fresh interpreter spends seconds on imports before it does anything, and tests start some hundred. What is forked here
has a process id, a session and an environment of its own, and can be killed. A few tests start fresh interpreters, by
the launchers that people use.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["frown.cli.app", "frown.training.loop", "frown.learner.learner", "accelerate", "peft"])


class Process:
    """`python -m frown WORDS`, or a script with words; used like `subprocess.Popen` with text pipes."""

    def __init__(
        self, *words: str, script: Path | None = None, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        """Start it, in a session of its own. `env` is what it has beside this process's environment."""
        self._files = tuple(Path(tempfile.mkstemp(prefix="warm-")[1]) for _ in range(2))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **(env or {})}
        self._process = _context.Process(
            target=_run,
            args=(list(words), script and str(script), str(cwd or Path.cwd()), environment, *map(str, self._files)),
        )
        self._process.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """As of Popen: the number of the signal that ended it with its sign turned."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self) -> int | None:
        self._process.join()
        return self.returncode

    def communicate(self) -> tuple[str, str]:
        """What it wrote on standard output and on standard error, when it has ended."""
        self.wait()
        out, err = (file.read_text(encoding="utf-8") if file.exists() else "" for file in self._files)
        return out, err

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it, if it runs."""
        self._process.kill()
        self._process.join()

    def __del__(self) -> None:
        for file in self._files:
            file.unlink(missing_ok=True)


class Pair:
    """The same in two processes that know each other, as a launcher starts them; none of them ends the other."""

    def __init__(self, *words: str, script: Path | None = None, cwd: Path | None = None) -> None:
        """Start both."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        self.ranks = [
            Process(*words, script=script, cwd=cwd, env={**world, "RANK": str(r), "LOCAL_RANK": str(r)})
            for r in range(2)
        ]

    @property
    def returncode(self) -> int | None:
        """Of the first that failed, else 0; None while one runs."""
        codes = [rank.returncode for rank in self.ranks]
        return None if None in codes else next((code for code in codes if code), 0)

    def poll(self) -> int | None:
        return self.returncode

    def communicate(self) -> tuple[str, str]:
        """What both wrote, one behind the other, when both have ended."""
        written = [rank.communicate() for rank in self.ranks]
        return "".join(out for out, _ in written), "".join(err for _, err in written)


def completed(*words: str, **how: object) -> subprocess.CompletedProcess[str]:
    """`subprocess.run` of frown with these words: what it wrote, and its exit status."""
    process = Process(*words, **how)
    out, err = process.communicate()
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def _run(words: list[str], script: str | None, cwd: str, environment: dict[str, str], out: str, err: str) -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    for number, file in ((0, os.devnull), (1, out), (2, err)):
        opened = os.open(file, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = (
        open(0),
        open(1, "w", encoding="utf-8"),
        open(2, "w", encoding="utf-8", buffering=1),
    )
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(cwd)
    sys.argv = [script or "frown", *words]
    try:
        if script:
            sys.path.insert(0, str(Path(script).parent))
            runpy.run_path(script, run_name="__main__")
        else:
            from frown.cli.app import main

            main(words)
    finally:
        sys.stdout.flush()
        atexit._run_exitfuncs()
