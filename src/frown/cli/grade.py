"""`frown grade`: completions in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from frown.cli.options import AsJson


def grade(
    file: Path,
    *,
    task: str,
    columns: str,
    out: Path | None = None,
    strict: Annotated[bool, Parameter("--strict", negative="--flexible")] = False,
    explain: bool = False,
    json_: AsJson = False,
) -> None:
    """Grade the completions in a file.

    Parameters
    ----------
    file
        JSONL, JSON, Parquet or CSV, also compressed, with a completion and a reference answer in each row.
    task
        math, choice or exact.
    columns
        Which column holds what, e.g. completion=response,answer=gold
    out
        Write a scored copy here.
    strict
        Count an answer as right only in the form that was asked for (a box, an answer tag, "the answer is").
        Both accuracies are reported either way.
    explain
        Say for each row what was taken for the answer, by which rule, and why it was judged so.
    """
    from frown.cli.output import print_json, summary_stream
    from frown.inspect.grade import UNREADABLE, Explanation, explanation_line, grade_file, parse_columns

    rows: list[Explanation] = []
    counts = grade_file(file, task=task, columns=parse_columns(columns), out=out, strict=strict, explain=rows.append)
    stream = summary_stream(out)
    if json_:
        print_json({**counts, "rows": rows} if explain else counts, stream=stream)
        return
    for row in rows if explain else ():
        print(explanation_line(row), file=stream)
    print(", ".join(f"{counts[name]} {name}" for name in ("n", "right", "wrong", "unscored")), file=stream)
    if unreadable := [row for row in rows if row["rule"] == UNREADABLE]:
        first = f"{unreadable[0]['place']}: {unreadable[0]['why']}"
        print(f"{len(unreadable)} of the unscored have nothing to be judged; the first: {first}", file=stream)
    scored = counts["n"] - counts["unscored"]
    if scored:
        flexible, exact = counts["flexibly_right"] / scored, counts["strictly_right"] / scored
        print(f"accuracy of the scored: flexible {flexible:.1%}, strict {exact:.1%}", file=stream)
