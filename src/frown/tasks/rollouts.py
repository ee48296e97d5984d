"""Answers in one turn: sample, judge, find the written-out steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

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


def with_verdicts(
    answers: Sequence[Rollout], verdicts: Sequence[Verdict], environment: Environment, token_steps: TokenSteps
) -> list[Rollout]:
    """Answers with verdicts that are known already, and their written-out steps."""
    return [
        replace(r, verdict=v, steps=token_steps(r.ids, r.text, environment.steps(r.text)))
        for r, v in zip(answers, verdicts, strict=True)
    ]
