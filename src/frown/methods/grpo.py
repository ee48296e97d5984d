"""GRPO: the reward of a group's answers alone, without a teacher (Shao et al. 2024, arXiv 2402.03300).

    loss = - sum over answers i and tokens t of A_i * ratio_it / N,   A_i = r_i - mean of the group's r

Deviations: one optimiser step a batch, so the ratio is one and nothing is clipped; the mean baseline alone by default
(Dr. GRPO, arXiv 2503.20783), since dividing by a group's standard deviation weighs easy and hopeless prompts up; the
sum is over the batch's sampled tokens N, not over each answer's own; no KL term (`loss.kl_anchor` adds one).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from frown.config.method import Method
from frown.methods.base import Classroom, Lesson, group_credit
from frown.types import Floats, Rollout

if TYPE_CHECKING:
    from frown.config.run import RunConfig


class GRPO(Method):
    """Policy gradient with the rewards of a group."""

    type: Literal["grpo"] = "grpo"
    summary: ClassVar[str] = "policy gradient with the rewards of a group, without a teacher"
    paper: ClassVar[str] = "Shao et al. 2024, arXiv 2402.03300; Dr. GRPO, arXiv 2503.20783"
    cost: ClassVar[str] = "no comments, no teacher"
    result: ClassVar[str] = "the baseline of every comparison (docs/results/aimed.md)"

    divide_by_std: bool = False
    """Whether advantages are divided by the group's standard deviation. Off: the mean baseline alone (Dr. GRPO)."""

    def check(self, run: RunConfig) -> None:
        """Raise ValueError where there is no group."""
        if run.sampling.responses_per_prompt == 1:
            raise ValueError(
                "sampling.responses_per_prompt = 1 gives GRPO no group to compare with: use 2 or more, or another "
                "method"
            )

    def credit(self, answers: Sequence[Rollout], lesson: Lesson, room: Classroom) -> list[Floats]:
        """A_i at every token of answer i."""
        return group_credit(answers, lesson.appraisals, room, divide_by_std=self.divide_by_std)
