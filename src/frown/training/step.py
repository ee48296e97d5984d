"""The training step: sample, teach, credit, learn.

    answers  <- the policy, G to each of P prompts, judged by the environment      environment.rollouts
    lesson   <- what the method tells the teacher of each, and where the loss lies   method.teach
    credit   <- what each token gets from the reward                                 method.credit
    update   <- d * divergence(student, teacher) + (1 - d) * policy gradient         learner.learn

A method (`frown.methods`) is what differs from run to run; nothing here asks which one it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from frown.practice import prompts, replay
from frown.runtime import randomness
from frown.runtime.randomness import FEEDBACK, PRACTICE, PROMPTS, seed_of
from frown.training.preflight import check_teacher
from frown.training.record import record_step, spend
from frown.training.session import Session
from frown.training.state import LoopState, advance
from frown.types import Rollout


def train_step(state: LoopState, session: Session) -> tuple[LoopState, dict[str, Any]]:
    """One batch of fresh answers, one step of the optimiser: the state after it, and its metrics. Both and the answers
    are in the run directory.

    Raises NotFinite, before the weights move, where the loss or its gradient is not finite.
    """
    config, clock = session.config, Stopwatch()
    method = config.method.scaled(state.guard.distillation_factor)
    draws = randomness.generators(state.random)
    sampled = sample(state, session, draws)
    normaliser = state.normaliser.update([r.signals for r in sampled if r.signals is not None])
    answers = prompts.select(sampled, config, draws[PRACTICE])

    room = session.classroom(answers, normaliser, draws[FEEDBACK])
    first = session.policy.ranks.from_first  # a critic is asked once, whatever the number of processes
    lesson, draws[FEEDBACK] = first(lambda: (method.teach(answers, room), room.rng))
    if state.step == 0 and method.share > 0:
        with clock.stopped():
            check_teacher(session, answers, lesson.views)
    credit = method.credit(answers, lesson, replace(room, rng=draws[FEEDBACK]))

    replayed = replay.draw(state.replay, config.practice, draws[PRACTICE])
    update = session.learner.learn(
        *replay.batch(answers, lesson.views, credit, [state.replay[i] for i in replayed]),
        distillation=method.share,
        objective=session.hooks.objective,
        lr_factor=state.guard.lr_factor,
    )
    cost = spend(state.cost, sampled, lesson.feedback, clock.seconds)
    after = advance(state, session, answers, lesson, update, replayed, normaliser, draws, cost)
    return after, record_step(session, state, after, answers, lesson, credit, update)


def sample(state: LoopState, session: Session, draws: randomness.Generators) -> list[Rollout]:
    """Judged answers to the prompts that are practised now, those of candidates included."""
    sampling, environment = session.config.sampling, session.environment
    tasks = prompts.draw(environment, session.config, draws[PROMPTS], state.level)
    seed = seed_of(session.config.seed, state.step + 1)
    n, temperature = sampling.responses_per_prompt, sampling.temperature
    return environment.rollouts(session.policy, tasks, n, seed=seed, temperature=temperature)


class Stopwatch:
    """Seconds since it was made, less those for which it was stopped."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._started

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Do something that is not counted."""
        began = time.perf_counter()
        yield
        self._started += time.perf_counter() - began
