"""Step-aligned critique: a critic judges every step of every answer, and the teacher reads it (arXiv 2606.11173).

    the loss of `sdpo`, with a comment on each step as the teacher's context

Deviations: by default the teacher is shown the comments; `critic.write = "scribe"` puts the student's own answer right
by them, as the paper's scribe does. The critic is whoever `critic.kind` names.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from frown.methods.base import Teaching


class Critique(Teaching):
    """Step-aligned self-distillation: a comment on every step."""

    type: Literal["critique"] = "critique"
    summary: ClassVar[str] = "self-distillation; a critic comments on every step"
    paper: ClassVar[str] = "Kara and Ersoy 2026, arXiv 2606.11173"
    cost: ClassVar[str] = "a comment on every step of every answer; the teacher reads comments and answer"
    result: ClassVar[str] = "the strongest teacher on the lab, and the dearest (docs/results/aimed.md)"

    feedback: tuple[str, ...] = ("critique",)
