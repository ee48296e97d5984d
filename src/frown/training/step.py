"""The training step: sample, teach, credit; then learn.

    answers  <- the policy, G to each of P prompts, judged by the environment      environment.rollouts
    lesson   <- what the method tells the teacher of each, and where the loss lies   method.teach
    credit   <- what each token gets from the reward                                 method.credit
    update   <- d * divergence(student, teacher) + (1 - d) * policy gradient         learner.learn

A method (`frown.methods`) is what differs from run to run; nothing here asks which one it is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from frown.practice import prompts, replay
from frown.runtime import randomness
from frown.runtime.randomness import FEEDBACK, PRACTICE, PROMPTS, seed_of
from frown.tasks.rollouts import demonstrations
from frown.training.batch import Batch
from frown.training.record import record_step, spend
from frown.training.session import Session
from frown.training.state import LoopState, advance
from frown.types import Rollout, Task


def collect(state: LoopState, session: Session) -> Batch:
    """Fresh answers, judged, and what the method teaches and credits of them."""
    began, config = time.perf_counter(), session.config
    draws = randomness.generators(state.random)
    tasks = prompts.draw(session.environment, config, draws[PROMPTS], state.level)
    sampled = answer(tasks, state, session)
    normaliser = state.normaliser.update([r.signals for r in sampled if r.signals is not None])
    answers = prompts.select(sampled, config, draws[PRACTICE])

    method = config.method.scaled(state.guard.distillation_factor)
    room = session.classroom(answers, normaliser, draws[FEEDBACK])
    first = session.policy.ranks.from_first  # a critic is asked once, whatever the number of processes
    lesson, draws[FEEDBACK] = first(lambda: (method.teach(answers, room), room.rng))
    credit = method.credit(answers, lesson, replace(room, rng=draws[FEEDBACK]))
    return Batch(answers, lesson, credit, sampled, normaliser, draws, time.perf_counter() - began)


def answer(tasks: Sequence[Task], state: LoopState, session: Session) -> list[Rollout]:
    """Judged answers to the prompts: samples of the policy, or worked solutions where the method learns from those."""
    environment, sampling = session.environment, session.config.sampling
    if session.config.method.demonstrated:
        return demonstrations(tasks, environment, session.policy)
    n, seed = sampling.responses_per_prompt, seed_of(session.config.seed, state.step + 1)
    return environment.rollouts(session.policy, tasks, n, seed=seed, temperature=sampling.temperature)


def train_step(state: LoopState, session: Session, batch: Batch) -> tuple[LoopState, dict[str, Any]]:
    """One step of the optimiser on a batch and what is replayed: the state after it, and its metrics. Both and the
    answers are in the run directory.

    Raises NotFinite, before the weights move, where the loss or its gradient is not finite.
    """
    began, config = time.perf_counter(), session.config
    replayed = replay.draw(state.replay, config.practice, batch.draws[PRACTICE])
    items = [state.replay[i] for i in replayed]
    update = session.learner.learn(
        *replay.batch(batch.answers, batch.lesson.views, batch.credit, items),
        distillation=config.method.scaled(state.guard.distillation_factor).share,
        objective=session.hooks.objective,
        lr_factor=state.guard.lr_factor,
    )
    cost = spend(state.cost, batch, time.perf_counter() - began)
    after = advance(state, session, batch, update, replayed, cost)
    return after, record_step(session, state, after, batch, update)
