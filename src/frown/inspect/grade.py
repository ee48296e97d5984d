"""`frown grade`: judge the completions in a file and count right, wrong and unscored."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypedDict

from frown.errors import FrownError
from frown.store.files import check_target, write_text
from frown.tasks.load import make_grader
from frown.tasks.rows import SourceRow, read_rows, text_of
from frown.types import Verdict

FIELDS = ("completion", "answer")
UNREADABLE = "unreadable"
"""The rule of a row that has no completion or no reference answer, or one that is no text."""


class Grades(TypedDict):
    """How many completions were judged how; right + wrong + unscored == n."""

    n: int
    right: int
    """Scored 1."""
    wrong: int
    """Scored below 1."""
    unscored: int
    """Nobody could judge them: not counted as wrong."""
    flexibly_right: int
    """Right in any form."""
    strictly_right: int
    """Right and in the form that was asked for (a box, an answer tag, "the answer is")."""


class Explanation(TypedDict):
    """What was taken for the answer in a row, by which rule, and why it was judged so."""

    place: str
    """Where the row stands: file and line."""
    judged: Literal["right", "wrong", "unscored"]
    rule: str
    stated: str
    """The words that were taken for the answer, shortened."""
    answer: str | None
    """What was read in them, in a canonical form."""
    reference: str
    why: str
    in_form: bool
    """Whether the completion has the form that was asked for."""


def parse_columns(text: str) -> dict[str, str]:
    """`"completion=output,answer=gold"` as a mapping from field to column; "" is {}.

    Raises FrownError for a pair without "=", an empty side, or a field named twice.
    """
    columns: dict[str, str] = {}
    for pair in text.split(",") if text.strip() else []:
        field, equals, column = (part.strip() for part in pair.partition("="))
        if not (equals and field and column):
            raise FrownError(f"columns: {pair.strip()!r} is not field=column, as in completion=output,answer=gold")
        if field in columns:
            raise FrownError(f"columns: {field!r} is named twice")
        columns[field] = column
    return columns


def grade_file(
    path: Path,
    *,
    task: str,
    columns: Mapping[str, str] | None = None,
    out: Path | None = None,
    strict: bool = False,
    explain: Callable[[Explanation], None] = lambda explanation: None,
) -> Grades:
    """Judge each row's completion against its reference answer.

    `task`: "math", "choice" or "exact". `columns`: where `completion` and `answer` stand (default: under
    these names). A row whose completion or reference is null, missing or no text is unscored. `out`: also write every
    row, in order, with `score` (null when unscored), `scored`, `verdict` (why) and `extracted` (the final answer
    found) set; a regular file appears whole or not at all, what is none (a pipe, a device) is written into; it must
    not be the input. `strict`: a right answer that is not in the form that was asked for counts as wrong. `explain` is
    called for each row, in order. Raises FrownError for a mistake in the arguments or the file.
    """
    names = _column_names(columns or {})
    if out is not None:
        check_target(out, path)
    grader = make_grader(task)
    try:
        rows = read_rows(path)
        pairs = _pairs(rows, names)
        readable = [pair for pair in pairs if not isinstance(pair, str)]
        judged = iter(grader.grade([gold for gold, _ in readable], [text for _, text in readable]))
    finally:
        grader.close()
    verdicts = [_unreadable(pair) if isinstance(pair, str) else next(judged) for pair in pairs]
    grades = count(verdicts, strict=strict)
    if strict:
        verdicts = [_strictly(v) for v in verdicts]
    for row, pair, verdict in zip(rows, pairs, verdicts, strict=True):
        explain(explanation(row.place, "" if isinstance(pair, str) else pair[0], verdict))
    if out is not None:
        # ASCII only: whatever the rows hold (line separators, half surrogates) can be read back
        scored = (row.values | _scored(v) for row, v in zip(rows, verdicts, strict=True))
        write_text(out, "".join(json.dumps(row, default=str) + "\n" for row in scored))
    return grades


def _pairs(rows: Sequence[SourceRow], names: Mapping[str, str]) -> list[tuple[str, str] | str]:
    """Of each row the reference answer and the completion, or why they cannot be read.

    Raises FrownError where no row has a column, and where no row can be read.
    """
    for column in names.values():
        if not any(column in row.values for row in rows):
            text_of(rows[0], column)  # says which columns there are
    pairs = [_pair(row, names) for row in rows]
    if all(isinstance(pair, str) for pair in pairs):
        raise FrownError(f"{rows[0].place}: {pairs[0]}; no row has a completion and a reference answer")
    return pairs


def _pair(row: SourceRow, names: Mapping[str, str]) -> tuple[str, str] | str:
    texts = []
    for field, numbers in (("answer", True), ("completion", False)):
        try:
            texts.append(text_of(row, names[field], numbers=numbers))
        except FrownError as error:
            missing = row.values.get(names[field]) is None
            what = "reference answer" if field == "answer" else field
            return f"the {what} is missing" if missing else str(error).removeprefix(f"{row.place}: ")
    return texts[0], texts[1]


def _unreadable(why: str) -> Verdict:
    return replace(Verdict.unscored(why), rule=UNREADABLE)


def count(verdicts: Sequence[Verdict], *, strict: bool = False) -> Grades:
    """How many are right, wrong and unscored. `strict`: right is what is right in the form that was asked for."""
    judged = [_strictly(v) for v in verdicts] if strict else verdicts
    kinds = Counter("unscored" if not v.scored else "right" if v.right else "wrong" for v in judged)
    return Grades(
        n=len(verdicts),
        right=kinds["right"],
        wrong=kinds["wrong"],
        unscored=kinds["unscored"],
        flexibly_right=sum(v.right for v in verdicts),
        strictly_right=sum(v.strictly_right for v in verdicts),
    )


def explanation(place: str, reference: str, verdict: Verdict) -> Explanation:
    """What a verdict rests on."""
    judged: Literal["right", "wrong", "unscored"]
    judged = "unscored" if not verdict.scored else "right" if verdict.right else "wrong"
    why = verdict.message or ("equal to the reference" if verdict.right else "")
    return Explanation(
        place=place, judged=judged, rule=verdict.rule or "none", stated=verdict.stated, answer=verdict.answer,
        reference=reference.rpartition("####")[2].strip(), why=why, in_form=verdict.well_formed,
    )  # fmt: skip


def explanation_line(row: Explanation) -> str:
    """One line on a row, for people."""
    taken = f"{row['rule']}: {row['stated']!r}" if row["stated"] else "no final answer"
    read = f", read as {row['answer']}" if row["answer"] is not None else ""
    form = "" if row["in_form"] or not row["stated"] else ", not in the form asked for"
    return f"{row['place']}: {row['judged']}; {taken}{read}{form}; reference {row['reference'][:80]!r}; {row['why']}"


def _strictly(verdict: Verdict) -> Verdict:
    if not verdict.right or verdict.well_formed:
        return verdict
    return replace(verdict, score=0.0, message="right, but not in the form that was asked for")


def _column_names(columns: Mapping[str, str]) -> dict[str, str]:
    for field in columns:
        if field not in FIELDS:
            raise FrownError(f"columns: there is no field {field!r} to grade, only {' and '.join(FIELDS)}")
    return {field: field for field in FIELDS} | dict(columns)


def _scored(verdict: Verdict) -> dict[str, Any]:
    return {
        "score": verdict.score if verdict.scored else None,
        "scored": verdict.scored,
        "verdict": verdict.message,
        "extracted": verdict.answer,
    }
