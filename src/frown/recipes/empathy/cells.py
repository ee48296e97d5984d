"""One arm trained with one seed, and what was measured of it, in a file: so an experiment goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frown.errors import FrownError, first_line
from frown.store.files import write_text

Measured = dict[str, NDArray[np.float64]]
"""Measure -> [N], one value a person; NaN where there is none."""


class Cell(NamedTuple):
    """What became of one training."""

    turns: int
    """Turns taken in all."""
    end: dict[str, Measured]
    """Simulator -> what was measured after it."""
    course: list[tuple[int, Measured]]
    """During it: turns taken by then, and what was measured of the first people."""


def kept(file: Path, about: Mapping[str, Any], make: Callable[[], Cell]) -> Cell:
    """The cell of a file, or else one that is made and written there.

    `about`: all that it depends on, as plain data. Raises FrownError where the file holds a cell of something else,
    or cannot be read.
    """
    if not file.exists():
        cell = make()
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps({"about": about, "cell": _plain(cell)}, allow_nan=False))
        return cell
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        cell, theirs = _cell(held["cell"]), held["about"]
        if not isinstance(theirs, dict):
            raise TypeError("what it is of is no object")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FrownError(f"{file} cannot be read: {first_line(error)}; delete it to make it anew") from None
    mine = json.loads(json.dumps(about))
    if theirs != mine:
        other = sorted(k for k in {*mine, *theirs} if mine.get(k) != theirs.get(k))
        raise FrownError(f"{file} is of an experiment with another {', '.join(other)}; choose another --out")
    return cell


def _plain(cell: Cell) -> dict[str, Any]:
    def values(measured: Measured) -> dict[str, list[float | None]]:
        return {m: [None if np.isnan(x) else float(x) for x in v] for m, v in measured.items()}

    end = {simulator: values(m) for simulator, m in cell.end.items()}
    return {"turns": cell.turns, "end": end, "course": [[turns, values(m)] for turns, m in cell.course]}


def _cell(held: Mapping[str, Any]) -> Cell:
    def arrays(values: Mapping[str, Any]) -> Measured:
        return {m: np.asarray([np.nan if x is None else x for x in v], np.float64) for m, v in values.items()}

    end = {simulator: arrays(m) for simulator, m in held["end"].items()}
    return Cell(int(held["turns"]), end, [(int(turns), arrays(m)) for turns, m in held["course"]])
