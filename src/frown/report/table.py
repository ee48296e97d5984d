"""The summary as one table in the terminal, with as many columns as fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from frown.evals.wording import decimal
from frown.report.numbers import amount, bounds, duration, mean, to_threshold

if TYPE_CHECKING:
    from rich.table import Table


class _Column(NamedTuple):
    header: str
    cells: list[str]
    importance: int
    """Columns of the least importance go first when the terminal is narrow."""


def summary_table(summary: Mapping[str, Any], width: int = 80) -> Table:
    """One row an arm: Avg@k with its interval, pass@k, ECE, Brier, cost. Fits `width` characters.

    Columns that do not fit are left out, the least important first, and the caption names them. Arm names are
    printed as they are, without markup.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    columns = _columns(summary)
    kept: set[str] = set()
    # SIMPLE_HEAD puts one space either side of a cell and one character between columns and at both ends.
    room = width - 1
    for column in sorted(columns, key=lambda c: -c.importance):
        need = max(cell_len(text) for text in (column.header, *column.cells)) + 3
        if need <= room or len(kept) < 2:
            kept.add(column.header)
            room -= need
        else:
            break
    left_out = [c.header for c in columns if c.header not in kept]
    table = Table(
        box=box.SIMPLE_HEAD,
        caption=Text(_caption(summary, left_out)),
        caption_justify="left",
        pad_edge=True,
    )
    shown = [c for c in columns if c.header in kept]
    for i, column in enumerate(shown):
        table.add_column(Text(column.header), justify="left" if i == 0 else "right", no_wrap=i > 0, overflow="fold")
    for row in zip(*(c.cells for c in shown), strict=True):
        table.add_row(*(Text(cell) for cell in row))
    return table


def _columns(summary: Mapping[str, Any]) -> list[_Column]:
    arms: list[Mapping[str, Any]] = list(summary["arms"].values())
    k, threshold = summary["k"] or "k", summary["threshold"]
    names = [f"{n} *" if n == summary["baseline"] else n for n in summary["arms"]]
    columns = [
        _Column("arm", names, 9),
        _Column(f"Avg@{k}", [f"{mean(a['avg_at_k'])} {bounds(a['avg_at_k'])}".strip() for a in arms], 8),
        _Column(f"pass@{k}", [mean(a["pass_at_k"]) for a in arms], 4),
        _Column("ECE", [mean(a["ece"], 3) for a in arms], 7),
        _Column("Brier", [mean(a["brier"], 3) for a in arms], 2),
    ]
    if not any(_cost(a["rollouts"]) for a in arms):  # an evaluation alone: nothing was trained
        return [
            *columns,
            _Column(f"maj@{k}", [mean(a["maj_at_k"]) for a in arms], 5),
            _Column("entropy", [mean(a["entropy"], 3) for a in arms], 3),
            _Column("length", [mean(a["length"], 1) for a in arms], 1),
            _Column("cut", [mean(a["truncated"]) for a in arms], 1),
            _Column("unscored", [str(a["unscored"]) for a in arms], 6),
        ]
    if threshold is not None:
        steps = [to_threshold(a["steps_to_threshold"], len(a["seeds"])) for a in arms]
        columns.append(_Column(f"steps to {decimal(threshold)}", steps, 5))
    return [
        *columns,
        _Column("tokens", [amount(_cost(a["generated_tokens"])) for a in arms], 1),
        _Column("comments", [amount(_cost(a["comments"])) for a in arms], 8),
        _Column("time", [duration(_cost(a["seconds"])) for a in arms], 3),
    ]


def _cost(metric: Mapping[str, Any] | None) -> float | None:
    return None if metric is None else metric["mean"]


def _caption(summary: Mapping[str, Any], left_out: list[str]) -> str:
    lines = ["* baseline. [95% intervals] over prompts and seeds. ECE and Brier of agreement: lower is better."]
    failed = summary["failures"]
    if failed:
        which = ", ".join(f"{f['arm']} seed {f['seed']} ({f['status']})" for f in failed)
        lines.append(f"Not finished and left out of every figure: {which}.")
    if left_out:
        lines.append(f"No room for: {', '.join(left_out)}.")
    return "\n".join(lines)
