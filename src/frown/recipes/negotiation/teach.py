"""SFT on the best turns of a sweep, then Judge Policy Optimization or DPO: EmoDistill's expression half.

Everything is learnt from logged turns, none from answers of the model as it is now. The log-ratio of JPO is taken
against the model after SFT, although other speakers may have said the turns: it keeps the model near, and is no
importance weight. A training that leaves the KL bound stops, and the last weights inside it stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from frown.config import Config
from frown.errors import FrownError
from frown.losses.preference import dpo_loss, judge_advantages, judge_policy_loss
from frown.recipes.negotiation import speaker_model
from frown.recipes.negotiation.speaker_model import (
    Line,
    Objective,
    kl_distance,
    log_probabilities,
    objective_step,
    pad,
    sample_utterances,
    supervised_step,
)
from frown.recipes.negotiation.speech import Moment

if TYPE_CHECKING:
    from torch import Tensor

    from frown.learner.learner import Learner

LEAST_IN_GROUP = 4
"""Judged turns of a scenario, fewer of which say nothing of each other."""


class TeachConfig(Config):
    """Settings of the speaker's training; in brackets those of EmoDistill (7 billion parameters) where they differ."""

    sft_share: float = Field(default=0.1, gt=0, le=1)
    """Share of the turns that SFT learns from."""
    sft_lr: float = Field(default=3e-3, gt=0)
    """Learning rate of SFT. [1e-4]"""
    sft_epochs: int = Field(default=3, ge=1)
    """[1]"""
    jpo_lr: float = Field(default=1e-3, gt=0)
    """Learning rate of JPO. [5e-6]"""
    dpo_lr: float = Field(default=5e-4, gt=0)
    """Learning rate of DPO, which moves faster."""
    epochs: int = Field(default=2, ge=1)
    """Of JPO and DPO. [1]"""
    batch_size: int = Field(default=32, ge=1)
    """Turns a step; of DPO, pairs. [16]"""
    clip: float = Field(default=0.2, gt=0)
    kl_weight: float = Field(default=0.04, ge=0)
    """Weight of the K3 distance to the model after SFT."""
    negative_factor: float = Field(default=1.0, ge=0, le=1)
    """Factor of negative advantages: 1 is JPO, 0 learns from good turns alone."""
    beta: float = Field(default=0.1, gt=0)
    """Of DPO."""
    max_pairs: int = Field(default=15, ge=1)
    """Of DPO: a scenario's best so many turns, each with one of its worst so many."""
    min_gap: float = Field(default=0.5, ge=0)
    """Of DPO: a pair's scores differ by this at least (the judge's points)."""
    kl_bound: float = Field(default=0.1, gt=0)
    """Most distance to the model after SFT, nats a token."""
    check_every: int = Field(default=10, ge=1)
    """Steps of JPO and DPO between two looks at the distance."""


class TrainingResult(NamedTuple):
    """The course of a training: steps taken, whether the KL bound stopped it, and the objective at each step."""

    steps: int
    stopped: bool
    losses: list[float]


def best_turns(rewards: ArrayLike, returns: ArrayLike, share: float) -> NDArray[np.int64]:
    """The best share of N turns by step reward + half of the episode's (EmoDistill), the best first; at least one.

    `rewards`, `returns`: [N], of the step and of the dialogue it belongs to.
    """
    worth = np.asarray(rewards) + 0.5 * np.asarray(returns)
    return np.argsort(-worth, kind="stable")[: max(1, round(share * len(worth)))]


def group_advantages(groups: ArrayLike, scores: ArrayLike) -> NDArray[np.float64]:
    """The advantage of each of N judged turns in its group (scenario), [N]: `losses.preference.judge_advantages`."""
    names, place = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(place, kind="stable")
    column = np.empty(len(place), dtype=np.int64)
    column[order] = np.arange(len(place)) - np.searchsorted(place[order], place[order])
    table = np.full((len(names), int(column.max(initial=0)) + 1), np.nan)
    table[place, column] = np.asarray(scores, dtype=np.float64)
    return judge_advantages(table, LEAST_IN_GROUP)[place, column]


