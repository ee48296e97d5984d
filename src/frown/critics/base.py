"""What a critic is: somebody who says of chosen steps of an answer whether they are right."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

from frown.errors import FrownError
from frown.types import Task, Verdict


@dataclass(frozen=True)
class Comment:
    """A critic's word on one written-out step of an answer, or on the whole of it.

    `text` is what the teacher is shown: for a wrong step its correction, for a right one its confirmation. It
    never quotes what the answer wrote there, unless that is right.
    """

    step: int | None
    """None: the whole answer, from a critic that cannot say where."""
    right: bool
    text: str


class Request(NamedTuple):
    """An answer and the steps of it that a critic is asked about."""

    task: Task
    text: str
    steps: tuple[str, ...]
    """Its written-out steps, in order, as they stand in the text."""
    asked: tuple[int, ...]
    """Indices of the steps asked about, ascending."""
    verdict: Verdict | None = None
    """What the verifier said of the whole answer."""
    truncated: bool = False
    """Whether the answer was cut at the token limit."""


class Review(NamedTuple):
    """What a critic said about one answer."""

    comments: tuple[Comment, ...] = ()
    """One for each asked step that could be judged, in order, or one on the whole answer."""
    continuation: str = ""
    """How the answer goes on behind the last comment, from a critic that says so."""
    lost: str = ""
    """Why the critic did not answer at all (out of reach, over budget, unreadable), or "" where it did."""


class Critic(Protocol):
    """Judges steps of answers, each given the steps before it as they were written."""

    def review(self, requests: Sequence[Request]) -> list[Review]:
        """One review a request, in order. Never raises for a bad answer or a lost one: it says so in `lost`."""
        ...


@runtime_checkable
class Fallible(Critic, Protocol):
    """A critic that can be made to err, for experiments on bad critics."""

    def mistaken(self, task: Task, text: str, step: int) -> Comment:
        """The opposite of the true verdict on a step."""
        ...


class Quoting:
    """A critic whose corrections quote the wrong step before they correct it: a control, and what most critics do."""

    def __init__(self, critic: Critic, quoted: Callable[[str, str], str]):
        self._critic, self._quoted = critic, quoted

    def review(self, requests: Sequence[Request]) -> list[Review]:
        """As the critic, with every error quoted by `quoted(step, comment)`."""
        return [
            r._replace(
                comments=tuple(
                    c if c.right or c.step is None else replace(c, text=self._quoted(q.steps[c.step], c.text))
                    for c in r.comments
                )
            )
            for q, r in zip(requests, self._critic.review(requests), strict=True)
        ]


class Erring:
    """A critic of whose verdicts a share is turned into its opposite. The same answer is always judged alike."""

    def __init__(self, critic: Critic | None, rate: float):
        if not isinstance(critic, Fallible):
            raise FrownError("critic.error_rate needs a critic that can err on purpose, such as the lab's")
        self._critic, self._rate = critic, rate

    def review(self, requests: Sequence[Request]) -> list[Review]:
        """As the critic, but for the mistakes."""
        said = self._critic.review(requests)
        return [
            r._replace(comments=tuple(self._mistaken(q, c) for c in r.comments))
            for q, r in zip(requests, said, strict=True)
        ]

    def _mistaken(self, request: Request, comment: Comment) -> Comment:
        if comment.step is None:
            return comment
        draw = random.Random(f"{request.task.id}/{comment.step}/{request.text}").random()
        if draw >= self._rate:
            return comment
        return self._critic.mistaken(request.task, request.text, comment.step)
