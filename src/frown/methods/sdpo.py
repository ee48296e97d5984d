"""SDPO: the same model, shown a right sibling or feedback, is the teacher of every token (arXiv 2601.20802).

    loss = sum_t w_t D(student(. | question, y_<t), teacher(. | question, feedback, y_<t)) / sum_t w_t,   w_t = 1

with D the divergence of `loss.alpha` over the whole vocabulary and the teacher's weights those of `teacher`.

Deviations from the paper: the whole vocabulary instead of the top K (`loss.top_k` brings it back); a sibling is drawn
evenly among the right ones; one optimiser step a batch, so no importance ratio. `feedback = ["affect", "sibling"]` is
the idea this project began with: the teacher is told where the student was unsure.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from frown.methods.base import Teaching


class SDPO(Teaching):
    """Self-distillation from a context that holds feedback: a right sibling, or whatever else is named."""

    type: Literal["sdpo"] = "sdpo"
    summary: ClassVar[str] = "self-distillation; the teacher sees a right sibling, or other feedback"
    paper: ClassVar[str] = "Hübotter et al. 2026, arXiv 2601.20802"
    cost: ClassVar[str] = "no comments unless asked for; the teacher reads feedback and answer, one forward pass"
    result: ClassVar[str] = "above GRPO on the lab at equal answers (docs/results/aimed.md, docs/results/feedback.md)"
