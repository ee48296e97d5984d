"""`frown doctor --model`: what a model is, whether it is as training needs it, how fast it is here, and what a run
would choose for it. Changes nothing and writes nothing."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from frown.config import ModelConfig, RunConfig, parse
from frown.config.defaults import in_words as parameters_in_words
from frown.config.defaults import parameters, scale_of
from frown.errors import FrownError, first_line
from frown.plan.chat_format import ChatFormat, chat_format
from frown.plan.plan import GUESSED_PROMPT, in_words, make
from frown.policy import gguf
from frown.policy.folder import ADAPTER, base_of, header_of, resolve

if TYPE_CHECKING:
    from frown.plan.pace import Pace
    from frown.plan.sizes import Shapes
    from frown.policy.policy import Policy

RANK = 16
"""Of the adapters that are suggested."""
TIMED_TOKENS = 32
"""Of an answer that is timed."""
COPY = 0.1
"""A head that differs from the embedding by a smaller share of its norm is a copy of it."""
SMALLER: tuple[dict[str, Any], ...] = (
    {},
    {"micro_batch_tokens": 4096, "sampling_batch_tokens": 16384},
    {"micro_batch_tokens": 1024, "sampling_batch_tokens": 4096},
    {"micro_batch_tokens": 1024, "sampling_batch_tokens": 4096, "gradient_checkpointing": True},
)
"""What is tried in turn until a step fits into memory."""
PATIENCE = 600.0
"""Seconds of a step, above which a shorter one is named."""
QUESTION = (
    "A baker makes 48 rolls in the morning and half as many in the afternoon. He sells them in bags of 6, at 3 dollars "
    "a bag. How much does he earn when he sells all of them?"
)
"""What is answered while a model is timed."""


class Speed(NamedTuple):
    """Tokens a second here."""

    sampling: float
    """Of answers, several at once."""
    learning: float
    """Of rows, prompts included; the student's and the teacher's."""
    basis: str
    threads: str
    """How many torch computes with, and why."""


class Suggestion(NamedTuple):
    """What `frown train` would choose for this model, and what that takes here."""

    lora: int | None
    """Rank of the adapters; None: all weights are trained."""
    dtype: str
    trained: int
    """Numbers that are learnt."""
    lr: float
    max_new_tokens: int
    batch: str
    """Prompts, answers, rows and micro-batches of a step, in words."""
    memory: int
    """Bytes at the peak of a step."""
    fits: bool
    """Into the memory that is there."""
    seconds_per_step: float | None
    """Where every answer runs to its limit; None where the model was not timed."""
    overrides: tuple[str, ...]
    """KEY=VALUE beyond what is chosen: how adapters are asked for, and what makes a step fit into memory."""


@dataclass(frozen=True)
class ModelReport:
    """Everything that `frown doctor --model` says."""

    model: str
    kind: str
    """embedded, folder, adapters or gguf."""
    base: str | None
    """Of adapters: the model that they are merged into."""
    architecture: str
    parameters: int
    stored: dict[str, int]
    """Type of the weights in the files -> how many numbers; of a GGUF file its quantisation."""
    tied: bool
    """Whether head and embedding share a weight."""
    vocabulary: int
    """Rows of the head."""
    context: int | None
    """Tokens."""
    chat: ChatFormat | None
    """None where it has no tokenizer that can be loaded."""
    packing: str | None
    """How rows reach the trunk (`frown.policy.trunk.Way`); None where the model was not loaded."""
    device: str
    available: int | None
    """Bytes of its memory; None where nobody knows."""
    speed: Speed | None
    suggestions: tuple[Suggestion, ...]
    faults: tuple[str, ...]
    """Why it cannot be trained as it is."""
    warnings: tuple[str, ...]
    """What a person should know before training it."""

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        values = dataclasses.asdict(dataclasses.replace(self, chat=None, speed=None, suggestions=()))
        values["chat"] = None if self.chat is None else self.chat._asdict()
        values["speed"] = None if self.speed is None else self.speed._asdict()
        values["suggestions"] = [suggestion._asdict() for suggestion in self.suggestions]
        return values | {"trainable": not self.faults}


def examine_model(path: str) -> ModelReport:
    """The report on a model. It is loaded, and timed for some seconds, where weights and gradients fit into memory.

    Raises FrownError in one line for what is no model, and for one that is no causal language model.
    """
    from frown.plan.pace import device_of
    from frown.plan.sizes import shapes as shapes_of

    place = resolve(path)
    kind = _kind(path, place)
    base = base_of(path, place) if kind == "adapters" else place
    _refuse_architecture(path, base)
    model = ModelConfig(path=path)
    shapes = shapes_of(model, rows=1, length=8)
    device = device_of(model.device)
    faults, warnings = [], _size_warnings(path, kind, shapes)
    policy = None
    if device.bytes is not None and 3 * shapes.weights > device.bytes:
        warnings.append(
            f"its weights take {in_words(shapes.weights)} as float32, so it is not loaded here ({device.name} has "
            f"{in_words(device.bytes)}): how it is packed and how fast it is are not known"
        )
    else:
        try:
            policy = _policy(path, kind)
        except FrownError as error:
            faults.append(str(error))
    chat = _chat(path, base, policy)
    if chat is not None:
        faults += [] if faults and not chat.template else chat.faults
        warnings += chat.warnings
    speed, pace = None, None
    if policy is not None:
        faults += _not_finite(policy.model)
        warnings += [*policy.notes, *_copied_head(policy.model)]
    if policy is not None and not faults:
        try:
            speed, pace = _timed(path, kind, policy)
        except (FrownError, RuntimeError) as error:  # torch's own, where memory ends
            warnings.append(f"it could not be timed: {first_line(error)}")
    suggestions = _suggestions(path, kind, pace, warnings)
    return ModelReport(
        model=path,
        kind=kind,
        base=str(base) if kind == "adapters" else None,
        architecture=shapes.architecture,
        parameters=shapes.parameters,
        stored=_stored(base),
        tied=shapes.tied if policy is None else _tied(policy.model),
        vocabulary=shapes.vocabulary,
        context=shapes.context,
        chat=chat,
        packing=None if policy is None else policy.packing.choice.way,
        device=device.name,
        available=device.bytes,
        speed=speed,
        suggestions=suggestions,
        faults=tuple(dict.fromkeys(faults)),
        warnings=tuple(dict.fromkeys(warnings)),
    )


# -- what it is --------------------------------------------------------------------------------------------------------


def _kind(path: str, place: Path) -> str:
    if path.startswith("lab:"):
        return "embedded"
    if gguf.is_gguf(place):
        return "gguf"
    return "adapters" if (place / ADAPTER).is_file() else "folder"


def _refuse_architecture(path: str, base: Path) -> None:
    """Raise FrownError for an architecture that predicts no next token."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    try:
        settings = AutoConfig.from_pretrained(**gguf.pretrained(base))
    except Exception as error:  # whatever a broken config.json makes the library raise
        raise FrownError(f"model {path} has a configuration that cannot be read: {first_line(error)}") from error
    if type(settings) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise FrownError(
            f"model {path} is of the kind {settings.model_type}, which transformers has no causal language model of: "
            "give one that continues text"
        )


