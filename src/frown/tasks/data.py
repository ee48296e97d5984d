"""Tasks from rows of data: a mistake in a row is one error line with file, row and mend."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from frown.errors import FrownError
from frown.tasks.columns import MissingColumn, kind_of, value_of
from frown.tasks.messages import answered_prompt, completion_of, message_list, prompt_of
from frown.tasks.rows import SourceRow, read_rows, text_of
from frown.types import Message, Task

REQUIRED = ("question", "answer")
OPTIONAL = ("solution", "system", "tests")
SKIP = 'task.bad_rows = "skip"'
"""The setting that leaves bad rows out."""


@dataclass(frozen=True)
class DataReport:
    """What was read from one source, so that nothing is dropped silently."""

    path: str
    rows: int
    """Rows in the source; blank lines are none."""
    duplicates: int
    """Rows that repeat the messages and answer of an earlier one; only the first is kept."""
    in_test: int = 0
    """Tasks of a training file left out because the test file asks the same question."""
    bad: int = 0
    """Rows left out as unusable (`task.bad_rows`)."""
    first_bad: str = ""
    """Where the first of these stands, and what is wrong with it."""
    places: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Where each task stands, by its id: "data FILE, line 3"."""

    @property
    def notes(self) -> list[str]:
        """What was left out, in words."""
        reasons = {
            "repeat an earlier row and are left out": self.duplicates,
            "ask what the test file asks and are left out of training": self.in_test,
            f"are bad and left out; the first: {self.first_bad}": self.bad,
        }
        return [f"{self.path}: {n} of {self.rows} rows {what}" for what, n in reasons.items() if n]


def column_names(columns: Mapping[str, str]) -> dict[str, str]:
    """The column for each field: `question` and `answer` default to their own names, the others to none.

    Raises FrownError for a field that does not exist.
    """
    for name in columns:
        if name not in REQUIRED + OPTIONAL:
            close = difflib.get_close_matches(name, REQUIRED + OPTIONAL, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            fields = ", ".join(REQUIRED + OPTIONAL)
            raise FrownError(f"columns: there is no field {name!r}, only {fields}{hint}")
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
    *,
    skip: bool = False,
) -> tuple[list[Task], DataReport]:
    """The tasks of a source of rows (`frown.tasks.rows.read_rows`) in its order, each once.

    `columns` maps question, answer and optionally solution, system and tests to column names; tests, a list of what a
    program has to pass, is kept as it is for a critic that runs it. The question is a text or a list of messages that
    ends with the user's; where one column of messages is named as question and answer, its last turn is the answer.
    `gold` takes the reference answer out of the answer column (ValueError: there is none); `worked` a worked solution,
    used where no solution column is named. `skip`: rows that cannot be used are left out and counted. Raises FrownError
    for the first mistake in the file, with `skip` where no row is left.
    """
    names = column_names(columns)
    bad: list[FrownError] = []
    tasks: dict[str, Task] = {}
    places: dict[str, str] = {}

    def on_bad_row(error: FrownError) -> None:
        if skip:
            bad.append(error)
        elif isinstance(error, MissingColumn) and not tasks:  # of no row: a name that is misspelt
            raise error
        else:
            raise FrownError(f"{error}; or leave such rows out: {SKIP}") from None

    rows = read_rows(path, on_bad_row)
    malformed = len(bad)
    for row in rows:
        try:
            task = _task(row, names, gold, worked)
        except FrownError as error:
            on_bad_row(error)
        else:
            tasks.setdefault(task.id, task)
            places.setdefault(task.id, row.place)
    if not tasks:
        raise FrownError(f"data {path} has no usable row among {len(bad)}; the first: {bad[0]}")
    count = len(rows) + malformed
    report = DataReport(
        path=str(path),
        rows=count,
        duplicates=count - len(bad) - len(tasks),
        bad=len(bad),
        first_bad=str(bad[0]) if bad else "",
        places=places,
    )
    return list(tasks.values()), report


def _task(
    row: SourceRow,
    names: Mapping[str, str],
    gold: Callable[[str], str],
    worked: Callable[[str], str | None],
) -> Task:
    messages, raw = _asked(row, names)
    if not raw.strip():
        raise FrownError(f"{row.place}: column {names['answer']!r} is empty")
    try:
        answer = gold(raw)
    except ValueError as e:
        raise FrownError(f"{row.place}: column {names['answer']!r}: {e}") from None
    solution = _optional(row, names, "solution")
    tests = value_of(row.place, row.values, names["tests"]) if "tests" in names else None
    if tests is not None and not isinstance(tests, list):
        raise FrownError(f"{row.place}: column {names['tests']!r} is {kind_of(tests)}, not a list of tests")
    return Task(
        id=task_id(messages, answer),
        messages=messages,
        answer=answer,
        solution=solution if "solution" in names else worked(raw),
        data={"file": row.file, "line": row.number, **({} if tests is None else {"tests": tests})},
    )


def _asked(row: SourceRow, names: Mapping[str, str]) -> tuple[tuple[Message, ...], str]:
    """The conversation that is to be answered, and what the answer column holds."""
    column = names["question"]
    value = value_of(row.place, row.values, column)
    where = f"{row.place}: column {column!r}"
    entries = value if isinstance(value, list) else message_list(value)
    if entries is None:
        question = text_of(row, column)
        if not question.strip():
            raise FrownError(f"{where} is empty")
        messages: tuple[Message, ...] = (Message(role="user", content=question),)
        raw = _answer(row, names["answer"])
    elif names["answer"] == column:
        messages, raw = answered_prompt(where, entries)
    else:
        messages, raw = prompt_of(where, entries), _answer(row, names["answer"])
    system = _optional(row, names, "system")
    if system and messages[0]["role"] == "system":
        raise FrownError(f"{where} has a system message, and column {names['system']!r} another; name one of them")
    return (Message(role="system", content=system), *messages) if system else messages, raw


def _answer(row: SourceRow, column: str) -> str:
    """The text of an answer; of messages, the assistant's."""
    value = value_of(row.place, row.values, column)
    entries = message_list(value)
    if entries is not None and not isinstance(value, str):
        return completion_of(f"{row.place}: column {column!r}", entries)
    return text_of(row, column, numbers=True)


def _optional(row: SourceRow, names: Mapping[str, str], field: str) -> str | None:
    if field not in names or value_of(row.place, row.values, names[field]) is None:
        return None
    value = value_of(row.place, row.values, names[field])
    entries = message_list(value)
    if field == "solution" and entries is not None and not isinstance(value, str):
        return completion_of(f"{row.place}: column {names[field]!r}", entries)
    return text_of(row, names[field])


def conversation_of(task: Task) -> str:
    """What a task asks, whatever its system prompt: its question, of several turns all of them as JSON."""
    turns = [m["content"] for m in task.messages if m["role"] != "system"]
    return turns[0] if len(turns) == 1 else json.dumps(turns, ensure_ascii=False)


def share(seed: int, task: Task) -> float:
    """A number in [0, 1) from the seed and the question alone: which split a task falls into.

    The same question with another answer or another system prompt falls on the same side.
    """
    digest = hashlib.sha256(f"{seed}/{conversation_of(task)}".encode("utf-8", "surrogatepass")).digest()
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
