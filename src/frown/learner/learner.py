"""The learner: a policy, its self-teacher and its optimiser. `learn` takes one step; `score` only looks.

Each process of several is asked the same and answers for all: the rows of a batch are shared out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from frown.config import RunConfig
from frown.errors import NotFinite
from frown.learner import shards
from frown.learner.objective import ObjectiveFunction, Scale, scale_of, token_loss, values_of
from frown.learner.passes import training_passes
from frown.learner.rows import TrainingRow, cut, training_rows
from frown.learner.schedule import rate
from frown.learner.scorer import TEACHER_SIGNALS, Scorer
from frown.learner.start import Start
from frown.losses.objectives import mismatch
from frown.policy.passes import Pass
from frown.policy.policy import Policy
from frown.teacher.weights import Teacher
from frown.types import Floats, Rollout, TeacherView

Statistics = dict[str, np.ndarray]
"""What was read of the N tokens of a pass, name -> [N]."""


class Update(NamedTuple):
    """What was read of one batch, and how far its gradient went."""

    averages: dict[str, float]
    """The loss, the number of rows computed, and the mean of each signal over the tokens that counted."""
    views: list[dict[str, Floats]]
    """One dictionary a view, in order: `TEACHER_SIGNALS`, float32[T], NaN at tokens that did not count."""
    gradient_norm: float = 0.0
    """Before clipping; 0 where no step was taken."""


class Learner:
    """Trains a policy. Everything is configured, but for the share of distillation, which each batch brings."""

    def __init__(self, policy: Policy, config: RunConfig):
        """Spread the policy over processes where that is configured, and copy what a teacher needs of its weights."""
        self.policy, self.config = policy, config
        self._loss, self._teacher_beta = config.loss, config.affect.weight.teacher_beta
        self.sharded = config.distributed.sharding == "fsdp2"
        copied = shards.spread(policy) if self.sharded else None
        self.scorer = Scorer(policy, config.teacher, self._loss, copied)
        wanted = self._loss.kl_anchor or config.guard.kl is not None
        self.start = Start(policy, copied) if wanted else None
        self.parameters = [p for p in policy.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters,
            lr=config.optimiser.lr,
            betas=config.optimiser.betas,
            weight_decay=config.optimiser.weight_decay,
            foreach=False if self.sharded else None,  # parts and whole tensors do not go into one call
        )

    # -- learn ---------------------------------------------------------------------------------------------------------

    def learn(
        self,
        rollouts: Sequence[Rollout],
        views: Sequence[TeacherView],
        advantages: Sequence[Floats],
        *,
        distillation: float,
        objective: ObjectiveFunction | None = None,
        lr_factor: float = 1.0,
    ) -> Update:
        """One step of the optimiser on a batch (see `backward`); none where nothing in it counts.

        `lr_factor` multiplies the learning rate of the schedule. Raises NotFinite, before the weights move, where the
        loss or its gradient is not finite.
        """
        update = self.backward(rollouts, views, advantages, distillation=distillation, objective=objective)
        return update._replace(gradient_norm=self.step(lr_factor)) if update.averages["rows"] else update

    def backward(
        self,
        rollouts: Sequence[Rollout],
        views: Sequence[TeacherView],
        advantages: Sequence[Floats],
        *,
        distillation: float,
        objective: ObjectiveFunction | None = None,
    ) -> Update:
        """Gradients of one batch, and what the passes read of it.

        loss = d * sum(w * divergence) / sum(w) + (1 - d) * sum(policy gradient) / N + a * sum(KL to the start) / N,
        with d = `distillation` in [0, 1], a = `kl_anchor` and N the number of sampled tokens. `advantages`:
        float[T] for each rollout. Rows that carry neither weight nor advantage nor an anchor are not computed at all,
        every row is cut after its last token that counts, and what rows share at their beginning is computed once where
        the model allows it (`frown.policy.trunk`). With `affect.weight.teacher_beta` the weights w are multiplied by
        exp(-beta H_teacher) first. `objective`: the loss of each token by a function of one's own, in place of the
        first two terms. The sums are over all processes' rows, and so are the gradients in the end.
        """
        anchor = self._loss.kl_anchor
        rows = training_rows(rollouts, views, advantages, distillation, anchor > 0, self.policy.steps_taken)
        rows = [cut(r) for r in rows]
        scale = scale_of(rows, rollouts, distillation, anchor)
        loss, statistics, readings = self._passes(rows, scale, objective, views)
        if self._teacher_beta:
            loss *= self._renormalise(statistics, distillation)
        shards.add_gradients(self.parameters, self.policy.ranks)
        if not math.isfinite(loss):
            raise NotFinite(f"the loss is {loss}")
        return Update({"loss": loss, "rows": float(len(rows)), **_averages(statistics)}, readings)

    def _passes(
        self,
        rows: Sequence[TrainingRow],
        scale: Scale,
        objective: ObjectiveFunction | None,
        views: Sequence[TeacherView],
    ) -> tuple[float, list[Statistics], list[dict[str, Floats]]]:
        """The loss of a batch, what each pass read, and what was read of each view, whichever process it was in."""
        policy, loss = self.policy, 0.0
        statistics: list[Statistics] = []
        readings: dict[int, dict[str, Floats]] = {}
        for batch in training_passes(rows, policy.packing, policy.ranks, sharded=self.sharded):
            value, read = self._backward(batch, scale, objective)
            loss += value
            statistics.append(read)
            readings |= _by_view(batch, read, views)
        loss = policy.ranks.total(loss)
        statistics = policy.ranks.gather(lambda: statistics)
        readings = dict(policy.ranks.gather(lambda: list(readings.items())))
        return loss, statistics, [readings.get(v, _unread(view)) for v, view in enumerate(views)]

    def _backward(
        self, batch: Pass[TrainingRow], scale: Scale, objective: ObjectiveFunction | None
    ) -> tuple[float, Statistics]:
        """Hidden states of one pass, once through the head (twice with an anchor), and gradients."""
        values = values_of(batch, scale)
        loss = token_loss(values, objective, teacher_beta=self._teacher_beta, importance_cap=self._loss.importance_cap)
        with batch.packing.engaged(self.policy.model):
            hidden = batch.hidden(self.policy.model)
            out = self.scorer.head_pass(batch, hidden, loss)
            total, signals = out.loss, dict(out.signals)
            if self._loss.kl_anchor:
                assert self.start is not None
                weight = batch.gathered([np.full(len(r.ids), r.anchored * scale.anchor) for r in batch.rows]).float()
                anchor = self.start.anchor(batch, hidden, weight)
                total = total + anchor.loss
                signals["kl_to_start"] = anchor.signals["divergence"]
            total.backward()
        statistics = {name: signal.cpu().numpy() for name, signal in signals.items()}
        statistics["weight"] = values.weight.cpu().numpy()
        fresh = np.concatenate([np.full(len(at), r.fresh) for r, at in zip(batch.rows, batch.places, strict=True)])
        statistics["mismatch"] = mismatch(-out.signals["surprisal"], values.sampled_logp).cpu().numpy()[fresh]
        return float(total.detach()), statistics

    def _renormalise(self, statistics: Sequence[Statistics], distillation: float) -> float:
        """Make the mean weight one again, now that it is known what the teacher's doubt took away: the factor by which
        the gradients were multiplied."""
        beta = self._teacher_beta
        kept = sum(float((s["weight"] * np.exp(-beta * s["teacher_entropy"])).sum()) for s in statistics)
        factor = distillation / kept if kept else 1.0
        for p in self.parameters:
            if p.grad is not None:
                p.grad.mul_(factor)
        return factor

    def step(self, lr_factor: float = 1.0) -> float:
        """Clip, update the student, then the teacher. Returns the gradient norm before clipping.

        A gradient that is not finite is an error, and leaves the weights as they were.
        """
        settings, policy = self.config.optimiser, self.policy
        norm = shards.clip(self.parameters, settings.max_grad_norm, policy.ranks)
        if not math.isfinite(norm):
            raise NotFinite("the gradient is not finite")
        policy.steps_taken += 1
        for group in self.optimiser.param_groups:
            group["lr"] = rate(policy.steps_taken, settings) * lr_factor
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.teacher.update()
        return norm

    # -- the teacher, and the start ------------------------------------------------------------------------------------

    @property
    def teacher(self) -> Teacher:
        """The self-teacher's weights."""
        return self.scorer.teacher

    def freeze_teacher(self) -> None:
        """Let the teacher stay as it is now."""
        self.scorer.freeze()

    def thaw_teacher(self) -> None:
        """Let the teacher go with the student again, as configured."""
        self.scorer.thaw()

    def score(self, rollouts: Sequence[Rollout], views: Sequence[TeacherView]) -> list[dict[str, Floats]]:
        """What the teacher makes of each token of the viewed answers; see `Scorer.score`."""
        return self.scorer.score(rollouts, views)

    def kl_to_start(self, rollouts: Sequence[Rollout]) -> float:
        """How far the policy has gone from its start, nats a token; see `Start.kl`. Needs `guard.kl`."""
        assert self.start is not None
        return self.start.kl(rollouts)

    def save(self, folder: Path, weights: Mapping[str, torch.Tensor] | None = None) -> None:
        """The student as an ordinary Hugging Face folder (with LoRA: its adapters). `weights`: what is saved for the
        parts that a process has."""
        # The base's own embedding, which peft would put among adapters on it, is where the base is.
        adapters = {"save_embedding_layers": False} if hasattr(self.policy.model, "disable_adapter") else {}
        self.policy.model.save_pretrained(folder, state_dict=weights, safe_serialization=True, **adapters)
        self.policy.tokenizer.save_pretrained(folder)


def _by_view(
    batch: Pass[TrainingRow], statistics: Statistics, views: Sequence[TeacherView]
) -> dict[int, dict[str, Floats]]:
    """What a pass read of the teacher at each view's tokens."""
    readings = {}
    ends = np.cumsum([len(at) for at in batch.places])
    for row, at, end in zip(batch.rows, batch.places, ends, strict=True):
        if row.view is not None:
            readings[row.view] = _unread(views[row.view])
            for name in TEACHER_SIGNALS:
                readings[row.view][name][at] = statistics[name][end - len(at) : end]
    return readings


def _unread(view: TeacherView) -> dict[str, Floats]:
    return {name: np.full(len(view.weight), np.nan, np.float32) for name in TEACHER_SIGNALS}


def _averages(statistics: Sequence[Statistics]) -> dict[str, float]:
    """Mean of each signal over the tokens the loss was taken on."""
    names = {name for read in statistics for name in read} - {"weight"}
    values = {name: np.concatenate([read[name] for read in statistics if name in read]) for name in sorted(names)}
    return {name: float(v.mean(dtype=np.float64)) for name, v in values.items() if len(v)}
