"""Who comments on single steps of answers, and what it may cost."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from frown.config.base import Config
from frown.config.urls import check_url


class EndpointConfig(Config):
    """A chat endpoint that speaks OpenAI's protocol, as OpenAI, vLLM, llama.cpp, Ollama and `transformers serve` do."""

    base_url: str
    """Where it answers, e.g. "http://localhost:8000/v1"; no user, password or query in it."""
    model: str = Field(min_length=1)
    """Which of its models to ask."""
    key_variable: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key, or "" where none is needed. Never the key itself."""
    json_schema: bool = True
    """Ask for replies held to a JSON schema. An endpoint that answers 400 or 422 to that is asked without."""
    temperature: Annotated[float, Field(ge=0)] | Literal["server"] = 0.0
    """"server": not sent, for reasoning models that refuse it."""
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the endpoint calls the most tokens of a reply: newer OpenAI models take max_completion_tokens alone."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the request, e.g. chat_template_kwargs.enable_thinking = false. No secrets."""
    concurrency: int = Field(8, ge=1)
    """Answers under review at once."""
    timeout: float = Field(120.0, gt=0)
    """Seconds without a byte after which a call is given up. Replies come whole, so a long one is silent for long."""
    deadline: float = Field(300.0, gt=0)
    """Seconds that the review of one answer may take once it has begun, tries, waits and asking again included."""
    retries: int = Field(4, ge=0)
    """Further tries after a rate limit, a server's fault, a timeout or a lost connection."""
    backoff: float = Field(0.5, gt=0)
    """Seconds before the first further try, doubled with each up to 30; a random part of it is waited, and never less
    than the endpoint asks for (Retry-After)."""
    breaker_after: int = Field(5, ge=1)
    """Reviews lost in a row through the endpoint's fault after which it is left alone for a while."""
    breaker_pause: float = Field(60.0, ge=0)
    """Seconds for which it is left alone; what is asked meanwhile is lost."""
    max_response_bytes: int = Field(1 << 20, ge=1024)
    """A longer response is broken off where it passes this, and lost."""

    @model_validator(mode="after")
    def _holds_no_secret(self) -> EndpointConfig:
        # A validator of the whole model: the message of a field's own one would repeat the value, which may be a key.
        check_url(self.base_url, "http://localhost:8000/v1", "put the key in an environment variable")
        if not re.fullmatch(r"(?:[A-Z_][A-Z0-9_]*)?", self.key_variable):
            raise ValueError(
                "key_variable is the name of an environment variable in capitals, never the key itself; "
                'or "" where no key is needed'
            )
        return self


class LocalModelConfig(Config):
    """A Hugging Face model on this machine that criticises; it answers greedily."""

    path: str = Field(min_length=1)
    """A local causal-LM folder with safetensors weights and a chat template. No code from it is run."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Type of its weights."""
    device: str = "auto"
    """"auto" is CUDA where there is a device, else the CPU."""
    batch_tokens: int = Field(32768, ge=1)
    """Most tokens (prompts and all they may grow to, padding included) in one batch; a single prompt may be longer."""


class AskedModelConfig(Config):
    """A language model that is asked for replies, behind an endpoint or on this machine, and what it may cost."""

    endpoint: EndpointConfig | None = None
    local: LocalModelConfig | None = None
    max_new_tokens: int = Field(1024, ge=1)
    """Most tokens of one reply."""
    cache: Path | None = None
    """Folder of replies that were paid for once; several processes may share it. None: no cache."""
    call_budget: int | None = Field(None, ge=0)
    """Most calls (further tries included) in its life; a local model's are the prompts it answers."""
    token_budget: int | None = Field(None, ge=0)
    """Most tokens (prompts and replies) in its life. A call is made only if the most it may take still fits: the bytes
    of its prompt and max_new_tokens, to which an endpoint is trusted to keep."""

    @model_validator(mode="after")
    def _one_place(self) -> AskedModelConfig:
        if (self.endpoint is None) == (self.local is None):
            raise ValueError(
                "a model that is asked needs either endpoint (base_url and model) or local (path), not both"
            )
        return self


class ModelCriticConfig(AskedModelConfig):
    """A language model that judges single steps of answers."""

    sees: tuple[Literal["answer", "solution", "verdict"], ...] = ("answer",)
    """What it is shown beside question and steps: the reference answer, the worked solution, the verifier's verdict on
    the final answer."""
    contradictions: Literal["drop", "keep"] = "drop"
    """What becomes of comments that the verifier knows better about; either way they are counted."""


class ExecutionConfig(Config):
    """What a candidate program may use when an answer is run (`critic.kind = "unsafe_subprocess"`)."""

    unsafe_subprocess: bool = False
    """Has to be set: the limits are no sandbox. `frown.critics.execution` says what they do not stop."""
    cpu_seconds: float = Field(5.0, gt=0)
    """Seconds of processor time."""
    wall_seconds: float = Field(10.0, gt=0)
    """Seconds from start to end, waiting included."""
    memory_mb: int = Field(512, ge=1)
    """Address space, MiB, the interpreter's own 20 or so included."""
    file_mb: int = Field(4, ge=1)
    """Size of any one file it writes, its standard output among them, MiB."""
    workers: int = Field(2, ge=1)
    """Programs run at once."""


class CriticConfig(Config):
    """Who comments on single steps of answers, and what that may cost."""

    kind: Literal["task", "calculator", "unsafe_subprocess", "model"] = "task"
    """Who is asked: the task's own critic (the lab has one, of math it is the calculator); a calculator that works out
    every equation of a solution;
    the tests of a programming task, run on the program in the answer; or a language model."""
    model: ModelCriticConfig | None = None
    execution: ExecutionConfig = ExecutionConfig()
    error_rate: float = Field(0.0, ge=0, le=1)
    """A control: share of the critic's verdicts that are turned into their opposite (the lab's critic can do that)."""
    write: Literal["comments", "scribe"] = "comments"
    """What the teacher is shown: the comments; or the student's own answer put right by them, as by a faithful scribe
    (arXiv 2606.11173): right steps verbatim, the earliest wrong one replaced by its correction."""
    quote_errors: bool = False
    """A control: corrections quote the wrong step before they correct it."""
    tokens_per_step: int | None = Field(None, ge=1)
    """Most tokens a critic reads in a training step; asking about a step costs the question and the answer up to its
    end. What does not fit is not asked, and counted. None: no such limit."""

    @model_validator(mode="after")
    def _critic_is_there(self) -> CriticConfig:
        if (self.kind == "model") != (self.model is not None):
            raise ValueError('critic.kind = "model" goes with critic.model, an endpoint or a local path')
        if self.kind == "unsafe_subprocess" and not self.execution.unsafe_subprocess:
            raise ValueError(
                "running the programs of answers needs critic.execution.unsafe_subprocess = true: the limits on them "
                "are no sandbox"
            )
        if self.error_rate and self.kind != "task":
            raise ValueError("critic.error_rate needs a critic that can err on purpose, such as the lab's")
        return self
