"""What a run is made of: frozen pydantic models, read from TOML and dotted overrides. No torch here.

Every level forbids unknown keys, and a misspelt one is answered with the nearest key that exists.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from frown.errors import FrownError
from frown.types import Kind

KINDS: tuple[Kind, ...] = get_args(Kind)
"""Kinds of feedback."""


class Config(BaseModel):
    """Base of all: frozen, unknown keys forbidden, the docstring under a field is its help."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class LoraConfig(Config):
    """Low-rank adapters (peft) instead of full fine-tuning."""

    rank: int = Field(16, ge=1)
    alpha: int = Field(32, gt=0)
    """The update is scaled by alpha / rank."""
    targets: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    """Names of the modules that get an adapter."""


class ModelConfig(Config):
    """Which model learns."""

    path: str = "lab:chains-0"
    """A Hugging Face causal-LM folder with a chat template, a folder of LoRA adapters (merged into their base model), a
    hub name ("org/name" or "org/name@revision", from the hub's cache or downloaded), or "lab:NAME" for an embedded
    base model."""
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


class TaskConfig(Config):
    """What is practised and how an answer is judged."""

    kind: str = "lab:chains"
    """"lab:chains", "lab:columns", "math", "choice", "exact", or "gym:NAME" for a reasoning-gym data set."""
    data: Path | None = None
    """Training rows (math, choice, exact): a JSONL, JSON, Parquet or CSV file, a folder that `datasets` saved, or a hub
    name, "org/name:config@split" (`frown.tasks.rows`)."""
    test_data: Path | None = None
    """Test rows, likewise; without them a part of `data` is held back."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Which column holds what: question, answer, and optionally solution, system, and tests (of programs)."""
    steps: int = Field(5, ge=2, le=15)
    """Written-out steps a lab problem has."""
    reference: Literal["canonical", "reordered", "terse"] = "canonical"
    """The lab's worked solutions: as the student would write them; the same facts as loose statements in another order;
    or only every second one of those."""
    splitter: Literal["auto", "numbered", "tagged", "lines", "sentences"] = "auto"
    """What counts as a written-out step of a free-text answer."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of a reasoning-gym data set, e.g. min_terms."""


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
    objective.importance_cap."""
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
        _check_url(self.base_url, "http://localhost:8000", "vLLM is asked without a key")
        return self


class SamplingConfig(Config):
    """How the policy answers while it trains: prompts_per_step x responses_per_prompt rollouts a step."""

    prompts_per_step: int = Field(16, ge=1)
    responses_per_prompt: int = Field(8, ge=1)
    temperature: float = Field(1.0, gt=0)
    max_new_tokens: int = Field(96, ge=1)
    vllm: VLLMConfig | None = None
    """None: the policy itself samples, in this process."""

    @property
    def rollouts_per_step(self) -> int:
        """Answers sampled in one training step."""
        return self.prompts_per_step * self.responses_per_prompt


class ObjectiveConfig(Config):
    """A convex blend of self-distillation (SDPO) and policy gradient (GRPO)."""

    distillation: float = Field(1.0, ge=0, le=1)
    """Weight of self-distillation: loss = d * distillation + (1 - d) * policy gradient. 1 is SDPO, 0 is GRPO."""
    alpha: float = Field(0.5, ge=0, le=1)
    """Divergence: 0 is forward KL(teacher || student), 1 is reverse KL(student || teacher), between them the
    generalised Jensen-Shannon divergence with mixture (1 - alpha) student + alpha teacher, whose value shrinks
    towards 0 in proportion to alpha (or 1 - alpha): the ends are not limits of the middle."""
    top_k: int | None = Field(None, ge=1)
    """None: the divergence over the whole vocabulary. Else over the student's top_k likeliest tokens and all others as
    one, as published recipes do (SDPO: 100): an approximation from below that is no faster here."""
    blend: Literal["weight", "route"] = "weight"
    """weight: every answer counts in both losses. route: right answers go to the policy gradient alone, answers that
    are not right and have a teacher to distillation alone (SRPO, arXiv 2604.02288), others to the policy gradient."""
    kl_anchor: float = Field(0.0, ge=0)
    """Adds this times KL(student || policy at the start), the exact one over the vocabulary, mean over the sampled
    tokens. Costs a forward pass of the start's weights over all answers, and (without LoRA) a copy of them."""
    importance_cap: float | None = Field(None, ge=1)
    """Multiplies each token's losses by min(trained policy / policy that sampled it, cap): truncated importance
    sampling, for a sampler that disagrees with the trainer (vLLM) and for rehearsed answers. None: no correction; the
    mismatch is logged either way."""
    policy: Literal["group", "tail"] = "group"
    """Where the policy gradient's advantages come from: the rewards of a group (GRPO), or the answer alone: the least
    likely fifth of the tokens is pushed down, harder where entropy is high (OPSA, arXiv 2608.31046: no teacher, no
    reward; a control of everything that weighs doubt)."""
    divide_by_std: bool = False
    """GRPO's division of advantages by the group's standard deviation. Off: mean baseline alone (Dr. GRPO)."""

    @field_validator("alpha")
    @classmethod
    def _no_vanishing_divergence(cls, alpha: float) -> float:
        if 0 < alpha < 1e-3 or 1 - 1e-3 < alpha < 1:
            raise ValueError("use exactly 0 (forward KL), exactly 1 (reverse KL), or a value from 0.001 to 0.999")
        return alpha


