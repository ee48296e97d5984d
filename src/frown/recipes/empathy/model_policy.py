"""GRPO over conversations with a language model: play, reward, credit each turn, one step of frown's own engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from frown.config import RunConfig, parse
from frown.dialogue.conversation import Dialogue, as_rollout
from frown.dialogue.credit import on_tokens, turn_advantages
from frown.dialogue.play import play
from frown.recipes.empathy import experiment
from frown.recipes.empathy.acts import read
from frown.recipes.empathy.guards import Exchange
from frown.recipes.empathy.language import base_model, in_words
from frown.recipes.empathy.presets import Preset
from frown.recipes.empathy.profile import Profile, task_of
from frown.recipes.empathy.rewards import Kind, turn_values
from frown.recipes.empathy.user import SCEPTIC, Manner, SentientUser, specific

if TYPE_CHECKING:
    from frown.engine.local import LocalEngine


class Training(NamedTuple):
    """How the model is trained."""

    people: int = 8
    """People a step."""
    each: int = 8
    """Conversations with each."""
    turns: int = 15_000
    """Turns that may be taken in all."""
    rate: float = 1e-3
    first: int = 400
    """Steps of the first training, on conversations by rules."""
    task_weight: float = 0.0
    """How much of a reward is the verifiable task: the share of turns that keep to the person's topic."""


def engine_of(folder: Path, rate: float, seed: int) -> LocalEngine:
    """frown's engine for policy gradient alone, on the model of a folder."""
    import torch

    from frown.engine.local import LocalEngine

    torch.manual_seed(seed)
    settings: dict[str, Any] = {
        "model": {"path": str(folder), "device": "cpu"},
        "sampling": {"max_new_tokens": 4},
        "objective": {"distillation": 0.0},
        "optimiser": {"lr": rate, "warmup_steps": 5},
        "seed": seed,
    }
    return LocalEngine(parse(RunConfig, settings, "empathy"))


def scores(dialogue: Dialogue, preset: Preset) -> list[int]:
    """The emotion score before the first turn and after each."""
    return [preset.start, *(t.heard.state.score for t in dialogue.turns)]


def on_topic(dialogue: Dialogue) -> float:
    """The verifiable task: the share of turns that speak of no other topic than the person's."""
    return float(np.mean([specific(dialogue.task.data["profile"], t.said.text) for t in dialogue.turns]))


def exchanges(dialogue: Dialogue) -> list[Exchange]:
    """A conversation as an auditor sees it."""
    person = dialogue.task.data["profile"]
    return [Exchange(read(t.said.text), specific(person, t.said.text), t.heard.text) for t in dialogue.turns]


def step(
    engine: LocalEngine, user: SentientUser, people: Sequence[Profile], kind: Kind, how: Training, seed: int
) -> tuple[list[Dialogue], dict[str, float]]:
    """One step: conversations with some people, and one update from all their turns. Nobody's words but the policy's
    are learnt."""
    tasks = [task_of(in_words(p)) for p in people]
    held = play(engine, user, tasks, how.each, seed=seed, temperature=1.0, turns=user.preset.turns)
    values = [
        turn_values(kind, scores(d, user.preset), d.turns[-1].heard.over, on_topic(d), how.task_weight).tolist()
        for d in held
    ]
    by_turn = turn_advantages(values, [d.group for d in held], std=True)
    rollouts = [as_rollout(d) for d in held]
    learnt = engine.forward_backward(rollouts, [], [on_tokens(r, a) for r, a in zip(rollouts, by_turn, strict=True)])
    if learnt.averages["rows"]:
        engine.step()
    return held, learnt.averages


def train(
    kind: Kind, folder: Path, people: Sequence[Profile], manner: Manner, preset: Preset, how: Training, seed: int
) -> tuple[LocalEngine, int]:
    """Train the model of a folder until the turns are spent; the engine then, and the turns taken."""
    engine, rng, taken = engine_of(folder, how.rate, seed), np.random.default_rng(seed), 0
    user = SentientUser(manner, preset)
    while taken < how.turns:
        some = [people[i] for i in rng.integers(len(people), size=how.people)]
        held, _ = step(engine, user, some, kind, how, int(rng.integers(2**31)))
        taken += sum(len(d.turns) for d in held)
    return engine, taken


def measured(engine: LocalEngine, people: Sequence[Profile], manner: Manner, preset: Preset) -> experiment.Measured:
    """What becomes of conversations with each person; the same draws for every policy."""
    tasks, user = [task_of(in_words(p)) for p in people], SentientUser(manner, preset)
    held = play(engine, user, tasks, experiment.EACH, seed=experiment.EVAL_SEED, temperature=1.0, turns=preset.turns)
    audited = [(d.task.data["profile"], scores(d, preset)[-1], exchanges(d)) for d in held]
    return experiment.audit(audited, experiment.EACH, manner.candour)


def run(
    kinds: Sequence[Kind],
    manner: Manner,
    preset: Preset,
    seeds: Sequence[int],
    how: Training,
    train_people: Sequence[Profile],
    test_people: Sequence[Profile],
    folder: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Make the first model in a folder, train every arm from it with every seed, and compare; plain data for JSON."""
    loss = base_model(folder, train_people, manner, preset, how.first, seed=0)
    say(f"first model: {loss:.3f} nats a token")
    simulators = (manner, SCEPTIC)
    before = engine_of(folder, how.rate, 0)
    found = {"before": {m.name: [measured(before, test_people, m, preset)] * len(seeds) for m in simulators}}
    taken: dict[str, list[int]] = {}
    for kind in kinds:
        found[kind] = {m.name: [] for m in simulators}
        for seed in seeds:
            engine, turns = train(kind, folder, train_people, manner, preset, how, seed)
            taken.setdefault(kind, []).append(turns)
            for m in simulators:
                found[kind][m.name].append(measured(engine, test_people, m, preset))
            say(f"model {manner.name} {kind} seed {seed}: {turns} turns")
    about = {
        "policy": "a lab-size language model", "start": "mixed", "trained_on": manner.name, "preset": preset.name,
        "seeds": list(seeds), "people": [len(train_people), len(test_people)], "training": how._asdict(),
        "turns_taken": taken, "first_loss": loss,
    }  # fmt: skip
    return about | experiment.compared(found, manner.name, len(test_people))
