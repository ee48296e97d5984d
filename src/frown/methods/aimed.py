"""Aimed distillation: a critic is asked about the one step the model doubted most; the loss lies on that step alone.

    s* = argmax over steps s of max over t in s of -log pi(y_t | y_<t)                       (aim = "surprisal")
    loss = sum_t w_t D(student, teacher told the comment on s*) / sum_t w_t,   w_t = 1 for t in s*, else `anchor`

The locator is the policy's own next-token distribution, read while it sampled: no further forward pass. What it costs
is one comment an answer. Recommended with it, and its defaults here: a sharpened teacher (temperature .5, as a student
cannot become surer than its teacher), replay (a comment is bought once and learnt from again), one answer a prompt
(siblings doubt the same step).

Confining a loss to a criticised place was published before (ROSD, arXiv 2605.28014; HinT-SD, arXiv 2605.17873); there a
model's reflection finds the place, here its doubt does. Controls, at the same budget: `aim = "random"`, `loss_on =
"others"`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from frown.feedback.aim import Aim, aim, external_scores
from frown.methods.base import Classroom, Lesson, Teaching
from frown.types import Rollout


class Aimed(Teaching):
    """Self-distillation on the step that the model doubted most, with a comment on that step."""

    type: Literal["aimed"] = "aimed"
    summary: ClassVar[str] = "a critic is asked about the most doubtful step, and the loss lies on that step alone"
    paper: ClassVar[str] = "this project; compare ROSD, arXiv 2605.28014, and HinT-SD, arXiv 2605.17873"
    cost: ClassVar[str] = "one comment an answer; the teacher reads the comment and the answer up to the step"
    result: ClassVar[str] = (
        "89 to 97 % of what comments on every step bring, for a fifth of them (docs/results/aimed.md)"
    )
    settings: ClassVar[Mapping[str, Any]] = {
        "teacher": {"temperature": 0.5},
        "practice": {"replay": 48},
        "sampling": {"responses_per_prompt": 1},
    }

    feedback: tuple[str, ...] = ("critique",)
    aim: Aim = "surprisal"
    """How the steps are chosen: surprisal (of a sampled token, the largest in a step), entropy, margin, varentropy,
    disagreement (of siblings), variance (of copies with noisy weights), learnable, tempered: readings of doubt; custom:
    a function given in Python (`frown.train(..., signal=function)`); all: every step. Controls: random, as many steps,
    drawn evenly; expert_rule, an expert's choice; oracle, first_wrong: the truly wrong steps; first, last: by place."""
    steps_per_answer: int = Field(1, ge=1)
    """Steps asked about in each commented answer, unless all are."""
    answers_per_step: int | None = Field(None, ge=1)
    """How many answers of a training step get a comment, dealt evenly over the groups. None: all of them."""
    whom: Literal["even", "failed", "aim"] = "even"
    """Which answers come first under that limit: any, those judged not right, or those whose step scores highest by
    `aim`. By surprisal that lost .09: extreme surprisal marks an unlucky draw. Entropy has no luck in it."""
    loss_on: Literal["commented", "answer", "others"] = "commented"
    """Where the loss lies: on the commented steps, or (controls) on the whole answer, or on as many other steps."""
    anchor: float = Field(0.05, ge=0, le=1)
    """Weight of the other tokens. There the teacher, who was told nothing about them, says what the student used to
    say: a little of that keeps the form of answers, all of it undoes what is learnt."""

    @property
    def noisy_copies(self) -> int:
        """Copies with noisy weights from which the variance of a prediction is read."""
        return 4 if self.aim == "variance" else 0

    def teach(self, answers: Sequence[Rollout], room: Classroom) -> Lesson:
        """A comment on the chosen steps, and the loss there."""
        appraisals = room.appraisals(answers)
        asked = None
        if "critique" in self.kinds and room.feedback is None:
            scores = external_scores(
                answers, variance=room.variance, custom=room.signal if self.aim == "custom" else None
            )
            asked = aim(
                answers, appraisals, self.aim, room.rng, scores=scores,
                steps=self.steps_per_answer, answers=self.answers_per_step, whom=self.whom,
            )  # fmt: skip
        lesson = room.lesson(
            answers, appraisals, self.courses, self.select(answers), asked, loss_on=self.loss_on, anchor=self.anchor
        )
        return self.routed(answers, lesson)