def _stored(base: Path) -> dict[str, int]:
    """Type of the weights -> how many numbers."""
    if gguf.is_gguf(base):
        return {gguf.header(base).quantisation: parameters(str(base)) or 0}
    numbers: Counter[str] = Counter()
    for file in base.glob("*.safetensors"):
        for tensor in header_of(file).values():
            size = 1
            for length in tensor["shape"]:
                size *= length
            numbers[str(tensor["dtype"])] += size
    return dict(numbers.most_common())


def _size_warnings(path: str, kind: str, shapes: Shapes) -> list[str]:
    """On what is chosen by the size, and on the context."""
    lines = []
    fits = scale_of(shapes.parameters)
    if scale_of(parameters(path)) != fits:
        lora = "" if kind == "adapters" else f" (adapters: optimiser.lr={fits.lora_lr:g})"
        lines.append(
            "its size is not seen before it is loaded, so a run chooses as for the largest models: for "
            f"{parameters_in_words(shapes.parameters)} parameters give optimiser.lr={fits.lr:g}{lora} and "
            f"sampling.max_new_tokens={fits.max_new_tokens}"
        )
    if shapes.context is None:
        lines.append(
            "its configuration does not say how many tokens it can attend to, so nothing is refused as too long"
        )
    elif kind != "embedded" and shapes.context < GUESSED_PROMPT + fits.max_new_tokens:
        room = max(0, shapes.context - fits.max_new_tokens)
        lines.append(
            f"its context of {shapes.context} tokens leaves {room} for prompts beside answers of "
            f"{fits.max_new_tokens}: lower sampling.max_new_tokens"
        )
    return lines


