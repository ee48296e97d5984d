"""Before any weight moves: is the teacher better than the student it is to teach?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from frown.evals.accuracy import row_means
from frown.policy.policy import Policy
from frown.runtime.randomness import PREFLIGHT, seed_of
from frown.tasks.base import Environment
from frown.tasks.rollouts import judge
from frown.training.session import Session
from frown.types import Rollout, TeacherView

NOTHING_TAUGHT = (
    "at the first step no answer got any feedback, so nothing was distilled: check method.feedback (a reference needs "
    "worked solutions, a sibling a right answer in the group)"
)


class TeacherGap(NamedTuple):
    """Accuracy with and without the teacher's context, on the same tasks."""

    student: float
    teacher: float
    standard_error: float
    """Of the difference, paired by view."""
    n: int
    """Answers of the teacher."""

    @property
    def warning(self) -> str | None:
        """One line when the teacher is not shown to be better, else None."""
        gap = self.teacher - self.student
        if gap > self.standard_error:
            return None
        verdict = "is worse than" if gap < -2 * self.standard_error else "is not better than"
        return (
            f"the teacher {verdict} the student before training: {self.teacher:.2f} against {self.student:.2f} "
            f"(difference {gap:+.2f}, standard error {self.standard_error:.2f}, {self.n} teacher answers); "
            "check how the feedback reads in the teacher's prompt (rollouts/ holds it) before spending compute"
        )


def check_teacher(session: Session, answers: Sequence[Rollout], views: Sequence[TeacherView]) -> None:
    """Say so when the teacher is not shown to be better than the student it is about to teach."""
    seed = seed_of(session.config.seed, 1, PREFLIGHT)
    gap = teacher_gap(session.policy, session.environment, answers, views, seed=seed)
    warning = gap.warning if gap else NOTHING_TAUGHT if not views else None
    if warning:
        session.warn(warning)
    session.run.log({"step": 0, "teacher_gap": gap._asdict() if gap else None, "warning": warning})


def teacher_gap(
    policy: Policy,
    environment: Environment,
    rollouts: Sequence[Rollout],
    views: Sequence[TeacherView],
    *,
    seed: int,
    most: int = 128,
) -> TeacherGap | None:
    """Let the teacher answer from its own contexts, and the student the same prompts, and compare.

    A malformed teacher context otherwise lowers accuracy without a sound. Both sides answer afresh: the answers that
    the feedback is about were selected by it (only wrong ones are told that they are wrong). Costs two batches of at
    most `most` answers, spread over the views. The comparison is paired by view. None when nothing can be compared.
    """
    if len(views) > most:
        views = [views[i * len(views) // most] for i in range(most)]
    if not views:
        return None
    tasks, n = [rollouts[v.rollout].task for v in views], most // len(views)
    temperature = policy.sampling.temperature
    before = policy.sample(tasks, n, seed=seed, temperature=temperature)
    contexts = [v.context_ids for v in views]
    # A teacher's weights are the student's until these move, and a second model need not be put together.
    after = policy.sample(tasks, n, seed=seed, temperature=temperature, contexts=contexts, model=policy.model)
    student, taught = (_mean_scores(judge(answers, environment, policy), n) for answers in (before, after))
    both = np.isfinite(student) & np.isfinite(taught)
    if both.sum() < 2:
        return None
    difference = taught[both] - student[both]
    error = float(np.std(difference, ddof=1) / np.sqrt(both.sum()))
    return TeacherGap(float(student[both].mean()), float(taught[both].mean()), error, len(after))


def _mean_scores(answers: Sequence[Rollout], n: int) -> np.ndarray:
    """Mean score of each view's n answers, the unscored left out; NaN where none was scored."""
    scores = [a.verdict.score if a.verdict else np.nan for a in answers]
    return row_means(np.array(scores).reshape(-1, n))
