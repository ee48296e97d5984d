"""Bytes that a run takes in memory and on disk, item by item."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from frown.config import RunConfig
from frown.plan.batch import Batch, Lengths

if TYPE_CHECKING:
    from frown.plan.sizes import Shapes

ROLLOUT_BYTES_PER_TOKEN = 64
"""Of a rollout file, signals and teacher's readings included; zstd makes less of it."""


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
        """The most that there is at a time."""
        return _sum(self.always) + max(map(_sum, (self.sampling, self.learning, self.stepping)))

    @property
    def phase(self) -> str:
        """When that is."""
        return max(("sampling", "learning", "stepping"), key=lambda name: _sum(getattr(self, name)))


def _sum(items: tuple[Item, ...]) -> int:
    return sum(item.bytes for item in items)


def memory_of(config: RunConfig, shapes: Shapes, batch: Batch, lengths: Lengths, *, chunk_bytes: int) -> Memory:
    """What one process has in memory; where the shapes are those of a model spread over processes, its part and what is
    put together for a while.

    `chunk_bytes`: logits of one model in one chunk of the loss, on the device that is planned for.
    """
    return Memory(
        tuple(_always(config, shapes)),
        tuple(_sampling(config, shapes, batch, lengths)),
        tuple(_learning(config, shapes, batch, lengths, chunk_bytes)),
        tuple(_stepping(shapes)),
    )


def _always(config: RunConfig, shapes: Shapes) -> Iterator[Item]:
    """Weights, moments, and the copies of weights."""
    part = shapes.per_process
    sharded = part.processes > 1
    here = " here" if sharded else ""
    share = f"; of layers one part of {part.processes}, embedding and head whole" if sharded else ""
    yield Item("weights", part.weights, f"{shapes.parameters:,} parameters, {config.model.dtype}{share}")
    yield Item("optimiser", 8 * part.trainable, f"AdamW: two float32 for each of {part.trainable:,} learnt{here}")
    yield Item("teacher", *teacher_bytes(config, part.weights, part.base))
    if (config.loss.kl_anchor or config.guard.kl is not None) and config.model.lora is None:
        yield Item("start", part.weights, "a copy, for loss.kl_anchor and guard.kl")


def _sampling(config: RunConfig, shapes: Shapes, batch: Batch, lengths: Lengths) -> Iterator[Item]:
    """While answers are sampled."""
    group = config.sampling.responses_per_prompt
    prompts = max(1, config.answers_per_step // group // batch.processes)
    prompts = min(prompts, max(1, config.sampling_batch_tokens // (lengths.student * group)))
    at_once = prompts * group
    cache = at_once * lengths.student * shapes.cache_of_token
    read = shapes.kept_by_layer * prompts * lengths.prompt // (batch.rows * lengths.student)
    yield Item("keys and values", cache + cache // 8, f"{at_once} answers of {lengths.student} tokens, and an eighth")
    logits = 4 * 4 * at_once * shapes.vocabulary
    yield Item("logits", logits, "one decoding step: as they are, tempered, softmax, drawn")
    yield Item("reading prompts", read, "one layer at a time")
    if shapes.per_process.processes > 1:
        yield Item("layers", shapes.per_process.layers, "all put together")


def _learning(config: RunConfig, shapes: Shapes, batch: Batch, lengths: Lengths, chunk_bytes: int) -> Iterator[Item]:
    """While gradients are computed."""
    part, hidden, answers = shapes.per_process, 4 * shapes.hidden, batch.rows * lengths.answer
    if config.model.gradient_checkpointing:
        kept, what = shapes.layer_inputs + shapes.kept_by_layer, "what enters each layer, and one layer computed again"
    else:
        # In the backward pass gradients of activations stand beside what was kept.
        kept, what = shapes.kept + shapes.kept_by_layer // 2, "all that the backward pass needs"
    chunk = min(chunk_bytes, 4 * answers * shapes.vocabulary)
    distilled = config.method.share > 0
    head = shapes.head * (2 if shapes.tied else 1)
    yield Item("gradients", 4 * part.trainable, "float32")
    yield Item("activations", kept, f"{batch.rows} x {lengths.student} tokens; {what}")
    yield Item("logits", 2 * chunk if distilled else chunk, "one chunk of student and teacher, never the whole")
    yield Item("hidden states", 4 * answers * hidden, "of student and teacher, and their gradients")
    yield Item("head's gradient", head, "on its way" + (", twice: it is the embedding's, too" if shapes.tied else ""))
    if part.processes > 1:
        teacher, _ = teacher_bytes(config, part.largest, part.largest_base)
        layers = 3 * max(part.largest, teacher)
        yield Item("layers", layers, "one and the next put together, and one on its way")
        yield Item("layers' gradients", 8 * part.largest_trainable, "of one layer, before they are dealt out")


def _stepping(shapes: Shapes) -> Iterator[Item]:
    """While the optimiser takes its step."""
    yield Item("gradients", 4 * shapes.per_process.trainable, "float32")
    yield Item("update", 4 * shapes.per_process.trainable, "on its way, at most")


def teacher_bytes(config: RunConfig, weights: int, base: int) -> tuple[int, str]:
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
    saved += 8 * shapes.trainable + teacher_bytes(config, shapes.weights, base)[0]
    copies = config.checkpoint.keep + 1
    rollouts = steps * sampling.answers_per_step * sampling.max_new_tokens * ROLLOUT_BYTES_PER_TOKEN
    return (
        Item("checkpoints", copies * saved, f"weights, optimiser and teacher, {copies} while one replaces another"),
        Item("rollouts", rollouts if config.keep_rollouts else 0, f"{ROLLOUT_BYTES_PER_TOKEN} bytes a token at most"),
    )
