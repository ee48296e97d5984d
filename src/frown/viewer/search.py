"""Full-text search over a run: its questions, answers, verdicts and feedback, file by file."""

from __future__ import annotations

from typing import Any

import numpy as np

from frown.store.rollouts import read_rollouts
from frown.viewer.columns import filled
from frown.viewer.index import Index

_TEXTS = ("question", "text", "verdict", "feedback.list.element.text")


def search(index: Index, query: str) -> list[int]:
    """Positions of the rollouts in which the query occurs, upper and lower case alike. An empty query finds nothing."""
    positions: list[int] = []
    for number in np.unique(index.file).tolist() if query else ():
        start = int(np.argmax(index.file == number))
        with read_rollouts(index.files[number].path) as file:
            for batch in file.batches(_TEXTS, size=4096):
                positions += (np.flatnonzero(_hits(batch, query)) + start).tolist()
                start += batch.num_rows
    return positions


def _hits(batch: Any, query: str) -> np.ndarray:
    import pyarrow.compute as pc

    def matches(texts: Any) -> np.ndarray:
        return filled(pc.match_substring(texts, query, ignore_case=True), False).astype(np.bool_)

    hits = np.zeros(batch.num_rows, np.bool_)
    for name in batch.schema.names:
        column = batch.column(name)
        if name != "feedback":
            hits |= matches(column)
            continue
        owner = filled(pc.list_parent_indices(column), 0)
        hits[owner[matches(pc.struct_field(column.flatten(), "text"))]] = True
    return hits
