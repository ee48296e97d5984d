"""What every set of tasks offers to the loop, and what it needs of the policy that is to answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from frown.critics.base import Critic
from frown.tasks.wording import Wording
from frown.types import Ints, Message, Rollout, Step, Task, Verdict

if TYPE_CHECKING:
    from frown.runtime.processes import Ranks


class Sampler(Protocol):
    """The part of a policy that environments use (`frown.policy`)."""

    ranks: Ranks
    """This process among those of the run."""
    eos_ids: list[int]
    """Tokens that end an answer."""

    @property
    def tokenizer(self) -> Any:
        """A Hugging Face tokenizer."""
        ...

    def sample(
        self, tasks: Sequence[Task], n: int, *, seed: int, temperature: float, contexts: Sequence[Ints] | None = None
    ) -> list[Rollout]:
        """n answers to each task, in order, behind the tasks' own prompts or these contexts; not judged."""
        ...

    def token_steps(self, ids: Ints, text: str, steps: Sequence[Step]) -> tuple[Step, ...]:
        """Character ranges of an answer's text as token ranges of its ids."""
        ...

    def prompt(self, messages: Sequence[Message]) -> Ints:
        """A conversation as token ids up to where its answer begins."""
        ...

    def fits(self, context: Ints, answer: int | None = None) -> bool:
        """Whether an answer of so many tokens (None: of the configured length) fits behind a context."""
        ...

    def encode(self, text: str) -> list[int]:
        """A piece of text as tokens, without any that mark a beginning or an end."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Tokens as text."""
        ...


class Environment(Protocol):
    """A family of tasks: what is asked, how it is answered, how an answer is judged, and the words for feedback."""

    @property
    def name(self) -> str:
        """Short name, for the record."""
        ...

    @property
    def critic(self) -> Critic | None:
        """Who can judge single steps of an answer, where there is somebody."""
        ...

    @property
    def wording(self) -> Wording:
        """How feedback reads to a self-teacher."""
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

    def rollouts(
        self, policy: Sampler, tasks: Sequence[Task], n: int, *, seed: int, temperature: float
    ) -> list[Rollout]:
        """n episodes of the policy with each task, task after task, sampled and judged: with verdicts and steps.

        An episode is one rollout, or several that share `Rollout.episode`. Equal seeds give equal rollouts.
        `frown.tasks.rollouts.SingleTurn` is the body for tasks that are answered in one turn.
        """
        ...

    def verify(self, tasks: Sequence[Task], texts: Sequence[str]) -> list[Verdict]:
        """Judge one completion a task, in order. Never raises for a bad completion: it is wrong, or unscored."""
        ...

    def steps(self, text: str) -> list[Step]:
        """The written-out steps of a completion, as character ranges in order; [] where there are none."""
        ...

    def close(self) -> None:
        """Release worker processes. Safe to call twice."""
        ...
