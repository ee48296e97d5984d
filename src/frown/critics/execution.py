"""A critic that runs the program in an answer against the task's tests: named `unsafe_subprocess` in settings.

A candidate runs in a process of its own, in an empty folder that is removed afterwards, in a session of its own that is
killed as a whole, with no inherited environment, in Python's isolated mode, with limits on time, memory, the size of
what it writes, and no further process or thread. As root it runs as the user `nobody`.

**The limits are not a sandbox.** They stop accidents: endless loops, memory and fork bombs, floods of output. They do
NOT stop a program from

- using the network;
- reading every file that the user may read (as root: every file at all, where Python itself lies in a private folder);
- reading the environment of frown itself, keys and all, through /proc (an ordinary user's processes are open to each
  other; as root this one is closed);
- writing wherever the user may write: other people's files, /tmp, shared memory; or many small files, until the disk or
  its count of files is full;
- sending signals to the user's other processes, frown among them (as root: to other candidates alone);
- fooling its tests: the tests run in the candidate's own process, which can find the report and forge it, or hand out
  objects that are equal to everything. That a program prints "passed", or exits early, does not fool them;
- taking the processor away from others for as long as its time lasts, or reading clocks, hardware and kernel state;
- using a bug in Python, the kernel or the hardware.

Run code that you do not trust in a container or virtual machine without network, secrets or data of value.
"""

from __future__ import annotations

import ast
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from frown.critics.base import Comment, Request, Review
from frown.critics.confined import Limits, Ran, Told, hold, run
from frown.errors import FrownError, first_line

MOST_CASES = 2
"""Failing tests that a comment tells, the shortest first."""
LONGEST = 250
"""Characters of an input, output, value or message in a comment."""

_BLOCK = re.compile(r"^[ \t]*```[ \t]*(?:python3?|py)\b[^\n]*\n(.*?)(?=^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE | re.I)
_FOLDERS = re.compile(r"(?<![\w.~:/])(?:/[^\s/'\"()<>:,]+)+/(?=[^\s/'\"()<>:,])")
"""The folders of a path: a name is as good, and says nothing about this machine."""


class Finding(NamedTuple):
    """What came of running a program."""

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
        hold(self._limits)

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
        if (why := _unfit(tests)) is not None:
            return Review(lost=f"task {request.task.id}: {why}")
        code, start = program(request.text)

        def ran(**how: Any) -> Ran:
            if stop.is_set():
                raise OSError("interrupted")
            return run(code, self._limits, **how)

        try:
            found = _by_asserts(ran, tests) if isinstance(tests[0], str) else _by_cases(ran, tests)
        except OSError as error:
            return Review(lost=f"task {request.task.id}: the program cannot be run: {first_line(error)}")
        step = None if found.line is None else _step_at(request, start + _offset(code, found.line))
        return Review((Comment(step if step in request.asked else None, found.right, found.text),))


def program(text: str) -> tuple[str, int]:
    """The program in an answer, and where in the text it begins.

    The last fenced block marked as Python, one that is cut off included; the whole text where there is none.
    """
    blocks = list(_BLOCK.finditer(text))
    return (blocks[-1][1], blocks[-1].start(1)) if blocks else (text, 0)


def _unfit(tests: object) -> str | None:
    """Why these are no tests; None where they are."""
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


def _by_asserts(run: Callable[..., Ran], tests: Sequence[str]) -> Finding:
    ran = run(asserts=tests)
    told = {each.test: each for each in ran.told}
    if None not in told or told[None].error:
        return _fault("The program", ran, told.get(None), "ends before its tests,")
    wrong: list[tuple[int, str]] = []
    for i, test in enumerate(tests):
        call, each = _call(test), told.get(i)
        subject = f"`{_short(call or test)}`"
        if each is None or each.error:
            return _fault(subject, ran, each, "ends the program,")
        if not each.passed:
            values = f"gives {_short(each.got)}; expected is {_short(each.expected)}."
            wrong.append((len(test), f"{subject} {values if call else 'does not hold.'}"))
    return _summary(wrong, len(tests))


def _by_cases(run: Callable[..., Ran], tests: Sequence[Sequence[str]]) -> Finding:
    wrong: list[tuple[int, str]] = []
    for given, expected in tests:
        ran = run(stdin=given)
        subject = f"With the input\n{_short(given)}\nthe program" if given.strip() else "The program"
        if ran.told or ran.status:
            return _fault(subject, ran, next(iter(ran.told), None), "ends")
        if _lines(ran.output) != _lines(expected):
            shown = [_short("\n".join(_lines(text))) or "(nothing)" for text in (ran.output, expected)]
            text = f"{subject} prints\n{shown[0]}\nexpected is\n{shown[1]}"
            wrong.append((len(given) + len(expected), text))
    return _summary(wrong, len(tests))


def _fault(subject: str, ran: Ran, told: Told | None, ends: str) -> Finding:
    """A run that ended with an error, at a limit, or before its tests were through: then `ends` says so."""
    error = told.error if told else None
    if error is None:
        return Finding(False, f"{subject} {ran.why or f'{ends} with exit status {ran.status}'}.")
    message = _short(_FOLDERS.sub("", " ".join(error.message.split())))
    place = f" at line {error.line}" if error.line else ""
    return Finding(False, f"{subject} ends with {error.type}{place}{': ' * bool(message)}{message}.", error.line)


def _summary(wrong: Sequence[tuple[int, str]], count: int) -> Finding:
    """The shortest of the failing tests."""
    if not wrong:
        return Finding(True, f"All {count} tests pass." if count > 1 else "The test passes.")
    told = [text for _, text in sorted(wrong, key=lambda each: each[0])[:MOST_CASES]]
    return Finding(False, "\n".join([f"{len(wrong)} of {count} tests fail{'s' * (len(wrong) == 1)}.", *told]))


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
    """Where a line of the program begins, after its indentation."""
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
