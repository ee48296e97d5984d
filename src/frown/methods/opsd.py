"""OPSD: the teacher is shown the worked solution of the question (on-policy self-distillation, arXiv 2601.18734).

    the loss of `sdpo`, with the reference solution as the teacher's context

Deviations: the divergence and the teacher's weights are those of the run, and equal to those of every other method.
Tasks without a worked solution have no teacher and are not learnt from.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from frown.methods.base import Teaching


class OPSD(Teaching):
    """Reference-conditioned self-distillation."""

    type: Literal["opsd"] = "opsd"
    summary: ClassVar[str] = "self-distillation; the teacher sees the worked solution"
    paper: ClassVar[str] = "Zhao et al. 2026, arXiv 2601.18734"
    cost: ClassVar[str] = "no comments; the teacher reads solution and answer, one forward pass"
    result: ClassVar[str] = "best where solutions are canonical, worst where they are not (docs/results/feedback.md)"

    feedback: tuple[str, ...] = ("reference",)
