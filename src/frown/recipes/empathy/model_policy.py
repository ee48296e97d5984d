"""GRPO over conversations with a language model: play, reward, credit each turn, one step of frown's own learner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from frown.config import RunConfig, parse
from frown.dialogue.conversation import Dialogue, Turn, as_rollout
from frown.dialogue.credit import on_tokens, turn_advantages
from frown.dialogue.play import go_on, play
from frown.feedback.disclosure import without_reasoning
from frown.recipes.empathy import experiment
from frown.recipes.empathy.acts import read
from frown.recipes.empathy.cells import Measured
from frown.recipes.empathy.experiment import MEASURES, Arm, Look
from frown.recipes.empathy.guards import Exchange
from frown.recipes.empathy.language import base_model, in_words
from frown.recipes.empathy.presets import Preset
from frown.recipes.empathy.profile import Profile, task_of
from frown.recipes.empathy.rewards import emotion, forward_values, turn_values
from frown.recipes.empathy.user import SCEPTIC, Manner, SentientUser
from frown.recipes.empathy.wording import LAB, Wording

if TYPE_CHECKING:
    from frown.learner.learner import Learner


class Training(NamedTuple):
    """How the model is trained."""

    people: int = 8
    """People a step."""
    each: int = 8
    """Conversations with each."""
    turns: int = 15_000
    """Turns that may be taken in all, futures sampled for a reward included."""
    rate: float = 1e-3
    first: int = 400
    """Steps of the first training, on conversations by rules."""
    futures: int = 3
    """Of a forward-sampled reward: futures of each turn,"""
    horizon: int = 4
    """and how many turns long."""


def learner_of(folder: Path, rate: float, seed: int) -> Learner:
    """frown's learner for policy gradient alone, on the model of a folder."""
    import torch

    from frown.learner.learner import Learner
    from frown.policy.policy import policy_of

    torch.manual_seed(seed)
    settings: dict[str, Any] = {
        "model": {"path": str(folder), "device": "cpu"},
        "sampling": {"max_new_tokens": 4},
        "method": "grpo",
        "optimiser": {"lr": rate, "warmup_steps": 5},
        "seed": seed,
    }
    config = parse(RunConfig, settings, "empathy")
    return Learner(policy_of(config), config)


def scores(dialogue: Dialogue, preset: Preset) -> list[int]:
    """The emotion score before the first turn and after each."""
    return [preset.start, *(t.heard.state.score for t in dialogue.turns)]


def on_topic(dialogue: Dialogue, wording: Wording = LAB) -> float:
    """The verifiable task: the share of turns that speak of no other topic than the person's."""
    person = dialogue.task.data["profile"]
    return float(np.mean([wording.specific(person, without_reasoning(t.said.text)) for t in dialogue.turns]))


def exchanges(dialogue: Dialogue, wording: Wording = LAB) -> list[Exchange]:
    """A conversation as an auditor sees it: what was said aloud."""
    person = dialogue.task.data["profile"]
    aloud = [(without_reasoning(t.said.text), t.heard.text) for t in dialogue.turns]
    return [Exchange(read(said), wording.specific(person, said), heard) for said, heard in aloud]


def step(
    learner: Learner, user: SentientUser, people: Sequence[Profile], arm: Arm, how: Training, seed: int
) -> tuple[list[Dialogue], int, dict[str, float]]:
    """One step: conversations with some people, and one update from all their turns. Nobody's words but the policy's
    are learnt. Returns the conversations, the turns taken (futures included), and what the pass saw."""
    tasks = [task_of(in_words(p)) for p in people]
    dialogues = play(learner.policy, user, tasks, how.each, seed=seed, temperature=1.0, turns=user.preset.turns)
    taken = sum(len(d.turns) for d in dialogues)
    if arm.kind == "forward":
        values, more = _futures(learner, user, dialogues, arm, how, seed)
        taken += more
    else:
        values = [
            turn_values(arm.kind, scores(d, user.preset), d.turns[-1].heard.over, on_topic(d), arm.task_weight).tolist()
            for d in dialogues
        ]
    by_turn = turn_advantages(values, [d.group for d in dialogues], std=True)
    rollouts = [as_rollout(d) for d in dialogues]
    advantages = [on_tokens(r, a) for r, a in zip(rollouts, by_turn, strict=True)]
    update = learner.learn(rollouts, [], advantages, distillation=0.0)
    return dialogues, taken, update.averages


