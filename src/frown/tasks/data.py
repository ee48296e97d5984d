"""Tasks from rows of data: a mistake in a row is one error line with file, row and mend."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from frown.errors import FrownError
from frown.tasks.rows import SourceRow, kind_of, read_rows, text_of
from frown.types import Message, Task

REQUIRED = ("question", "answer")
OPTIONAL = ("solution", "system", "tests")


@dataclass(frozen=True)
class DataReport:
    """What was read from one file, so that nothing is dropped silently."""

    path: str
    rows: int
    """Rows in the file; blank lines are none."""
    duplicates: int
    """Rows that repeat the messages and answer of an earlier one; only the first is kept."""
    in_test: int = 0
    """Tasks of a training file left out because the test file asks the same question."""

    @property
    def notes(self) -> list[str]:
        """What was left out, in words."""
        reasons = {
            "repeat an earlier row and are left out": self.duplicates,
            "ask what the test file asks and are left out of training": self.in_test,
        }
        return [f"{self.path}: {n} of {self.rows} rows {what}" for what, n in reasons.items() if n]


def column_names(columns: Mapping[str, str]) -> dict[str, str]:
    """The column for each field: `question` and `answer` default to their own names, the others to none.

    Raises FrownError for a field that does not exist.
    """
    for field in columns:
        if field not in REQUIRED + OPTIONAL:
            close = difflib.get_close_matches(field, REQUIRED + OPTIONAL, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            fields = ", ".join(REQUIRED + OPTIONAL)
            raise FrownError(f"columns: there is no field {field!r}, only {fields}{hint}")
    return {name: name for name in REQUIRED} | dict(columns)


def task_id(messages: Sequence[Message], answer: str) -> str:
    """16 hexadecimal digits of SHA-256 over the messages and the answer."""
    content = json.dumps([[[m["role"], m["content"]] for m in messages], answer], ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read_tasks(
    path: Path,
    columns: Mapping[str, str],
    gold: Callable[[str], str] = str,
    worked: Callable[[str], str | None] = lambda raw: None,
) -> tuple[list[Task], DataReport]:
    """The tasks of a source of rows (`frown.tasks.rows.read_rows`) in its order, each once.

    `columns` maps question, answer and optionally solution, system and tests to column names; tests, a list of what a
    program has to pass, is kept as it is for a critic that runs it. `gold` takes the
    reference answer out of the answer column (ValueError: there is none); `worked` a worked solution, used
    where no solution column is named. Raises FrownError for the first mistake in the file.
    """
    names = column_names(columns)
    rows = read_rows(path)
    tasks: dict[str, Task] = {}
    for row in rows:
        task = _task(path.name, row, names, gold, worked)
        tasks.setdefault(task.id, task)
    return list(tasks.values()), DataReport(str(path), len(rows), len(rows) - len(tasks))


def _task(
    file: str,
    row: SourceRow,
    names: Mapping[str, str],
    gold: Callable[[str], str],
    worked: Callable[[str], str | None],
) -> Task:
    question = text_of(row, names["question"])
    raw = text_of(row, names["answer"], numbers=True)
    for field, value in (("question", question), ("answer", raw)):
        if not value.strip():
            raise FrownError(f"{row.place}: column {names[field]!r} is empty")
    try:
        answer = gold(raw)
    except ValueError as e:
        raise FrownError(f"{row.place}: column {names['answer']!r}: {e}") from None
    system = _optional(row, names, "system")
    solution = _optional(row, names, "solution")
    tests = row.values.get(names["tests"]) if "tests" in names else None
    if tests is not None and not isinstance(tests, list):
        raise FrownError(f"{row.place}: column {names['tests']!r} is {kind_of(tests)}, not a list of tests")
    messages: tuple[Message, ...] = (Message(role="user", content=question),)
    if system:
        messages = (Message(role="system", content=system), *messages)
    return Task(
        id=task_id(messages, answer),
        messages=messages,
        answer=answer,
        solution=solution if "solution" in names else worked(raw),
        data={"file": file, "line": row.number, **({} if tests is None else {"tests": tests})},
    )


def _optional(row: SourceRow, names: Mapping[str, str], field: str) -> str | None:
    if field not in names or (names[field] in row.values and row.values[names[field]] is None):
        return None
    return text_of(row, names[field])


def share(seed: int, task: Task) -> float:
    """A number in [0, 1) from the seed and the question alone: which split a task falls into.

    The same question with another answer or another system prompt falls on the same side.
    """
    digest = hashlib.sha256(f"{seed}/{task.question}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def in_order(tasks: Sequence[Task], seed: int) -> list[Task]:
    """The tasks by their share: a fixed shuffle, so that the first n are a random sample."""
    return sorted(tasks, key=lambda t: (share(seed, t), t.id))


def split_tasks(tasks: Sequence[Task], seed: int, fraction: float) -> tuple[list[Task], list[Task]]:
    """(kept, held back): a task is held back when its share (see `share`) is below `fraction`.

    Rows added to a file later move no other row. Both lists are in the order of their shares, so the first
    n are a random sample. At least one task falls on each side when there are two or more.
    """
    ordered = in_order(tasks, seed)
    n = sum(share(seed, t) < fraction for t in ordered)
    n = min(max(n, 1), len(ordered) - 1) if len(ordered) > 1 else 0
    return ordered[n:], ordered[:n]
