"""Which lessons are learnt from again. A comment is bought once; rehearsing it costs a forward pass and no critic.

Spaced practice has the same question: what is already known need not be repeated. What is still unresolved is told by
the last divergence between student and teacher on it, as in prioritised replay (Schaul et al. 2016, arXiv 1511.05952).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

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
    """Keep lessons in a Parquet file, exactly. Of the answers what is `needed` is written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {
            "task": json.dumps([k.rollout.task.id, k.rollout.task.messages, k.rollout.task.answer]),
            "group": k.rollout.group,
            "policy_step": k.rollout.policy_step,
            "temperature": k.rollout.temperature,
            "stop": k.rollout.stop,
            "unresolved": k.unresolved,
            "view": k.view.rollout,
            "prompt_ids": k.rollout.prompt_ids,
            "ids": k.rollout.ids,
            "logp": k.rollout.logp,
            "sampled": k.rollout.sampled,
            "context_ids": k.view.context_ids,
            "weight": k.view.weight,
        }
        for k in kept
    ]
    whole, real, double, text = pa.int64(), pa.float32(), pa.float64(), pa.string()
    columns = {"task": text, "group": whole, "policy_step": whole, "temperature": double, "stop": text}
    columns |= {"unresolved": double, "view": whole, "prompt_ids": pa.list_(whole), "ids": pa.list_(whole)}
    columns |= {
        "logp": pa.list_(real),
        "sampled": pa.list_(pa.bool_()),
        "context_ids": pa.list_(whole),
        "weight": pa.list_(real),
    }
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(columns)), file, compression="zstd")


def read(file: Path) -> tuple[Kept, ...]:
    """The lessons that `write` kept."""
    import pyarrow.parquet as pq

    found = []
    for row in pq.read_table(file).to_pylist():
        name, messages, answer = json.loads(row["task"])
        rollout = Rollout(
            task=Task(name, tuple(messages), answer),
            group=row["group"],
            prompt_ids=np.array(row["prompt_ids"], np.int64),
            ids=np.array(row["ids"], np.int64),
            logp=np.array(row["logp"], np.float32),
            temperature=row["temperature"],
            stop=row["stop"],
            text="",
            sampled=None if row.get("sampled") is None else np.array(row["sampled"], np.bool_),
            policy_step=row["policy_step"],
        )
        view = TeacherView(row["view"], np.array(row["context_ids"], np.int64), np.array(row["weight"], np.float32))
        found.append(Kept(rollout, view, row["unresolved"]))
    return tuple(found)
