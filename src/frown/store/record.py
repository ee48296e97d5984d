"""A rollout as it is kept: with all that was read in it, said about it and learnt from it. Frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from frown.types import Appraisal, Feedback, Floats, Ints, Rollout

Unknown = Literal["prompt_ids", "ids", "logp", "temperature"]


@dataclass(frozen=True, eq=False)
class TeacherReading:
    """What the teacher was shown of a rollout, and what it made of each token.

    Arrays are float32[T], NaN at tokens that did not count in the loss; None: not kept.
    """

    context_ids: Ints
    """The teacher's prompt, before the very same answer ids."""
    weight: Floats
    """Of each token in the distillation loss."""
    prompt: str | None = None
    """`context_ids` as text, the chat template's marks included."""
    log_ratio: Floats | None = None
    """log q - log p of the sampled token, nats."""
    entropy: Floats | None = None
    """Of the teacher's distribution, nats."""
    divergence: Floats | None = None
    """Between student and teacher, nats."""
    unresolved: float | None = None
    """Weighted mean divergence when the rollout was last learnt from, nats."""


@dataclass(frozen=True)
class Origin:
    """The run that a rollout is from, where a file holds those of several."""

    arm: str
    seed: int | None
    split: str
    """"train", or the split of an evaluation."""
    step: int
    """Training step of the policy that answered."""


@dataclass(frozen=True, eq=False)
class RolloutRecord:
    """A rollout with all that was read in it, said about it and learnt from it."""

    rollout: Rollout
    appraisal: Appraisal = field(default_factory=Appraisal)
    feedback: Feedback = field(default_factory=Feedback)
    prompt: str | None = None
    """What the student was shown, as text, the chat template's marks included."""
    tokens: tuple[str, ...] | None = None
    """The answer token by token."""
    advantage: Floats | None = None
    """[T] for the policy gradient."""
    teacher: TeacherReading | None = None
    """None: no teacher looked at it."""
    origin: Origin | None = None
    unknown: frozenset[Unknown] = frozenset()
    """What another program's log does not say of the rollout. It is null in the file, and in `rollout` no more than a
    stand-in: ids of -1, log-probabilities and temperature of NaN, an empty prompt. Without `ids` and `logp` nobody
    knows how many tokens there are, and `rollout` has none."""

    def __post_init__(self) -> None:
        if strange := self.unknown - set(get_args(Unknown)):
            raise ValueError(f"{', '.join(sorted(strange))} of a rollout is always known")
        if {"ids", "logp"} <= self.unknown and len(self.rollout.ids):
            raise ValueError("a rollout without ids and log-probabilities has no tokens")

    @property
    def length(self) -> int | None:
        """T; None where nobody knows."""
        return None if {"ids", "logp"} <= self.unknown else len(self.rollout.ids)