class TeacherConfig(Config):
    """Whose weights the self-teacher has."""

    weights: Literal["live", "frozen", "ema", "trust_region"] = "ema"
    """live: the student's own; frozen: the student's at the start; ema: a running mean of the student's; trust_region:
    both the first two, each looking for itself, log q = (1 - a) log q_start + a log q_student up to a constant, with
    a = student_share (SDPO, arXiv 2601.20802, eq. 10), which costs one further forward pass."""
    student_share: float = Field(0.01, ge=0, le=1)
    """The student's share a in a trust_region teacher: 0 is frozen, 1 is live."""
    ema_rate: float = Field(0.01, gt=0, le=1)
    """teacher <- (1 - rate) teacher + rate student, in weight space, once a step. 0.05 collapsed by step 80."""
    temperature: float = Field(1.0, gt=0)
    """Divides the teacher's logits beside the sampling temperature. Below 1 the student learns to be surer than its
    teacher is: a teacher that believes a comment to .87 would else leave the student at .87."""


Aim = Literal[
    "all",
    "doubt",
    "entropy",
    "margin",
    "varentropy",
    "disagreement",
    "variance",
    "learnable",
    "tempered",
    "own",
    "random",
    "domain_rule",
    "oracle",
    "first_wrong",
    "first",
    "last",
]
"""How the steps are chosen that a critic is asked about; `frown.feedback.aim` says what each means."""


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
        _check_url(self.base_url, "http://localhost:8000/v1", "put the key in an environment variable")
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
    """What a candidate program may use when an answer is run (`feedback.critique.critic = "unsafe_subprocess"`)."""

    unsafe_subprocess: bool = False
    """Has to be set: the limits are no sandbox. `frown.critics.execution` says what they do not stop."""
    cpu_seconds: float = Field(5.0, gt=0)
    wall_seconds: float = Field(10.0, gt=0)
    memory_mb: int = Field(512, ge=1)
    """Address space, MiB, the interpreter's own 20 or so included."""
    file_mb: int = Field(4, ge=1)
    """Size of any one file it writes, its standard output among them, MiB."""
    workers: int = Field(2, ge=1)
    """Programs run at once."""