def preference_pairs(
    groups: ArrayLike, scores: ArrayLike, most: int, min_gap: float, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """(better, worse) turns of the same group: its best `most` turns, each with one of its worst `most`.

    Ties are drawn. A turn is in one pair at most, and the scores of a pair differ by `least_gap` or more (and differ).
    Raises FrownError where there is no pair.
    """
    of, worth = np.asarray(groups), np.asarray(scores, dtype=np.float64)
    out = []
    for name in np.unique(of):
        members = rng.permutation(np.flatnonzero(of == name))
        ranked = members[np.argsort(-worth[members], kind="stable")]
        count = min(most, len(ranked) // 2)
        for better, worse in zip(ranked[:count], ranked[::-1][:count], strict=True):
            gap = worth[better] - worth[worse]
            if gap > 0 and gap >= min_gap:
                out.append((int(better), int(worse)))
    if not out:
        raise FrownError(
            f"no two turns of one scenario were judged {min_gap:g} points apart: make more dialogues "
            "(dialogues=...), or lower learning.least_gap"
        )
    return out


def count_steps(count: int, batch: int, epochs: int) -> int:
    """Optimiser steps in so many epochs over so many turns."""
    return epochs * -(-count // batch)


def sft(learner: Learner, lines: Sequence[Line], settings: TeachConfig, seed: int) -> TrainingResult:
    """Supervised learning on some turns."""
    rng, losses = np.random.default_rng(seed), []
    for batch in _batches(len(lines), settings.batch_size, settings.sft_epochs, rng):
        losses.append(supervised_step(learner, [lines[i] for i in batch]))
    return TrainingResult(len(losses), False, losses)


def jpo(
    learner: Learner,
    lines: Sequence[Line],
    advantages: NDArray[np.float64],
    settings: TeachConfig,
    watched_moments: Sequence[Moment],
    seed: int,
) -> TrainingResult:
    """Judge Policy Optimization from the model as it is. `watched`: moments at which the distance is taken.

    Raises FrownError where no turn has an advantage.
    """
    import torch

    if not advantages.any():
        raise FrownError(
            f"no scenario has {LEAST_IN_GROUP} judged turns with different scores, so there is nothing to prefer: make "
            "more dialogues (dialogues=...)"
        )
    reference = log_probabilities(learner.policy, lines)
    weight = torch.from_numpy(advantages)

    def objective(logp: Tensor, mask: Tensor, rows: Sequence[int]) -> Tensor:
        before = pad([reference[i] for i in rows])[0]
        return judge_policy_loss(
            logp,
            before,
            mask,
            weight[rows],
            clip=settings.clip,
            kl=settings.kl_weight,
            negative=settings.negative_factor,
        )

    rng = np.random.default_rng(seed)
    batches = _batches(len(lines), settings.batch_size, settings.epochs, rng)
    return _train(learner, lines, batches, objective, settings, watched_moments, seed)


def dpo(
    learner: Learner,
    lines: Sequence[Line],
    pairs: Sequence[tuple[int, int]],
    settings: TeachConfig,
    watched_moments: Sequence[Moment],
    seed: int,
) -> TrainingResult:
    """Direct preference optimisation from the model as it is, on pairs of `pairs_of`."""
    reference = [float(r.sum()) for r in log_probabilities(learner.policy, lines)]

    def objective(logp: Tensor, mask: Tensor, rows: Sequence[int]) -> Tensor:
        now, before = (logp * mask).sum(dim=1), logp.new_tensor([reference[i] for i in rows])
        half = len(rows) // 2
        return dpo_loss(now[:half], now[half:], before[:half], before[half:], settings.beta)

    rng = np.random.default_rng(seed)
    batches = [
        [pairs[i][side] for side in (0, 1) for i in batch]
        for batch in _batches(len(pairs), settings.batch_size, settings.epochs, rng)
    ]
    return _train(learner, lines, batches, objective, settings, watched_moments, seed)


def _train(
    learner: Learner,
    lines: Sequence[Line],
    batches: Sequence[Sequence[int]],
    objective: Objective,
    settings: TeachConfig,
    watched_moments: Sequence[Moment],
    seed: int,
) -> TrainingResult:
    """Step after step on batches of lines, until the KL bound is passed."""
    start = last_inside = speaker_model.copy_weights(learner)
    losses: list[float] = []
    for step, rows in enumerate(batches, start=1):
        losses.append(objective_step(learner, [lines[i] for i in rows], rows, objective))
        if step % settings.check_every == 0 or step == len(batches):
            if (
                kl_distance(learner, start, sample_utterances(learner.policy, watched_moments, seed + step)).mean()
                > settings.kl_bound
            ):
                speaker_model.load_weights(learner, last_inside)
                return TrainingResult(step, True, losses)
            last_inside = speaker_model.copy_weights(learner)
    return TrainingResult(len(losses), False, losses)


def _batches(count: int, size: int, epochs: int, rng: np.random.Generator) -> list[list[int]]:
    out = []
    for _ in range(epochs):
        order = rng.permutation(count).tolist()
        out += [order[i : i + size] for i in range(0, count, size)]
    return out
