"""The partners that frown itself has, by the `type` of their configuration."""

from frown.dialogue.model_partner import ModelPartnerConfig
from frown.dialogue.scripted import ScriptedConfig

BUILTIN = {"scripted": ScriptedConfig, "model": ModelPartnerConfig}
