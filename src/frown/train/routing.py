"""Which answers learn from the teacher and which from the reward, where they do not all learn from both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frown.types import Floats, Rollout, TeacherView


def routed(
    rollouts: Sequence[Rollout], views: Sequence[TeacherView], advantages: Sequence[Floats]
) -> tuple[list[TeacherView], list[Floats]]:
    """Views and advantages [T] such that each answer has one or the other (sample routing, SRPO, arXiv 2604.02288).

    A right answer needs no teacher and keeps its advantage. An answer that is not right keeps its teacher if it has
    one, and then its advantage is zero: saying that it was wrong adds nothing to saying what would have been right.
    """
    right = [r.verdict is not None and r.verdict.right for r in rollouts]
    kept = [v for v in views if not right[v.rollout]]
    taught = {v.rollout for v in kept}
    return kept, [np.zeros_like(a) if i in taught else a for i, a in enumerate(advantages)]
