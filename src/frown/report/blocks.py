"""What a page is made of, as plain data. Every text is untrusted until the template has escaped it; drawings are markup
that has escaped what it shows itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from markupsafe import Markup


class Cell(NamedTuple):
    """A figure, and what stands small below it: its interval, or how it is meant."""

    text: str
    below: str = ""


class Row(NamedTuple):
    """A row of a table."""

    name: str
    cells: Sequence[Cell]
    hint: str = ""


class Item(NamedTuple):
    """A point of a list; `shown` says whether what it tells of is shown by the data, where that can be said."""

    text: str
    shown: bool | None = None


@dataclass(frozen=True)
class Text:
    """A paragraph; a note is smaller."""

    text: str
    note: bool = False
    kind: str = field(default="text", init=False)


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    items: Sequence[Item]
    kind: str = field(default="points", init=False)


@dataclass(frozen=True)
class Table:
    """A table that scrolls by itself where it is too wide."""

    head: Sequence[str]
    rows: Sequence[Row]
    words: bool = False
    """The cells are texts, not figures."""
    kind: str = field(default="table", init=False)


class Figure(NamedTuple):
    """A drawing with its title."""

    title: str
    hint: str
    drawing: Markup


@dataclass(frozen=True)
class Figures:
    """Drawings side by side where there is room, with one legend of (line, name)."""

    figures: Sequence[Figure]
    legend: Sequence[tuple[Markup, str]] = ()
    kind: str = field(default="figures", init=False)


@dataclass(frozen=True)
class Code:
    """Text as it is."""

    text: str
    kind: str = field(default="code", init=False)


@dataclass(frozen=True)
class Details:
    """What is opened on demand (and printed open)."""

    title: str
    blocks: Sequence[Block]
    kind: str = field(default="folded", init=False)


Block = Text | Points | Table | Figures | Code | Details


class Section(NamedTuple):
    """A part of a page. `id` is where links lead."""

    title: str
    blocks: Sequence[Block]
    id: str = ""


class Page(NamedTuple):
    """A whole page: what was asked, what is the answer, and on what that rests."""

    kind: str
    question: str
    answer: Sequence[Item]
    table: Table
    about: str
    """One sentence: what was done to find out."""
    trouble: str
    """What stands in the way of believing it; "" for nothing."""
    sections: Sequence[Section]


def absent(title: str, why: str) -> Section:
    """A part that cannot be drawn, and why."""
    return Section(title, (Text(why, note=True),))
