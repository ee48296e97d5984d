"""The lab as an environment: tasks, verdicts and steps."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

import numpy as np

from frown.errors import FrownError
from frown.lab import words
from frown.lab.critic import LabCritic
from frown.lab.family import MAX_STEPS, MIN_STEPS, Family, Problem, get_family
from frown.lab.wording import LabWording
from frown.tasks.rollouts import SingleTurn
from frown.types import Step, Task, Verdict

TEST_SPLITS = ("dev", "test", "heldout")


class LabEnvironment(SingleTurn):
    """Problems of one family with a fixed number of steps; implements `frown.tasks.base.Environment`.

    Problems of the splits base (pretraining), train, dev, test and heldout are disjoint: a hash of a
    problem's text decides its split. Train, dev and test problems never need a held-out fact, heldout ones
    at least two.

    Args:
        family: "chains" or "columns".
        steps: steps a problem, 2 to 15.
        reference: what the worked solutions are: "canonical", as an answer is written; "reordered", the same facts as
            loose statements in another order; "terse", every second of those.

    Raises:
        FrownError: for an unknown family or a number of steps out of range.
    """

    def __init__(self, family: str, steps: int = 5, reference: str = "canonical") -> None:
        self.family: Family = get_family(family)
        if not MIN_STEPS <= steps <= MAX_STEPS:
            raise FrownError(f"lab: steps = {steps} lies outside {MIN_STEPS} to {MAX_STEPS}")
        self.critic: LabCritic = LabCritic(family)
        self.wording = LabWording(self.family)
        self.n_steps = steps
        self._reference = reference
        self.name = f"lab-{family}"
        self.notes: tuple[str, ...] = ()

    @property
    def levels(self) -> range:
        """Steps a problem may have."""
        return range(MIN_STEPS, MAX_STEPS + 1)

    def train_tasks(self, rng: np.random.Generator, n: int, level: int | None = None) -> list[Task]:
        """Draw n training tasks of `level` steps (None: the environment's own number); none needs a held-out fact.

        A task may come twice when steps are few.
        """
        source = random.Random(int(rng.integers(2**63)))
        return [self._task(source, "train", self.n_steps if level is None else level) for _ in range(n)]

    def test_tasks(self, split: str, n: int) -> list[Task]:
        """The first n tasks of "dev", "test" or "heldout", all different.

        Raises:
            FrownError: for another split.
        """
        if split not in TEST_SPLITS:
            raise FrownError(f"lab: no test split {split!r}; there are {', '.join(TEST_SPLITS)}")
        source = random.Random(f"{self.name}/{split}/{self.n_steps}")
        tasks: dict[str, Task] = {}
        stale = 0
        while len(tasks) < n and stale < 300:
            task = self._task(source, split, self.n_steps)
            stale = stale + 1 if task.id in tasks else 0
            tasks.setdefault(task.id, task)
        if len(tasks) < n:
            raise FrownError(
                f"lab: {self.name} with {self.n_steps} steps has too few {split} problems for n = {n}; "
                "ask for fewer, or for more steps a problem"
            )
        return list(tasks.values())

    def verify(self, tasks: Sequence[Task], texts: Sequence[str]) -> list[Verdict]:
        """Judge answers by their final answer: right is 1, wrong or malformed is 0.

        `step_right` has one entry for each of `steps(text)`. A step is right when it is the asked step with
        the right result in the state the answer was in; from the first malformed step on none is.
        """
        return [self._judge(task, text) for task, text in zip(tasks, texts, strict=True)]

    def steps(self, text: str) -> list[Step]:
        """The ";"-separated steps; each keeps its ";", so the ranges tile the text."""
        steps, start = [], 0
        while start < len(text):
            end = text.find(";", start) + 1 or len(text)
            steps.append(Step(start, end))
            start = end
        return steps

    def close(self) -> None:
        """Nothing to release."""

    def _task(self, source: random.Random, split: str, steps: int) -> Task:
        problem = self.family.draw(source, steps, split)
        question, right = self.family.question(problem), self.family.solve(problem)
        return Task(
            id=hashlib.sha256(f"{self.name}\n{question}".encode()).hexdigest()[:16],
            messages=({"role": "user", "content": question},),
            answer=self.family.final(right),
            solution=self._solution(problem, right),
            data={"family": self.family.name, "steps": steps},
            expert_steps=tuple(i for i, item in enumerate(problem.items) if "@" in item),  # the house rule's
        )

    def _solution(self, problem: Problem, right: Sequence[int]) -> str:
        if self._reference == "canonical":
            return self.family.solution(problem, right)
        facts = [words.comment(self.family, c) for c in self.family.check(problem, right)]
        # The order belongs to the problem, so that it is the same whenever the problem is drawn.
        random.Random(self.family.question(problem)).shuffle(facts)
        return "".join(facts[:: 2 if self._reference == "terse" else 1])

    def _judge(self, task: Task, text: str) -> Verdict:
        problem = self.family.read_question(task.question)
        answer = self.family.read_answer(problem, text)
        checks = self.family.check(problem, answer.results)
        beyond = len(self.steps(text)) - len(checks)
        step_right = tuple([c.right for c in checks] + [False] * beyond)
        step_state = tuple([str(c.state) for c in checks] + ["?"] * beyond)
        if not answer.well_formed:
            place = len(answer.results) + 1
            if place <= len(problem.items):
                fault = f"step {place} of {len(problem.items)} is missing or malformed"
            else:
                fault = f"more than {len(problem.items)} steps"
            return Verdict(0.0, message=fault, well_formed=False, step_right=step_right, step_state=step_state)
        final = self.family.final(answer.results)
        right = final == task.answer
        message = "right" if right else f"the final answer {final} is wrong"
        return Verdict(float(right), message=message, answer=final, step_right=step_right, step_state=step_state)
