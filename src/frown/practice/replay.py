"""Which lessons are learnt from again. A comment is bought once; rehearsing it costs a forward pass and no critic.

Spaced practice has the same question: what is already known need not be repeated. What is still unresolved is told by
the last divergence between student and teacher on it, as in prioritised replay (Schaul et al. 2016, arXiv 1511.05952).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from frown.store.record import RolloutRecord, TeacherReading
from frown.store.rollouts import read_rollouts, write_rollouts
from frown.types import Rollout, Task, TeacherView

By = Literal["uniform", "unresolved"]
MEMORY = 4096
"""Lessons kept, the newest."""


@dataclass(frozen=True, eq=False)
class Kept:
    """One view that was learnt from, and what was left to learn when it was used last."""

    rollout: Rollout
    """What of it is needed (`needed`)."""
    view: TeacherView
    unresolved: float
    """Mean divergence between student and teacher over the weighted tokens, weighted, nats, >= 0."""


def needed(rollout: Rollout) -> Rollout:
    """What of an answer is needed to learn from it again: question, tokens and their log-probabilities."""
    task = Task(rollout.task.id, rollout.task.messages, rollout.task.answer)
    return replace(rollout, task=task, text="", steps=(), signals=None, verdict=None, alternative=None)


def unresolved(view: TeacherView, divergence: np.ndarray) -> float:
    """What is left to learn of a view: its weighted mean divergence, nats; NaN (not learnt from) counts as nothing."""
    known = np.isfinite(divergence) & (view.weight > 0)
    total = float(view.weight[known].sum())
    return float((view.weight[known] * divergence[known]).sum() / total) if total else 0.0


def choose(kept: Sequence[Kept], n: int, by: By, rng: np.random.Generator) -> list[int]:
    """At most n lessons to rehearse, ascending. uniform: evenly drawn; unresolved: odds in proportion to what is left.

    Weighted draws are without replacement (Efraimidis and Spirakis 2006); a resolved lesson comes last.
    """
    chance = rng.random(len(kept))
    if by == "uniform":
        order = np.argsort(chance, kind="stable")
    else:
        left = np.array([k.unresolved for k in kept], np.float64)
        with np.errstate(divide="ignore"):
            order = np.argsort(np.where(left > 0, -np.log(chance) / np.maximum(left, 1e-300), np.inf), kind="stable")
    return sorted(order[:n].tolist())


def remember(
    kept: Sequence[Kept],
    rehearsed: Sequence[int],
    lessons: Sequence[tuple[Rollout, TeacherView]],
    divergence: Sequence[np.ndarray],
) -> tuple[Kept, ...]:
    """What is kept after a step: old lessons with what is left of the rehearsed ones, and the new ones.

    `divergence`: one array a lesson learnt from, the new ones first, then the rehearsed, float[T], NaN where not read.
    """
    after = list(kept)
    for i, d in zip(rehearsed, divergence[len(lessons) :], strict=True):
        after[i] = replace(after[i], unresolved=unresolved(after[i].view, d))
    after += [Kept(r, v, unresolved(v, d)) for (r, v), d in zip(lessons, divergence[: len(lessons)], strict=True)]
    return tuple(after[-MEMORY:])


def write(kept: Sequence[Kept], file: Path) -> None:
    """Keep lessons in a file of rollouts, exactly. Of the answers what is `needed` is written."""
    readings = [TeacherReading(k.view.context_ids, k.view.weight, unresolved=k.unresolved) for k in kept]
    write_rollouts(file, [RolloutRecord(k.rollout, teacher=t) for k, t in zip(kept, readings, strict=True)])


def read(file: Path) -> tuple[Kept, ...]:
    """The lessons that `write` kept; of each view `rollout` is its place in the file."""
    with read_rollouts(file) as records:
        return tuple(_kept(i, record) for i, record in enumerate(records))


def _kept(i: int, record: RolloutRecord) -> Kept:
    reading = record.teacher
    assert reading is not None and reading.unresolved is not None
    return Kept(record.rollout, TeacherView(i, reading.context_ids, reading.weight), reading.unresolved)
