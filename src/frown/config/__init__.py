"""What a run is made of: frozen pydantic models, one file a section. No torch here.

Every level forbids unknown keys, and a misspelt one is answered with the nearest key that exists.
"""

from frown.config.affect import AffectConfig, NoteConfig, WeightConfig
from frown.config.base import Config, Variant, member_of
from frown.config.compare import CompareConfig, Seeds, only
from frown.config.conversation import ConversationConfig, PartnerConfig
from frown.config.critic import (
    AskedModelConfig,
    CriticConfig,
    EndpointConfig,
    ExecutionConfig,
    LocalModelConfig,
    ModelCriticConfig,
)
from frown.config.distributed import DistributedConfig
from frown.config.evaluation import EvalConfig, EvaluationConfig
from frown.config.feedback import FeedbackConfig
from frown.config.load import flat, load, merge, nearest, parse, to_json
from frown.config.loss import LossConfig
from frown.config.method import Method
from frown.config.model import LoraConfig, ModelConfig
from frown.config.optimiser import OptimiserConfig
from frown.config.practice import PracticeConfig
from frown.config.run import RunConfig, Tracker
from frown.config.safety import CheckpointConfig, GuardConfig
from frown.config.sampling import SamplingConfig, VLLMConfig
from frown.config.task import TaskConfig
from frown.config.teacher import TeacherConfig

__all__ = [
    "AffectConfig",
    "AskedModelConfig",
    "CheckpointConfig",
    "CompareConfig",
    "Config",
    "ConversationConfig",
    "CriticConfig",
    "DistributedConfig",
    "EndpointConfig",
    "EvalConfig",
    "EvaluationConfig",
    "ExecutionConfig",
    "FeedbackConfig",
    "GuardConfig",
    "LocalModelConfig",
    "LoraConfig",
    "LossConfig",
    "Method",
    "ModelConfig",
    "ModelCriticConfig",
    "NoteConfig",
    "OptimiserConfig",
    "PartnerConfig",
    "PracticeConfig",
    "RunConfig",
    "SamplingConfig",
    "Seeds",
    "TaskConfig",
    "TeacherConfig",
    "Tracker",
    "VLLMConfig",
    "Variant",
    "WeightConfig",
    "flat",
    "load",
    "member_of",
    "merge",
    "nearest",
    "only",
    "parse",
    "to_json",
]