class CritiqueConfig(Config):
    """Which steps a critic is asked about, and where the loss then lies."""

    critic: Literal["task", "calculator", "unsafe_subprocess", "model"] = "task"
    """Who is asked: the task's own critic (the lab has one); a calculator that works out every equation of a solution;
    the tests of a programming task, run on the program in the answer; or a language model."""
    model: ModelCriticConfig | None = None
    execution: ExecutionConfig = ExecutionConfig()
    ask: Aim = "all"
    """all: every step; doubt: the steps with the largest surprisal of a sampled token; entropy, margin, varentropy,
    disagreement (of siblings), variance (of copies with noisy weights), learnable, tempered: other readings of doubt;
    own: a function given in Python (`execute(..., signal=function)`);
    random: as many steps, drawn evenly; domain_rule: an expert's choice; oracle, first_wrong: the truly wrong steps;
    first, last: by place. The last six are controls."""
    steps_per_rollout: int = Field(1, ge=1)
    """Steps asked about in each commented rollout, unless all are."""
    rollouts_per_step: int | None = Field(None, ge=1)
    """How many rollouts of a training step get a critique, dealt evenly over the groups. None: all of them."""
    whom: Literal["even", "failed", "aim"] = "even"
    """Which rollouts come first under that limit: any, those judged not right, or those whose step scores highest by
    `ask`. By surprisal that lost .09: extreme surprisal marks an unlucky draw. Entropy has no luck in it."""
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
    def _critic_is_there(self) -> CritiqueConfig:
        if (self.critic == "model") != (self.model is not None):
            raise ValueError(
                'feedback.critique.critic = "model" goes with feedback.critique.model, an endpoint or a local path'
            )
        if self.critic == "unsafe_subprocess" and not self.execution.unsafe_subprocess:
            raise ValueError(
                "running the programs of answers needs feedback.critique.execution.unsafe_subprocess = true: the "
                "limits on them are no sandbox"
            )
        if self.error_rate and self.critic != "task":
            raise ValueError("feedback.critique.error_rate needs a critic that can err on purpose, such as the lab's")
        return self


class FeedbackConfig(Config):
    """What the self-teacher is told about each rollout."""

    parts: tuple[str, ...] = ("sibling",)
    """Kinds in order of preference: sibling, reference, critique, affect, outcome. Each rollout gets the first that it
    can have, or none at all. Kinds joined by "+" are given together, as far as they apply: ["sibling", "critique"] is a
    solution instead of feedback, ["sibling+critique"] both."""
    to: Literal["all", "wrong", "right"] = "all"
    """Which rollouts get any: all, or those judged wrong, or right. An unscored one is neither."""
    leak: Literal["none", "verdict", "gold"] = "gold"
    """The most that feedback may give away: nothing that the verifier knows, that something is wrong, or what is right.
    Parts that give away more are withheld and counted; a text in which the reference answer stands gives it away."""
    max_tokens: int | None = Field(None, ge=1)
    """Most tokens of feedback a rollout's teacher is told, the instruction around it not counted. The part that reaches
    the limit is cut and says so, later ones are left out, and both are counted."""
    strip_reasoning: bool = True
    """Whether a sibling's answer is shown without its <think> block."""
    own_reasoning: Literal["learn", "skip"] = "learn"
    """Whether the student's own <think> block is learnt from; its tokens stand before the teacher either way."""
    critique: CritiqueConfig = CritiqueConfig()
    loss_on: Literal["answer", "commented", "others"] = "answer"
    """Where the distillation loss lies when the feedback speaks about single steps: on the whole answer, on the tokens
    of those steps alone, or (a control) on as many other steps."""
    anchor: float = Field(0.0, ge=0, le=1)
    """Weight of the other tokens when the loss lies on some steps. There the teacher, who was told nothing about them,
    says what the student used to say: a little of that keeps the form of answers, all of it undoes what is learnt."""

    @field_validator("parts")
    @classmethod
    def _known_kinds(cls, parts: tuple[str, ...]) -> tuple[str, ...]:
        kinds = [kind for part in parts for kind in part.split("+")]
        for kind in kinds:
            if kind not in KINDS:
                raise ValueError(f"there is no feedback {kind!r}{_nearest(kind, KINDS)}")
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"each kind of feedback can be named once; got {', '.join(kinds)}")
        return parts

    @property
    def courses(self) -> tuple[tuple[Kind, ...], ...]:
        """The choices in order of preference, each the kinds that are given together."""
        known: dict[str, Kind] = {kind: kind for kind in KINDS}
        return tuple(tuple(known[kind] for kind in part.split("+")) for part in self.parts)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Every kind that may be given."""
        return tuple(kind for course in self.courses for kind in course)


class NoteConfig(Config):
    """The affect note: what a teacher is told of the student's own affect (`feedback.parts` with "affect")."""

    mode: Literal["emotion", "plain", "numbers", "paraphrase", "content_free", "weighed", "resolved"] = "plain"
    """emotion: "At step 3 you were very doubtful."; plain: the same without emotion words; numbers: the evidence alone;
    paraphrase: the steps in neutral words; content_free: as many sentences that say nothing of the answer; weighed:
    what the student and its siblings considered there; resolved: what the outcome makes of that (what a right answer
    wrote there, what else was considered in a wrong one). The lab's models know one word for pointing, so the first
    four are one and the same to them."""
    most: int | None = Field(None, ge=1)
    """Most steps a note speaks about, the most intense first."""
    options_per_step: int = Field(2, ge=2)
    """Most texts of a step that a weighed note names, the student's own before its siblings'."""
    options: Literal["considered", "siblings", "random", "none"] = "considered"
    """What a weighed or resolved note names beside what was written: all that was truly considered; what siblings wrote
    alone; or (controls) as many results that were written at other steps of the batch, or nothing."""


