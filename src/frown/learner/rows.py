"""Rollouts as the loss sees them. Numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frown.policy.rows import key_of
from frown.runtime.processes import Ranks
from frown.types import Floats, Ints, Rollout, TeacherView


class TrainingRow(NamedTuple):
    """One rollout as the loss sees it: at which completion tokens, and with which weights; implements
    `frown.policy.rows.Readable`."""

    prompt_ids: Ints
    context_ids: Ints | None
    """What the teacher sees before the answer; None when this row has no teacher."""
    ids: Ints
    weight: Floats
    """[T] weight of each token in the distillation loss."""
    advantage: Floats
    """[T] advantage of each token, for the policy gradient."""
    view: int | None = None
    """Which of the views this is; None for a row without teacher."""
    sampled_logp: Floats | None = None
    """[T] nats, under the policy that sampled the answer."""
    fresh: bool = True
    """Whether that policy is the present one."""
    anchored: bool = False
    """Whether every token of it that was sampled is kept near the policy at the start."""
    own: NDArray[np.bool_] | None = None
    """[T] which tokens the policy sampled, where others spoke, too. None: all."""


def training_rows(
    rollouts: Sequence[Rollout],
    views: Sequence[TeacherView],
    advantages: Sequence[Floats],
    distillation: float,
    anchored: bool = False,
    policy_step: int = 0,
) -> list[TrainingRow]:
    """The rows that have something to learn from. `anchored`: all have. `policy_step`: that of the policy now.

    What others said in a conversation is no row's to learn: weight and advantage are zero there, whatever was given.
    """
    rows = []
    viewed = set()
    for v, view in enumerate(views if distillation > 0 else ()):
        r = rollouts[view.rollout]
        first = view.rollout not in viewed
        advantage = advantages[view.rollout] if first and distillation < 1 else np.zeros(len(r.ids))
        viewed.add(view.rollout)
        rows.append(_row(r, view.context_ids, view.weight, advantage, v, anchored and first, policy_step))
    for i, r in enumerate(rollouts):
        if i not in viewed:
            advantage = advantages[i] if distillation < 1 else np.zeros(len(r.ids))
            rows.append(_row(r, None, np.zeros(len(r.ids), np.float32), advantage, None, anchored, policy_step))
    return [row for row in rows if len(counted(row))]


def _row(
    rollout: Rollout,
    context: Ints | None,
    weight: Floats,
    advantage: np.ndarray,
    view: int | None,
    anchored: bool,
    policy_step: int,
) -> TrainingRow:
    fresh = rollout.policy_step == policy_step and not rollout.demonstrated
    own, signed = rollout.sampled, np.asarray(advantage, np.float32)
    if own is not None:
        weight, signed = np.where(own, weight, np.float32(0.0)), np.where(own, signed, np.float32(0.0))
    return TrainingRow(
        rollout.prompt_ids, context, rollout.ids, weight, signed, view, rollout.logp, fresh, anchored, own
    )


def counted(row: TrainingRow) -> np.ndarray:
    """The places of a row's tokens that count."""
    if not row.anchored:
        return np.flatnonzero((row.weight != 0) | (row.advantage != 0))
    return np.arange(len(row.ids)) if row.own is None else np.flatnonzero(row.own)


def cut(row: TrainingRow) -> TrainingRow:
    """A row without what follows the last token that counts."""
    end = int(counted(row)[-1]) + 1
    return row._replace(
        ids=row.ids[:end],
        weight=row.weight[:end],
        advantage=row.advantage[:end],
        sampled_logp=None if row.sampled_logp is None else row.sampled_logp[:end],
        own=None if row.own is None else row.own[:end],
    )


def shared_out(rows: Sequence[TrainingRow], ranks: Ranks) -> list[TrainingRow]:
    """The rows that this process computes: those of its share of the prompts, as rows of a prompt share work."""
    prompts = list(dict.fromkeys(key_of(row.prompt_ids) for row in rows))
    mine = set(prompts[ranks.share(len(prompts))])
    return [row for row in rows if key_of(row.prompt_ids) in mine]


def in_step(plans: Sequence[Sequence[Sequence[TrainingRow]]], rank: int) -> list[list[TrainingRow]]:
    """The batches of one process among the `plans` of all, and idle ones: all then have as many with a teacher, and
    then as many without. An idle batch is one row of which nothing counts."""
    batches: list[list[TrainingRow]] = []
    for taught in (True, False):
        kinds = [[list(batch) for batch in plan if (batch[0].context_ids is not None) == taught] for plan in plans]
        most = max(map(len, kinds))
        idle = [_idle(batch[0]) for kind in kinds for batch in kind][:1]
        batches += [*kinds[rank], *([idle] * (most - len(kinds[rank])))]
    return batches


def _idle(row: TrainingRow) -> TrainingRow:
    nothing = np.zeros(1, np.float32)
    return TrainingRow(row.prompt_ids, row.context_ids, row.ids[:1], nothing, nothing, sampled_logp=nothing)
