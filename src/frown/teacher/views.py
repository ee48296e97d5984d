"""How the self-teacher sees each rollout, and which tokens of it the student learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from frown.affect.token_weights import token_weights
from frown.config.affect import WeightConfig
from frown.feedback.disclosure import reasoning_ends
from frown.policy.reader import Reader
from frown.policy.text import token_steps
from frown.tasks.base import Environment
from frown.types import Appraisal, Feedback, Floats, Ints, Rollout, Step, TeacherView


def look(
    rollouts: Sequence[Rollout],
    feedback: Sequence[Feedback],
    environment: Environment,
    policy: Reader,
    rng: np.random.Generator,
    *,
    loss_on: str,
    anchor: float,
    own_reasoning: str,
) -> tuple[list[TeacherView], int]:
    """How the teacher sees each rollout that got feedback, and how many were left out as too long for the model.

    `own_reasoning`: whether the student's own <think> block is to "learn" from, or to "skip".
    """
    informed = [i for i, f in enumerate(feedback) if f.parts]
    messages = [environment.wording.teacher_messages(rollouts[i].task, feedback[i]) for i in informed]
    ids = {i: policy.prompt(m) for i, m in zip(informed, messages, strict=True)}
    contexts = {i: context for i, context in ids.items() if policy.fits(context)}
    each = [contexts.get(i) for i in range(len(rollouts))]
    teacher_views = views(rollouts, feedback, each, loss_on=loss_on, rng=rng, anchor=anchor)
    if own_reasoning == "skip":
        teacher_views = [_without_reasoning(v, rollouts[v.rollout], policy) for v in teacher_views]
    return teacher_views, len(ids) - len(contexts)


def views(
    rollouts: Sequence[Rollout],
    feedback: Sequence[Feedback],
    contexts: Sequence[Ints | None],
    *,
    loss_on: str,
    rng: np.random.Generator,
    anchor: float = 0.0,
) -> list[TeacherView]:
    """One view for each rollout that got feedback (`contexts[i]` is None where there was none).

    Where the feedback names steps, `loss_on` says which tokens the student learns from: those of the whole "answer",
    of the "commented" steps alone, or of as many "others", drawn evenly. The rest then has weight `anchor`.
    """
    teacher_views = []
    for i, (rollout, parts, context) in enumerate(zip(rollouts, feedback, contexts, strict=True)):
        if context is None:
            continue
        steps = None if loss_on == "answer" else parts.steps
        if loss_on == "others" and steps is not None:
            rest = [s for s in range(len(rollout.steps)) if s not in steps]
            steps = tuple(rng.permutation(rest)[: len(steps)].tolist())
        teacher_views.append(TeacherView(i, context, _weight(rollout, steps, anchor)))
    return teacher_views


def _weight(rollout: Rollout, steps: Sequence[int] | None, anchor: float) -> Floats:
    """1 for each token of the given steps (None: of the whole answer), else `anchor`."""
    if steps is None:
        return np.ones(len(rollout.ids), np.float32)
    weight = np.full(len(rollout.ids), anchor, np.float32)
    for step in steps:
        start, end = rollout.steps[step]
        weight[start:end] = 1.0
    return weight


def weigh(
    views: Sequence[TeacherView],
    rollouts: Sequence[Rollout],
    appraisals: Sequence[Appraisal],
    config: WeightConfig,
    control: np.random.Generator | None,
) -> list[TeacherView]:
    """The views with their tokens weighted by the student's affect (`frown.affect.token_weights`)."""
    at = [v.rollout for v in views]
    counted = [v.weight for v in views]
    factors = token_weights([rollouts[i] for i in at], [appraisals[i] for i in at], counted, config, control)
    return [replace(v, weight=(v.weight * w).astype(np.float32)) for v, w in zip(views, factors, strict=True)]


def _without_reasoning(view: TeacherView, rollout: Rollout, policy: Reader) -> TeacherView:
    """The view without weight on the answer's leading reasoning."""
    end = reasoning_ends(rollout.text)
    if not end:
        return view
    [thought] = token_steps(policy.tokenizer, rollout.ids, rollout.text, [Step(0, end)]) or [Step(0, 0)]
    weight = view.weight.copy()
    weight[: thought.end] = 0.0
    return replace(view, weight=weight)