class WeightConfig(Config):
    """How much each token counts, in the distillation loss and in the policy gradient. Every choice has mean one over
    the tokens that count."""

    by: Literal["none", "signal", "top_share", "quadrant"] = "none"
    """signal: more where a signal of the student is large; top_share: only the tokens with the largest values of it
    (80/20, arXiv 2506.01939); quadrant: by doubt and truth."""
    signal: str = "entropy"
    """Which signal of the student's: entropy, surprisal, varentropy."""
    strength: float = Field(1.0, ge=0)
    """w = 1 + strength x / mean(x)."""
    share: float = Field(0.2, gt=0, le=1)
    confident_wrong: float = Field(2.0, ge=0)
    doubt_wrong: float = Field(1.0, ge=0)
    doubt_right: float = Field(0.5, ge=0)
    confident_right: float = Field(1.0, ge=0)
    teacher_beta: float = Field(0.0, ge=0)
    """Less weight where the *teacher* is unsure: exp(-beta H_teacher), 1/nats (SRPO, arXiv 2604.02288)."""


class PracticeConfig(Config):
    """Which prompts are learnt from, and how difficult they are."""

    choose: Literal["uniform", "doubt", "success", "learnable"] = "uniform"
    """Of more prompts than are trained on, which: any; those most doubted; those about half of whose answers are
    right; or those that are both (`affect.practice.worth`). On the lab success chose well, and doubt added nothing
    (docs/results/affect.md)."""
    candidates: int = Field(1, ge=1)
    """Prompts answered for each one trained on; all their answers count as rollouts spent."""
    rehearse: int = Field(0, ge=0)
    """Views of earlier steps that are learnt from again in each step: a comment is bought once and used more often."""
    rehearse_by: Literal["uniform", "unresolved"] = "uniform"
    """Which: any; or those on which student and teacher still differed most when they were last learnt from."""
    difficulty: Literal["fixed", "flow"] = "fixed"
    """flow: harder out of boredom, easier out of anxiety, where the tasks have levels (the lab, reasoning-gym)."""
    start: int | None = Field(None, ge=0)
    """The first level under flow; None: the easiest."""
    use_doubt: bool = True
    """Under flow: whether success with much doubt still counts as practice. Off is the control, success alone."""


