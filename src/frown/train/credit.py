"""What each token is credited with by the policy gradient: rewards of groups, or the tail, weighed by affect."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frown.affect.reward import affect_reward
from frown.config import RunConfig
from frown.losses.advantages import group_advantages, tail_advantages
from frown.train.lesson import affect_weights
from frown.types import Appraisal, Floats, Rollout


def advantages(
    rollouts: Sequence[Rollout],
    appraisals: Sequence[Appraisal],
    scores: np.ndarray,
    config: RunConfig,
    rng: np.random.Generator,
) -> list[Floats]:
    """The advantage of each token for the policy gradient, float32[T] a rollout, weighted by the student's affect."""
    if config.objective.distillation == 1:
        return [np.zeros(len(r.ids), np.float32) for r in rollouts]
    if config.objective.policy == "tail":
        return [_tail(r) for r in rollouts]
    by_group = (scores + affect_reward(rollouts, config.affect.reward)).reshape(
        -1, config.sampling.responses_per_prompt
    )
    each = group_advantages(by_group, std=config.objective.divide_by_std).ravel()
    found = [(r.own * a).astype(np.float32) for r, a in zip(rollouts, each, strict=True)]
    weight, control = config.affect.weight, config.affect.control
    if weight.by == "none":
        return found
    factors = affect_weights(rollouts, appraisals, found, weight, rng if control != "off" else None)
    return [a * f for a, f in zip(found, factors, strict=True)]


def _tail(rollout: Rollout) -> Floats:
    """The tail's advantages, float32[T], ranked among the tokens that the policy sampled."""
    out = np.zeros(len(rollout.ids), np.float32)
    if rollout.signals is not None:
        own = rollout.own
        out[own] = tail_advantages(rollout.logp[own], rollout.signals["entropy"][own])
    return out
