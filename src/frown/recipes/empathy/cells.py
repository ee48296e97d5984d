"""One arm trained with one seed and its measures, as plain data that a file can keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Measured = dict[str, NDArray[np.float64]]
"""Measure -> [N], one value a person; NaN where there is none."""


class Cell(NamedTuple):
    """The measures of one training."""

    turns: int
    """Turns taken in all."""
    end: dict[str, Measured]
    """Simulator -> the measures after the training."""
    course: list[tuple[int, Measured]]
    """During it: turns taken by then, and the measures of the first people."""


def to_data(cell: Cell) -> dict[str, Any]:
    """A cell as plain data, NaN as None."""

    def values(measures: Measured) -> dict[str, list[float | None]]:
        return {m: [None if np.isnan(x) else float(x) for x in v] for m, v in measures.items()}

    end = {simulator: values(m) for simulator, m in cell.end.items()}
    return {"turns": cell.turns, "end": end, "course": [[turns, values(m)] for turns, m in cell.course]}


def from_data(data: Mapping[str, Any]) -> Cell:
    """`to_data`, read back. Raises KeyError, TypeError, ValueError or AttributeError where it is something else."""

    def arrays(values: Mapping[str, Any]) -> Measured:
        return {m: np.asarray([np.nan if x is None else x for x in v], np.float64) for m, v in values.items()}

    end = {simulator: arrays(m) for simulator, m in data["end"].items()}
    return Cell(int(data["turns"]), end, [(int(turns), arrays(m)) for turns, m in data["course"]])