class AffectConfig(Config):
    """What the student's own signals mean, and what is made of that besides aiming a critic."""

    rules: str = "default"
    """Which rules turn signals into labelled spans: "default", "literal" (entropy spike = frustration, low confidence =
    doubt), or a TOML file of rules."""
    control: Literal["off", "none", "shuffled_spans", "shuffled_labels", "random_spans", "position_only", "oracle"] = (
        "off"
    )
    """A transform of every appraisal before anything uses it; `frown.affect.controls` says what each keeps. Weights
    by a signal are then dealt out anew over the same tokens."""
    note: NoteConfig = NoteConfig()
    weight: WeightConfig = WeightConfig()
    practice: PracticeConfig = PracticeConfig()
    reward: float = 0.0
    """Added to the reward: this times the mean log-probability of an answer's own tokens. It pays for feeling sure,
    right or wrong; docs/results/affect.md shows what it does to calibration. Off by default, and meant to stay off."""


class OptimiserConfig(Config):
    """AdamW."""

    steps: int = Field(40, ge=1)
    """Optimiser steps; each uses one batch of fresh rollouts."""
    lr: float = Field(1e-3, gt=0)
    warmup_steps: int = Field(0, ge=0)
    """Steps over which the learning rate rises linearly to `lr`."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """What it does after that: stay, or fall towards 0 after the last step."""
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)


class EvalConfig(Config):
    """How the policy is measured."""

    every: int = Field(10, ge=1)
    """Optimiser steps between evaluations; the first is before training, the last after it."""
    prompts: int = Field(60, ge=1)
    samples: int = Field(12, ge=1)
    """Answers to each prompt (the k of Avg@k)."""
    temperature: float = Field(1.0, gt=0)
    dev_prompts: int = Field(0, ge=0)
    """Prompts of the dev split, evaluated with the others; the guard watches them (`guard.accuracy`). 0: none."""
    heldout_prompts: int = Field(0, ge=0)
    """Prompts of the held-out split, evaluated before and after training. 0: none."""


class CheckpointConfig(Config):
    """From where a run can go on (`frown train --resume`)."""

    every: int | None = Field(None, ge=1)
    """Optimiser steps between checkpoints; the first is before training, the last after it. None: one with each
    evaluation."""
    keep: int = Field(2, ge=1)
    """Checkpoints kept, the newest: should the last be damaged, the one before it is used."""


class GuardConfig(Config):
    """A watch over signs of collapse (`frown.train.guard`): means over a window of steps, against the first step, whose
    answers are from before any weight moved. None switches a canary off."""

    actions: tuple[Literal["rollback", "freeze", "cut"], ...] = ()
    """What is done at a trip besides saying so. rollback: go back to the last checkpoint before it, with half the
    learning rate; freeze: the teacher stays as it is (after a rollback: as it was); cut: halve objective.distillation,
    the rest of the loss being the policy gradient. docs/results/guard.md shows what they are worth on the lab."""
    window: int = Field(3, ge=1)
    """Steps over which a canary is averaged."""
    length: tuple[float, float] | None = (0.5, 2.0)
    """Least and most mean length of answers, as shares of the start's."""
    entropy: tuple[float, float] | None = (0.01, 5.0)
    """Least and most mean entropy of the policy at its tokens, as shares of the start's."""
    repetition: float | None = Field(0.2, gt=0)
    """By how much the share of repeated 4-grams may rise."""
    truncated: float | None = Field(0.2, gt=0)
    """By how much the share of answers cut at the token limit may rise."""
    flat_groups: float | None = Field(0.5, gt=0)
    """By how much the share of groups may rise in which all answers have one score and none is right."""
    well_formed: float | None = Field(0.2, gt=0)
    """By how much the share of well-formed answers may fall."""
    kl: float | None = Field(None, gt=0)
    """Most KL divergence of the policy from its start, nats a token. Off by default: it costs a forward pass of the
    start over every answer and, without LoRA, a copy of the weights."""
    accuracy: float | None = Field(0.1, gt=0)
    """By how much accuracy on the dev split may fall below its best (needs eval.dev_prompts)."""
    rollbacks: int = Field(3, ge=1)
    """Most rollbacks; at the next trip the run stops."""


