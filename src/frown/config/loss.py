"""The loss beside what a method decides."""

from __future__ import annotations

from pydantic import Field, field_validator

from frown.config.base import Config


class LossConfig(Config):
    """The divergence between student and teacher, and what is added to it."""

    alpha: float = Field(0.5, ge=0, le=1)
    """Divergence: 0 is forward KL(teacher || student), 1 is reverse KL(student || teacher), between them the
    generalised Jensen-Shannon divergence with mixture (1 - alpha) student + alpha teacher, whose value shrinks
    towards 0 in proportion to alpha (or 1 - alpha): the ends are not limits of the middle."""
    top_k: int | None = Field(None, ge=1)
    """None: the divergence over the whole vocabulary. Else over the student's top_k likeliest tokens and all others as
    one, as published recipes do (SDPO: 100): an approximation from below that is no faster here."""
    kl_anchor: float = Field(0.0, ge=0)
    """Adds this times KL(student || policy at the start), the exact one over the vocabulary, mean over the sampled
    tokens. Costs a forward pass of the start's weights over all answers, and (without LoRA) a copy of them."""
    importance_cap: float | None = Field(None, ge=1)
    """Multiplies each token's losses by min(trained policy / policy that sampled it, cap): truncated importance
    sampling, for a sampler that disagrees with the trainer (vLLM) and for replayed answers. None: no correction; the
    mismatch is logged either way."""

    @field_validator("alpha")
    @classmethod
    def _no_vanishing_divergence(cls, alpha: float) -> float:
        if 0 < alpha < 1e-3 or 1 - 1e-3 < alpha < 1:
            raise ValueError("use exactly 0 (forward KL), exactly 1 (reverse KL), or a value from 0.001 to 0.999")
        return alpha
