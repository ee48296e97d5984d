"""What a critic is asked about each rollout."""

from __future__ import annotations

from collections.abc import Sequence

from frown.critics.base import Request
from frown.policy.reader import Reader
from frown.policy.text import completion_text
from frown.tasks.base import Environment
from frown.types import Rollout


def requests(
    rollouts: Sequence[Rollout], asked: Sequence[tuple[int, ...]], environment: Environment, policy: Reader
) -> list[Request | None]:
    """What a critic is asked about each rollout; None where nothing."""
    return [
        Request(r.task, r.text, step_texts(r, environment, policy), steps, r.verdict, r.truncated) if steps else None
        for r, steps in zip(rollouts, asked, strict=True)
    ]


def step_texts(rollout: Rollout, environment: Environment, policy: Reader) -> tuple[str, ...]:
    """The written-out steps of an answer as they read, one text for each of its `steps`."""
    ranges = environment.steps(rollout.text)
    if len(ranges) == len(rollout.steps):
        return tuple(rollout.text[a:b] for a, b in ranges)
    # A step in which no token begins is none of the rollout's steps: then the tokens say what belongs together.
    return tuple(completion_text(policy.tokenizer, rollout.ids[a:b]) for a, b in rollout.steps)