Tracker = Literal["tensorboard", "trackio", "wandb"]


class DistributedConfig(Config):
    """What concerns runs in several processes (docs/scaling.md). How many there are is the launcher's business."""

    sharding: Literal["none", "fsdp2"] = "none"
    """none: each process holds the whole model. fsdp2: decoder layers with their adapters, gradients, moments and the
    teacher's copy are spread over the processes; embedding and head are not, and while answers are sampled all layers
    are put together (docs/scaling.md)."""
    timeout: float = Field(900.0, gt=0)
    """Seconds for which processes wait for one that says nothing, before all end. The slowest critic, judge or answer
    takes less. One that has ended is noticed at once."""


class RunConfig(Config):
    """One training run."""

    seed: int = Field(0, ge=0)
    """Seeds the training prompts, the sampling and everything else that is drawn while training."""
    model: ModelConfig = ModelConfig()
    task: TaskConfig = TaskConfig()
    sampling: SamplingConfig = SamplingConfig()
    feedback: FeedbackConfig = FeedbackConfig()
    teacher: TeacherConfig = TeacherConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    affect: AffectConfig = AffectConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    eval: EvalConfig = EvalConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    guard: GuardConfig = GuardConfig()
    distributed: DistributedConfig = DistributedConfig()
    micro_batch_tokens: int = Field(16384, ge=1)
    """Most tokens in one forward pass of the trainer: of the student's or of the teacher's packed row, whichever is
    longer, in which a beginning that several rows share counts once; padding included for a model that is padded. A
    row longer than that is a batch of its own."""
    sampling_batch_tokens: int = Field(65536, ge=1)
    """Most tokens (prompts and all they may grow to) whose keys and values the sampler holds at once."""
    keep_rollouts: bool = True
    """Write every training rollout with its signals, spans, feedback and advantages to the run directory."""
    track: tuple[Tracker, ...] = ()
    """Who is told the metrics besides metrics.jsonl, each an extra of that name: pip install "frown[trackio]"."""

    @property
    def rollouts_per_step(self) -> int:
        """Answers sampled in one training step, those of prompts that are not chosen included."""
        return self.sampling.rollouts_per_step * self.affect.practice.candidates

    @model_validator(mode="after")
    def _groups_are_large_enough(self) -> RunConfig:
        embedded, known = self.model.path.startswith("lab:"), self.task.kind.startswith("lab:")
        if embedded and not (known and self.model.path.startswith(f"{self.task.kind}-")):
            raise ValueError(
                f"model.path = {self.model.path!r} knows one lab family alone, not task.kind = {self.task.kind!r}: "
                "give a model folder (model.path or --model)"
            )
        if self.task.test_data is not None and self.task.data is None:
            raise ValueError("task.test_data alone gives nothing to train on: give task.data, too")
        alone = self.sampling.responses_per_prompt == 1
        if alone and self.objective.distillation < 1 and self.objective.policy == "group":
            raise ValueError(
                "sampling.responses_per_prompt = 1 gives GRPO no group to compare with: "
                "use 2 or more, or objective.distillation = 1"
            )
        if self.affect.weight.teacher_beta and (self.objective.distillation < 1 or self.objective.kl_anchor):
            raise ValueError(
                "affect.weight.teacher_beta goes with objective.distillation = 1 and objective.kl_anchor = 0 alone: "
                "what it weighs is known only when all losses are already added up"
            )
        if self.objective.blend == "route" and not 0 < self.objective.distillation < 1:
            raise ValueError(
                'objective.blend = "route" shares answers out between two losses: give both weight, e.g. '
                "objective.distillation = 0.5"
            )
        if alone and self.objective.distillation > 0 and self.feedback.parts == ("sibling",):
            raise ValueError(
                "sampling.responses_per_prompt = 1 leaves no sibling to learn from: "
                'use 2 or more, or other feedback.parts, e.g. ["reference"]'
            )
        return self

    @model_validator(mode="after")
    def _guard_can_act(self) -> RunConfig:
        actions, d = self.guard.actions, self.objective.distillation
        alone = self.sampling.responses_per_prompt == 1 and self.objective.policy == "group"
        if d == 0 and {"cut", "freeze"} & set(actions):
            raise ValueError('"cut" and "freeze" in guard.actions go with objective.distillation above 0')
        if "freeze" in actions and self.teacher.weights == "frozen":
            raise ValueError('"freeze" in guard.actions goes with a teacher that moves: teacher.weights is "frozen"')
        if "cut" in actions and (alone or self.affect.weight.teacher_beta):
            raise ValueError(
                '"cut" in guard.actions gives weight to the policy gradient, which needs sampling.responses_per_prompt '
                "of 2 or more and affect.weight.teacher_beta = 0"
            )
        reach = (self.checkpoint.keep - 1) * (self.checkpoint.every or self.eval.every)
        if "rollback" in actions and reach < self.guard.window - 1:
            raise ValueError(
                '"rollback" in guard.actions goes back to before guard.window, further than checkpoints are kept: '
                "raise checkpoint.keep"
            )
        return self


