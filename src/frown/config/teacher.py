"""Whose weights the self-teacher has."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from frown.config.base import Config


class TeacherConfig(Config):
    """Whose weights the self-teacher has."""

    weights: Literal["live", "frozen", "ema", "trust_region"] = "ema"
    """live: the student's own; frozen: the student's at the start; ema: a running mean of the student's; trust_region:
    both the first two, each looking for itself, log q = (1 - a) log q_start + a log q_student up to a constant, with
    a = student_share (SDPO, arXiv 2601.20802, eq. 10), which costs one further forward pass."""
    student_share: float = Field(0.01, ge=0, le=1)
    """The student's share a in a trust_region teacher: 0 is frozen, 1 is live."""
    ema_rate: float = Field(0.01, gt=0, le=1)
    """teacher <- (1 - rate) teacher + rate student, in weight space, once a step. 0.05 collapsed by step 80."""
    temperature: float = Field(1.0, gt=0)
    """Divides the teacher's logits beside the sampling temperature. Below 1 the student learns to be surer than its
    teacher is: a teacher that believes a comment to .87 would else leave the student at .87."""
