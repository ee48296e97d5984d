"""Who gets which feedback: each rollout the first kind on the list that it can have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from frown.feedback.critic import Critic, Request
from frown.types import Feedback, Kind, Part, Rollout


class Composed(NamedTuple):
    """Feedback for each rollout, and what a critic could not be heard about."""

    feedback: list[Feedback]
    lost: list[str]
    """Why, one line a rollout whose critique was lost."""


def compose(
    rollouts: Sequence[Rollout],
    kinds: Sequence[Kind],
    *,
    requests: Sequence[Request | None],
    notes: Sequence[Part | None],
    critic: Critic | None,
    rng: np.random.Generator,
) -> Composed:
    """Feedback for each rollout, in order; an empty one where no kind applies.

    Per rollout, `requests`: what a critic is asked; `notes`: what is to be said of its affect. Each is needed only
    where `kinds` asks for it. A critic hears all that it is asked at once, and is asked nothing about rollouts that
    have already got feedback of a kind before it.
    """
    groups: dict[int, list[int]] = {}
    for i, r in enumerate(rollouts):
        groups.setdefault(r.group, []).append(i)
    said: dict[int, tuple[Part, ...]] = {}
    lost: list[str] = []

    for kind in kinds:
        left = [i for i in range(len(rollouts)) if not said.get(i)]
        if kind == "sibling":
            said |= {i: _sibling(rollouts, i, groups[rollouts[i].group], rng) for i in left}
        elif kind == "reference":
            said |= {i: _reference(rollouts[i]) for i in left}
        elif kind == "critique":
            found, missing = _critiques(critic, {i: q for i in left if (q := requests[i]) is not None})
            said |= found
            lost += missing
        elif kind == "affect":
            said |= {i: (note,) for i in left if (note := notes[i]) is not None}
        else:
            said |= {i: _outcome(rollouts[i]) for i in left}
    return Composed([Feedback(said.get(i, ())) for i in range(len(rollouts))], lost)


def _sibling(rollouts: Sequence[Rollout], i: int, group: Sequence[int], rng: np.random.Generator) -> tuple[Part, ...]:
    """A right answer of another rollout in the group (SDPO, arXiv 2601.20802), drawn evenly."""
    right = [j for j in group if j != i and (v := rollouts[j].verdict) is not None and v.right]
    return (Part("sibling", rollouts[int(rng.choice(right))].text),) if right else ()


def _reference(rollout: Rollout) -> tuple[Part, ...]:
    """The worked solution, where the task has one."""
    return (Part("reference", rollout.task.solution),) if rollout.task.solution else ()


def _critiques(critic: Critic | None, requests: Mapping[int, Request]) -> tuple[dict[int, tuple[Part, ...]], list[str]]:
    """One part a comment, so that what was said about which step is never lost; and what was."""
    if critic is None or not requests:
        return {}, []
    reviews = dict(zip(requests, critic.review(list(requests.values())), strict=True))
    parts = {
        i: tuple(Part("critique", c.text, None if c.step is None else (c.step,)) for c in r.comments)
        for i, r in reviews.items()
    }
    return parts, [r.lost for r in reviews.values() if r.lost]


def _outcome(rollout: Rollout) -> tuple[Part, ...]:
    """What the verifier said of an answer that is not right."""
    v = rollout.verdict
    if v is None or not v.scored or v.right:
        return ()
    return (Part("outcome", v.message or "The answer is wrong."),)
