"""Negotiations over one number, read from tables: whose target is what, in which unit.

The four tables of EmoMAS (MIT; Long et al. 2026) are read by their columns, any other by a `Schema` of one's own. Three
of the four hold text with commas that nobody quoted. Two things mend that, and a row that they do not mend is left out
and counted: in prose a comma is followed by a space and between columns it is not, so a cell that begins with a space
belongs to the one before; and the cells with numbers must stand where the table says they stand.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from frown.errors import FrownError

Unit = Literal["days", "minutes", "clock", "percent", "money", "number"]
"""`clock`: minutes after 21:00, so that a night does not break at midnight."""


@dataclass(frozen=True)
class Scenario:
    """One deal to be made: our target and theirs, in `unit`, and what else the table says (column -> text)."""

    name: str
    unit: Unit
    ours: float
    theirs: float
    facts: Mapping[str, str]

    @property
    def gap(self) -> float:
        """Distance of the two targets, in units; > 0."""
        return abs(self.theirs - self.ours)


class SkippedRow(NamedTuple):
    """A row that makes no scenario: its number in the table, from 1, and why."""

    row: int
    why: str


class Table(NamedTuple):
    """The scenarios of a table in its order, and the rows left out."""

    scenarios: tuple[Scenario, ...]
    skipped: tuple[SkippedRow, ...]


@dataclass(frozen=True)
class Schema:
    """The schema by which rows of a table make scenarios.

    `numbers`: where the cells with numbers stand, column -> index (negative: from the end); `read`: the number in such
    a cell, None where there is none; `targets`: from those numbers, in that order, to (ours, theirs).
    """

    unit: Unit
    numbers: Mapping[str, int]
    read: Callable[[str], float | None]
    targets: Callable[..., tuple[float, float]]


def number(cell: str) -> float | None:
    """The number that is all of a cell, with or without thousands separators."""
    text = cell.strip().replace(",", "")
    value = float(text) if re.fullmatch(r"-?\d+(\.\d+)?", text) else None
    return value if value is not None and np.isfinite(value) else None  # of 400 digits it would be infinite


def minutes_after_nine(cell: str) -> float | None:
    """A time of day such as "2:00 AM", as minutes after 21:00; from 12:00 PM on before it, so 8:30 PM is -30."""
    match = re.fullmatch(r"\s*(\d{1,2}):(\d{2})\s*([AP])\.?M\.?\s*", cell, re.IGNORECASE)
    if not match or not (1 <= int(match[1]) <= 12 and int(match[2]) < 60):
        return None
    hours = int(match[1]) % 12 + (12 if match[3].upper() == "P" else 24)
    return float(hours * 60 + int(match[2]) - 21 * 60)


SCHEMAS: dict[str, Schema] = {
    "credit": Schema("days", {"Creditor Target Days": 5, "Debtor Target Days": 6}, number, lambda us, them: (us, them)),
    "disaster": Schema(
        # The rescuers want the survivor to hold out until they are there.
        "minutes",
        {"Estimated_Survivor_Endurance(minutes)": 3, "Rescue_Team_ETA(minutes)": 4},
        number,
        lambda endurance, arrival: (arrival, endurance),
    ),
    "hospital": Schema(
        # The hospital offers the shorter wait with another surgeon, the patient keeps the place on the list.
        "days",
        {"Days_On_Waitlist": 5, "Estimated_Time_Reduction_If_Accept_Junior_Surgeon(days)": -2},
        number,
        lambda waiting, saved: (waiting - saved, waiting),
    ),
    "sleep": Schema(
        "clock",
        {"Robots_Requested_Bedtime": 5, "Student_Wanted_Bedtime": 6},
        minutes_after_nine,
        lambda us, them: (us, them),
    ),
}
FILES = {
    "credit": "credit_recovery_scenarios.csv",
    "disaster": "disaster_survivor_scenarios.csv",
    "hospital": "hospital_surgery_scenarios.csv",
    "sleep": "education_sleep_scenarios.csv",
}
TRAIN_ROWS = 80
"""Rows of a table that are learnt from; the others test. As in EmoDistill."""


def load_scenarios(path: Path, domain: str, schema: Schema, min_gap: float = 5.0) -> Table:
    """The scenarios of one table. Raises FrownError for a file that cannot be read or lacks a column.

    `least_gap`: targets no further apart than this (units) leave nothing to negotiate; such rows are left out.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FrownError(f"cannot read the scenarios in {path}: {error}") from None
    header = [name.strip() for name in rows[0]] if rows else []
    for name, index in schema.numbers.items():
        if not -len(header) <= index < len(header) or header[index] != name:
            raise FrownError(f"{path} has no column {name!r} at place {index}; its columns are: {', '.join(header)}")
    scenarios: list[Scenario] = []
    skipped: list[SkippedRow] = []
    for i, row in enumerate(rows[1:], start=1):
        cells = mend(row, len(header), lambda c: _numbers(c, schema) is not None)
        values = _numbers(cells, schema)
        if values is None:
            skipped.append(SkippedRow(i, "no number where the targets stand"))
            continue
        ours, theirs = schema.targets(*values)
        if abs(ours - theirs) <= min_gap:
            skipped.append(SkippedRow(i, f"targets {ours:g} and {theirs:g} leave nothing to negotiate"))
            continue
        # A row that lacks a cell cannot say which one: its text goes without names, so it goes without text.
        named = dict(zip(header, cells, strict=True)) if len(cells) == len(header) else {}
        scenarios.append(Scenario(f"{domain}-{i}", schema.unit, ours, theirs, named))
    return Table(tuple(scenarios), tuple(skipped))


