"""How policies are measured, in a run and by `frown eval`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from frown.config.base import Config
from frown.config.conversation import ConversationConfig
from frown.config.task import TaskConfig


class EvalConfig(Config):
    """How the policy is measured."""

    every: int = Field(10, ge=1)
    """Optimiser steps between evaluations; the first is before training, the last after it."""
    prompts: int = Field(60, ge=1)
    """Prompts of the test split."""
    samples: int = Field(12, ge=1)
    """Answers to each prompt (the k of Avg@k)."""
    temperature: float = Field(1.0, gt=0)
    """Of the distribution that answers are drawn from."""
    dev_prompts: int = Field(0, ge=0)
    """Prompts of the dev split, evaluated with the others; the guard watches them (`guard.accuracy`). 0: none."""
    heldout_prompts: int = Field(0, ge=0)
    """Prompts of the held-out split, evaluated before and after training. 0: none."""


class EvaluationConfig(Config):
    """How models are measured by `frown eval`."""

    task: TaskConfig = TaskConfig()
    """The test split of it, or all of `task.test_data`."""
    conversation: ConversationConfig | None = None
    """Who the model talks to where `task.kind` is "conversation"."""
    split: Literal["test", "dev", "heldout"] = "test"
    """Which part of the task's prompts is answered."""
    prompts: int = Field(60, ge=1)
    """Prompts of the split, the first ones."""
    samples: int = Field(12, ge=1)
    """Answers to each prompt (the k of Avg@k)."""
    temperature: float = Field(1.0, gt=0)
    """Of the distribution that answers are drawn from."""
    max_new_tokens: int = Field(512, ge=1)
    """Most tokens of an answer. That of the run, or chosen by the model's size, where it is not given."""
    seed: int = Field(271_828, ge=0)
    """Of the sampler: the same for all models, so that they differ by what they know and not by the draw."""
    device: str = "auto"
    """"auto" is CUDA where there is a device, else the CPU."""
    sampling_batch_tokens: int = Field(65536, ge=1)
    """As in a run."""
