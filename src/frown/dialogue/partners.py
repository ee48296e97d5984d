"""The partners that frown itself has, by the `type` of their configuration."""

from frown.config.conversation import PartnerConfig
from frown.dialogue.model_partner import ModelPartnerConfig
from frown.dialogue.scripted import ScriptedConfig

BUILTIN: dict[str, type[PartnerConfig]] = {"scripted": ScriptedConfig, "model": ModelPartnerConfig}