def split(table: Table) -> tuple[tuple[Scenario, ...], tuple[Scenario, ...]]:
    """Scenarios of rows 1 to 80 for training, of the later rows for testing."""
    train = [s for s in table.scenarios if int(s.name.rsplit("-", 1)[1]) <= TRAIN_ROWS]
    return tuple(train), tuple(s for s in table.scenarios if s not in train)


def mend(cells: list[str], width: int, valid: Callable[[list[str]], bool]) -> list[str]:
    """The cells of a row whose prose was cut at its commas, put together again.

    Cells that begin with a space are joined to the one before. Where that leaves one cell too few, a column's text had
    begun with a space: it is parted again where exactly one place makes the row `valid`.
    """
    joined: list[str] = []
    for cell in cells:
        if joined and cell.startswith(" "):
            joined[-1] += "," + cell
        else:
            joined.append(cell)
    if len(joined) == width - 1 and not valid(joined):
        parted = [
            [*joined[:i], cell[: comma.start()], cell[comma.end() :], *joined[i + 1 :]]
            for i, cell in enumerate(joined)
            for comma in re.finditer(", ", cell)
        ]
        good = [row for row in parted if valid(row)]
        if len(good) == 1:
            return good[0]
    return joined


def synthetic(gap: float = 100.0, rows: int = 100) -> Table:
    """Scenarios without any text, all `gap` units apart: the built-in table, for tests and demonstrations."""
    return Table(tuple(Scenario(f"synthetic-{i}", "number", 0.0, gap, {}) for i in range(1, rows + 1)), ())


def varied(rows: int = 100, seed: int = 0) -> Table:
    """Made-up scenarios in days, minutes and money, 100 or 200 units apart, whose offers are multiples of five: `rows`
    of 192, so that no two are the same.

    For speakers, who should not hear the same two numbers all the time. Targets lie from 10 to 285 units; which side
    wants more is drawn, too. Raises ValueError for more rows than there are.
    """
    units: tuple[Unit, ...] = ("days", "minutes", "money")
    ends = [(low, low + gap)[::order] for low in range(10, 90, 5) for gap in (100, 200) for order in (1, -1)]
    if not 0 < rows <= len(units) * len(ends):
        raise ValueError(f"from 1 to {len(units) * len(ends)} rows, got {rows}")
    rng = np.random.default_rng(seed)
    drawn = {unit: rng.permutation(len(ends)) for unit in units}
    varied_scenarios = []
    for i in range(rows):
        unit = units[i % len(units)]
        ours, theirs = ends[drawn[unit][i // len(units)]]
        varied_scenarios.append(Scenario(f"varied-{i + 1}", unit, float(ours), float(theirs), {}))
    return Table(tuple(varied_scenarios), ())


def _numbers(cells: list[str], schema: Schema) -> list[float] | None:
    least = max(i + 1 if i >= 0 else -i for i in schema.numbers.values())
    values = [schema.read(cells[i]) for i in schema.numbers.values()] if len(cells) >= least else [None]
    numbers = [v for v in values if v is not None]
    return numbers if len(numbers) == len(values) else None
