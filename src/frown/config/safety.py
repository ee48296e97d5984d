"""What a run can go on from, and who watches it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from frown.config.base import Config


class CheckpointConfig(Config):
    """From where a run can go on (`frown train --resume`)."""

    every: int | None = Field(None, ge=1)
    """Optimiser steps between checkpoints; the first is before training, the last after it. None: one with each
    evaluation."""
    keep: int = Field(2, ge=1)
    """Checkpoints kept, the newest: should the last be damaged, the one before it is used."""


class GuardConfig(Config):
    """A watch over signs of collapse (`frown.training.guard`): means over a window of steps, against the first step,
    whose answers are from before any weight moved. None switches a canary off."""

    actions: tuple[Literal["rollback", "freeze", "cut"], ...] = ()
    """What is done at a trip besides saying so. rollback: go back to the last checkpoint before it, with half the
    learning rate; freeze: the teacher stays as it is (after a rollback: as it was); cut: halve method.distillation, the
    rest of the loss being the policy gradient. docs/results/guard.md shows what they are worth on the lab."""
    window: int = Field(3, ge=1)
    """Steps over which a canary is averaged."""
    length: tuple[float, float] | None = (0.5, 2.0)
    """Least and most mean length of answers, as shares of the start's."""
    entropy: tuple[float, float] | None = (0.01, 5.0)
    """Least and most mean entropy of the policy at its tokens, as shares of the start's."""
    repetition: float | None = Field(0.2, gt=0)
    """By how much the share of repeated 4-grams may rise."""
    truncated: float | None = Field(0.2, gt=0)
    """By how much the share of answers cut at the token limit may rise."""
    flat_groups: float | None = Field(0.5, gt=0)
    """By how much the share of groups may rise in which all answers have one score and none is right."""
    well_formed: float | None = Field(0.2, gt=0)
    """By how much the share of well-formed answers may fall."""
    kl: float | None = Field(None, gt=0)
    """Most KL divergence of the policy from its start, nats a token. Off by default: it costs a forward pass of the
    start over every answer and, without LoRA, a copy of the weights."""
    accuracy: float | None = Field(0.1, gt=0)
    """By how much accuracy on the dev split may fall below its best (needs eval.dev_prompts)."""
    rollbacks: int = Field(3, ge=1)
    """Most rollbacks; at the next trip the run stops."""