def _futures(
    learner: Learner, user: SentientUser, dialogues: Sequence[Dialogue], arm: Arm, how: Training, seed: int
) -> tuple[list[list[float]], int]:
    """The forward-sampled value of every turn, and how many turns that took."""
    taken = 0
    # Other draws than those of the conversations themselves, which would tell the future.
    other = int(np.random.SeedSequence([seed, 1]).generate_state(1)[0])

    def sample(starts: Sequence[Sequence[Turn]], k: int) -> list[float]:
        nonlocal taken
        most = user.preset.turns
        ahead = go_on(learner.policy, user, starts, k, seed=other, temperature=1.0, ahead=how.horizon, turns=most)
        taken += sum(len(d.turns) for d in ahead) - k * sum(len(s) for s in starts)
        return [
            (1.0 - arm.task_weight) * emotion(d.turns[-1].heard.state.score) + arm.task_weight * on_topic(d)
            for d in ahead
        ]

    starts = [d.turns[: t + 1] for d in dialogues for t in range(len(d.turns))]
    flat = iter(forward_values(starts, sample, how.futures))
    return [[next(flat) for _ in d.turns] for d in dialogues], taken


def train(
    arm: Arm,
    folder: Path,
    people: Sequence[Profile],
    manner: Manner,
    preset: Preset,
    how: Training,
    seed: int,
    look: Look[Learner] = lambda learner, taken: None,
) -> tuple[Learner, int]:
    """Train the model of a folder until the turns are spent; the learner then, and the turns taken.

    `look` is told both after each step.
    """
    learner, rng, taken = learner_of(folder, how.rate, seed), np.random.default_rng(seed), 0
    user = SentientUser(manner, preset)
    while taken < how.turns:
        some = [people[i] for i in rng.integers(len(people), size=how.people)]
        _, more, _ = step(learner, user, some, arm, how, int(rng.integers(2**31)))
        taken += more
        look(learner, taken)
    return learner, taken


def measured(learner: Learner, people: Sequence[Profile], manner: Manner, preset: Preset) -> Measured:
    """What becomes of conversations with each person; the same draws for every policy."""
    tasks, user = [task_of(in_words(p)) for p in people], SentientUser(manner, preset)
    dialogues = play(
        learner.policy, user, tasks, experiment.EACH, seed=experiment.EVAL_SEED, temperature=1.0, turns=preset.turns
    )
    audited = [(d.task.data["profile"], scores(d, preset)[-1], exchanges(d)) for d in dialogues]
    return experiment.audit(audited, experiment.EACH, manner.candour)


def run(
    arms: Sequence[Arm],
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
    first = folder / f"first-{manner.name}"
    loss = base_model(first, train_people, manner, preset, how.first, seed=0)
    say(f"first model: {loss:.3f} nats a token")

    def trained(arm: Arm, seed: int, look: Look[Learner]) -> tuple[Learner, int]:
        return train(arm, first, train_people, manner, preset, how, seed, look)

    def judge(learner: Learner, people: Sequence[Profile], manner: Manner) -> Measured:
        return measured(learner, people, manner, preset)

    about = {
        "policy": "a lab-size language model", "start": "mixed", "trained_on": manner.name, "preset": preset.name,
        **experiment.of_people(train_people, test_people), "training": how._asdict(), "first_loss": loss,
    }  # fmt: skip
    return experiment.over_arms(
        arms, seeds, about, {m.name: m for m in (manner, SCEPTIC)}, how.turns, test_people,
        {"before": learner_of(first, how.rate, 0)}, trained, judge, folder / manner.name, say, (*MEASURES, "on_topic"),
    )  # fmt: skip
