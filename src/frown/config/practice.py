"""What is practised next."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from frown.config.base import Config


class PracticeConfig(Config):
    """Which prompts are learnt from, and how difficult they are."""

    choose: Literal["uniform", "doubt", "success", "learnable"] = "uniform"
    """Of more prompts than are trained on, which: any; those most doubted; those about half of whose answers are right;
    or those that are both (`frown.practice.difficulty.worth`). On the lab success chose well, and doubt added nothing
    (docs/results/affect.md)."""
    candidates: int = Field(1, ge=1)
    """Prompts answered for each one trained on; all their answers count as rollouts spent."""
    replay: int = Field(0, ge=0)
    """Views of earlier steps that are learnt from again in each step: a comment is bought once and used more often."""
    replay_by: Literal["uniform", "unresolved"] = "uniform"
    """Which: any; or those on which student and teacher still differed most when they were last learnt from."""
    difficulty: Literal["fixed", "flow"] = "fixed"
    """flow: harder out of boredom, easier out of anxiety, where the tasks have levels (the lab, reasoning-gym)."""
    start: int | None = Field(None, ge=0)
    """The first level under flow; None: the easiest."""
    use_doubt: bool = True
    """Under flow: whether success with much doubt still counts as practice. Off is the control, success alone."""
