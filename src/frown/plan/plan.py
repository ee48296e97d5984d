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
from frown.plan.batch import Batch, Lengths, batch_of
from frown.plan.memory import Item, Memory, disk_of, memory_of

if TYPE_CHECKING:
    from frown.plan.pace import Pace
    from frown.plan.sizes import Shapes

GUESSED_PROMPT = 512
"""Tokens of a prompt where there is no tokenizer or no data to measure with."""
TIMED_BELOW = 2 << 30
"""Bytes of weights up to which a model is loaded and timed."""
WORKED_SHARE = 0.4
"""Share of a plain matrix product's rate that a model is assumed to reach where it is not timed."""


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
    """Bytes of memory on this device; None where nobody knows."""
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as plain values; bytes, tokens and seconds."""
        values = dataclasses.asdict(dataclasses.replace(self, shapes=None, lengths=None, work=None))  # type: ignore[arg-type]
        for name in ("seconds_per_step", "seconds"):
            values[name] = values[name] if math.isfinite(values[name]) else None
        for name in ("shapes", "lengths", "work"):
            values[name] = getattr(self, name)._asdict()
        values["shapes"]["per_process"] = self.shapes.per_process._asdict()
        values["lengths"]["row"] = self.lengths.row
        for phase in ("always", "sampling", "learning", "stepping"):
            values["memory"][phase] = [item._asdict() for item in getattr(self.memory, phase)]
        values["memory"] |= {"peak": self.memory.peak, "phase": self.memory.phase}
        values["disk"] = [item._asdict() for item in self.disk]
        values["batch"] |= {"total": self.batch.total, "sentence": self.batch.sentence}
        return values


def warnings_of(plan: Plan, config: RunConfig) -> list[str]:
    """What a person should know before starting, a line each."""
    lines = list(plan.batch.faults)
    if not plan.lengths.measured:
        lines.append(f"prompts are taken to have {plan.lengths.prompt} tokens: no tokenizer or no data to measure with")
    if plan.lengths.row > config.micro_batch_tokens:
        lines.append(
            f"a row of {plan.lengths.row} tokens is longer than micro_batch_tokens = {config.micro_batch_tokens}, and "
            "is a micro-batch of its own"
        )
    context = plan.shapes.context
    if context is not None and plan.lengths.row > context:
        lines.append(
            f"a row of {plan.lengths.row} tokens passes the model's context of {context}; such rows are left out"
        )
    if plan.available is not None and plan.memory.peak > plan.available:
        lines.append(
            f"{in_words(plan.memory.peak)} do not fit into the {in_words(plan.available)} of {plan.device}: lower "
            "micro_batch_tokens or sampling_batch_tokens, or set model.gradient_checkpointing or model.lora.rank"
        )
    return lines


def in_words(count: float) -> str:
    """Bytes in the largest unit that leaves a number above one."""
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"


def make(
    config: RunConfig,
    *,
    processes: int = 1,
    sharded: bool = False,
    card: float | None = None,
    pace: Pace | None = None,
) -> Plan:
    """The plan of a run. Writes nothing and trains nothing.

    `card`: GiB of memory of the CUDA cards that are planned for, instead of this machine; no time is known then.
    `pace`: what is known of it already, instead of timing it here. Raises FrownError for a model without a usable
    config.json, or for fewer than one process.
    """
    from frown.losses.head import chunk_bytes
    from frown.plan import pace as paces
    from frown.plan.sizes import shapes as shapes_of

    if processes < 1:
        raise FrownError(f"--processes is at least 1, got {processes}")
    lengths, notes = measure(config)
    batch = batch_of(config, lengths, processes)
    sharded = sharded or config.distributed.sharding == "fsdp2"
    shapes = shapes_of(config.model, rows=batch.rows, length=lengths.student, spread_over=processes if sharded else 1)
    device = paces.device_of(config.model.device)
    if card is not None:
        device = paces.Device("cuda", f"a card of {card:g} GiB", int(card * 2**30))
    memory = memory_of(config, shapes, batch, lengths, chunk_bytes=chunk_bytes(device.kind))
    work = work_of(config, shapes, batch, lengths)
    if pace is None:
        pace = _pace(config, shapes, work) if card is None else paces.unknown(work.flop)
    evaluations = 2 + (config.optimiser.steps - 1) // config.eval.every
    evaluated = evaluations * config.eval.prompts * config.eval.samples * lengths.answer
    step = pace.sampling * work.sampled_tokens + pace.learning * (work.learnt_tokens + work.taught_tokens)
    plan = Plan(
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
        pace=pace.basis,
        device=device.name,
        available=device.bytes,
        warnings=(),
    )
    return dataclasses.replace(plan, warnings=(*notes, *warnings_of(plan, config)))


class Measured(NamedTuple):
    """How long what is asked is, and what a person should know of the data."""

    lengths: Lengths
    notes: tuple[str, ...] = ()
    """Rows that are left out, and those a teacher is told too much about, a line each."""


def measure(config: RunConfig) -> Measured:
    """The longest prompt (of all training rows; of 64 that are drawn, where tasks are made), and what the teacher may
    be shown before an answer. Raises FrownError as the run itself would, for data that it cannot use."""
    answer = config.sampling.max_new_tokens
    measured, notes = _longest_prompt(config)
    prompt = measured or GUESSED_PROMPT
    feedback = config.feedback.max_tokens or answer  # a sibling's answer, a solution or comments are seldom longer
    context = prompt + feedback if config.method.share > 0 else 0
    return Measured(Lengths(prompt, answer, context, measured is not None), notes)


def _longest_prompt(config: RunConfig) -> tuple[int | None, tuple[str, ...]]:
    """Tokens, None where tokenizer or data are not there; and what is to be said of the data."""
    from frown.policy.text import prompt_lengths
    from frown.tasks.environment import DataEnvironment
    from frown.tasks.load import load_environment
    from frown.training.context import demonstrable, fitting, long_solutions, measured_by

    data = config.task.kind in ("math", "choice", "exact")
    model = measured_by(config.model.path, config.sampling.max_new_tokens)
    if model is None or (data and config.task.data is None):
        return None, ()
    tokenizer, room = model
    environment = load_environment(config.task, conversation=config.conversation)
    try:
        environment = fitting(environment, tokenizer, room)
        if config.method.demonstrated:
            environment = demonstrable(environment, tokenizer, room)
        notes = (*environment.notes, long_solutions(config, environment, tokenizer, room))
        drawn = min(64, 4 * config.sampling.prompts_per_step)
        tasks = environment.train if isinstance(environment, DataEnvironment) else None
        if tasks is None:
            tasks = tuple(environment.train_tasks(np.random.default_rng(config.seed), drawn))
    finally:
        environment.close()
    lengths = prompt_lengths(tokenizer, [t.messages for t in tasks])
    refused = next((n for n in lengths if isinstance(n, FrownError)), None)
    if refused is not None:
        raise refused
    return max(n for n in lengths if isinstance(n, int)), tuple(line for line in notes if line)


def _pace(config: RunConfig, shapes: Shapes, work: Work) -> Pace:
    """Timed on this machine where the weights are there and small, else from the rate of a matrix product."""
    from frown.plan.pace import of_products, timed
    from frown.policy.folder import described

    place: Path = described(config.model.path)
    answerable = config.task.data is not None or config.task.kind not in ("math", "choice", "exact")
    if answerable and shapes.weights <= TIMED_BELOW and (place.is_file() or any(place.glob("*.safetensors"))):
        return timed(config)
    return of_products(config.model, work.flop, work.sampled_tokens, WORKED_SHARE)
