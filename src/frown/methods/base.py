"""What methods are made of: the lesson that one prepares, the room it is prepared in, and what teaching ones share."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from pydantic import Field, field_validator

from frown.affect.appraisal import appraise
from frown.affect.controls import controlled
from frown.affect.normalise import Normaliser
from frown.affect.reward import affect_reward
from frown.affect.rules import rules_named
from frown.affect.token_weights import token_weights
from frown.config.load import nearest
from frown.config.method import Method
from frown.critics.base import Critic
from frown.feedback.aim import SignalFunction, external_scores, within_budget
from frown.feedback.compose import FeedbackFunction, by_function, compose
from frown.feedback.disclosure import disclose
from frown.feedback.notes import notes
from frown.feedback.requests import requests
from frown.losses.advantages import group_advantages
from frown.policy.reader import Reader
from frown.tasks.base import Environment
from frown.teacher.views import look, weigh
from frown.types import Appraisal, Feedback, Floats, Kind, Rollout, TeacherView, episodes

if TYPE_CHECKING:
    from frown.config.run import RunConfig
    from frown.policy.policy import Policy

KINDS: tuple[Kind, ...] = get_args(Kind)
"""Kinds of feedback."""
VIEWS_TOO_LONG = (
    "teacher's prompts that leave no room for an answer in the model's context are left out, and nothing is distilled "
    "from those answers (views_too_long in metrics.jsonl counts them): set feedback.max_tokens, or lower "
    "sampling.max_new_tokens"
)


class Lesson(NamedTuple):
    """What is read in judged answers, what the teacher is told about each, and how it sees those it is told about."""

    appraisals: list[Appraisal]
    feedback: list[Feedback]
    views: list[TeacherView]
    counts: dict[str, int]
    """What was left out on the way (views too long for the model, steps that a budget of tokens left unasked, critiques
    lost, parts withheld, cut or left out), and how many answers are told a verdict, or what is right."""
    lost: tuple[str, ...]
    """Why, one line for each answer whose critique was lost."""

    @property
    def complaints(self) -> tuple[str, ...]:
        """What went wrong, a line each; the same faults of another step read the same."""
        long = (VIEWS_TOO_LONG,) if self.counts.get("views_too_long") else ()
        return (*(f"a critique was lost: {why}" for why in self.lost), *long)


@dataclass(frozen=True)
class Classroom:
    """What a method has at hand when it prepares a lesson. What it draws comes from `rng`."""

    config: RunConfig
    environment: Environment
    policy: Reader
    rng: np.random.Generator
    critic: Critic | None = None
    """Who comments on steps, where there is somebody."""
    normaliser: Normaliser | None = None
    """What is usual of each signal in this run."""
    feedback: FeedbackFunction | None = None
    """Says what each teacher is told, instead of `method.feedback`; the rest of the policy holds for it, too."""
    signal: SignalFunction | None = None
    """Scores steps for `method.aim = "custom"`."""
    variance: Sequence[Floats] | None = None
    """How much copies with noisy weights disagree at each token, nats, float32[T] an answer (`Method.noisy_copies`)."""

    def appraisals(self, answers: Sequence[Rollout]) -> list[Appraisal]:
        """What each answer's own distribution says, in labelled spans, under the control of an experiment."""
        affect, rules = self.config.affect, rules_named(self.config.affect.rules)
        scores = external_scores(answers)["disagreement"]
        signals = [{} if row is None else {"disagreement": row} for row in scores]
        read = [
            appraise(r, rules, step_signals=also, normaliser=self.normaliser)
            if r.signals is not None
            else Appraisal(unread=("all rules: a worked solution has no signals",))
            for r, also in zip(answers, signals, strict=True)
        ]
        if affect.control == "off":
            return read
        return [controlled(a, r, affect.control, self.rng) for a, r in zip(read, answers, strict=True)]

    def without_teacher(self, answers: Sequence[Rollout]) -> Lesson:
        """A lesson in which nobody is told anything."""
        return self.lesson(answers, self.appraisals(answers), (), ())

    def within_budget(
        self, answers: Sequence[Rollout], asked: Sequence[tuple[int, ...]]
    ) -> tuple[Sequence[tuple[int, ...]], int]:
        """The steps of each answer that `critic.tokens_per_step` allows to be asked about, and how many it does not."""
        budget = self.config.critic.tokens_per_step
        if budget is None:
            return asked, 0
        cost = [[float(len(r.prompt_ids) + step.end) for step in r.steps] for r in answers]
        return within_budget(asked, cost, budget, self.rng)

    def lesson(
        self,
        answers: Sequence[Rollout],
        appraisals: list[Appraisal],
        courses: Sequence[Sequence[Kind]],
        selected: Sequence[int],
        asked: Sequence[tuple[int, ...]] | None = None,
        loss_on: str = "answer",
        anchor: float = 0.0,
    ) -> Lesson:
        """The lesson of one batch.

        `courses`: the choices of feedback in order of preference, each the kinds given together; `selected`: the
        answers that may get any; `asked`: the steps of each that a critic is asked about (None: nobody asks).
        `loss_on` and `anchor` as of `frown.teacher.views.views`.
        """
        config, affect = self.config, self.config.affect
        kinds = {kind for course in courses for kind in course}
        unasked = 0
        if self.feedback is not None and courses:
            composed = by_function(answers, appraisals, self.feedback, selected)
        else:
            if asked is not None:
                asked, unasked = self.within_budget(answers, asked)
            composed = compose(
                answers,
                courses,
                requests=() if asked is None else requests(answers, asked, self.environment, self.policy),
                notes=notes(answers, appraisals, affect.note, self.environment, self.policy, self.rng)
                if "affect" in kinds
                else (),
                critic=self.critic,
                rng=self.rng,
                selected=selected,
                strip_reasoning=config.feedback.strip_reasoning,
                write=config.critic.write,
            )
        feedback, counts = disclose(answers, composed.feedback, config.feedback, self.policy)
        views, unfit = look(
            answers, feedback, self.environment, self.policy, self.rng,
            loss_on=loss_on, anchor=anchor, own_reasoning=config.feedback.own_reasoning,
        )  # fmt: skip
        if affect.weight.by != "none":
            views = weigh(views, answers, appraisals, affect.weight, self.rng if affect.control != "off" else None)
        counts |= {"views_too_long": unfit, "steps_unasked": unasked, "critiques_lost": len(composed.lost)}
        return Lesson(appraisals, feedback, views, counts, tuple(composed.lost))