def _policy(path: str, kind: str) -> Policy:
    """The model as a run begins with it, answers as short as they are timed."""
    from frown.policy.policy import policy_of

    short = {"max_new_tokens": TIMED_TOKENS, "prompts_per_step": 8, "responses_per_prompt": 2}
    return policy_of(_config(path, kind, sampling=short))


def _config(path: str, kind: str, model: dict[str, Any] | None = None, **sections: Any) -> RunConfig:
    """A run with this model. An embedded one has a task of its own; any other gets one that needs no data."""
    task = path.removeprefix("lab:").rpartition("-")[0]
    values = {
        "model": {"path": path, **(model or {})},
        "task": {"kind": f"lab:{task}" if kind == "embedded" else "exact"},
        **sections,
    }
    return parse(RunConfig, values, "frown doctor")


# -- whether it is as training needs it --------------------------------------------------------------------------------


def _chat(path: str, base: Path, policy: Policy | None) -> ChatFormat | None:
    if policy is not None:
        return chat_format(policy.tokenizer, policy.eos_ids)
    from frown.training.context import measured_by

    try:
        measured = measured_by(path, TIMED_TOKENS)
        return None if measured is None else chat_format(measured[0], _ends(base, measured[0]))
    except Exception:  # files that cannot be read are named as a fault already
        return None


def _ends(base: Path, tokenizer: Any) -> list[int]:
    """`frown.policy.load.end_ids` by the files alone."""
    ids: list[Any] = [tokenizer.eos_token_id]
    for name in ("generation_config.json", "config.json"):
        if (base / name).is_file():
            ends = json.loads((base / name).read_text(encoding="utf-8")).get("eos_token_id")
            ids += ends if isinstance(ends, list) else [ends]
            break
    return sorted({int(i) for i in ids if i is not None})


def _tied(model: Any) -> bool:
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


def _not_finite(model: Any) -> list[str]:
    import torch

    broken = [name for name, p in model.named_parameters() if not bool(torch.isfinite(p).all())]
    return [f"{len(broken)} of its tensors hold numbers that are not finite, {broken[0]} among them"] if broken else []


def _copied_head(model: Any) -> list[str]:
    """A line where the head is a copy of the embedding."""
    import torch

    head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    if head is embedding or head.shape != embedding.shape:
        return []
    with torch.no_grad():
        gap = float((head - embedding).norm() / embedding.norm())
    if not gap < COPY:
        return []
    return [
        f"head and embedding have weights of their own that are nearly equal (they differ by {gap:.1%}): it was "
        f"probably made tied, and to train all weights moves {head.numel():,} too many; adapters leave both alone"
    ]


# -- how fast it is, and what a run would choose -----------------------------------------------------------------------


