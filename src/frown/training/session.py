"""What stays the same from step to step of one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from frown.affect.normalise import Normaliser
from frown.config import RunConfig
from frown.critics.base import Critic
from frown.feedback.aim import SignalFunction
from frown.feedback.compose import FeedbackFunction
from frown.learner.learner import Learner
from frown.learner.objective import ObjectiveFunction
from frown.methods.base import Classroom, noisy_variance
from frown.policy.policy import Policy
from frown.practice.difficulty import Flow
from frown.store.run_directory import RunDirectory
from frown.tasks.base import Environment
from frown.types import Rollout

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Hooks:
    """Functions of one's own, each instead of what the configuration names."""

    feedback: FeedbackFunction | None = None
    """What each answer's teacher is told."""
    signal: SignalFunction | None = None
    """A value a token by which steps are chosen to be asked about, for `method.aim = "custom"`."""
    objective: ObjectiveFunction | None = None
    """The loss of each token."""


@dataclass(frozen=True)
class Session:
    """One run: who answers, who learns, who judges, who comments, and where it is written down."""

    config: RunConfig
    policy: Policy
    learner: Learner
    environment: Environment
    run: RunDirectory
    critic: Critic | None = None
    hooks: Hooks = Hooks()
    flow: Flow | None = None
    """The band in which difficulty follows the learner; None where it is fixed."""
    warn: Warn = lambda line: None

    def classroom(self, answers: Sequence[Rollout], normaliser: Normaliser, rng: np.random.Generator) -> Classroom:
        """What the method has at hand for a lesson about these answers. All processes of a run take part."""
        variance = noisy_variance(self.config.method, self.policy, answers, rng)
        return Classroom(
            config=self.config,
            environment=self.environment,
            policy=self.policy,
            rng=rng,
            critic=self.critic,
            normaliser=normaliser,
            feedback=self.hooks.feedback,
            signal=self.hooks.signal,
            variance=variance,
        )
