"""One training run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializeAsAny,
    model_validator,
)

from frown.config import defaults
from frown.config.affect import AffectConfig
from frown.config.base import Config, class_named, member_of
from frown.config.conversation import ConversationConfig
from frown.config.critic import CriticConfig
from frown.config.distributed import DistributedConfig
from frown.config.evaluation import EvalConfig
from frown.config.feedback import FeedbackConfig
from frown.config.load import flat, merge
from frown.config.loss import LossConfig
from frown.config.method import Method
from frown.config.model import ModelConfig
from frown.config.optimiser import OptimiserConfig
from frown.config.practice import PracticeConfig
from frown.config.safety import CheckpointConfig, GuardConfig
from frown.config.sampling import SamplingConfig
from frown.config.task import TaskConfig
from frown.config.teacher import TeacherConfig

Tracker = Literal["tensorboard", "trackio", "wandb"]
AnyMethod = Annotated[SerializeAsAny[Method], BeforeValidator(lambda value: member_of(Method, value))]
DEFAULT = "sdpo"
"""The method of a run that names none."""
LARGEST = defaults.SCALES[-1]


class RunConfig(Config):
    """One training run.

    Beneath what is given lies what the method recommends for other sections, and beneath that what is chosen by the
    model's size.
    """

    seed: int = Field(0, ge=0)
    """Seeds the training prompts, the sampling and everything else that is drawn while training."""
    method: AnyMethod = Field(default_factory=lambda: member_of(Method, DEFAULT))
    """How the policy learns; `frown methods` lists what there is."""
    model: ModelConfig = ModelConfig()
    task: TaskConfig = TaskConfig()
    conversation: ConversationConfig | None = None
    """Who the policy talks to where `task.kind` is "conversation"."""
    sampling: SamplingConfig = Field(default_factory=lambda: SamplingConfig(max_new_tokens=LARGEST.max_new_tokens))
    critic: CriticConfig = CriticConfig()
    feedback: FeedbackConfig = FeedbackConfig()
    teacher: TeacherConfig = TeacherConfig()
    loss: LossConfig = LossConfig()
    affect: AffectConfig = AffectConfig()
    practice: PracticeConfig = PracticeConfig()
    optimiser: OptimiserConfig = Field(default_factory=lambda: OptimiserConfig(lr=LARGEST.lr))
    eval: EvalConfig = EvalConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    guard: GuardConfig = GuardConfig()
    distributed: DistributedConfig = DistributedConfig()
    micro_batch_tokens: int = Field(16384, ge=1)
    """Most tokens in one forward pass of the trainer: of the student's or of the teacher's packed row, whichever is
    longer, in which a beginning that several rows share counts once; padding included for a model that is padded. A
    row longer than that is a batch of its own."""
    sampling_batch_tokens: int = Field(65536, ge=1)
    """Most tokens (prompts and all they may grow to) whose keys and values the sampler holds at once."""
    keep_rollouts: bool = True
    """Write every training rollout with its signals, spans, feedback and advantages to the run directory."""
    track: tuple[Tracker, ...] = ()
    """Where metrics go besides metrics.jsonl. Each is an extra of that name: pip install "frown[trackio]"."""

    _chosen: tuple[str, ...] = PrivateAttr(())

    @property
    def chosen(self) -> tuple[str, ...]:
        """The settings that nobody gave and that were chosen by what the model is, as "key = value"."""
        return self._chosen

    def __eq__(self, other: object) -> bool:
        """Whether the settings are the same, given or chosen."""
        return isinstance(other, RunConfig) and self.model_dump() == other.model_dump()

    @property
    def answers_per_step(self) -> int:
        """Answers sampled in one training step, those of prompts that are not chosen included."""
        return self.sampling.answers_per_step * self.practice.candidates

    @model_validator(mode="wrap")
    @classmethod
    def _fill_in(cls, values: Any, handler: ModelWrapValidatorHandler[RunConfig]) -> RunConfig:
        if not isinstance(values, Mapping):
            return handler(values)
        given = {k: v.model_dump(exclude_unset=True) if _is_section(k, v) else v for k, v in values.items()}
        method = given.get("method", DEFAULT)
        if isinstance(method, Mapping):
            method = {"type": DEFAULT, **method}
        kind = class_named(Method, method)
        recommended = getattr(kind, "settings", {})
        model = given.get("model")
        by_size = defaults.chosen(model if isinstance(model, Mapping) else {}, getattr(kind, "lr_factor", 1.0))
        named = set(flat(given)) | set(flat(recommended))
        config = handler(merge(merge(by_size, recommended), given | {"method": method}))
        config._chosen = tuple(f"{key} = {value:g}" for key, value in flat(by_size).items() if key not in named)
        return config

    @model_validator(mode="after")
    def _goes_together(self) -> RunConfig:
        embedded, known = self.model.path.startswith("lab:"), self.task.kind.startswith("lab:")
        if embedded and not (known and self.model.path.startswith(f"{self.task.kind}-")):
            raise ValueError(
                f"model.path = {self.model.path!r} knows one lab family alone, not task.kind = {self.task.kind!r}: "
                "give a model folder (model.path or --model)"
            )
        if self.task.test_data is not None and self.task.data is None:
            raise ValueError("task.test_data alone gives nothing to train on: give task.data, too")
        if self.affect.weight.teacher_beta and (self.method.share < 1 or self.loss.kl_anchor):
            raise ValueError(
                "affect.weight.teacher_beta goes with self-distillation alone (method.distillation = 1) and "
                "loss.kl_anchor = 0: what it weighs is known only when all losses are already added up"
            )
        if (self.task.kind == "conversation") != (self.conversation is not None):
            raise ValueError(
                'task.kind = "conversation" and the section conversation go together: give conversation.partner.type '
                "and the partner's settings"
                if self.conversation is None
                else 'the section conversation is for task.kind = "conversation"'
            )
        if self.conversation is not None and self.method.share > 0:
            raise ValueError(
                "a conversation is trained by its reward alone, without a teacher: choose a method that has none, "
                'e.g. method = "grpo"'
            )
        self.method.check(self)
        return self

    @model_validator(mode="after")
    def _guard_can_act(self) -> RunConfig:
        actions = self.guard.actions
        if self.method.share == 0 and {"cut", "freeze"} & set(actions):
            raise ValueError('"cut" and "freeze" in guard.actions go with a method that has a teacher')
        if "freeze" in actions and self.teacher.weights == "frozen":
            raise ValueError('"freeze" in guard.actions goes with a teacher that moves: teacher.weights is "frozen"')
        if "cut" in actions and (self.sampling.responses_per_prompt == 1 or self.affect.weight.teacher_beta):
            raise ValueError(
                '"cut" in guard.actions gives weight to the policy gradient, which needs sampling.responses_per_prompt '
                "of 2 or more and affect.weight.teacher_beta = 0"
            )
        reach = (self.checkpoint.keep - 1) * (self.checkpoint.every or self.eval.every)
        if "rollback" in actions and reach < self.guard.window - 1:
            raise ValueError(
                '"rollback" in guard.actions goes back to before guard.window, further than checkpoints are kept: '
                "raise checkpoint.keep"
            )
        return self


def _is_section(name: str, value: Any) -> bool:
    """Whether a value is a section that was built in Python, of which what was set goes before what is recommended."""
    return isinstance(value, BaseModel) and name != "method"
