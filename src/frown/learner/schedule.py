"""How the learning rate goes over a run."""

from __future__ import annotations

import math

from frown.config import OptimiserConfig


def rate(step: int, config: OptimiserConfig) -> float:
    """The learning rate of optimiser step 1 .. `config.steps`.

    It rises linearly to `lr` over the warm-up, and then stays (constant), or falls linearly or as half a cosine,
    towards 0 after the last step (linear: Transformers' `get_linear_schedule_with_warmup`; cosine: Loshchilov and
    Hutter 2017, arXiv 1608.03983, eq. 5, without restarts).
    """
    rise = min(1.0, step / max(1, config.warmup_steps))
    done = max(0.0, (step - 1 - config.warmup_steps) / max(1, config.steps - config.warmup_steps))
    fall = {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 * (1.0 + math.cos(math.pi * done))}[config.schedule]
    return config.lr * rise * fall
