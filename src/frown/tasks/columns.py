"""Values of a row by the name of their column, nested ones by a dotted name: reward_model.ground_truth, answers.text.0.

A column whose own name contains the dots goes before nested ones.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from frown.errors import FrownError


class MissingColumn(FrownError):
    """A row has no column of a name."""


_SHOWN = 20
"""Most columns that an error names."""


def value_of(place: str, row: Mapping[str, Any], column: str) -> Any:
    """The value in a column; None where it, or what it lies in, is null.

    Raises MissingColumn for a missing column, naming those that are there; `place`: where the row stands.
    """
    ends = list(_ways(row, column))
    if ends:
        return ends[0]
    names = list(_names(row))
    close = difflib.get_close_matches(column, names, n=1)
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise MissingColumn(f"{place} has no column {column!r}; columns there: {shown or 'none'}{hint}")


def kind_of(value: Any) -> str:
    """What a value is called in JSON; a type that JSON has not (a date, bytes) by its own name."""
    if value is None:
        return "null"
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), type(value).__name__)


def names_within(value: Any) -> list[str]:
    """The names by which what lies in an object or a list is named; [] for another value."""
    if isinstance(value, list):
        return [str(i) for i in range(len(value))]
    return list(map(str, value)) if isinstance(value, Mapping) else []


def _ways(value: Any, name: str) -> Iterator[Any]:
    """The values that a dotted name may stand for, the longest names of columns first."""
    if value is None:
        yield None
    elif isinstance(value, list):
        head, _, rest = name.partition(".")
        if head.isdecimal() and len(head) < 10 and int(head) < len(value):
            yield from _ways(value[int(head)], rest) if rest else iter((value[int(head)],))
    elif isinstance(value, Mapping):
        if name in value:
            yield value[name]
        at = name.rfind(".")
        while at > 0:
            if name[:at] in value:
                yield from _ways(value[name[:at]], name[at + 1 :])
            at = name.rfind(".", 0, at)


def _names(row: Mapping[str, Any], before: str = "", depth: int = 3) -> Iterator[str]:
    """The columns of a row, those of nested objects by their dotted names behind them."""
    for name, value in row.items():
        yield f"{before}{name}"
        if isinstance(value, Mapping) and depth > 1:
            yield from _names(value, f"{before}{name}.", depth - 1)


def refuse_half_characters(place: str, text: str) -> None:
    """Raise FrownError where a text holds half a surrogate pair, which no file can hold; `place`: where it stands."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise FrownError(f"{place} holds half a surrogate pair, which is not text") from None
