"""What is done when the guard trips: say so, and by setting roll back, freeze the teacher or cut distillation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from frown.errors import FrownError
from frown.store import checkpoints
from frown.training.guard import Guard, Trip
from frown.training.session import Session
from frown.training.state import LoopState, load


def rescue(state: LoopState, trips: Sequence[Trip], session: Session) -> LoopState:
    """The state to go on from after these trips, by `guard.actions`.

    Every action that changes something gives the window time to fill anew before a canary can trip again. Raises
    FrownError when `guard.rollbacks` are used up.
    """
    step = state.step
    state, done = act(state, trips, session)
    if done:
        state = replace(state, guard=replace(state.guard, recent=(), tripped=frozenset()))
    for trip in trips:
        warning = "; ".join([trip.sentence, *done])
        session.warn(f"step {step}: {warning}")
        session.run.log({"step": state.step, "guard": trip.canary, "value": trip.value, "limit": trip.limit,
                         "since": trip.since, "at": step, "warning": warning})  # fmt: skip
    return state


def act(state: LoopState, trips: Sequence[Trip], session: Session) -> tuple[LoopState, list[str]]:
    """The state after the guard's actions, and what was done, in words."""
    config, actions, done = session.config, session.config.guard.actions, list[str]()
    if "rollback" in actions:
        step, guard = state.step, _one_more_rollback(state, trips, session)
        state = replace(_roll_back(state, min(t.since for t in trips), session), guard=guard)
        lr = config.optimiser.lr * guard.lr_factor
        done += [f"steps {state.step + 1} to {step} are undone", f"the learning rate is now {lr:g}"]
    if "freeze" in actions and not session.learner.teacher.frozen:
        session.learner.freeze_teacher()
        done.append("the teacher stays as it is now")
    if "cut" in actions:
        state = replace(state, guard=replace(state.guard, cuts=state.guard.cuts + 1))
        share = config.method.share * state.guard.distillation_factor
        done.append(f"distillation now weighs {share:g}")
    return state, done


def _one_more_rollback(state: LoopState, trips: Sequence[Trip], session: Session) -> Guard:
    used = state.guard.rollbacks
    if used >= session.config.guard.rollbacks:
        raise FrownError(
            f"step {state.step}: {trips[0].sentence}, after {used} rollbacks; lower optimiser.lr (the last checkpoint "
            "is from before)"
        )
    return replace(state.guard, rollbacks=used + 1)


def _roll_back(state: LoopState, before: int, session: Session) -> LoopState:
    """Learner, critic, run directory and state as at the last checkpoint before a step; costs stay spent."""
    folder = session.run.path / "checkpoints"
    newest, damaged = session.policy.ranks.from_first(lambda: checkpoints.newest(folder, before=before))
    if newest is None:
        raise FrownError(
            f"{session.run.path}: no checkpoint before step {before} to roll back to{'; '.join(['', *damaged])}"
        )
    return replace(load(newest, session), cost=state.cost, complaints=state.complaints)
