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

from frown.affect.normalise import Normaliser
from frown.critics.model.critic import ModelCritic
from frown.learner.learner import Update
from frown.learner.state import MODEL, load_learner, save_learner, tensors_of
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
            "learner": save_learner(learner, tensors, folder),
            "critic": critic.budget_state() if isinstance(critic, ModelCritic) else None,
            "metrics_bytes": run.metrics_bytes,
        }
        (folder / MODEL / "README.md").write_text(model_card(session.config, run), encoding="utf-8")
        replay.write(state.replay, folder / "replay.parquet")
        (folder / "state.json").write_text(json.dumps(rest), encoding="utf-8")

    run.add_checkpoint(state.step, write, session.config.checkpoint.keep)


def load(checkpoint: Checkpoint, session: Session) -> LoopState:
    """Put learner, critic and run directory back to where they were at a checkpoint; the loop's state is returned."""

    def read() -> tuple[dict[str, Any], tuple[ReplayItem, ...]]:
        rest = json.loads((checkpoint.path / "state.json").read_text(encoding="utf-8"))
        return rest, replay.read(checkpoint.path / "replay.parquet")

    rest, items = session.policy.ranks.from_first(read)
    load_learner(session.learner, checkpoint.path, rest["learner"])
    if isinstance(session.critic, ModelCritic):
        session.critic.restore_budget(rest["critic"])
    session.run.cut_back(checkpoint.step, rest["metrics_bytes"])
    loop = rest["loop"]
    return LoopState(
        step=loop["step"],
        random={int(stream): value for stream, value in loop["random"].items()},
        level=None if loop["level"] is None else Difficulty(**loop["level"]),
        cost=Cost(**loop["cost"]),
        normaliser=Normaliser.from_state(loop["normaliser"]),
        replay=items,
        complaints=frozenset(loop["complaints"]),
        guard=Guard.from_state(loop["guard"]),
    )
