"""The scores of `frown layers` as a table in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from frown.evals.wording import decimal
from frown.report.reading import visible

if TYPE_CHECKING:
    from rich.table import Table


def layers_table(scores: Mapping[str, Any]) -> Table:
    """One row a layer: its relative depth, the AUROC of its probe, and the range of those under shuffled labels."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    what = f"{visible(scores['label'])} = {visible(scores['positive'])}"
    caption = (
        f"{what}: {scores['with_label']} of {scores['rows']} rows, tested on {scores['test_rows']}. "
        "AUROC 0.5 is chance. The best layer (*) is chosen on the rows that it is tested on."
    )
    table = Table(box=box.SIMPLE_HEAD, caption=Text(caption), caption_justify="left")
    for header in ("layer", "depth", "AUROC", "shuffled labels"):
        table.add_column(Text(header), justify="right")
    for row in scores["layers"]:
        best = "*" if row["layer"] == scores["best"] else " "
        table.add_row(f"{row['layer']}{best}", decimal(row["depth"]), _figure(row["auroc"]), _range(row["shuffled"]))
    return table


def _range(areas: list[float | None]) -> str:
    known = [a for a in areas if a is not None]
    return f"{decimal(min(known))} to {decimal(max(known))}" if known else "-"


def _figure(area: float | None) -> str:
    return "-" if area is None else decimal(area)