class Teaching(Method):
    """What all methods with a teacher are told: which answers, which feedback, and what share the teacher has."""

    feedback: tuple[str, ...] = ("sibling",)
    """Kinds in order of preference: sibling, reference, critique, affect, outcome. Each answer gets the first that it
    can have, or none at all. Kinds joined by "+" are given together, as far as they apply: ["sibling", "critique"] is a
    solution instead of comments, ["sibling+critique"] both."""
    to: Literal["all", "wrong", "right"] = "all"
    """Which answers are taught from: all, or those judged wrong, or right. An unscored one is neither."""
    distillation: float = Field(1.0, gt=0, le=1)
    """Weight d of self-distillation: loss = d * distillation + (1 - d) * policy gradient (rewards of a group)."""
    blend: Literal["weight", "route"] = "weight"
    """weight: every answer counts in both losses. route: right answers go to the policy gradient alone, answers that
    are not right and have a teacher to distillation alone (SRPO, arXiv 2604.02288), others to the policy gradient."""

    @field_validator("feedback")
    @classmethod
    def _known_kinds(cls, feedback: tuple[str, ...]) -> tuple[str, ...]:
        kinds = [kind for course in feedback for kind in course.split("+")]
        for kind in kinds:
            if kind not in KINDS:
                raise ValueError(f"there is no feedback {kind!r}{nearest(kind, KINDS)}")
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"each kind of feedback can be named once; got {', '.join(kinds)}")
        return feedback

    @property
    def share(self) -> float:
        """Share of self-distillation in the loss."""
        return self.distillation

    def scaled(self, factor: float) -> Teaching:
        """The same method with so many times the share of self-distillation."""
        return self if factor == 1 else self.model_copy(update={"distillation": self.distillation * factor})

    def with_feedback(self, kind: Kind) -> Teaching:
        """The same method with a teacher that is given one kind of feedback alone, and nothing else to learn from."""
        return self.model_copy(update={"feedback": (kind,), "distillation": 1.0, "blend": "weight"})

    @property
    def courses(self) -> tuple[tuple[Kind, ...], ...]:
        """The choices of feedback in order of preference, each the kinds that are given together."""
        known: dict[str, Kind] = {kind: kind for kind in KINDS}
        return tuple(tuple(known[kind] for kind in course.split("+")) for course in self.feedback)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Every kind that may be given."""
        return tuple(kind for course in self.courses for kind in course)

    def check(self, run: RunConfig) -> None:
        """Raise ValueError where a group is needed and there is none, or nothing is left to route."""
        alone = run.sampling.responses_per_prompt == 1
        if alone and self.distillation < 1:
            raise ValueError(
                "sampling.responses_per_prompt = 1 gives the policy gradient no group to compare with: use 2 or more, "
                "or method.distillation = 1"
            )
        if alone and self.feedback == ("sibling",):
            raise ValueError(
                "sampling.responses_per_prompt = 1 leaves no sibling to learn from: use 2 or more, or other "
                'method.feedback, e.g. ["reference"]'
            )
        if self.blend == "route" and self.distillation == 1:
            raise ValueError(
                'method.blend = "route" shares answers out between two losses: give both weight, e.g. '
                "method.distillation = 0.5"
            )

    def select(self, answers: Sequence[Rollout]) -> list[int]:
        """All answers, or those judged wrong, or right."""
        if self.to == "all":
            return list(range(len(answers)))
        verdicts = [r.verdict for r in answers]
        return [i for i, v in enumerate(verdicts) if v is not None and v.scored and v.right == (self.to == "right")]

    def teach(self, answers: Sequence[Rollout], room: Classroom) -> Lesson:
        """The feedback of each selected answer, the loss on the whole of it; a critic is asked about every step."""
        asked = every_step(answers) if "critique" in self.kinds else None
        return self.routed(
            answers, room.lesson(answers, room.appraisals(answers), self.courses, self.select(answers), asked)
        )

    def routed(self, answers: Sequence[Rollout], lesson: Lesson) -> Lesson:
        """The lesson; where answers are routed, without the right ones, which need no teacher."""
        if self.blend == "weight":
            return lesson
        right = [r.verdict is not None and r.verdict.right for r in answers]
        return lesson._replace(views=[v for v in lesson.views if not right[v.rollout]])

    def credit(self, answers: Sequence[Rollout], lesson: Lesson, room: Classroom) -> list[Floats]:
        """The rewards of groups; none where everything is distilled, and none for routed answers that have a teacher:
        saying that one was wrong adds nothing to saying what would have been right."""
        if self.distillation == 1:
            return [np.zeros(len(r.ids), np.float32) for r in answers]
        credit = group_credit(answers, lesson.appraisals, room, divide_by_std=False)
        if self.blend == "weight":
            return credit
        taught = {v.rollout for v in lesson.views}
        return [np.zeros_like(a) if i in taught else a for i, a in enumerate(credit)]


def noisy_variance(
    method: Method, policy: Policy, answers: Sequence[Rollout], rng: np.random.Generator
) -> list[Floats] | None:
    """How much copies with noisy weights disagree at each token, nats, float32[T] an answer, where the method
    reads that (`Method.noisy_copies`), else None and nothing is drawn. All processes of a run take part."""
    if not method.noisy_copies:
        return None
    return policy.prediction_variance(answers, copies=method.noisy_copies, seed=int(rng.integers(2**31)))


def every_step(answers: Sequence[Rollout]) -> list[tuple[int, ...]]:
    """Every step of every answer."""
    return [tuple(range(len(r.steps))) for r in answers]


def group_credit(
    answers: Sequence[Rollout], appraisals: Sequence[Appraisal], room: Classroom, *, divide_by_std: bool
) -> list[Floats]:
    """Rewards less the mean of their group (`frown.losses.advantages.group_advantages`), the same for every token of an
    answer that the policy sampled, weighted by the student's affect where that is asked for."""
    affect = room.config.affect
    scores = np.array([r.verdict.score if r.verdict else np.nan for r in answers])
    conversations = episodes(answers)  # the turns of one share its advantage
    rewards = episode_rewards(answers, conversations, scores, affect.reward)
    each = group_advantages(rewards.reshape(-1, room.config.sampling.responses_per_prompt), std=divide_by_std).ravel()
    advantage = {i: a for members, a in zip(conversations, each, strict=True) for i in members}
    credit = [(r.own * advantage[i]).astype(np.float32) for i, r in enumerate(answers)]
    if affect.weight.by == "none":
        return credit
    control: Any = room.rng if affect.control != "off" else None
    factors = token_weights(answers, appraisals, credit, affect.weight, control)
    return [a * f for a, f in zip(credit, factors, strict=True)]