class EvaluationConfig(Config):
    """How models are measured by `frown eval`."""

    task: TaskConfig = TaskConfig()
    """The test split of it, or all of `task.test_data`."""
    split: Literal["test", "dev", "heldout"] = "test"
    prompts: int = Field(60, ge=1)
    samples: int = Field(12, ge=1)
    """Answers to each prompt (the k of Avg@k)."""
    temperature: float = Field(1.0, gt=0)
    max_new_tokens: int = Field(96, ge=1)
    seed: int = Field(271_828, ge=0)
    """Of the sampler: the same for all models, so that they differ by what they know and not by the draw."""
    device: str = "auto"
    """"auto" is CUDA where there is a device, else the CPU."""
    sampling_batch_tokens: int = Field(65536, ge=1)
    """As in a run."""


def _different(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError("seeds are different whole numbers from 0 up")
    return seeds


Seeds = Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_different)]
"""Those of an experiment; one given twice would pass for more evidence."""


class CompareConfig(Config):
    """Arms against each other, at matched rollouts and optimiser steps."""

    arms: dict[str, dict[str, Any]] = Field(min_length=1)
    """Name of each arm and what it changes in `base`, as nested keys."""
    baseline: str
    """The arm every other arm is compared with."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Further comparisons: (arm, other arm)."""
    seeds: Seeds = (0, 1, 2)
    threshold: float = Field(0.8, gt=0, le=1)
    """Avg@k to be reached, for steps, tokens and seconds to threshold."""
    base: RunConfig = RunConfig()

    @model_validator(mode="after")
    def _arms_are_sound(self) -> CompareConfig:
        for name in {self.baseline, *(n for pair in self.pairs for n in pair)} - set(self.arms):
            raise ValueError(f"no arm is called {name!r}{_nearest(name, self.arms)}")
        for name in self.arms:
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"an arm's name is letters, digits, '-' and '_'; got {name!r}")
            self.run(name, self.seeds[0])
        runs = [self.run(name, 0) for name in self.arms]
        if len({(r.rollouts_per_step, r.optimiser.steps) for r in runs}) > 1:
            raise ValueError("arms are compared at equal rollouts a step and equal optimiser steps; these differ")
        if len({(r.task.model_dump_json(), r.eval.model_dump_json()) for r in runs}) > 1:
            raise ValueError("arms are compared on the same task and evaluation; these differ")
        return self

    def run(self, arm: str, seed: int) -> RunConfig:
        """The resolved configuration of one run."""
        nested = _merge(self.base.model_dump(), self.arms[arm])
        return parse(RunConfig, {**nested, "seed": seed}, f"arm {arm!r}")


ConfigT = TypeVar("ConfigT", bound=Config)


