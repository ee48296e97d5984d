"""A watch over signs of collapse: what the metrics of the last few steps say, against the first. Pure.

SDPO as published loses the form of its answers after some hundred steps on some tasks, and a teacher that follows the
student too fast does so on the lab within eighty (docs/lab-log.md). The loss says nothing of it: student and teacher
fall together. Length, entropy, repetition and form do. What is done about it is `frown.training.rescue`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from frown.config import GuardConfig

CANARIES = {
    "length": "mean tokens of an answer",
    "policy_entropy": "mean entropy of the policy at a sampled token, nats",
    "repetition": "share of repeated 4-grams in an answer",
    "truncated": "share of answers cut at the token limit",
    "flat_groups": "share of groups whose answers all have the same score, and not the full one",
    "well_formed": "share of well-formed answers",
    "kl_to_start": "KL divergence from the policy's start, nats a token",
    "dev_accuracy": "accuracy on the dev split",
}
"""Key in metrics.jsonl -> what it says."""


class Trip(NamedTuple):
    """A canary that fell silent."""

    canary: str
    value: float | None
    """Its mean over the window; None where it is not a finite number."""
    limit: float | None
    since: int
    """First step of the window."""

    @property
    def sentence(self) -> str:
        """What happened, for a person."""
        if self.value is None or self.limit is None:
            return f"guard: loss or gradient is not finite at step {self.since}"
        side = "above" if self.value > self.limit else "below"
        what = CANARIES[self.canary]
        return f"guard: {what} is {self.value:.3g}, {side} its limit of {self.limit:.3g}, since step {self.since}"


@dataclass(frozen=True)
class Guard:
    """What the guard remembers from step to step."""

    start: Mapping[str, float] | None = None
    """The canaries of the first step, whose answers are from before any weight moved."""
    recent: tuple[Mapping[str, float], ...] = ()
    """The canaries of the last steps, at most a window of them."""
    best: float | None = None
    """The best accuracy on the dev split so far."""
    tripped: frozenset[str] = frozenset()
    """Canaries beyond their limits, which have been told of."""
    cuts: int = 0
    """Times that the weight of distillation was halved."""
    rollbacks: int = 0

    @property
    def distillation_factor(self) -> float:
        """What the share of self-distillation is multiplied by."""
        return 0.5**self.cuts

    @property
    def lr_factor(self) -> float:
        """What the learning rate is multiplied by."""
        return 0.5**self.rollbacks

    def state(self) -> dict[str, Any]:
        """Everything as plain data; `frown.training.state.read_state` reads it back."""
        return {**asdict(self), "tripped": sorted(self.tripped)}


def watch(guard: Guard, step: int, metrics: Mapping[str, Any], config: GuardConfig) -> tuple[Guard, tuple[Trip, ...]]:
    """The guard after one more step with these metrics, and the canaries that have just passed their limits.

    A canary counts as its mean over the last `config.window` steps; accuracy on the dev split as it was measured last.
    One that stays beyond its limit trips once, and may trip again when it has come back in between.
    """
    now = {name: float(metrics[name]) for name in CANARIES if metrics.get(name) is not None}
    accuracy = now.pop("dev_accuracy", None)
    recent = (*guard.recent, now)[-config.window :]
    full = len(recent) == config.window
    means = {name: float(np.mean([r[name] for r in recent if name in r])) for name in now} if full else {}
    start = now if guard.start is None else guard.start
    since, beyond, within = step - len(recent) + 1, list[Trip](), set[str]()
    for name, (low, high) in bounds(start, config).items():
        if name in means:
            value = means[name]
            if low <= value <= high:
                within.add(name)
            else:
                beyond.append(Trip(name, value, low if value < low else high, since))
    best = guard.best
    if accuracy is not None:
        best = accuracy if best is None else max(best, accuracy)
        if config.accuracy is not None and accuracy < best - config.accuracy:
            beyond.append(Trip("dev_accuracy", accuracy, best - config.accuracy, step))
        else:
            within.add("dev_accuracy")
    fresh = tuple(t for t in beyond if t.canary not in guard.tripped)
    tripped = (guard.tripped - within) | {t.canary for t in beyond}
    return replace(guard, start=start, recent=recent, best=best, tripped=tripped), fresh


def bounds(start: Mapping[str, float], config: GuardConfig) -> dict[str, tuple[float, float]]:
    """Least and most of each canary, for a run that started like this."""
    never = float("inf")
    limits: dict[str, tuple[float, float]] = {}
    for name, shares in (("length", config.length), ("policy_entropy", config.entropy)):
        if shares is not None and name in start:
            limits[name] = (shares[0] * start[name], shares[1] * start[name])
    rises = {"repetition": config.repetition, "truncated": config.truncated, "flat_groups": config.flat_groups}
    for name, rise in rises.items():
        if rise is not None and name in start:
            limits[name] = (-never, start[name] + rise)
    if config.well_formed is not None and "well_formed" in start:
        limits["well_formed"] = (start["well_formed"] - config.well_formed, never)
    if config.kl is not None:
        limits["kl_to_start"] = (-never, config.kl)
    return limits
