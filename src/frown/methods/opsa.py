"""OPSA: the least likely fifth of an answer's own tokens is pushed down (arXiv 2608.31046). No teacher, no reward.

    A_t = tail advantage of token t, see `frown.losses.advantages.tail_advantages`;   loss = - sum_t A_t * ratio_t / N

It weighs doubt and nothing else, so it is a control of everything that weighs doubt.

Deviations: one optimiser step a batch, so the ratio is one; ranks are taken within an answer, among the tokens that the
policy sampled itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from frown.config.method import Method
from frown.losses.advantages import tail_advantages
from frown.methods.base import Classroom, Lesson
from frown.types import Floats, Rollout


class OPSA(Method):
    """Policy gradient on the tail of an answer's own tokens."""

    type: Literal["opsa"] = "opsa"
    summary: ClassVar[str] = "the least likely fifth of the tokens is pushed down: no teacher, no reward"
    paper: ClassVar[str] = "arXiv 2608.31046"
    cost: ClassVar[str] = "no comments, no teacher, no verifier"
    result: ClassVar[str] = "a control: what weighing doubt alone does (docs/results/affect.md)"

    def credit(self, answers: Sequence[Rollout], lesson: Lesson, room: Classroom) -> list[Floats]:
        """The tail's advantages, ranked among the tokens that the policy sampled."""
        return [_tail(r) for r in answers]


def _tail(rollout: Rollout) -> Floats:
    advantage = np.zeros(len(rollout.ids), np.float32)
    if rollout.signals is not None:
        own = rollout.own
        advantage[own] = tail_advantages(rollout.logp[own], rollout.signals["entropy"][own])
    return advantage
