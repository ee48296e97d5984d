"""Which lessons are learnt from again. A comment is bought once; replaying it costs a forward pass and no critic.

Spaced practice has the same question: what is already known need not be repeated. What is still unresolved is told by
the last divergence between student and teacher on it, as in prioritised replay (Schaul et al. 2016, arXiv 1511.05952).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from frown.config.practice import PracticeConfig
from frown.errors import FrownError
from frown.store.record import RolloutRecord, TeacherReading
from frown.store.rollouts import read_rollouts, write_rollouts
from frown.types import Floats, Rollout, Task, TeacherView

MEMORY = 4096
"""Items kept, the newest."""


@dataclass(frozen=True, eq=False)
class ReplayItem:
    """One view that was learnt from, and what was left to learn when it was used last."""

    rollout: Rollout
    """Without what is not needed to learn from it (`stripped`)."""
    view: TeacherView
    unresolved: float
    """Mean divergence between student and teacher over the weighted tokens, weighted, nats, >= 0."""


def stripped(rollout: Rollout) -> Rollout:
    """What of an answer is needed to learn from it again: question, tokens and their log-probabilities."""
    task = Task(rollout.task.id, rollout.task.messages, rollout.task.answer)
    return replace(rollout, task=task, text="", steps=(), signals=None, verdict=None, alternative=None)


def unresolved(view: TeacherView, divergence: np.ndarray) -> float:
    """What is left to learn of a view: its weighted mean divergence, nats; NaN (not learnt from) counts as nothing."""
    known = np.isfinite(divergence) & (view.weight > 0)
    total = float(view.weight[known].sum())
    return float((view.weight[known] * divergence[known]).sum() / total) if total else 0.0


def draw(items: Sequence[ReplayItem], config: PracticeConfig, rng: np.random.Generator) -> list[int]:
    """At most `practice.replay` items, ascending. uniform: evenly drawn; unresolved: odds in proportion to what is
    left.

    Weighted draws are without replacement (Efraimidis and Spirakis 2006); a resolved item comes last.
    """
    chance = rng.random(len(items))
    if config.replay_by == "uniform":
        order = np.argsort(chance, kind="stable")
    else:
        left = np.array([item.unresolved for item in items], np.float64)
        with np.errstate(divide="ignore"):
            order = np.argsort(np.where(left > 0, -np.log(chance) / np.maximum(left, 1e-300), np.inf), kind="stable")
    return sorted(order[: config.replay].tolist())


def batch(
    answers: Sequence[Rollout],
    views: Sequence[TeacherView],
    credit: Sequence[Floats],
    items: Sequence[ReplayItem],
) -> tuple[list[Rollout], list[TeacherView], list[Floats]]:
    """Fresh answers with their views and credit, and behind them the items that are replayed: distilled alone."""
    old = [replace(item.view, rollout=len(answers) + j) for j, item in enumerate(items)]
    nothing = [np.zeros(len(item.rollout.ids), np.float32) for item in items]
    return [*answers, *(item.rollout for item in items)], [*views, *old], [*credit, *nothing]


def remember(
    items: Sequence[ReplayItem],
    replayed: Sequence[int],
    answers: Sequence[Rollout],
    views: Sequence[TeacherView],
    divergence: Sequence[np.ndarray],
) -> tuple[ReplayItem, ...]:
    """The items after a step: old ones with what is left of those that were `replayed`, and the new views.

    `divergence`: one array a view learnt from, the new ones first, then the replayed, float[T], NaN where not read.
    """
    after = list(items)
    for i, d in zip(replayed, divergence[len(views) :], strict=True):
        after[i] = replace(after[i], unresolved=unresolved(after[i].view, d))
    new = zip(views, divergence[: len(views)], strict=True)
    after += [ReplayItem(stripped(answers[v.rollout]), v, unresolved(v, d)) for v, d in new]
    return tuple(after[-MEMORY:])


def write(items: Sequence[ReplayItem], file: Path) -> None:
    """Keep lessons in a file of rollouts, exactly. Of the answers what is `needed` is written."""
    readings = [TeacherReading(k.view.context_ids, k.view.weight, unresolved=k.unresolved) for k in items]
    write_rollouts(file, [RolloutRecord(k.rollout, teacher=t) for k, t in zip(items, readings, strict=True)])


def read(file: Path) -> tuple[ReplayItem, ...]:
    """The lessons that `write` kept; of each view `rollout` is its place in the file. Raises FrownError for a file of
    other rollouts."""
    with read_rollouts(file) as records:
        return tuple(_item(i, record, file) for i, record in enumerate(records))


def _item(i: int, record: RolloutRecord, file: Path) -> ReplayItem:
    reading = record.teacher
    if reading is None or reading.unresolved is None or len(reading.weight) != len(record.rollout.ids):
        raise FrownError(f"{file}: rollout {i} is no lesson, since no teacher looked at it; start a new run")
    return ReplayItem(record.rollout, TeacherView(i, reading.context_ids, reading.weight), reading.unresolved)
