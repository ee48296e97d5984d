"""What commands print, and how."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

    from frown.interchange.omissions import Omissions


def typed_command() -> str:
    """What was typed, for the record."""
    return shlex.join(["frown", *sys.argv[1:]])


def print_json(value: Any, indent: int | None = None, stream: TextIO | None = None) -> None:
    """A value as JSON on standard output, or elsewhere. ValueError for a number that JSON has no word for."""
    print(json.dumps(value, indent=indent, allow_nan=False), file=stream)


def print_omissions(omissions: Omissions) -> None:
    """What of a log could not be read, on standard error."""
    for line in omissions.sentences():
        print(f"frown: {line}", file=sys.stderr)


def summary_stream(out: Path | None) -> TextIO:
    """Where a command that writes a file says what it wrote: beside it, where the file is standard output itself."""
    from frown.store.files import is_stdout

    return sys.stderr if out is not None and is_stdout(out) else sys.stdout


def plain(console: Console, line: str, style: str | None = None) -> None:
    """One line as it is, without markup."""
    console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def warner(console: Console) -> Callable[[str], None]:
    """A function that prints a warning in one line."""
    return lambda line: plain(console, f"warning: {line}", "yellow")


def print_summary(console: Console, summary: dict[str, Any]) -> None:
    """The table of a comparison or an evaluation, its warnings, and a sentence for each pair of arms."""
    from frown.report.question import answering_pairs
    from frown.report.table import summary_table

    console.print(summary_table(summary, console.width))
    for line in summary["warnings"]:
        warner(console)(line)
    for pair in answering_pairs(summary):
        plain(console, f"- {pair['sentence']}")
