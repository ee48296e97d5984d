"""How fast this machine samples and learns: measured, in a few seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from frown.config import DistributedConfig, ModelConfig, RunConfig
from frown.policy.load import context_length, device_named

if TYPE_CHECKING:
    from frown.learner.learner import Learner
    from frown.types import Task


class Device(NamedTuple):
    """Where a run would take place."""

    kind: str
    """ "cpu", "cuda", ..."""
    name: str
    bytes: int | None
    """Of its memory; None where that cannot be told."""


class Pace(NamedTuple):
    """Seconds a token; not a number where that is not known."""

    sampling: float
    """Of an answer, prompts included."""
    learning: float
    """Of a row, student's or teacher's."""
    basis: str
    """How this is known."""


def device_of(name: str) -> Device:
    """The device that a configuration's `model.device` means here."""
    import os

    import torch

    device = device_named(name)
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return Device("cuda", properties.name, int(properties.total_memory))
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        memory = None
    return Device(device.type, f"this machine's {device.type}", memory)


def timed(config: RunConfig, *, patience: float = 2.0, tokens: int = 128) -> Pace:
    """The pace of short answers to the run's own prompts, sampled and trained on; no weight is changed."""
    from frown.learner.learner import Learner
    from frown.policy.policy import policy_of
    from frown.tasks.load import load_environment
    from frown.training.context import Room, fitting

    sampling = config.sampling.model_copy(update={"max_new_tokens": min(tokens, config.sampling.max_new_tokens)})
    alone = DistributedConfig()  # one process is timed
    short = config.model_copy(update={"sampling": sampling, "distributed": alone})
    learner = Learner(policy_of(short), short)
    environment = load_environment(config.task, conversation=config.conversation)
    room = Room(context_length(learner.policy.model), config.sampling.max_new_tokens)
    environment = fitting(environment, learner.policy.tokenizer, room)
    try:
        return pace_of(learner, lambda n: environment.train_tasks(np.random.default_rng(config.seed), n), patience)
    finally:
        environment.close()


def pace_of(learner: Learner, tasks: Callable[[int], Sequence[Task]], patience: float) -> Pace:
    """The pace of a learner on so many `tasks` as it is asked for, an answer each; no weight is changed.

    Few answers first, then more at once (which is faster by the token) until that takes `patience` seconds or is as
    many as a step has.
    """
    most = learner.config.answers_per_step
    rows = min(4, most)
    _once(learner, tasks(1))  # pays for what is done once
    while True:
        pace, seconds = _once(learner, tasks(rows))
        if seconds > patience or rows == most:
            return pace
        rows = min(4 * rows, most)


def _once(learner: Learner, tasks: Sequence[Task]) -> tuple[Pace, float]:
    from frown.types import TeacherView

    config = learner.config
    began = time.perf_counter()
    rollouts = learner.policy.sample(tasks, 1, seed=0, temperature=config.sampling.temperature)
    sampled = time.perf_counter()
    views = [TeacherView(i, r.prompt_ids, np.ones(len(r.ids), np.float32)) for i, r in enumerate(rollouts)]
    advantages = [np.ones(len(r.ids), np.float32) for r in rollouts]
    learner.backward(rollouts, views, advantages, distillation=config.method.share)
    learner.optimiser.zero_grad(set_to_none=True)
    ended = time.perf_counter()
    answers = sum(len(r.ids) for r in rollouts)
    passes = 2 if config.method.share > 0 else 1
    tokens = passes * sum(len(r.prompt_ids) + len(r.ids) for r in rollouts)
    basis = f"timed here on {len(tasks)} answers of {answers / len(tasks):.0f} tokens at once"
    return Pace((sampled - began) / answers, (ended - sampled) / tokens, basis), ended - began


def of_products(config: ModelConfig, flop: float, sampled: int, share: float) -> Pace:
    """The pace at a `share` of the rate of a plain matrix product here, of a step of `flop` operations.

    All of it is put on the `sampled` tokens. Decoding seldom reaches such a share, so this is rather too little.
    """
    import torch

    device, dtype, n = device_named(config.device), getattr(torch, config.dtype), 1024
    a = torch.ones(n, n, device=device, dtype=dtype)
    rate = 0.0
    for _ in range(3):
        began = time.perf_counter()
        _done(a @ a)
        rate = max(rate, 2.0 * n**3 / (time.perf_counter() - began))
    basis = f"{share:.0%} of a matrix product's rate here, {rate / 1e12:.2f} TFLOP/s in {config.dtype}; not timed"
    return Pace(flop / (share * rate) / sampled, 0.0, basis)


def unknown(flop: float) -> Pace:
    """The pace of a card that is not here, of a step of `flop` operations: none, for what this machine can do says
    nothing of it."""
    return Pace(math.nan, math.nan, f"not known for a card that is not here; {flop / 1e12:.3g} TFLOP a step")


def _done(result: Any) -> float:
    """Wait for a result."""
    return float(result[0, 0])
