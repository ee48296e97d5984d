"""How the teacher is taught inside TRL: the trainer's keyword arguments as one of frown's configurations."""

from __future__ import annotations

from typing import NamedTuple

from trl.experimental.sdpo import SDPOConfig

from frown.config import AffectConfig, CriticConfig, FeedbackConfig, RunConfig, SamplingConfig, parse
from frown.critics.base import Critic
from frown.critics.load import open_critic
from frown.errors import FrownError
from frown.feedback.compose import FeedbackFunction
from frown.methods import SDPO
from frown.methods.base import Teaching
from frown.tasks.base import Environment
from frown.trl.free_text import FreeText, Templates


class TeachingSetup(NamedTuple):
    """The method, and who says what to the teacher."""

    config: RunConfig
    environment: Environment
    critic: Critic | None
    feedback: FeedbackFunction | None


def teaching_setup(
    args: SDPOConfig,
    method: Teaching | None,
    feedback: FeedbackConfig | FeedbackFunction | None,
    critic: Critic | CriticConfig | None,
    affect: AffectConfig | None,
    environment: Environment | None,
) -> TeachingSetup:
    """The method, and who says what to the teacher; FrownError for what cannot be had inside TRL."""
    method = SDPO() if method is None else method
    disclosure = feedback if isinstance(feedback, FeedbackConfig) else FeedbackConfig()
    function = None if isinstance(feedback, FeedbackConfig) else feedback
    affect = AffectConfig() if affect is None else affect
    place: Environment = environment or FreeText(
        Templates(args.reprompt_template, args.solution_template, args.feedback_template)
    )
    if affect.reward or affect.weight.teacher_beta:
        raise FrownError("affect.reward and affect.weight.teacher_beta need frown's own loop, not TRL's")
    if method.noisy_copies:
        raise FrownError('method.aim = "variance" needs frown\'s own policy; use surprisal')
    config = parse(
        RunConfig,
        {
            "method": method.model_copy(update={"distillation": args.distillation_weight}),
            "critic": critic if isinstance(critic, CriticConfig) else CriticConfig(),
            "feedback": disclosure,
            "affect": affect,
            "sampling": SamplingConfig(
                responses_per_prompt=args.num_generations,
                temperature=args.temperature,
                max_new_tokens=args.max_completion_length,
            ),
        },
        "FrownSDPOTrainer",
    )
    return TeachingSetup(config, place, _critic(config, critic, place, function), function)


def _critic(
    config: RunConfig, critic: Critic | CriticConfig | None, environment: Environment, function: FeedbackFunction | None
) -> Critic | None:
    """Who comments on steps, where the method asks; FrownError where nobody would ask, or nobody is there."""
    asks = function is None and "critique" in config.method.kinds
    if not asks:
        if critic is not None:
            raise FrownError("nobody would ask the critic: give method=Critique() or Aimed()")
        return None
    if critic is not None and not isinstance(critic, CriticConfig):
        return critic
    if config.critic.kind == "model":
        raise FrownError(
            "open the model critic yourself, so that it is closed: with frown.critics.load.open_critic(...) as critic"
        )
    with open_critic(config.critic, environment) as opened:  # these hold nothing that outlives the block
        critic = opened
    if critic is None:
        raise FrownError('feedback with "critique" needs a critic: give critic=, or an environment that has one')
    return critic
