"""Run a candidate program in a process of its own, under limits. The limits are no sandbox: see the package."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from frown.critics.execution.child import NOBODY
from frown.errors import FrownError, first_line

_CHILD = Path(__file__).with_name("child.py")
_LEAST_MEMORY_MB = 64
_REMOVAL_SECONDS = 5.0
_PROBE = """
import os

def forks():
    try:
        if os.fork() == 0:
            os._exit(0)
    except OSError:
        return False
    return True

def fills(size):
    try:
        return len(bytearray(size)) == size
    except MemoryError:
        return False
"""


@dataclass(frozen=True)
class Limits:
    """Limits of one run of a candidate, which may start no further process and no thread."""

    cpu_seconds: float = 5.0
    """Processor time, rounded up to whole seconds."""
    wall_seconds: float = 10.0
    """Time on the clock; more than `cpu_seconds`, as other programs want the processor, too."""
    memory_mb: int = 512
    """Address space, MiB, the interpreter's own 20 or so included."""
    file_mb: int = 4
    """Size of any one file it writes, MiB; its standard output is such a file."""

    def __post_init__(self) -> None:
        if self.cpu_seconds <= 0 or self.wall_seconds <= 0 or self.file_mb < 1 or self.memory_mb < _LEAST_MEMORY_MB:
            raise FrownError(
                f"limits of execution are positive, and memory_mb at least {_LEAST_MEMORY_MB} (Python itself needs "
                f"some); got {self}"
            )


class Fault(NamedTuple):
    """An error of a candidate."""

    type: str
    message: str
    line: int | None
    """In its code, from 1; None where it lies elsewhere."""


class CaseResult(NamedTuple):
    """The result of one test, or (`test` None) of the code before the tests."""

    test: int | None
    passed: bool
    error: Fault | None
    got: str
    expected: str
    """Of a test `a == b`, both values, cut at 501 characters."""


class ProcessResult(NamedTuple):
    """The end of a run, its output and its results."""

    ended_by: str
    """What ended it (takes longer than 10 s), or "" where it ended by itself."""
    status: int
    """Its exit status; negative: the signal that ended it."""
    output: str
    """What it wrote on standard output, at most `file_mb`."""
    results: list[CaseResult]
    """Of the tests, in order."""


def run_program(code: str, limits: Limits, *, stdin: str = "", asserts: Sequence[str] | None = None) -> ProcessResult:
    """Run code as a program that reads `stdin`, or as a module and then the assert lines in it.

    Raises OSError where no process can be started or held to its limits.
    """
    token = secrets.token_hex(16)
    payload = {
        "token": token,
        "code": code,
        "asserts": None if asserts is None else list(asserts),
        "limits": {
            "cpu_seconds": limits.cpu_seconds,
            "wall_seconds": limits.wall_seconds,
            "memory_bytes": limits.memory_mb * 2**20,
            "file_bytes": limits.file_mb * 2**20,
        },
    }
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(_folder())
        payload_file, stdin_file, output, report = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(4))
        _write(payload_file, json.dumps(payload))
        _write(stdin_file, stdin)
        process = subprocess.Popen(
            [sys.executable, "-I", "-B", "-X", "utf8", _CHILD, str(payload_file.fileno()), str(report.fileno())],
            cwd=folder,
            env=_environment(folder),
            stdin=stdin_file,
            stdout=output,
            stderr=subprocess.DEVNULL,
            pass_fds=(payload_file.fileno(), report.fileno()),
            start_new_session=True,
        )
        timed_out = False
        try:
            process.wait(limits.wall_seconds)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        written = _read(output, limits).replace(folder, "")
        entries = [entry for line in _read(report, limits).splitlines() if (entry := _entry(line, token))]
    for entry in entries:
        if "failed" in entry:
            raise OSError(str(entry["failed"]))
    results = [_test_result(entry) for entry in entries]
    return ProcessResult(_ended_by(process.returncode, timed_out, limits), process.returncode, written, results)


def check_limits(limits: Limits) -> None:
    """Try the limits out. Raises FrownError where this system does not enforce them."""
    if os.name != "posix":
        raise FrownError("running candidate programs needs a POSIX system, for its limits on processes")
    more = (limits.memory_mb + 64) * 2**20
    try:
        result = run_program(_PROBE, limits, asserts=["assert not forks()", f"assert not fills({more})"])
    except OSError as error:
        reason = first_line(error)
    else:
        if [each.passed for each in result.results if each.test is not None] == [True, True]:
            return
        reason = result.ended_by or "a program could exceed them"
    raise FrownError(
        f"the limits on processes and memory do not hold on this system ({reason}): run frown as an ordinary user on "
        "Linux, or leave unsafe_subprocess off"
    )


def _environment(folder: str) -> dict[str, str]:
    """Environment variables of a candidate: none is inherited. A numerical library that starts threads would fail."""
    single = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {"PATH": os.defpath, "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", **dict.fromkeys(single, "1")}


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    """A folder to work in, gone afterwards whatever was made in it."""
    folder = tempfile.mkdtemp(prefix="frown-")
    try:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        yield folder
    finally:
        _remove(folder)


def _remove(folder: str) -> None:
    """Remove a folder and what is in it, which may be closed to its owner, or deeper than Python's stack.

    Where that takes long, because a candidate made a hundred thousand folders, it goes on by itself.
    """
    try:
        os.rmdir(folder)  # mostly it is empty
    except OSError:
        command = 'chmod -R u+rwx -- "$1"; rm -rf -- "$1"'
        removal = subprocess.Popen(
            ["sh", "-c", command, "sh", folder], stderr=subprocess.DEVNULL, start_new_session=True
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            removal.wait(_REMOVAL_SECONDS)


def _write(file: IO[bytes], text: str) -> None:
    file.write(text.encode("utf-8", "replace"))
    file.seek(0)


def _read(file: IO[bytes], limits: Limits) -> str:
    file.seek(0)
    return file.read(limits.file_mb * 2**20).decode("utf-8", "replace")


def _entry(line: str, token: str) -> dict[str, Any] | None:
    """A line of the report; None where the candidate wrote it."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return entry if isinstance(entry, dict) and entry.get("token") == token else None


def _test_result(entry: dict[str, Any]) -> CaseResult:
    """An entry with the right token, which a candidate may still have forged: so whatever it holds will do."""
    test, error = entry.get("test"), entry.get("error")
    fault = None
    if isinstance(error, dict):
        line = error.get("line")
        real = isinstance(line, int) and line > 0
        fault = Fault(_text(error.get("type")), _text(error.get("message")), line if real else None)
    values = (_text(entry.get("got")), _text(entry.get("expected")))
    return CaseResult(test if isinstance(test, int) else None, entry.get("passed") is True, fault, *values)


def _text(value: object) -> str:
    """Text that can be encoded, whatever it was."""
    return str("" if value is None else value).encode("utf-8", "replace").decode()


def _ended_by(status: int, timed_out: bool, limits: Limits) -> str:
    if timed_out or status == -signal.SIGALRM:
        return f"takes longer than {limits.wall_seconds:g} s"
    if status == -signal.SIGXCPU:
        return f"takes more than {limits.cpu_seconds:g} s of processor time"
    if status == -signal.SIGXFSZ:
        return f"writes more than {limits.file_mb} MiB"
    if status < 0:
        return f"is ended by {_signal_name(-status)}"
    return ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
