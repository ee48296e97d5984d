"""What the page knows before any rollout is opened: the index as columns, and how signals are drawn."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from frown.evals.fate import DOUBT, FATES
from frown.viewer.columns import GRAVITY, LABELS
from frown.viewer.index import Index
from frown.viewer.page import packed
from frown.viewer.scales import SCALES

_WHOLE = ("run", "split", "row", "step", "group", "length", "quadrant", "quadrants", "labels", "cut")
_REAL = ("score", "doubt", "sure")


def overview(index: Index, positions: np.ndarray | None = None, *, left_out: int = 0) -> dict[str, Any]:
    """The index, or these positions of it, as plain data; whole numbers as packed int32, others as packed float32.

    `left_out`: rollouts of the run that are not in it, which the page says.
    """
    at = np.arange(len(index)) if positions is None else np.asarray(positions)
    place = np.full(len(index), -1)
    place[at] = np.arange(len(at))
    order = place[index.order]
    tasks, task = np.unique(index.task[at], return_inverse=True)
    return {
        "name": index.name,
        "runs": [{"key": r.key, "arm": r.arm, "seed": r.seed} for r in index.runs],
        "splits": list(index.splits),
        "questions": [index.questions[t] for t in tasks],
        "quadrants": list(GRAVITY),
        "labels": list(LABELS),
        "fates": list(FATES),
        "threshold": DOUBT,
        "scales": [asdict(s) for s in SCALES],
        "graded": index.graded,
        "count": len(at),
        "leftOut": left_out,
        "unread": list(index.unread),
        "columns": {
            "task": packed(task, "<i4"),
            "order": packed(order[order >= 0], "<i4"),
            **{name: packed(getattr(index, name)[at], "<i4") for name in _WHOLE},
            **{name: packed(getattr(index, name)[at]) for name in _REAL},
        },
    }
