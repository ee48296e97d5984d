"""How weights move."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from frown.config.base import Config


class OptimiserConfig(Config):
    """AdamW."""

    steps: int = Field(40, ge=1)
    """Optimiser steps; each uses one batch of fresh rollouts."""
    lr: float = Field(gt=0)
    """Learning rate. Chosen by the model's size, and by whether adapters or all weights are trained, where it is not
    given (`frown.config.defaults`)."""
    warmup_steps: int = Field(0, ge=0)
    """Steps over which the learning rate rises linearly to `lr`."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """What it does after that: stay, or fall towards 0 after the last step."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of AdamW's running means of the gradient and of its square."""
    weight_decay: float = Field(0.0, ge=0)
    """Share of each weight, times the learning rate, that is taken from it in each step."""
    max_grad_norm: float = Field(1.0, gt=0)
    """A gradient of a larger norm is scaled down to it."""