def _timed(path: str, kind: str, policy: Policy) -> tuple[Speed, Pace]:
    from frown.learner.learner import Learner
    from frown.plan.pace import pace_of, timed
    from frown.runtime.threads import settle
    from frown.types import Task

    threads = str(settle(policy.model))
    if kind == "embedded":
        pace = timed(_config(path, kind), tokens=TIMED_TOKENS)
    else:
        task = Task(id="doctor", messages=({"role": "user", "content": QUESTION},), answer="72")
        short = {"max_new_tokens": TIMED_TOKENS, "prompts_per_step": 8, "responses_per_prompt": 2}
        config = _config(path, kind, sampling=short, teacher={"weights": "live"})  # a copy takes no other time
        pace = pace_of(Learner(policy, config), lambda n: [task] * n, patience=2.0)
    return Speed(1 / pace.sampling, 1 / pace.learning, pace.basis, threads), pace


def _suggestions(path: str, kind: str, pace: Pace | None, warnings: list[str]) -> tuple[Suggestion, ...]:
    """All weights, and adapters. What does not fit, or cannot be had, is added to the `warnings`."""
    from frown.plan.pace import device_of

    suggestions = [_suggestion(path, kind, {}, pace)]
    if kind == "adapters":
        warnings.append(
            "the adapters are merged into their base model, and all weights are trained: new adapters do not go on "
            "top of these; to train with model.lora, save the merged model (merge_and_unload, save_pretrained of peft)"
        )
    else:
        half = device_of("auto").kind == "cuda" or not suggestions[0].fits
        lora = {"lora": {"rank": RANK}, "dtype": "bfloat16" if half else "float32"}
        try:
            suggestions.append(_suggestion(path, kind, lora, pace))
        except FrownError as error:
            warnings.append(f"it gets no adapters: {error}")
    if (suggestions[0].seconds_per_step or 0.0) > PATIENCE:
        warnings.append(_slow(path, kind, pace, suggestions[0]))
    for suggestion in suggestions:
        if not suggestion.fits:
            how = f"adapters of rank {suggestion.lora}" if suggestion.lora else "all weights"
            warnings.append(f"a step on {how} takes {in_words(suggestion.memory)}, more than this machine has")
    return tuple(suggestions)


def _slow(path: str, kind: str, pace: Pace | None, chosen: Suggestion) -> str:
    """A line on a step that takes too long to wait for, and on a shorter one."""
    fewer = {"prompts_per_step": 4, "responses_per_prompt": 4, "max_new_tokens": min(128, chosen.max_new_tokens)}
    plan = make(_config(path, kind, sampling=fewer), pace=pace)
    words = " ".join(f"sampling.{name}={value}" for name, value in fewer.items())
    return (
        f"a step takes up to {(chosen.seconds_per_step or 0.0) / 60:.0f} min here; with {words} up to "
        f"{plan.seconds_per_step / 60:.1f} min"
    )


def _suggestion(path: str, kind: str, model: dict[str, Any], pace: Pace | None) -> Suggestion:
    """What is chosen; where a step does not fit into memory as it is, with less of it at a time."""
    from frown.plan.pace import unknown

    lora, dtype = model.get("lora", {}).get("rank"), model.get("dtype", "float32")
    known = pace if pace is not None and dtype == "float32" else None
    for smaller in SMALLER:
        batches = {key: value for key, value in smaller.items() if key != "gradient_checkpointing"}
        again = {key: value for key, value in smaller.items() if key == "gradient_checkpointing"}
        config = _config(path, kind, {**model, **again}, **batches)
        plan = make(config, pace=known or unknown(0.0))
        fits = plan.available is None or plan.memory.peak <= plan.available
        if fits:
            break
    words = {} if lora is None else {"model.lora.rank": lora, "model.dtype": dtype}
    words |= batches | {f"model.{key}": "true" for key in again}
    return Suggestion(
        lora=lora,
        dtype=dtype,
        trained=plan.shapes.trainable,
        lr=config.optimiser.lr,
        max_new_tokens=config.sampling.max_new_tokens,
        batch=plan.batch.sentence,
        memory=plan.memory.peak,
        fits=fits,
        seconds_per_step=None if known is None else plan.seconds_per_step,
        overrides=tuple(f"{key}={value}" for key, value in words.items()),
    )
