"""What one step learns from, as a noun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from frown.affect.normalise import Normaliser
from frown.methods.base import Lesson
from frown.runtime import randomness
from frown.types import Floats, Rollout


@dataclass(frozen=True, eq=False)
class Batch:
    """Fresh answers, and what the method makes of them."""

    answers: Sequence[Rollout]
    lesson: Lesson
    credit: Sequence[Floats]
    """What each token gets from the reward, float32[T] an answer."""
    sampled: Sequence[Rollout]
    """All that was sampled, answers to candidates that were not chosen for practice among it."""
    normaliser: Normaliser
    """What is usual of each signal, these answers included."""
    draws: randomness.Generators
    """The random streams after what was drawn so far."""
    seconds: float
    """What sampling, judging and teaching took."""
