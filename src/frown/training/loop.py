"""The training loop: step after step, evaluations, checkpoints, and a guard that watches for collapse."""

from __future__ import annotations

from dataclasses import replace

from frown.config import RunConfig
from frown.critics.base import Critic
from frown.errors import FrownError, NotFinite
from frown.training.guard import Trip, watch
from frown.training.preflight import check_teacher
from frown.training.record import evaluate_splits
from frown.training.rescue import rescue
from frown.training.session import Session
from frown.training.state import LoopState, beginning, save
from frown.training.step import collect, train_step


def train(session: Session, state: LoopState | None = None) -> None:
    """Train one policy, writing everything to its run directory. `state`: where to go on; None begins."""
    config, last = session.config, session.config.optimiser.steps
    state = begin(session) if state is None else state
    while state.step < last:
        state, trips = guarded_step(state, session)
        if trips:
            state = rescue(state, trips, session)
        if is_due(state.step, config.checkpoint.every or config.eval.every, last):
            save(state, session)
    if session.policy.steps_taken < last:
        idle = last - session.policy.steps_taken
        session.warn(f"{idle} of {last} steps had nothing to learn from and changed no weight")
        session.run.log({"step": last, "idle_steps": idle})


def begin(session: Session) -> LoopState:
    """The state before the first step, written down: what a person should know, an evaluation, a checkpoint."""
    state = beginning(session)
    for line in (*session.environment.notes, *session.policy.notes):
        session.warn(line)
        session.run.log({"step": 0, "note": line})
    evaluate_splits(session, state)
    save(state, session)
    return state


def guarded_step(state: LoopState, session: Session) -> tuple[LoopState, tuple[Trip, ...]]:
    """One step, its evaluation where one is due, and what the guard says of it."""
    config = session.config
    try:
        batch = collect(state, session)
        if state.step == 0 and config.method.share > 0:
            check_teacher(session, batch.answers, batch.lesson.views)
        after, metrics = train_step(state, session, batch)
        if is_due(after.step, config.eval.every, config.optimiser.steps):
            metrics |= {"dev_accuracy": evaluate_splits(session, after).get("dev")}
    except NotFinite as error:
        step = state.step + 1
        if "rollback" not in config.guard.actions:
            raise FrownError(f"step {step}: {error}; lower optimiser.lr (the last good checkpoint is kept)") from error
        return replace(state, step=step), (Trip("finite", None, None, step),)
    guard, trips = watch(after.guard, after.step, metrics, config.guard)
    return replace(after, guard=guard), trips


def is_due(step: int, every: int, last: int) -> bool:
    """Whether something that is done every so many steps, and after the last, is done now."""
    return step % every == 0 or step == last


def check(config: RunConfig, critic: Critic | None) -> None:
    """Refuse a run that could not learn as configured, before anything is loaded."""
    kinds = set(config.method.kinds)
    if kinds and kinds <= {"critique"} and critic is None:
        raise FrownError(
            f"task.kind = {config.task.kind!r} has no critic: name one (critic.kind), or use another method or other "
            "method.feedback"
        )
