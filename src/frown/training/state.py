"""What a run carries from one step to the next, as a noun, and as a checkpoint from which it goes on exactly.

A checkpoint (`frown.store.checkpoints` says how it is written) holds
    model/                  the policy, an ordinary Hugging Face folder (with LoRA: its adapters)
    teacher.safetensors     the teacher's copy of the weights, where it has one of its own
    optimiser.safetensors   AdamW's moments
    replay.parquet          lessons that may be learnt from again
    state.json              all the rest
Replies of a model critic are kept in its cache, each at once (`critic.model.cache`), and not here; what a
crash made it forget is what was spent on the steps that are lost.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from frown.affect.normalise import Normaliser
from frown.critics.model.critic import ModelCritic
from frown.errors import FrownError, first_line
from frown.learner.learner import Update
from frown.learner.state import MODEL, LearnerState, load_learner, save_learner, tensors_of
from frown.practice import prompts, replay
from frown.practice.difficulty import Difficulty
from frown.practice.replay import ReplayItem
from frown.runtime import randomness
from frown.store.checkpoints import Checkpoint
from frown.training.batch import Batch
from frown.training.evaluation import Cost
from frown.training.guard import Guard
from frown.training.model_card import model_card
from frown.training.session import Session


@dataclass(frozen=True)
class LoopState:
    """What the loop knows between two steps. The weights are the learner's, the budget of a critic is the critic's."""

    step: int
    """Steps done."""
    random: randomness.States
    level: Difficulty | None
    """Where the learner is; None where difficulty is fixed."""
    cost: Cost
    normaliser: Normaliser
    guard: Guard
    replay: tuple[ReplayItem, ...] = ()
    """Lessons that may be learnt from again."""
    complaints: frozenset[str] = frozenset()
    """What was already said of lessons."""


def beginning(session: Session) -> LoopState:
    """The state of a run before its first step."""
    level = None if session.flow is None else Difficulty(session.flow.start)
    return LoopState(0, randomness.beginning(session.config.seed), level, Cost(), Normaliser(), Guard())


def advance(
    state: LoopState,
    session: Session,
    batch: Batch,
    update: Update,
    replayed: Sequence[int],
    cost: Cost,
) -> LoopState:
    """The state after one more step: what was drawn, spent, practised and kept to be learnt from again."""
    level, items = state.level, state.replay
    if session.flow is not None and level is not None:
        level = prompts.progress(level, session.flow, batch.answers, batch.lesson.appraisals)
    if session.config.practice.replay:
        divergence = [read["divergence"] for read in update.views]
        items = replay.remember(items, replayed, batch.answers, batch.lesson.views, divergence)
    return LoopState(
        step=state.step + 1,
        random=randomness.states(batch.draws),
        level=level,
        cost=cost,
        normaliser=batch.normaliser,
        replay=items,
        complaints=state.complaints | set(batch.lesson.complaints),
        guard=state.guard,
    )


def save(state: LoopState, session: Session) -> None:
    """Write a checkpoint, and let go of all but the newest `checkpoint.keep`. Raises FrownError where the disk refuses
    it."""
    learner, critic, run = session.learner, session.critic, session.run
    tensors = tensors_of(learner)

    def write(folder: Path) -> None:
        rest = {
            "loop": {
                "step": state.step,
                "random": state.random,
                "level": None if state.level is None else asdict(state.level),
                "cost": state.cost._asdict(),
                "normaliser": state.normaliser.state(),
                "complaints": sorted(state.complaints),
                "guard": state.guard.state(),
            },
            "learner": save_learner(learner, tensors, folder)._asdict(),
            "critic": critic.budget_state() if isinstance(critic, ModelCritic) else None,
            "metrics_bytes": run.metrics_bytes,
        }
        (folder / MODEL / "README.md").write_text(model_card(session.config, run), encoding="utf-8")
        replay.write(state.replay, folder / "replay.parquet")
        (folder / "state.json").write_text(json.dumps(rest), encoding="utf-8")

    run.add_checkpoint(state.step, write, session.config.checkpoint.keep)


def load(checkpoint: Checkpoint, session: Session) -> LoopState:
    """Put learner, critic and run directory back to where they were at a checkpoint; the loop's state is returned.

    Raises FrownError where the checkpoint was written by another version or by hand.
    """

    def read() -> tuple[SavedState, LoopState]:
        saved = read_state(checkpoint.path / "state.json")
        return saved, saved.loop.state(replay.read(checkpoint.path / "replay.parquet"))

    saved, state = session.policy.ranks.from_first(read)
    load_learner(session.learner, checkpoint.path, saved.learner)
    if isinstance(session.critic, ModelCritic) and saved.critic is not None:
        session.critic.restore_budget(asdict(saved.critic))
    session.run.cut_back(checkpoint.step, saved.metrics_bytes)
    return state


@dataclass(frozen=True)
class _SavedLoop:
    """`LoopState` as plain data, without what is learnt from again."""

    step: int
    random: dict[int, dict[str, Any]]
    level: Difficulty | None
    cost: Cost
    normaliser: dict[str, Any]
    complaints: frozenset[str]
    guard: Guard

    def state(self, items: tuple[ReplayItem, ...]) -> LoopState:
        normaliser = Normaliser.from_state(self.normaliser)
        return LoopState(self.step, self.random, self.level, self.cost, normaliser, self.guard, items, self.complaints)


@dataclass(frozen=True)
class _SavedBudget:
    """What a model critic had spent (`frown.critics.chat.budget.Budget.state`)."""

    calls: int
    spent: int
    counts: dict[str, int]
    lost: dict[str, int]


@dataclass(frozen=True)
class SavedState:
    """What is in state.json."""

    loop: _SavedLoop
    learner: LearnerState
    critic: _SavedBudget | None
    metrics_bytes: int


def read_state(file: Path) -> SavedState:
    """The state.json of a checkpoint, checked. Raises FrownError, one line that names what is wrong in it."""
    try:
        saved = TypeAdapter(SavedState).validate_python(json.loads(file.read_text(encoding="utf-8")))
        randomness.generators(saved.loop.random)
        Normaliser.from_state(saved.loop.normaliser)
    except ValidationError as error:
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        why = first_line(error)
    else:
        return saved
    raise FrownError(f"{file} cannot be gone on from ({why}); start a new run")
