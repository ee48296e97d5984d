"""Tasks from data with a grader: the environment behind `math`, `choice` and `exact`."""

from __future__ import annotations

from collections.abc import Container, Sequence
from copy import copy
from typing import Protocol

import numpy as np

from frown.critics.base import Critic
from frown.errors import FrownError
from frown.tasks.data import DataReport
from frown.tasks.rollouts import SingleTurn
from frown.tasks.steps import Splitter, split_steps
from frown.tasks.wording import English, Wording
from frown.types import Step, Task, Verdict


class Grader(Protocol):
    """Judges completions against reference answers."""

    def gold(self, raw: str) -> str:
        """The reference answer within a data set's answer column. Raises ValueError when there is none."""
        ...

    def grade(self, golds: Sequence[str], texts: Sequence[str]) -> list[Verdict]:
        """One verdict a completion, in order. Never raises for a bad completion."""
        ...

    def close(self) -> None:
        """Release worker processes. Safe to call twice."""
        ...


class DataEnvironment(SingleTurn):
    """Fixed lists of tasks and a grader; implements `frown.tasks.base.Environment`.

    `tests` maps a split ("dev", "test") to its tasks in order. `reports` says what was read. `critic` judges
    single steps where there is one; `splitter` says what a step is. `skip`: tasks that a model cannot answer may be
    left out (`task.bad_rows`).
    """

    def __init__(
        self,
        name: str,
        train: Sequence[Task],
        tests: dict[str, Sequence[Task]],
        grader: Grader,
        *,
        splitter: Splitter = "auto",
        critic: Critic | None = None,
        reports: Sequence[DataReport] = (),
        skip: bool = False,
    ) -> None:
        self.name = name
        self.wording: Wording = English()
        self.train = tuple(train)
        self.tests = {split: tuple(tasks) for split, tasks in tests.items()}
        self.critic = critic
        self.reports = tuple(reports)
        self.skip = skip
        self._left_out: tuple[str, ...] = ()
        self._grader = grader
        self._splitter: Splitter = splitter

    @property
    def levels(self) -> tuple[int, ...]:
        """None: rows of data have no difficulty of their own."""
        return ()

    def train_tasks(self, rng: np.random.Generator, n: int, level: int | None = None) -> list[Task]:
        """Draw n training tasks: without replacement as far as they go.

        More than there are: whole passes in a fresh order each, so no task comes twice before all came once.
        Raises FrownError when there are none.
        """
        if not self.train:
            raise FrownError(f"{self.name} has no training tasks; give training data")
        drawn: list[Task] = []
        while len(drawn) < n:
            take = min(n - len(drawn), len(self.train))
            drawn += [self.train[i] for i in rng.permutation(len(self.train))[:take]]
        return drawn

    def test_tasks(self, split: str, n: int) -> list[Task]:
        """The first n tasks of "dev" or "test", all where there are fewer.

        Raises FrownError for another split: data has no "heldout" one.
        """
        return first_tasks(self.name, self.tests, split, n)

    def verify(self, tasks: Sequence[Task], texts: Sequence[str]) -> list[Verdict]:
        """Judge one completion a task, in order; wrong and "cannot be scored" are kept apart."""
        return self._grader.grade([t.answer for t in tasks], texts)

    def steps(self, text: str) -> list[Step]:
        """The written-out steps as character ranges that tile the text."""
        return split_steps(text, self._splitter)

    @property
    def notes(self) -> list[str]:
        """What was left out of the data, a line a reason."""
        return [*(line for report in self.reports for line in report.notes), *self._left_out]

    @property
    def splits(self) -> dict[str, tuple[Task, ...]]:
        """All tasks by their split, "train" among them where there are any."""
        return ({"train": self.train} if self.train else {}) | self.tests

    def place(self, task: Task) -> str:
        """Where a task stands: "data FILE, line 3"."""
        known = (report.places[task.id] for report in self.reports if task.id in report.places)
        return next(known, f"{self.name}: {task.question[:60]!r}")

    def without(self, ids: Container[str], note: str) -> DataEnvironment:
        """The environment without these tasks, which `note` says; both share the grader, and closing one closes it."""
        fewer = copy(self)
        fewer.train = tuple(t for t in self.train if t.id not in ids)
        fewer.tests = {split: tuple(t for t in tasks if t.id not in ids) for split, tasks in self.tests.items()}
        fewer._left_out = (*self._left_out, note)
        return fewer

    def close(self) -> None:
        """End the grader's workers. Safe to call twice."""
        self._grader.close()


def first_tasks(name: str, tests: dict[str, tuple[Task, ...]], split: str, n: int) -> list[Task]:
    """The first n tasks of a split; FrownError where there is no such split."""
    if split not in tests:
        hint = "; set eval.heldout_prompts = 0" if split == "heldout" else ""
        raise FrownError(f"{name} has no split {split!r}, only {', '.join(tests)}{hint}")
    return list(tests[split][:n])
