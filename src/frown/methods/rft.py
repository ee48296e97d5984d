"""RFT: the likelihood of the policy's own right answers is raised, and nothing else (rejection-sampling fine-tuning,
Yuan et al. 2023, arXiv 2308.01825).

    loss = - sum over distinct right answers i and their tokens t of log pi(y_it) / their number of tokens

Deviations: the answers are the present policy's, one optimiser step a batch (expert iteration), not those of the model
at the start over epochs; of equal answers to a prompt one counts, as in the paper, by their text. No right answer, no
step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from frown.config.method import Method
from frown.methods.base import Classroom, Lesson, likelihood_credit
from frown.types import Floats, Rollout


class RFT(Method):
    """Rejection-sampling fine-tuning on the policy's own right answers."""

    type: Literal["rft"] = "rft"
    summary: ClassVar[str] = "rejection sampling: the likelihood of own right answers is raised"
    paper: ClassVar[str] = "Yuan et al. 2023, arXiv 2308.01825"
    cost: ClassVar[str] = "no comments, no teacher"
    result: ClassVar[str] = "a baseline; not measured yet"

    def credit(self, answers: Sequence[Rollout], lesson: Lesson, room: Classroom) -> list[Floats]:
        """The same for every token of a distinct right answer, 0 elsewhere."""
        chosen: dict[tuple[int, str], int] = {}
        for i, r in enumerate(answers):
            if r.verdict is not None and r.verdict.right:
                chosen.setdefault((r.group, r.text), i)
        return likelihood_credit(answers, set(chosen.values()))
