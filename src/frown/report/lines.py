"""How the arms of a comparison are told apart in every drawing: a line style each, and a legend."""

from __future__ import annotations

from typing import Any

from frown.report.chart import swatch
from frown.report.material import Material


def styles(m: Material) -> dict[str, int]:
    """Arm -> line style: the baseline always has the plain one."""
    s = m.summary
    return {n: i for i, n in enumerate([s["baseline"], *(n for n in s["arms"] if n != s["baseline"])])}


def legend(m: Material) -> list[tuple[Any, str]]:
    """The lines of the arms, with their names."""
    base = m.summary["baseline"] if len(m.summary["arms"]) > 1 else None
    return [(swatch(i), f"{n} (baseline)" if n == base else n) for n, i in styles(m).items()]
