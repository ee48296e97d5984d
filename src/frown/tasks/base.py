"""What every set of tasks offers to the loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from frown.critics.base import Critic
from frown.types import Feedback, Message, Step, Task, Verdict, Weighed


class Environment(Protocol):
    """A family of tasks: what is asked, how an answer is judged, and how feedback is worded for a teacher."""

    @property
    def name(self) -> str:
        """Short name, for the record."""
        ...

    @property
    def critic(self) -> Critic | None:
        """Who can judge single steps of an answer, where there is somebody."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What a person should know before training: rows that were left out, one line each."""
        ...

    @property
    def levels(self) -> Sequence[int]:
        """The levels of difficulty that training tasks can be drawn at, ascending; empty where there are none."""
        ...

    def train_tasks(self, rng: np.random.Generator, n: int, level: int | None = None) -> list[Task]:
        """Draw n training tasks, at the configured difficulty or at one of `levels`."""
        ...

    def test_tasks(self, split: str, n: int) -> list[Task]:
        """The first n tasks of a fixed split ("dev", "test", "heldout"); the same ones at every call."""
        ...

    def verify(self, tasks: Sequence[Task], texts: Sequence[str]) -> list[Verdict]:
        """Judge one completion a task, in order. Never raises for a bad completion: it is wrong, or unscored."""
        ...

    def steps(self, text: str) -> list[Step]:
        """The written-out steps of a completion, as character ranges in order; [] where there are none."""
        ...

    def teacher_messages(self, task: Task, feedback: Feedback) -> list[Message]:
        """The conversation shown to the self-teacher: the task with the feedback worked in."""
        ...

    def note(self, text: str, steps: Sequence[int], count: int) -> str:
        """How an affect note is worded.

        `text`: the note in English. An environment whose models have words of their own writes it in those, from the
        steps it points at (counted from 0; none where it points nowhere) and the `count` of its sentences.
        """
        ...

    def weighed(self, options: Weighed) -> str:
        """How a note of what was considered at some steps is worded: step -> texts of that step; "" where nothing is
        left to say."""
        ...

    def quoted(self, step: str, comment: str) -> str:
        """How a comment reads that quotes the wrong step which it corrects."""
        ...

    def reworded(self, step: str, other: str) -> str | None:
        """The text of a step with the result of another step in its place; None where that cannot be told."""
        ...

    def close(self) -> None:
        """Release worker processes. Safe to call twice."""
        ...
