"""Who says what to the teacher: the trainer's keyword arguments as one of frown's configurations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from trl.experimental.sdpo import SDPOConfig

from frown.config import (
    AffectConfig,
    FeedbackConfig,
    ObjectiveConfig,
    PracticeConfig,
    RunConfig,
    SamplingConfig,
    parse,
)
from frown.critics.base import Critic
from frown.critics.load import opened
from frown.errors import FrownError
from frown.feedback.compose import FeedbackFunction
from frown.tasks.base import Environment
from frown.trl.free_text import FreeText, Templates


class Telling(NamedTuple):
    """Who says what to the teacher."""

    config: RunConfig
    environment: Environment
    critic: Critic | None
    function: FeedbackFunction | None


def telling_of(
    args: SDPOConfig,
    feedback: FeedbackConfig | FeedbackFunction | None,
    critic: Critic | None,
    affect: AffectConfig | None,
    environment: Environment | None,
) -> Telling:
    """Who says what to the teacher; FrownError for what cannot be had inside TRL."""
    function: Callable[..., Any] | None = None
    told = FeedbackConfig()
    if isinstance(feedback, FeedbackConfig):
        told = feedback
    elif feedback is not None:
        function = feedback
    felt = AffectConfig() if affect is None else affect
    place: Environment = environment or FreeText(
        Templates(args.reprompt_template, args.solution_template, args.feedback_template)
    )
    asks = function is None and "critique" in told.kinds
    if felt.practice != PracticeConfig() or felt.reward or felt.weight.teacher_beta:
        raise FrownError(
            "affect.practice, affect.reward and affect.weight.teacher_beta need frown's own loop, not TRL's"
        )
    if told.critique.ask == "variance":
        raise FrownError('feedback.critique.ask = "variance" needs frown\'s own engine; use doubt')
    if critic is not None and not asks:
        raise FrownError('nobody would ask the critic: give feedback=FeedbackConfig(parts=("critique",))')
    if critic is None and asks:
        if told.critique.critic == "model":
            raise FrownError(
                "open the model critic yourself, so that it is closed: with frown.critics.load.opened(...) as critic"
            )
        with opened(told.critique, place) as found:  # these hold nothing that outlives the block
            critic = found
        if critic is None:
            raise FrownError('feedback with "critique" needs a critic: give critic=, or an environment that has one')
    config = parse(
        RunConfig,
        {
            "feedback": told.model_dump(),
            "affect": felt.model_dump(),
            "objective": ObjectiveConfig(distillation=args.distillation_weight).model_dump(),
            "sampling": SamplingConfig(
                responses_per_prompt=args.num_generations,
                temperature=args.temperature,
                max_new_tokens=args.max_completion_length,
            ).model_dump(),
        },
        "FrownSDPOTrainer",
    )
    return Telling(config, place, critic, function)
