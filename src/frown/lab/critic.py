"""The symbolic critic: it judges each step by the rules, in the state the answer was in."""

from __future__ import annotations

from collections.abc import Sequence

from frown.critics.base import Comment, Request, Review
from frown.lab import words
from frown.lab.family import Problem, get_family
from frown.types import Task


class LabCritic:
    """A critic of written-out steps; implements `frown.critics.base.Critic`.

    A comment reads `!7@3=4`: the state the answer was in, the step, and what is right there. The same words
    confirm a right step and correct a wrong one; a wrong result is never quoted.
    """

    def __init__(self, family: str) -> None:
        self._family = get_family(family)

    def review(self, requests: Sequence[Request]) -> list[Review]:
        """A review of each answer; steps beyond its well-formed beginning are left out."""
        return [Review(tuple(self.comment(q.task, q.text, q.asked))) for q in requests]

    def comment(self, task: Task, text: str, steps: Sequence[int] | None = None) -> list[Comment]:
        """A comment for each asked step (None: all), in the order of the answer.

        Of a malformed answer the well-formed beginning is judged; steps beyond it are left out.

        Raises:
            FrownError: when the task is not one of this family.
        """
        problem, written = self._read(task, text)
        checks = self._family.check(problem, written)
        asked = range(len(checks)) if steps is None else sorted(set(steps) & set(range(len(checks))))
        return [Comment(i, checks[i].right, words.comment(self._family, checks[i])) for i in asked]

    def mistaken(self, task: Task, text: str, step: int) -> Comment:
        """The opposite of the true verdict: what was written is confirmed if it is wrong, and denied if it is right."""
        problem, written = self._read(task, text)
        check = self._family.check(problem, written)[step]
        # Any other result will do; that it depends on the answer alone keeps runs repeatable.
        other = self._family.nudge(check.expected, 1 + (check.expected + step) % 3)
        said = check._replace(expected=other if check.right else written[step], right=not check.right)
        return Comment(step, said.right, words.comment(self._family, said))

    def _read(self, task: Task, text: str) -> tuple[Problem, tuple[int, ...]]:
        problem = self._family.read_question(task.question)
        return problem, self._family.read_answer(problem, text).results
