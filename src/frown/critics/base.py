"""The contract of a critic, which says of chosen steps of an answer whether they are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

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
    """A critic's comments on one answer."""

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
