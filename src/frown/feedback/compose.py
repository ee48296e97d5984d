"""Who gets which feedback: each rollout the first kind on the list that it can have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frown.feedback.critic import Critic
from frown.types import Feedback, Kind, Part, Rollout


def compose(
    rollouts: Sequence[Rollout],
    kinds: Sequence[Kind],
    *,
    asked: Sequence[tuple[int, ...]],
    notes: Sequence[Part | None],
    critic: Critic | None,
    rng: np.random.Generator,
) -> list[Feedback]:
    """Feedback for each rollout, in order; an empty one where no kind applies.

    Per rollout, `asked`: the steps a critic is asked about; `notes`: what is to be said of its affect. Each is needed
    only where `kinds` asks for it.
    """
    groups: dict[int, list[int]] = {}
    for i, r in enumerate(rollouts):
        groups.setdefault(r.group, []).append(i)

    def parts(i: int, kind: Kind) -> tuple[Part, ...]:
        r = rollouts[i]
        if kind == "sibling":
            return _sibling(rollouts, i, groups[r.group], rng)
        if kind == "reference":
            return (Part("reference", r.task.solution),) if r.task.solution else ()
        if kind == "critique":
            return _critique(critic, r, asked[i])
        if kind == "affect":
            said = notes[i]
            return () if said is None else (said,)
        return _outcome(r)

    return [Feedback(next((p for kind in kinds if (p := parts(i, kind))), ())) for i in range(len(rollouts))]


def _sibling(rollouts: Sequence[Rollout], i: int, group: Sequence[int], rng: np.random.Generator) -> tuple[Part, ...]:
    """A right answer of another rollout in the group (SDPO, arXiv 2601.20802), drawn evenly."""
    right = [j for j in group if j != i and (v := rollouts[j].verdict) is not None and v.right]
    return (Part("sibling", rollouts[int(rng.choice(right))].text),) if right else ()


def _critique(critic: Critic | None, rollout: Rollout, steps: tuple[int, ...]) -> tuple[Part, ...]:
    """One part a comment, so that what was said about which step is never lost."""
    if critic is None or not steps:
        return ()
    return tuple(Part("critique", c.text, (c.step,)) for c in critic.comment(rollout.task, rollout.text, steps))


def _outcome(rollout: Rollout) -> tuple[Part, ...]:
    """What the verifier said of an answer that is not right."""
    v = rollout.verdict
    if v is None or not v.scored or v.right:
        return ()
    return (Part("outcome", v.message or "The answer is wrong."),)