def likelihood_credit(answers: Sequence[Rollout], chosen: Collection[int]) -> list[Floats]:
    """The credit under which the policy-gradient loss is the mean negative log-likelihood of the chosen answers.

    That loss is - sum_t A_t * ratio_t / N over the N tokens of all answers, with a ratio of one: A = N / n at the n
    tokens of the chosen answers, 0 at all others. float32[T] an answer.
    """
    tokens = sum(int(r.own.sum()) for r in answers)
    among = sum(int(answers[i].own.sum()) for i in chosen)
    scale = tokens / among if among else 0.0
    return [(r.own * (scale if i in chosen else 0.0)).astype(np.float32) for i, r in enumerate(answers)]


def episode_rewards(
    answers: Sequence[Rollout], conversations: Sequence[Sequence[int]], scores: np.ndarray, affect: float
) -> np.ndarray:
    """What each episode earned, float64[episodes]: the score that its turns share, and the reward for feeling sure."""
    sure = affect_reward(answers, affect)
    tokens = np.array([r.own.sum() for r in answers])

    def mean(members: Sequence[int]) -> float:
        if len(members) == 1:
            return float(sure[members[0]])
        counts = tokens[list(members)]
        return float((sure[list(members)] * counts).sum() / max(counts.sum(), 1))

    return np.array([scores[members[0]] + mean(members) for members in conversations])
