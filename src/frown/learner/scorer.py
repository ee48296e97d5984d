"""The self-teacher beside the student: both read the same answers, and go through their heads together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from frown.config import LossConfig, TeacherConfig
from frown.losses.head import HeadOutput, TokenLoss, head_pass
from frown.policy.head import head_of, mixed, within
from frown.policy.load import plain
from frown.policy.passes import Pass
from frown.policy.policy import Policy
from frown.policy.rows import Row
from frown.teacher.weights import Teacher
from frown.types import Floats, Rollout, TeacherView

TEACHER_SIGNALS = ("teacher_logp", "log_ratio", "teacher_entropy", "divergence")


class Scorer:
    """A policy's self-teacher, and what it makes of the policy's answers. Nothing is learnt here."""

    def __init__(
        self,
        policy: Policy,
        config: TeacherConfig,
        loss: LossConfig,
        copied: Callable[[Any], Any] | None = None,
    ):
        """`copied`: see `frown.teacher.weights.Teacher`."""
        self._policy, self._config, self._loss = policy, config, loss
        self.teacher = Teacher(policy.model, config, copied)
        self._head = self._teacher_head()

    def freeze(self) -> None:
        """Let the teacher stay as it is now."""
        self.teacher.freeze()
        self._head = self._teacher_head()

    def thaw(self) -> None:
        """Let the teacher go with the student again, as configured."""
        self.teacher.thaw()
        self._head = self._teacher_head()

    def _teacher_head(self) -> Any:
        with self.teacher.model() as model:
            head = within(self.teacher.model, head_of(model))
        if not self.teacher.mixes:
            return head
        width = plain(self._policy.model).get_output_embeddings().weight.shape[1]
        return mixed(head, self._policy.head, width, self._config.student_share)

    def head_pass(self, batch: Pass[Any], hidden: Tensor, token_loss: TokenLoss) -> HeadOutput:
        """The student's hidden states [N, H] of a pass, and (where its rows have one) the teacher's, through their
        heads."""
        taught = batch.rows[0].context_ids is not None
        return head_pass(
            hidden,
            self._policy.head,
            batch.targets,
            token_loss=token_loss,
            teacher_hidden=self._teacher_hidden(batch) if taught else None,
            teacher_head=self._head if taught else None,
            alpha=self._loss.alpha,
            top_k=self._loss.top_k,
            temperature=self._policy.sampling.temperature,
            teacher_temperature=self._config.temperature,
        )

    @torch.no_grad()
    def _teacher_hidden(self, batch: Pass[Any]) -> Tensor:
        """[N, H] in the teacher's contexts; [N, 2 H] of one that mixes, its start's before the student's."""
        with self.teacher.model() as model:
            hidden = batch.hidden_in_context(model)
        if not self.teacher.mixes:
            return hidden
        return torch.cat([hidden, batch.hidden_in_context(self._policy.model)], -1)

    @torch.no_grad()
    def score(self, rollouts: Sequence[Rollout], views: Sequence[TeacherView]) -> list[dict[str, Floats]]:
        """What the teacher makes of each token of the viewed answers.

        One dictionary a view, in order, whatever its weights: `teacher_logp`, `log_ratio` (log q - log pi of the
        sampled token: its advantage), `teacher_entropy` and `divergence` (at the loss's `alpha`), float32[T] in
        nats, at the temperature answers are sampled at in training. The student is the policy as it is now.
        """
        viewed = [(rollouts[view.rollout], view) for view in views]
        rows = [Row(rollout.prompt_ids, rollout.ids, view.context_ids) for rollout, view in viewed]
        scores: dict[int, dict[str, Floats]] = {}
        for batch in self._policy.packing.passes(rows):
            hidden = batch.hidden(self._policy.model)
            signals = self.head_pass(batch, hidden, lambda leaves, at: torch.zeros_like(leaves.logp)).signals
            parts = {name: batch.split(signals[name].cpu()) for name in TEACHER_SIGNALS}
            for j, i in enumerate(batch.numbers):
                scores[i] = {name: values[j].numpy() for name, values in parts.items()}
        return [scores[i] for i in range(len(rows))]
