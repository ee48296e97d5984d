"""What a run will take, before it starts: batch arithmetic, memory, disk and time (`frown train --plan`).

All of it is arithmetic on shapes (`frown.plan.sizes`), so a model can be planned from its config.json alone. Only
`make` looks at files, and times the model where its weights are there and small.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from frown.config import RunConfig
from frown.errors import FrownError

if TYPE_CHECKING:
    from frown.plan.pace import Pace
    from frown.plan.sizes import Shapes

GUESSED_PROMPT = 512
"""Tokens of a prompt where there is no tokenizer or no data to measure with."""
ROLLOUT_BYTES_PER_TOKEN = 64
"""Of a rollout file, signals and teacher's readings included; zstd makes less of it."""
TIMED_BELOW = 2 << 30
"""Bytes of weights up to which a model is loaded and timed."""
WORKED_SHARE = 0.4
"""Share of a plain matrix product's rate that a model is assumed to reach where it is not timed."""


class Lengths(NamedTuple):
    """Tokens."""

    prompt: int
    """The longest prompt."""
    answer: int
    """The most an answer may have."""
    context: int
    """The longest the teacher is shown before the answer; 0 where nothing is distilled."""
    measured: bool
    """Whether `prompt` was measured on the first prompts of the data."""

    @property
    def row(self) -> int:
        """Of a row of the trainer, the longer of student's and teacher's."""
        return max(self.prompt, self.context) + self.answer

    @property
    def student(self) -> int:
        """Of a row as the student sees it."""
        return self.prompt + self.answer


@dataclass(frozen=True)
class Batch:
    """prompts x answers = rollouts = rows x accumulation x processes, all for one optimiser step."""

    prompts: int
    answers: int
    rehearsed: int
    """Rows of earlier steps that are learnt from again."""
    rows: int
    """In one micro-batch at most, when all rows are as long as they can be."""
    accumulation: int
    """Micro-batches of one process whose gradients are added up."""
    processes: int

    @property
    def total(self) -> int:
        """Rows to learn from, all processes together."""
        return self.prompts * self.answers + self.rehearsed

    @property
    def faults(self) -> list[str]:
        """What does not come out, in words."""
        if self.prompts % self.processes == 0:
            return []
        return [
            f"{self.prompts} prompts do not divide among {self.processes} processes: make sampling.prompts_per_step a "
            f"multiple of {self.processes}"
        ]

    @property
    def sentence(self) -> str:
        """The identity, as it is printed."""
        again = f" + {self.rehearsed} rehearsed" if self.rehearsed else ""
        room = self.rows * self.accumulation * self.processes
        return (
            f"{self.prompts} prompts x {self.answers} answers{again} = {self.total} rollouts "
            f"{'=' if room == self.total else '<='} {_many(self.rows, 'row')} x "
            f"{_many(self.accumulation, 'micro-batch', 'es')} x {_many(self.processes, 'process', 'es')}"
            + ("" if room == self.total else f" = {room} places")
        )


def _many(count: int, name: str, ending: str = "s") -> str:
    return f"{count} {name}{ending if count != 1 else ''}"


class Item(NamedTuple):
    """One line of the table of memory: bytes of one process."""

    name: str
    bytes: int
    why: str


@dataclass(frozen=True)
class Memory:
    """Bytes of one process. The phases never overlap: the peak is what always is there and the largest of them."""

    always: tuple[Item, ...]
    sampling: tuple[Item, ...]
    learning: tuple[Item, ...]
    stepping: tuple[Item, ...]

    @property
    def peak(self) -> int:
        """The most that is held at a time."""
        return _sum(self.always) + max(map(_sum, (self.sampling, self.learning, self.stepping)))

    @property
    def phase(self) -> str:
        """When that is."""
        return max(("sampling", "learning", "stepping"), key=lambda name: _sum(getattr(self, name)))


def _sum(items: tuple[Item, ...]) -> int:
    return sum(item.bytes for item in items)


