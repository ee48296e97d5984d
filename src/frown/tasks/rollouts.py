"""Answers in one turn: sample, judge, find the written-out steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from frown.errors import FrownError
from frown.tasks.base import Environment, Sampler
from frown.types import Ints, Rollout, Step, Task, Verdict

TokenSteps = Callable[[Ints, str, Sequence[Step]], tuple[Step, ...]]
"""Ids, their text and character ranges of it -> token ranges."""


class SingleTurn:
    """The body of `Environment.rollouts` for tasks that are answered in one turn."""

    def rollouts(
        self: Environment, policy: Sampler, tasks: Sequence[Task], n: int, *, seed: int, temperature: float
    ) -> list[Rollout]:
        """n judged answers to each task, task after task; equal seeds give equal answers."""
        return judge(policy.sample(tasks, n, seed=seed, temperature=temperature), self, policy)


def judge(answers: Sequence[Rollout], environment: Environment, policy: Sampler) -> list[Rollout]:
    """Sampled answers with their verdicts and written-out steps. Judging is shared out over the run's processes."""
    mine = answers[policy.ranks.share(len(answers))]
    verdicts = policy.ranks.gather(lambda: environment.verify([r.task for r in mine], [r.text for r in mine]))
    return with_verdicts(answers, verdicts, environment, policy.token_steps)


def demonstrations(tasks: Sequence[Task], environment: Environment, policy: Sampler) -> list[Rollout]:
    """The worked solutions of tasks as judged answers, one a task; tasks without one, or whose solution does not fit
    the model's context, are left out.

    Nobody sampled them: `logp` is NaN, and there are no signals. Raises FrownError where none is left.
    """
    answers: list[Rollout] = []
    for task in tasks:
        if not task.solution:
            continue
        prompt = policy.prompt(task.messages)
        ids = np.array([*policy.encode(task.solution), policy.eos_ids[0]], np.int64)
        unknown = np.full(len(ids), np.nan, np.float32)
        if policy.fits(prompt, len(ids)):
            answers.append(Rollout(task, len(answers), prompt, ids, unknown, 1.0, "eos", task.solution))
    if not answers:
        raise FrownError(
            f"none of {len(tasks)} prompts has a worked solution that fits the model's context: name the column that "
            "holds it (--columns solution=NAME), or use another method"
        )
    return judge(answers, environment, policy)


def with_verdicts(
    answers: Sequence[Rollout], verdicts: Sequence[Verdict], environment: Environment, token_steps: TokenSteps
) -> list[Rollout]:
    """Answers with verdicts that are known already, and their written-out steps."""
    return [
        replace(r, verdict=v, steps=token_steps(r.ids, r.text, environment.steps(r.text)))
        for r, v in zip(answers, verdicts, strict=True)
    ]
