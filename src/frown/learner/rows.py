"""Rollouts as the loss sees them, and which of them are computed together. Numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frown.policy.packing import LEAST_SHARED, common_prefix
from frown.runtime.processes import Ranks
from frown.types import Floats, Ints, Rollout, TeacherView


class Row(NamedTuple):
    """One rollout as the loss sees it: at which completion tokens, and with which weights."""

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
    """Whether every token of it that was sampled is held near the policy at the start."""
    own: NDArray[np.bool_] | None = None
    """[T] which tokens the policy sampled, where others spoke, too. None: all."""


def training_rows(
    rollouts: Sequence[Rollout],
    views: Sequence[TeacherView],
    advantages: Sequence[Floats],
    distillation: float,
    anchored: bool = False,
    policy_step: int = 0,
) -> list[Row]:
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


def plain_row(prompt_ids: Ints, ids: Ints) -> Row:
    """A row without a teacher, all of whose tokens count."""
    ones = np.ones(len(ids), np.float32)
    return Row(prompt_ids, None, ids, ones, np.zeros_like(ones))


def _row(
    rollout: Rollout,
    context: Ints | None,
    weight: Floats,
    advantage: np.ndarray,
    view: int | None,
    anchored: bool,
    policy_step: int,
) -> Row:
    fresh = rollout.policy_step == policy_step
    own, signed = rollout.sampled, np.asarray(advantage, np.float32)
    if own is not None:
        weight, signed = np.where(own, weight, np.float32(0.0)), np.where(own, signed, np.float32(0.0))
    return Row(rollout.prompt_ids, context, rollout.ids, weight, signed, view, rollout.logp, fresh, anchored, own)


def counted(row: Row) -> np.ndarray:
    """The places of a row's tokens that count."""
    if not row.anchored:
        return np.flatnonzero((row.weight != 0) | (row.advantage != 0))
    return np.arange(len(row.ids)) if row.own is None else np.flatnonzero(row.own)


def cut(row: Row) -> Row:
    """A row without what follows the last token that counts."""
    end = int(counted(row)[-1]) + 1
    return row._replace(
        ids=row.ids[:end],
        weight=row.weight[:end],
        advantage=row.advantage[:end],
        sampled_logp=None if row.sampled_logp is None else row.sampled_logp[:end],
        own=None if row.own is None else row.own[:end],
    )


def shared_out(rows: Sequence[Row], ranks: Ranks) -> list[Row]:
    """The rows that this process computes: those of its share of the prompts, as rows of a prompt share work."""
    prompts = list(dict.fromkeys(_bytes(row.prompt_ids) for row in rows))
    mine = set(prompts[ranks.share(len(prompts))])
    return [row for row in rows if _bytes(row.prompt_ids) in mine]


def in_step(plans: Sequence[Sequence[Sequence[Row]]], rank: int) -> list[list[Row]]:
    """The batches of one process among the `plans` of all, and idle ones: all then have as many with a teacher, and
    then as many without. An idle batch is one row of which nothing counts."""
    found: list[list[Row]] = []
    for taught in (True, False):
        kinds = [[list(batch) for batch in plan if (batch[0].context_ids is not None) == taught] for plan in plans]
        most = max(map(len, kinds))
        idle = [_idle(batch[0]) for kind in kinds for batch in kind][:1]
        found += [*kinds[rank], *([idle] * (most - len(kinds[rank])))]
    return found


def _idle(row: Row) -> Row:
    nothing = np.zeros(1, np.float32)
    return Row(row.prompt_ids, row.context_ids, row.ids[:1], nothing, nothing, sampled_logp=nothing)


def arranged(rows: Sequence[Row], *, shared: bool) -> list[int]:
    """The order in which rows are batched: those with a teacher first, and longest first.

    Where beginnings are `shared`, the rows of a prompt stay together, longest prompt with its answers first, and among
    them those whose teacher contexts begin alike.
    """
    if not shared:
        return sorted(range(len(rows)), key=lambda i: (rows[i].context_ids is None, -_length(rows[i])))
    longest: dict[bytes, int] = {}
    for row in rows:
        prompt = _bytes(row.prompt_ids)
        longest[prompt] = max(longest.get(prompt, 0), _length(row))

    def key(i: int) -> tuple[bool, int, bytes, bytes]:
        row, prompt = rows[i], _bytes(rows[i].prompt_ids)
        context = row.prompt_ids if row.context_ids is None else row.context_ids
        return row.context_ids is None, -longest[prompt], prompt, _bytes(np.concatenate([context, row.ids]))

    return sorted(range(len(rows)), key=key)


def _bytes(ids: Ints) -> bytes:
    return np.asarray(ids, np.int64).tobytes()


def _length(row: Row) -> int:
    longest = max(len(row.prompt_ids), len(row.context_ids) if row.context_ids is not None else 0)
    return longest + len(row.ids)


def micro_batches(rows: Sequence[Row], most_tokens: int, *, shared: bool = False) -> list[list[Row]]:
    """Rows in order, cut into batches of at most `most_tokens` tokens, never mixing with and without a teacher. A row
    longer than that is a batch of its own.

    Tokens are those of the student or of the teacher, whichever has more: padding included, or where beginnings are
    `shared` at most as many as the packed row has.
    """
    batches: list[list[Row]] = []
    size = (0, 0)
    for row in rows:
        last = batches[-1] if batches else None
        same_kind = last is not None and (last[0].context_ids is None) == (row.context_ids is None)
        if last is not None and same_kind:
            if shared:
                new = _new_tokens(row, last[-1])
                grown = (size[0] + new[0], size[1] + new[1])
            else:
                grown = ((len(last) + 1) * _length(last[0]),) * 2
            if max(grown) <= most_tokens:
                last.append(row)
                size = grown
                continue
        batches.append([row])
        size = _new_tokens(row, None)
    return batches


def _new_tokens(row: Row, before: Row | None) -> tuple[int, int]:
    """Tokens that a row adds to the student's packed row and to the teacher's, `before` being there; no fewer.

    A common beginning may be shared in all but its last LEAST_SHARED - 1 tokens, when others part just before.
    """

    def added(context: Ints | None, other: Ints | None) -> int:
        if context is None:
            return 0
        mine = np.concatenate([context, row.ids[:-1]])
        if before is None or other is None:
            return len(mine)
        return len(mine) - max(0, common_prefix(mine, np.concatenate([other, before.ids[:-1]])) - LEAST_SHARED + 1)

    if before is None:
        return added(row.prompt_ids, None), added(row.context_ids, None)
    return added(row.prompt_ids, before.prompt_ids), added(row.context_ids, before.context_ids)
