"""`frown grade`: completions in a file."""

from __future__ import annotations

from pathlib import Path

from frown.cli.options import AsJson


def grade(
    file: Path,
    *,
    task: str,
    columns: str,
    out: Path | None = None,
    json_: AsJson = False,
) -> None:
    """Grade the completions in a file.

    Parameters
    ----------
    file
        JSONL, JSON, Parquet or CSV with a completion and a reference answer in each row.
    task
        math, choice or exact.
    columns
        Which column holds what, e.g. completion=response,answer=gold
    out
        Write a scored copy here.
    """
    from frown.cli.output import print_json
    from frown.inspect.grade import grade_file, parse_columns

    counts = grade_file(file, task=task, columns=parse_columns(columns), out=out)
    if json_:
        print_json(counts)
    else:
        print(", ".join(f"{count} {name}" for name, count in counts.items()))
