"""What is done when the guard trips: say so, and by setting roll back, freeze the teacher or cut distillation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from frown.config import RunConfig
from frown.critics.base import Critic
from frown.errors import FrownError
from frown.learner.learner import Learner
from frown.store import checkpoints as checkpoint
from frown.store.run_directory import RunDirectory
from frown.train.guard import Trip
from frown.train.state import LoopState, load


def rescue(
    state: LoopState,
    trips: Sequence[Trip],
    config: RunConfig,
    learner: Learner,
    critic: Critic | None,
    run: RunDirectory,
    warn: Callable[[str], None],
) -> LoopState:
    """The state to go on from after these trips, by `guard.actions`.

    Every action that changes something gives the window time to fill anew before a canary can trip again. Raises
    FrownError when `guard.rollbacks` are used up.
    """
    actions, step, guard, done = config.guard.actions, state.step, state.guard, []
    if "rollback" in actions:
        if guard.rollbacks >= config.guard.rollbacks:
            raise FrownError(
                f"step {step}: {trips[0].sentence}, after {guard.rollbacks} rollbacks; lower optimiser.lr (the last "
                "checkpoint is from before)"
            )
        state = _roll_back(state, min(t.since for t in trips), learner, critic, run)
        guard = replace(guard, rollbacks=guard.rollbacks + 1)
        lr = config.optimiser.lr / 2**guard.rollbacks
        done += [f"steps {state.step + 1} to {step} are undone", f"the learning rate is now {lr:g}"]
    if "freeze" in actions and not learner.teacher.frozen:
        learner.freeze_teacher()
        done.append("the teacher stays as it is now")
    if "cut" in actions:
        guard = replace(guard, cuts=guard.cuts + 1)
        done.append(f"distillation now weighs {config.objective.distillation / 2**guard.cuts:g}")
    if done:
        guard = replace(guard, recent=(), tripped=frozenset())
    for trip in trips:
        warning = "; ".join([trip.sentence, *done])
        warn(f"step {step}: {warning}")
        run.log({"step": state.step, "guard": trip.canary, "value": trip.value, "limit": trip.limit,
                 "since": trip.since, "at": step, "warning": warning})  # fmt: skip
    return replace(state, guard=guard)


def _roll_back(state: LoopState, before: int, learner: Learner, critic: Critic | None, run: RunDirectory) -> LoopState:
    """Learner, critic, run directory and state as they were at the last checkpoint before a step; costs stay spent."""
    found, damaged = learner.policy.ranks.from_first(lambda: checkpoint.newest(run.path / "checkpoints", before=before))
    if found is None:
        raise FrownError(f"{run.path}: no checkpoint before step {before} to roll back to{'; '.join(['', *damaged])}")
    return replace(load(found, learner, critic, run), cost=state.cost, complaints=state.complaints)