def load(kind: type[ConfigT], file: Path | None, overrides: Iterable[str] = (), base: ConfigT | None = None) -> ConfigT:
    """Read a TOML file (or start from `base`, or the defaults), apply `dotted.key=value` overrides and check it all.

    A file that ends in .json is the config.json of a run.
    """
    values: dict[str, Any] = {} if base is None else base.model_dump()
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8")
            values = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
        except FileNotFoundError:
            raise FrownError(f"no config file {file}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise FrownError(f"cannot read config {file}: {error}") from None
        except tomllib.TOMLDecodeError as error:
            raise FrownError(f"config {file} is not TOML: {error}") from None
        except json.JSONDecodeError as error:
            raise FrownError(f"config {file} is not JSON: {error}") from None
    for override in overrides:
        values = _merge(values, _nested(override))
    return parse(kind, values, str(file) if file else "config")


def parse(kind: type[ConfigT], values: Mapping[str, Any], where: str) -> ConfigT:
    """Build a config from nested values; every mistake is one line that names the key and the mend."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise FrownError(f"{where}: {_explain(kind, first)}{more}") from None


def only(config: CompareConfig, arms: Iterable[str]) -> CompareConfig:
    """The comparison with these of its arms alone, and the pairs that are left. FrownError for an arm it has not."""
    wanted = list(dict.fromkeys(arms))
    for name in wanted:
        if name not in config.arms:
            raise FrownError(f"no arm is called {name!r}{_nearest(name, config.arms)}")
    values = config.model_dump()
    values["arms"] = {name: spec for name, spec in config.arms.items() if name in wanted}
    values["pairs"] = [pair for pair in config.pairs if set(pair) <= set(wanted)]
    return parse(CompareConfig, values, "--arms")


def to_json(config: Config) -> str:
    """The resolved configuration, as it is saved with a run."""
    return json.dumps(config.model_dump(mode="json"), indent=2) + "\n"


def flat(nested: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names: {"a": {"b": 1}} as {"a.b": 1}."""
    out: dict[str, Any] = {}
    for key, value in nested.items():
        name = f"{before}{key}"
        out |= flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return out


def _explain(kind: type[Config], error: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"unknown key {key!r}{_nearest(str(error['loc'][-1]), _fields(kind, error['loc'][:-1]))}"
    if error["type"] == "missing":
        return f"{key!r} is missing"
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if not key:
        return message
    if isinstance(error["input"], Mapping):
        return f"{key}: {message}"  # what is wrong with a table is said without repeating the table
    return f"{key} = {error['input']!r}: {message[0].lower()}{message[1:]}"


def _fields(kind: type[Config], path: Iterable[Any]) -> list[str]:
    """The keys that exist at a place of a config."""
    here: Any = kind
    for part in path:
        field = getattr(here, "model_fields", {}).get(str(part))
        options = getattr(field.annotation, "__args__", (field.annotation,)) if field else ()
        here = next((o for o in options if isinstance(o, type) and issubclass(o, Config)), None)
    return list(getattr(here, "model_fields", {}))


def _check_url(base_url: str, example: str, mend: str) -> None:
    """ValueError, which does not repeat it, for what is no plain address of a server."""
    try:
        url = urlsplit(base_url)
        host, _ = url.hostname, url.port
    except ValueError:
        host = None
    if not host or url.scheme not in ("http", "https"):
        raise ValueError(f'base_url is no URL; it reads like "{example}"')
    if url.username is not None or url.password is not None or url.query or url.fragment:
        raise ValueError(f"base_url holds a user, a password or a query; {mend}")


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known)}"


def _nested(override: str) -> dict[str, Any]:
    """`optimiser.lr=1e-4` as nested values. The value is read as TOML, and as a string where it is none."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise FrownError(f"an override is written KEY=VALUE, e.g. optimiser.lr=1e-4; got {override!r}")
    try:
        value: Any = tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for part in reversed(key.strip().split(".")):
        value = {part: value}
    return dict(value)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged
