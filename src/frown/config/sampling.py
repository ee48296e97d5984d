"""How answers are sampled."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from frown.config.base import Config
from frown.config.urls import check_url


class VLLMConfig(Config):
    """Answers from vLLM, through TRL's client (`frown[vllm]`); docs/scaling.md says how to start a server."""

    mode: Literal["server", "colocate"] = "server"
    """server: `vllm serve` on other GPUs or nodes, which serves one run at a time. colocate: in this process, on the
    GPU that trains."""
    base_url: str = "http://localhost:8000"
    """Where the server answers, without /v1; no user, password or query in it."""
    wait: float = Field(240.0, ge=0)
    """Seconds to wait for the server to come up."""
    timeout: float = Field(600.0, gt=0)
    """Seconds without a byte after which a request is given up. Replies come whole, so one is silent for as long as the
    answers to one prompt take."""
    concurrency: int = Field(64, ge=1)
    """Prompts that the server is asked about at once, by all processes of the run together."""
    group_port: int = Field(51216, ge=1, le=65535)
    """Port of this machine on which the server's workers fetch the weights."""
    sync_every: int = Field(1, ge=1)
    """Optimiser steps after which training samples from the new weights; evaluations always do. Above 1 goes with
    loss.importance_cap."""
    memory_share: float = Field(0.3, gt=0, lt=1)
    """colocate: share of the GPU's memory that vLLM takes."""
    tensor_parallel: int = Field(1, ge=1)
    """colocate: GPUs that hold the model together; a server is told when it is started."""

    @field_validator("base_url")
    @classmethod
    def _without_slash(cls, base_url: str) -> str:
        return base_url.rstrip("/").removesuffix("/v1")

    @model_validator(mode="after")
    def _holds_no_secret(self) -> VLLMConfig:
        check_url(self.base_url, "http://localhost:8000", "vLLM is asked without a key")
        return self


class SamplingConfig(Config):
    """How the policy answers while it trains: prompts_per_step x responses_per_prompt rollouts a step."""

    prompts_per_step: int = Field(16, ge=1)
    """Prompts of one optimiser step."""
    responses_per_prompt: int = Field(8, ge=1)
    """Answers to each prompt: a group. A method may recommend another number."""
    temperature: float = Field(1.0, gt=0)
    """Of the distribution that answers are drawn from; signals and losses are read at the same one."""
    max_new_tokens: int = Field(ge=1)
    """Most tokens of an answer. Chosen by the model's size where it is not given (`frown.config.defaults`)."""
    vllm: VLLMConfig | None = None
    """None: the policy itself samples, in this process."""

    @property
    def answers_per_step(self) -> int:
        """Answers sampled in one training step."""
        return self.prompts_per_step * self.responses_per_prompt
