"""The policy as it was at the start: what it is anchored to, and what its distance is measured from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frown.config import TeacherConfig
from frown.losses.head import HeadOutput, Leaves, head_pass, read_signals
from frown.losses.objectives import mismatch
from frown.policy.head import head_of, within
from frown.policy.passes import Pass
from frown.policy.policy import Policy
from frown.policy.rows import Row
from frown.teacher.weights import Teacher
from frown.types import Rollout


class Start:
    """A policy's weights when this was made."""

    def __init__(self, policy: Policy, copied: Callable[[Any], Any] | None = None):
        """`copied`: see `frown.teacher.weights.Teacher`."""
        self._policy = policy
        self._weights = Teacher(policy.model, TeacherConfig(weights="frozen"), copied)
        with self._weights.model() as model:
            self._head = within(self._weights.model, head_of(model))

    @torch.no_grad()
    def _hidden(self, batch: Pass[Any]) -> Tensor:
        with self._weights.model() as model:
            return batch.hidden(model)

    def anchor(self, batch: Pass[Any], hidden: Tensor, weight: Tensor) -> HeadOutput:
        """KL(policy || start) of the N tokens of a pass, summed with a weight [N] for each. `hidden`: the policy's
        hidden states [N, H]."""

        def token_loss(leaves: Leaves, at: slice) -> Tensor:
            assert leaves.divergence is not None
            return weight[at] * leaves.divergence

        return head_pass(
            hidden,
            self._policy.head,
            batch.targets,
            token_loss=token_loss,
            teacher_hidden=self._hidden(batch),
            teacher_head=self._head,
            alpha=1.0,
            temperature=self._policy.sampling.temperature,
        )

    @torch.no_grad()
    def kl(self, rollouts: Sequence[Rollout]) -> float:
        """How far the policy that sampled these answers has gone from the start, nats a token: the mean of
        `frown.losses.objectives.mismatch` over the tokens that it sampled; what others said in a conversation is read,
        not measured. Cost: a forward pass of the start over the answers.
        """
        rows = [Row(r.prompt_ids, r.ids) for r in rollouts]
        parts = []
        for batch in self._policy.packing.passes(rows, [np.flatnonzero(r.own) for r in rollouts]):
            read = read_signals(self._hidden(batch), self._head, batch.targets, self._policy.sampling.temperature)
            logp = [rollouts[i].logp[at] for i, at in zip(batch.numbers, batch.places, strict=True)]
            sampled = torch.as_tensor(np.concatenate(logp))
            parts.append(mismatch(-read["surprisal"].cpu().double(), sampled.double()))
        return float(torch.cat(parts).mean())
