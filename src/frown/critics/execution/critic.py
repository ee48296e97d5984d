"""A critic that runs the program in an answer against the tests of its task. See the package: it is no sandbox."""

from __future__ import annotations

import ast
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from frown.critics.base import Comment, Request, Review
from frown.critics.execution.process import CaseResult, Limits, ProcessResult, check_limits, run_program
from frown.errors import FrownError, first_line

MOST_CASES = 2
"""Failing tests that a comment tells, the shortest first."""
LONGEST = 250
"""Characters of an input, output, value or message in a comment."""

_BLOCK = re.compile(r"^[ \t]*```[ \t]*(?:python3?|py)\b[^\n]*\n(.*?)(?=^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE | re.I)
_FOLDERS = re.compile(r"(?<![\w.~:/])(?:/[^\s/'\"()<>:,]+)+/(?=[^\s/'\"()<>:,])")
"""The folders of a path: a name is as good, and says nothing about this machine."""


class Diagnosis(NamedTuple):
    """The outcome of running a program: right or not, and the comment."""

    right: bool
    text: str
    line: int | None = None
    """The line of the program that an error points at, from 1."""


class ExecutionCritic:
    """Judges programs by running them; implements `frown.critics.base.Critic`.

    The program is the last fenced block marked as Python, or the whole text where there is none. `task.data["tests"]`
    holds assert lines, run in the program's own names, or pairs (standard input, expected standard output), for each
    of which the program runs anew; blanks at the ends of lines and blank lines at the end do not count.

    A comment tells the first error (type, line, message), or the shortest failing tests with what came out and what
    was expected. It is about the step in which the error's line stands where that one was asked about, else about the
    whole answer. Programs run `workers` at a time. Sets and hashes of strings are ordered anew in every run.

    Raises FrownError without the flag, and where the system does not hold the limits.
    """

    def __init__(self, *, unsafe_subprocess: bool = False, limits: Limits | None = None, workers: int = 2) -> None:
        if not unsafe_subprocess:
            raise FrownError(
                "running the programs of answers needs unsafe_subprocess = true: the limits on them are no sandbox "
                "(frown.critics.execution says what they do not stop)"
            )
        if workers < 1:
            raise FrownError(f"workers of the critic unsafe_subprocess: {workers}; give 1 or more")
        self._limits, self._workers = limits or Limits(), workers
        check_limits(self._limits)

    def review(self, requests: Sequence[Request]) -> list[Review]:
        """A review of each answer; lost where its task has no tests that can be run, or no process can be started."""
        stop = threading.Event()
        with ThreadPoolExecutor(self._workers) as pool:
            try:
                return list(pool.map(lambda request: self._review(request, stop), requests))
            finally:
                stop.set()  # after an interrupt; else all is done

    def _review(self, request: Request, stop: threading.Event) -> Review:
        if not request.asked:
            return Review()
        tests: Any = request.task.data.get("tests")
        if (reason := _invalid_tests(tests)) is not None:
            return Review(lost=f"task {request.task.id}: {reason}")
        code, start = extract_program(request.text)

        def run_once(**kwargs: Any) -> ProcessResult:
            if stop.is_set():
                raise OSError("interrupted")
            return run_program(code, self._limits, **kwargs)

        try:
            diagnosis = _run_asserts(run_once, tests) if isinstance(tests[0], str) else _run_cases(run_once, tests)
        except OSError as error:
            return Review(lost=f"task {request.task.id}: the program cannot be run: {first_line(error)}")
        step = None if diagnosis.line is None else _step_at(request, start + _offset(code, diagnosis.line))
        return Review((Comment(step if step in request.asked else None, diagnosis.right, diagnosis.text),))


def extract_program(text: str) -> tuple[str, int]:
    """The program in an answer, and where in the text it begins.

    The last fenced block marked as Python, one that is cut off included; the whole text where there is none.
    """
    blocks = list(_BLOCK.finditer(text))
    return (blocks[-1][1], blocks[-1].start(1)) if blocks else (text, 0)


def _invalid_tests(tests: object) -> str | None:
    """The reason why these are no tests; None where they are."""
    if not isinstance(tests, list | tuple) or not tests:
        return 'data["tests"] holds no tests'
    if all(isinstance(t, str) for t in tests):
        for number, test in enumerate(tests, start=1):
            try:
                ast.parse(test)
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                return f"test {number} is not Python: {first_line(error)}"
        return None
    if all(isinstance(t, list | tuple) and len(t) == 2 and all(isinstance(x, str) for x in t) for t in tests):
        return None
    return 'data["tests"] holds neither assert lines alone nor pairs (standard input, standard output) alone'


def _run_asserts(run_once: Callable[..., ProcessResult], tests: Sequence[str]) -> Diagnosis:
    process = run_once(asserts=tests)
    results = {result.test: result for result in process.results}
    if None not in results or results[None].error:
        return _failed_run("The program", process, results.get(None), "ends before its tests,")
    failures: list[tuple[int, str]] = []
    for i, test in enumerate(tests):
        call, result = _call(test), results.get(i)
        subject = f"`{_short(call or test)}`"
        if result is None or result.error:
            return _failed_run(subject, process, result, "ends the program,")
        if not result.passed:
            values = f"gives {_short(result.got)}; expected is {_short(result.expected)}."
            failures.append((len(test), f"{subject} {values if call else 'does not hold.'}"))
    return _summary(failures, len(tests))


def _run_cases(run_once: Callable[..., ProcessResult], tests: Sequence[Sequence[str]]) -> Diagnosis:
    failures: list[tuple[int, str]] = []
    for stdin, expected in tests:
        process = run_once(stdin=stdin)
        subject = f"With the input\n{_short(stdin)}\nthe program" if stdin.strip() else "The program"
        if process.results or process.status:
            return _failed_run(subject, process, next(iter(process.results), None), "ends")
        if _lines(process.output) != _lines(expected):
            shown = [_short("\n".join(_lines(text))) or "(nothing)" for text in (process.output, expected)]
            text = f"{subject} prints\n{shown[0]}\nexpected is\n{shown[1]}"
            failures.append((len(stdin) + len(expected), text))
    return _summary(failures, len(tests))


def _failed_run(subject: str, process: ProcessResult, result: CaseResult | None, ends: str) -> Diagnosis:
    """A run that ended with an error, at a limit, or before its tests were through: then `ends` says so."""
    error = result.error if result else None
    if error is None:
        return Diagnosis(False, f"{subject} {process.ended_by or f'{ends} with exit status {process.status}'}.")
    message = _short(_FOLDERS.sub("", " ".join(error.message.split())))
    place = f" at line {error.line}" if error.line else ""
    return Diagnosis(False, f"{subject} ends with {error.type}{place}{': ' * bool(message)}{message}.", error.line)


def _summary(failures: Sequence[tuple[int, str]], count: int) -> Diagnosis:
    """The shortest of the failing tests."""
    if not failures:
        return Diagnosis(True, f"All {count} tests pass." if count > 1 else "The test passes.")
    shown = [text for _, text in sorted(failures, key=lambda each: each[0])[:MOST_CASES]]
    return Diagnosis(False, "\n".join([f"{len(failures)} of {count} tests fail{'s' * (len(failures) == 1)}.", *shown]))


def _call(test: str) -> str | None:
    """The left side of `assert left == right`."""
    body = ast.parse(test).body
    compared = body[0].test if len(body) == 1 and isinstance(body[0], ast.Assert) else None
    single = isinstance(compared, ast.Compare) and len(compared.ops) == 1 and isinstance(compared.ops[0], ast.Eq)
    try:
        return ast.unparse(compared.left) if isinstance(compared, ast.Compare) and single else None
    except RecursionError:
        return None


def _lines(text: str) -> list[str]:
    """The lines without blanks at their ends, and without blank ones at the end."""
    lines = [line.rstrip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} [...]"


def _offset(code: str, line: int) -> int:
    """The place where a line of the program begins, after its indentation."""
    begins = [0, *(m.end() for m in re.finditer(r"\r\n?|\n", code))]
    begin = begins[min(line, len(begins)) - 1]
    return begin + len(code[begin:]) - len(code[begin:].lstrip(" \t"))


def _step_at(request: Request, offset: int) -> int | None:
    """The step that holds this character of the text."""
    end = 0
    for i, step in enumerate(request.steps):
        begin = request.text.find(step, end)
        if begin < 0:
            return None
        end = begin + len(step)
        if begin <= offset < end:
            return i
    return None
