"""What a teacher may be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from frown.config.base import Config


class FeedbackConfig(Config):
    """What a teacher may be told, whatever the method: how much is given away, how long it is, what of it is learnt."""

    leak: Literal["none", "verdict", "gold"] = "gold"
    """The most that feedback may give away: nothing that the verifier knows, that something is wrong, or what is right.
    Parts that give away more are withheld and counted; a text in which the reference answer stands gives it away."""
    max_tokens: int | None = Field(None, ge=1)
    """Most tokens of feedback a rollout's teacher is told, the instruction around it not counted. The part that reaches
    the limit is cut and says so, later ones are left out, and both are counted."""
    strip_reasoning: bool = True
    """Whether a sibling's answer is shown without its <think> block."""
    own_reasoning: Literal["learn", "skip"] = "learn"
    """Whether the student's own <think> block is learnt from; its tokens stand before the teacher either way."""
