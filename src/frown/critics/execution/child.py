"""The process of a candidate: limits first, then its code, then its tests. Standard library alone.

Run by path (`python -I child.py PAYLOAD REPORT`, two inherited file descriptors), so that nothing of frown is
in a candidate's reach. The report is one JSON object a line, each with the token of the payload: what a candidate
prints is no report.
"""

from __future__ import annotations

import ast
import json
import math
import os
import resource
import signal
import sys
import types
from typing import Any

ANSWER = "<answer>"
NOBODY = 65534
"""The user that owns nothing."""
LONGEST = 500
"""Characters of a message or value that are reported."""
_BALLAST = bytearray(2**24)
"""Thrown off when an error is to be reported: it may be that of having no memory left."""
_CAP_DAC_READ_SEARCH = 1 << 2


class _Report:
    """The file of results."""

    def __init__(self, fd: int, token: str) -> None:
        self._fd, self._token = fd, token

    def __call__(self, **entry: Any) -> None:
        os.write(self._fd, json.dumps({"token": self._token, **entry}).encode() + b"\n")


def main(payload_fd: int, report_fd: int) -> int:
    """Run one candidate; its exit status."""
    with open(payload_fd, encoding="utf-8") as file:
        payload = json.load(file)
    report = _Report(report_fd, payload["token"])
    try:
        if os.geteuid() == 0:
            _become_nobody()
        _limit(**payload["limits"])
    except (OSError, ValueError, AttributeError) as error:
        report(failed=f"{type(error).__name__}: {error}")
        return 1
    sys.argv = ["answer.py"]
    asserts: list[str] | None = payload["asserts"]
    module = types.ModuleType("__main__" if asserts is None else "answer")
    sys.modules[module.__name__] = module  # dataclasses and their like look their module up
    try:
        exec(compile(payload["code"], ANSWER, "exec", dont_inherit=True), module.__dict__)
    except SystemExit as end:
        if asserts is None:
            sys.stdout.flush()
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        report(test=None, error=_error(end))
        return 1
    except BaseException as error:
        report(test=None, error=_error(error))
        return 1
    if asserts is not None:
        report(test=None)
        for i, line in enumerate(asserts):
            try:
                report(test=i, **_check(line, module.__dict__))
            except BaseException as error:
                report(test=i, error=_error(error))
    sys.stdout.flush()
    return 0


def _check(line: str, namespace: dict[str, Any]) -> dict[str, Any]:
    """Run an assert line; of a comparison `a == b` both values are reported."""
    tree = ast.parse(line)
    test = tree.body[0].test if len(tree.body) == 1 and isinstance(tree.body[0], ast.Assert) else None
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
        got, expected = (
            eval(compile(ast.Expression(side), "<test>", "eval", dont_inherit=True), namespace)
            for side in (test.left, *test.comparators)
        )
        return {"passed": bool(got == expected), "got": _repr_of(got), "expected": _repr_of(expected)}
    try:
        exec(compile(tree, "<test>", "exec", dont_inherit=True), namespace)
    except AssertionError as error:
        if _line(error) is not None:  # an assertion of the candidate's own
            raise
        return {"passed": False}
    return {"passed": True}


def _repr_of(value: object) -> str:
    try:
        return repr(value)[: LONGEST + 1]
    except Exception as error:
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"[:LONGEST]


def _error(error: BaseException) -> dict[str, Any]:
    """Type, message and line of an error."""
    _BALLAST.clear()
    try:
        message = str(error.msg if isinstance(error, SyntaxError) else error)[: LONGEST + 1]
    except Exception:
        message = ""
    return {"type": type(error).__name__[:80], "message": message, "line": _line(error)}


def _line(error: BaseException) -> int | None:
    """The line of the answer where it happened: the innermost that is the answer's own."""
    if isinstance(error, SyntaxError) and error.filename == ANSWER:
        return error.lineno
    line_number, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == ANSWER:
            line_number = trace.tb_lineno
        trace = trace.tb_next
    return line_number


def _limit(cpu_seconds: float, wall_seconds: float, memory_bytes: int, file_bytes: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
    signal.alarm(math.ceil(wall_seconds) + 2)  # the parent that should end this process may itself be gone
    seconds = math.ceil(cpu_seconds)
    for limit, soft, hard in (
        (resource.RLIMIT_CPU, seconds, seconds + 1),
        (resource.RLIMIT_FSIZE, file_bytes, file_bytes),
        (resource.RLIMIT_NPROC, 0, 0),  # no process and no thread beside this one
        (resource.RLIMIT_NOFILE, 64, 64),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_AS, memory_bytes + len(_BALLAST), memory_bytes + len(_BALLAST)),
    ):
        ceiling = resource.getrlimit(limit)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        resource.setrlimit(limit, (soft, hard))


def _become_nobody() -> None:
    """Root is held to no limit on processes, so that a candidate runs as the user that owns nothing.

    It keeps the right to read files only where Python itself lies in a folder that this user may not read.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    keep_capabilities = 8
    if libc.prctl(keep_capabilities, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    kept = 0 if os.access(os.__file__, os.R_OK) else _CAP_DAC_READ_SEARCH
    version_3 = (ctypes.c_uint32 * 2)(0x20080522, 0)
    effective_permitted_inheritable = (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)
    if libc.capset(version_3, effective_permitted_inheritable):
        raise OSError(ctypes.get_errno(), "capset")


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
