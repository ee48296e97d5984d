"""What a run carries from one step to the next, as a noun, and as a checkpoint from which it goes on exactly.

A checkpoint (`frown.store.checkpoints` says how it is written) holds
    model/                  the policy, an ordinary Hugging Face folder (with LoRA: its adapters)
    teacher.safetensors     the teacher's copy of the weights, where it has one of its own
    optimiser.safetensors   AdamW's moments
    rehearsal.parquet       lessons that may be learnt from again
    state.json              all the rest
Replies of a model critic are kept in its cache, each at once (`feedback.critique.model.cache`), and not here; what a
crash made it forget is what was spent on the steps that are lost.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from frown.affect.normalise import Normaliser
from frown.config import RunConfig
from frown.critics.base import Critic
from frown.critics.model import ModelCritic
from frown.learner.learner import Learner
from frown.learner.state import MODEL, load_learner, save_learner, tensors_of
from frown.practice import prompts as curriculum
from frown.practice import replay as rehearsal
from frown.practice.difficulty import Difficulty
from frown.runtime import randomness as streams
from frown.store import checkpoints as checkpoint
from frown.store.run_directory import RunDirectory
from frown.tasks.base import Environment
from frown.train.evaluation import Cost
from frown.train.guard import Guard
from frown.train.model_card import model_card


@dataclass(frozen=True)
class LoopState:
    """What the loop knows between two steps. The weights are the learner's, the budget of a critic is the critic's."""

    step: int
    """Steps done."""
    random: streams.States
    level: Difficulty | None
    """Where the learner is; None where difficulty is fixed."""
    cost: Cost
    normaliser: Normaliser
    guard: Guard
    kept: tuple[rehearsal.Kept, ...] = ()
    """Lessons that may be learnt from again."""
    complaints: frozenset[str] = frozenset()
    """What a person has already been told about lost critiques."""


def beginning(config: RunConfig, environment: Environment) -> LoopState:
    """The state of a run before its first step."""
    _, level = curriculum.beginning(config.affect.practice, environment) or (None, None)
    return LoopState(0, streams.beginning(config.seed), level, Cost(), Normaliser(), Guard())


def save(state: LoopState, learner: Learner, critic: Critic | None, run: RunDirectory, config: RunConfig) -> None:
    """Write a checkpoint, and let go of all but the newest `checkpoint.keep`. `config`: what was in force.

    Raises FrownError where the disk refuses it.
    """
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
            "critic": critic.account() if isinstance(critic, ModelCritic) else None,
            "metrics_bytes": run.metrics_bytes,
        }
        (folder / MODEL / "README.md").write_text(model_card(config, run), encoding="utf-8")
        rehearsal.write(state.kept, folder / "rehearsal.parquet")
        (folder / "state.json").write_text(json.dumps(rest), encoding="utf-8")

    run.add_checkpoint(state.step, write, config.checkpoint.keep)


def load(found: checkpoint.Checkpoint, learner: Learner, critic: Critic | None, run: RunDirectory) -> LoopState:
    """Put learner, critic and run directory back to where they were at a checkpoint; the loop's state is returned."""

    def read() -> tuple[dict[str, Any], tuple[rehearsal.Kept, ...]]:
        rest = json.loads((found.path / "state.json").read_text(encoding="utf-8"))
        return rest, rehearsal.read(found.path / "rehearsal.parquet")

    rest, kept = learner.policy.ranks.from_first(read)
    load_learner(learner, found.path, rest["learner"])
    if isinstance(critic, ModelCritic):
        critic.go_on_from(rest["critic"])
    run.cut_back(found.step, rest["metrics_bytes"])
    loop = rest["loop"]
    return LoopState(
        step=loop["step"],
        random={int(stream): value for stream, value in loop["random"].items()},
        level=None if loop["level"] is None else Difficulty(**loop["level"]),
        cost=Cost(**loop["cost"]),
        normaliser=Normaliser.from_state(loop["normaliser"]),
        kept=kept,
        complaints=frozenset(loop["complaints"]),
        guard=Guard.from_state(loop["guard"]),
    )
