"""Controls of experiments on critics: one that errs on purpose, and one that quotes what is wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from frown.config import CriticConfig
from frown.critics.base import Comment, Critic, Request, Review
from frown.errors import FrownError
from frown.tasks.base import Environment
from frown.types import Task


def with_controls(critic: Critic | None, config: CriticConfig, environment: Environment) -> Critic | None:
    """Wrap a critic in the controls that a configuration asks for: errors on purpose, quoted errors."""
    if config.error_rate:
        critic = ErringCritic(critic, config.error_rate)
    if config.quote_errors and critic is not None:
        critic = QuotingCritic(critic, environment.wording.quoted)
    return critic


@runtime_checkable
class FallibleCritic(Critic, Protocol):
    """A critic that can be made to err, for experiments on bad critics."""

    def mistaken(self, task: Task, text: str, step: int) -> Comment:
        """The opposite of the true verdict on a step."""
        ...


class QuotingCritic:
    """A critic whose corrections quote the wrong step before they correct it: a control, and what most critics do."""

    def __init__(self, critic: Critic, quote: Callable[[str, str], str]):
        self._critic, self._quote = critic, quote

    def review(self, requests: Sequence[Request]) -> list[Review]:
        """As the critic, with every error quoted by `quote(step, comment)`."""
        return [
            r._replace(
                comments=tuple(
                    c if c.right or c.step is None else replace(c, text=self._quote(q.steps[c.step], c.text))
                    for c in r.comments
                )
            )
            for q, r in zip(requests, self._critic.review(requests), strict=True)
        ]


class ErringCritic:
    """A critic with a share of its verdicts turned into their opposite. The same answer is always judged alike."""

    def __init__(self, critic: Critic | None, rate: float):
        if not isinstance(critic, FallibleCritic):
            raise FrownError("critic.error_rate needs a critic that can err on purpose, such as the lab's")
        self._critic, self._rate = critic, rate

    def review(self, requests: Sequence[Request]) -> list[Review]:
        """As the critic, but for the mistakes."""
        return [
            r._replace(comments=tuple(self._mistaken(q, c) for c in r.comments))
            for q, r in zip(requests, self._critic.review(requests), strict=True)
        ]

    def _mistaken(self, request: Request, comment: Comment) -> Comment:
        if comment.step is None:
            return comment
        draw = random.Random(f"{request.task.id}/{comment.step}/{request.text}").random()
        if draw >= self._rate:
            return comment
        return self._critic.mistaken(request.task, request.text, comment.step)
