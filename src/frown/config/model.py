"""Which model learns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from frown.config.base import Config


class LoraConfig(Config):
    """Low-rank adapters (peft) instead of full fine-tuning."""

    rank: int = Field(16, ge=1)
    """Rank of the update of each weight matrix."""
    alpha: int = Field(32, gt=0)
    """The update is scaled by alpha / rank."""
    targets: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    """Names of the modules that get an adapter."""


class ModelConfig(Config):
    """Which model learns."""

    path: str = "lab:chains-0"
    """A Hugging Face causal-LM folder with a chat template, a folder of LoRA adapters (merged into their base model), a
    GGUF file (dequantised; what is learnt is saved as safetensors), a hub name ("org/name" or "org/name@revision", from
    the hub's cache or downloaded), or "lab:NAME" for an embedded base model."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type the weights are held in; the loss is float32 whatever it is. bfloat16 goes with LoRA alone, whose adapters
    stay in float32: at useful learning rates most full-weight updates are below what bfloat16 can hold."""
    device: str = "auto"
    """"auto" is CUDA where there is a device, else the CPU."""
    lora: LoraConfig | None = None
    gradient_checkpointing: bool = False
    """Compute each layer again in the backward pass instead of keeping what it needs: a third more time, and memory for
    one layer's activations instead of all."""

    @model_validator(mode="after")
    def _weights_can_move(self) -> ModelConfig:
        if self.dtype == "bfloat16" and self.lora is None:
            raise ValueError(
                'model.dtype = "bfloat16" loses most updates of full fine-tuning: use "float32", or LoRA '
                "(model.lora.rank=16)"
            )
        return self