def batch_of(config: RunConfig, lengths: Lengths, processes: int) -> Batch:
    """The arithmetic of one optimiser step, for rows as long as they can be."""
    prompts, answers = config.sampling.prompts_per_step, config.sampling.responses_per_prompt
    rehearsed = config.practice.replay
    rows = max(1, config.micro_batch_tokens // lengths.row)
    each = math.ceil((prompts * answers + rehearsed) / processes)
    rows = min(rows, each)
    return Batch(prompts, answers, rehearsed, rows, math.ceil(each / rows), processes)


def memory_of(config: RunConfig, shapes: Shapes, batch: Batch, lengths: Lengths, *, chunk_bytes: int) -> Memory:
    """What one process holds; where the shapes are those of a model spread over processes, its part and what is put
    together for a while.

    `chunk_bytes`: logits of one model in one chunk of the loss, on the device that is planned for.
    """
    held, hidden = shapes.held, 4 * shapes.hidden
    sharded, trainable = held.processes > 1, held.trainable
    tokens = batch.rows * lengths.student
    distilled = config.method.share > 0
    teacher, why = _teacher(config, held.weights, held.base)
    here = " here" if sharded else ""
    share = f"; of layers one part of {held.processes}, embedding and head whole" if sharded else ""
    always = [
        Item("weights", held.weights, f"{shapes.parameters:,} parameters, {config.model.dtype}{share}"),
        Item(
            "optimiser",
            8 * trainable,
            f"AdamW: two float32 for each of {trainable:,} learnt{here}",
        ),
        Item("teacher", teacher, why),
    ]
    if (config.loss.kl_anchor or config.guard.kl is not None) and config.model.lora is None:
        always.append(Item("start", held.weights, "a copy, for loss.kl_anchor and guard.kl"))
    if config.model.gradient_checkpointing:
        kept = shapes.layer_inputs + shapes.kept_by_layer
        told = "what enters each layer, and one layer computed again"
    else:
        # In the backward pass gradients of activations stand beside what was kept.
        kept, told = shapes.kept + shapes.kept_by_layer // 2, "all that the backward pass needs"
    answers = batch.rows * lengths.answer
    chunk = min(chunk_bytes, 4 * answers * shapes.vocabulary)
    head = shapes.head * (2 if shapes.tied else 1)
    learning = [
        Item("gradients", 4 * trainable, "float32"),
        Item("activations", kept, f"{batch.rows} x {lengths.student} tokens; {told}"),
        Item("logits", 2 * chunk if distilled else chunk, "one chunk of student and teacher, never the whole"),
        Item("hidden states", 4 * answers * hidden, "of student and teacher, and their gradients"),
        Item("head's gradient", head, "on its way" + (", twice: it is the embedding's, too" if shapes.tied else "")),
    ]
    group = config.sampling.responses_per_prompt
    prompts = max(1, config.answers_per_step // group // batch.processes)
    prompts = min(prompts, max(1, config.sampling_batch_tokens // (lengths.student * group)))
    at_once = prompts * group
    cache = at_once * lengths.student * shapes.cache_of_token
    read = shapes.kept_by_layer * prompts * lengths.prompt // tokens
    sampling = [
        Item("keys and values", cache + cache // 8, f"{at_once} answers of {lengths.student} tokens, and an eighth"),
        Item("logits", 4 * 4 * at_once * shapes.vocabulary, "one decoding step: as they are, tempered, softmax, drawn"),
        Item("reading prompts", read, "one layer at a time"),
    ]
    stepping = [
        Item("gradients", 4 * trainable, "float32"),
        Item("update", 4 * trainable, "on its way, at most"),
    ]
    if sharded:
        sampling.append(Item("layers", held.layers, "all put together"))
        taught = _teacher(config, held.largest, held.largest_base)[0]
        learning += [
            Item("layers", 3 * max(held.largest, taught), "one and the next put together, and one on its way"),
            Item("layers' gradients", 8 * held.largest_trainable, "of one layer, before they are dealt out"),
        ]
    return Memory(*map(tuple, (always, sampling, learning, stepping)))


def _teacher(config: RunConfig, weights: int, base: int) -> tuple[int, str]:
    """Bytes of the teacher's own part of the model, and why so many. Of this part: bytes of the student's `weights`,
    and how many numbers it has without adapters."""
    kind, lora = config.teacher.weights, config.model.lora is not None
    merged = " of the merged weights" if lora else ""
    if config.method.share == 0:
        return 0, "none: nothing is distilled"
    if kind == "ema":
        return 4 * base, f"ema: a float32 copy{merged}"
    if kind == "live" and "freeze" in config.guard.actions:
        return 4 * base, f"live: a float32 copy{merged}, once the guard has frozen it"
    if kind == "live" or lora:
        return 0, f"{kind}: the student's own" + ("" if kind == "live" else ", adapters switched off")
    return weights, f"{kind}: a copy"


def disk_of(config: RunConfig, shapes: Shapes) -> tuple[Item, ...]:
    """Bytes in the run directory, when every answer is as long as it can be."""
    steps, sampling = config.optimiser.steps, config.sampling
    saved = shapes.trainable_weights if config.model.lora is not None else shapes.weights
    base = shapes.parameters - (shapes.trainable if config.model.lora is not None else 0)
    saved += 8 * shapes.trainable + _teacher(config, shapes.weights, base)[0]
    copies = config.checkpoint.keep + 1
    rollouts = steps * sampling.answers_per_step * sampling.max_new_tokens * ROLLOUT_BYTES_PER_TOKEN
    return (
        Item("checkpoints", copies * saved, f"weights, optimiser and teacher, {copies} while one replaces another"),
        Item("rollouts", rollouts if config.keep_rollouts else 0, f"{ROLLOUT_BYTES_PER_TOKEN} bytes a token at most"),
    )


class Work(NamedTuple):
    """Tokens and floating-point operations of one optimiser step, all processes together, answers at their longest."""

    sampled_tokens: int
    learnt_tokens: int
    """Prompt and answer of the student's rows."""
    taught_tokens: int
    """Context and answer of the teacher's."""
    flop: float


def work_of(config: RunConfig, shapes: Shapes, batch: Batch, lengths: Lengths) -> Work:
    """2 operations a parameter and token forward, 4 backward (2 where the base is frozen), 2 more where layers are
    computed again (Kaplan et al. 2020, arXiv 2001.08361, section 2.1; attention's own share is left out)."""
    sampled = config.answers_per_step * lengths.student
    learnt = batch.total * lengths.student
    looks = 2 if config.teacher.weights == "trust_region" else 1
    taught = looks * batch.total * (lengths.context + lengths.answer) if lengths.context else 0
    backward = 2 if config.model.lora is not None else 4
    again = 2 if config.model.gradient_checkpointing else 0
    flop = float(shapes.parameters) * (2 * sampled + (2 + backward + again) * learnt + 2 * taught)
    return Work(config.answers_per_step * lengths.answer, learnt, taught, flop)


@dataclass(frozen=True)
class Plan:
    """Everything `frown train --plan` prints."""

    model: str
    shapes: Shapes
    lengths: Lengths
    batch: Batch
    memory: Memory
    sharded: bool
    disk: tuple[Item, ...]
    work: Work
    seconds_per_step: float
    """Not a number (null as JSON) where the card that is planned for is not here; so `seconds`."""
    seconds: float
    """The whole run with its evaluations."""
    pace: str
    """What the seconds rest on, or why there are none."""
    device: str
    available: int | None
    """Bytes of memory on this device; None where that cannot be told."""
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as plain values; bytes, tokens and seconds."""
        found = dataclasses.asdict(dataclasses.replace(self, shapes=None, lengths=None, work=None))  # type: ignore[arg-type]
        for name in ("seconds_per_step", "seconds"):
            found[name] = found[name] if math.isfinite(found[name]) else None
        for name in ("shapes", "lengths", "work"):
            found[name] = getattr(self, name)._asdict()
        found["shapes"]["held"] = self.shapes.held._asdict()
        found["lengths"]["row"] = self.lengths.row
        for phase in ("always", "sampling", "learning", "stepping"):
            found["memory"][phase] = [item._asdict() for item in getattr(self.memory, phase)]
        found["memory"] |= {"peak": self.memory.peak, "phase": self.memory.phase}
        found["disk"] = [item._asdict() for item in self.disk]
        found["batch"] |= {"total": self.batch.total, "sentence": self.batch.sentence}
        return found


def warnings_of(plan: Plan, config: RunConfig) -> list[str]:
    """What a person should know before starting, a line each."""
    found = list(plan.batch.faults)
    if not plan.lengths.measured:
        found.append(f"prompts are taken to have {plan.lengths.prompt} tokens: no tokenizer or no data to measure with")
    if plan.lengths.row > config.micro_batch_tokens:
        found.append(
            f"a row of {plan.lengths.row} tokens is longer than micro_batch_tokens = {config.micro_batch_tokens}, and "
            "is a micro-batch of its own"
        )
    context = plan.shapes.context
    if context is not None and plan.lengths.row > context:
        found.append(
            f"a row of {plan.lengths.row} tokens passes the model's context of {context}; such rows are left out"
        )
    if plan.available is not None and plan.memory.peak > plan.available:
        found.append(
            f"{in_words(plan.memory.peak)} do not fit into the {in_words(plan.available)} of {plan.device}: lower "
            "micro_batch_tokens or sampling_batch_tokens, or set model.gradient_checkpointing or model.lora.rank"
        )
    return found


def in_words(count: float) -> str:
    """Bytes in the largest unit that leaves a number above one."""
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"


def make(config: RunConfig, *, processes: int = 1, sharded: bool = False, card: float | None = None) -> Plan:
    """The plan of a run. Writes nothing and trains nothing.

    `card`: GiB of memory of the CUDA cards that are planned for, instead of this machine; no time is known then. Raises
    FrownError for a model without a usable config.json, or for fewer than one process.
    """
    from frown.losses.head import chunk_bytes
    from frown.plan import pace as paces
    from frown.plan.sizes import shapes as shapes_of

    if processes < 1:
        raise FrownError(f"--processes is at least 1, got {processes}")
    lengths = measure(config)
    batch = batch_of(config, lengths, processes)
    sharded = sharded or config.distributed.sharding == "fsdp2"
    shapes = shapes_of(config.model, rows=batch.rows, length=lengths.student, spread_over=processes if sharded else 1)
    device = paces.device_of(config.model.device)
    if card is not None:
        device = paces.Device("cuda", f"a card of {card:g} GiB", int(card * 2**30))
    memory = memory_of(config, shapes, batch, lengths, chunk_bytes=chunk_bytes(device.kind))
    work = work_of(config, shapes, batch, lengths)
    pace = _pace(config, shapes, work) if card is None else paces.unknown(work.flop)
    evaluations = 2 + (config.optimiser.steps - 1) // config.eval.every
    evaluated = evaluations * config.eval.prompts * config.eval.samples * lengths.answer
    step = pace.sampling * work.sampled_tokens + pace.learning * (work.learnt_tokens + work.taught_tokens)
    found = Plan(
        model=config.model.path,
        shapes=shapes,
        lengths=lengths,
        batch=batch,
        memory=memory,
        sharded=sharded,
        disk=disk_of(config, shapes),
        work=work,
        seconds_per_step=step / processes,
        seconds=(config.optimiser.steps * step + pace.sampling * evaluated) / processes,
        pace=pace.told,
        device=device.name,
        available=device.bytes,
        warnings=(),
    )
    return dataclasses.replace(found, warnings=tuple(warnings_of(found, config)))


def measure(config: RunConfig) -> Lengths:
    """The longest of the first prompts, and what the teacher may be shown before an answer."""
    answer = config.sampling.max_new_tokens
    prompt = _longest_prompt(config)
    told = config.feedback.max_tokens or answer  # a sibling's answer, a solution or comments are seldom longer
    found = prompt or GUESSED_PROMPT
    context = found + told if config.method.share > 0 else 0
    return Lengths(found, answer, context, prompt is not None)


def _longest_prompt(config: RunConfig) -> int | None:
    """Tokens, of 64 prompts; None where tokenizer or data are not there."""
    from frown.policy.load import located
    from frown.policy.text import prompt_ids
    from frown.tasks.load import load_environment

    if not (located(config.model.path, weights=False) / "tokenizer_config.json").is_file():
        return None
    data = config.task.kind in ("math", "choice", "exact")
    if data and config.task.data is None:
        return None
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(located(config.model.path, weights=False), local_files_only=True)
    environment = load_environment(config.task, conversation=config.conversation)
    try:
        tasks = environment.train_tasks(
            np.random.default_rng(config.seed), min(64, 4 * config.sampling.prompts_per_step)
        )
    finally:
        environment.close()
    return max(len(prompt_ids(tokenizer, t.messages)) for t in tasks)


def _pace(config: RunConfig, shapes: Shapes, work: Work) -> Pace:
    """Timed on this machine where the weights are there and small, else from the rate of a matrix product."""
    from frown.plan.pace import of_products, timed
    from frown.policy.load import described

    folder: Path = described(config.model.path)
    answerable = config.task.data is not None or config.task.kind not in ("math", "choice", "exact")
    if answerable and shapes.weights <= TIMED_BELOW and any(folder.glob("*.safetensors")):
        return timed(config)
    return of_products(config.model, work.flop, work.sampled_tokens, WORKED_SHARE)
