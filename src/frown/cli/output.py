"""What commands print, and how."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def typed_command() -> str:
    """What was typed, for the record."""
    return shlex.join(["frown", *sys.argv[1:]])


def print_json(value: Any, indent: int | None = None) -> None:
    """A value as JSON on standard output. ValueError for a number that JSON has no word for."""
    print(json.dumps(value, indent=indent, allow_nan=False))


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
