"""A policy over dialogue acts that learns in seconds: a softmax over what was heard and done. Numpy only.

What it sees: what the person said is needed (if anything), how the person seems, its own last act, and how far the
conversation is. It never sees the score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frown.dialogue.credit import turn_advantages
from frown.recipes.empathy.acts import ACTS, MEETS, NEEDS, Act
from frown.recipes.empathy.guards import Exchange
from frown.recipes.empathy.presets import Preset
from frown.recipes.empathy.profile import Profile
from frown.recipes.empathy.rewards import Kind, emotion, forward_values, turn_values
from frown.recipes.empathy.user import Manner, State, answer, begin, feel, level

_LEVELS = ("low", "middle", "high")
FEATURES = (len(NEEDS) + 1) * 2 + len(_LEVELS) + (len(ACTS) + 1) + 3
Array = NDArray[np.float64]
Policy = Callable[[Sequence[State], Sequence[int], np.random.Generator], list[int]]
"""States and turns -> acts, by number."""


def features(state: State, turn: int) -> Array:
    """What the policy sees, [FEATURES], of zeros and ones: the hint, the hint again where the last act met it, how the
    person seems, the last act, the third of the conversation."""
    out = np.zeros(FEATURES)
    hint = len(NEEDS) if state.hint is None else NEEDS.index(state.hint)
    out[hint] = 1.0
    if state.hint is not None and state.last == MEETS[state.hint]:
        out[len(NEEDS) + 1 + hint] = 1.0
    at = 2 * (len(NEEDS) + 1)
    out[at + _LEVELS.index(level(state.score))] = 1.0
    at += len(_LEVELS)
    out[at + (len(ACTS) if state.last is None else ACTS.index(state.last))] = 1.0
    out[at + len(ACTS) + 1 + min(2, turn // 3)] = 1.0
    return out


def probabilities(weights: Array, inputs: Array) -> Array:
    """softmax(seen @ weights): [N, acts]."""
    logits = inputs @ weights
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def learnt(weights: Array) -> Policy:
    """The policy of some weights [FEATURES, acts]; zeros are the uniform one."""

    def act(states: Sequence[State], turns: Sequence[int], rng: np.random.Generator) -> list[int]:
        p = probabilities(weights, np.stack([features(s, t) for s, t in zip(states, turns, strict=True)]))
        return (p.cumsum(1) > rng.random((len(p), 1))).argmax(1).tolist()

    return act


def soother(states: Sequence[State], turns: Sequence[int], rng: np.random.Generator) -> list[int]:
    """Comfort, turn and turn about with listening."""
    return [ACTS.index("acknowledge" if s.last == "assure" else "assure") for s in states]


def helper(states: Sequence[State], turns: Sequence[int], rng: np.random.Generator) -> list[int]:
    """Asks until the need is named, then meets it, following up between: the reference by rules."""

    def act(state: State) -> Act:
        if state.hint is None:
            return "follow_up" if state.last == "ask" else "ask"
        return "follow_up" if state.last == MEETS[state.hint] else MEETS[state.hint]

    return [ACTS.index(act(s)) for s in states]


@dataclass
class Talk:
    """A conversation in acts."""

    person: Profile
    seed: int
    states: list[State]
    """One more than turns."""
    acts: list[int]
    inputs: list[Array]
    group: int = 0

    @property
    def scores(self) -> list[int]:
        """The emotion score before the first turn and after each."""
        return [s.score for s in self.states]

    @property
    def exchanges(self) -> list[Exchange]:
        """As an auditor sees it."""
        heard = [answer(self.person, a, b).text for a, b in zip(self.states[:-1], self.states[1:], strict=True)]
        return [Exchange(ACTS[a], True, h) for a, h in zip(self.acts, heard, strict=True)]


def talk(
    policy: Policy, people: Sequence[Profile], n: int, manner: Manner, preset: Preset, rng: np.random.Generator
) -> list[Talk]:
    """n conversations with each person, in order, all a turn at a time; those with one person share its draws."""
    seeds = rng.integers(2**31, size=len(people)).tolist()
    talks = [Talk(p, seeds[g], [begin(preset)], [], [], g) for g, p in enumerate(people) for _ in range(n)]
    _on(policy, talks, manner, preset, rng, preset.turns)
    return talks


def _on(
    policy: Policy, talks: Sequence[Talk], manner: Manner, preset: Preset, rng: np.random.Generator, most: int
) -> int:
    """Go on with conversations for at most so many turns. Returns how many turns were taken."""
    taken = 0
    for _ in range(most):
        going = [d for d in talks if not d.states[-1].over and len(d.acts) < preset.turns]
        if not going:
            break
        for d, a in zip(going, policy([d.states[-1] for d in going], [len(d.acts) for d in going], rng), strict=True):
            turn = len(d.acts)
            d.inputs.append(features(d.states[-1], turn))
            d.acts.append(a)
            d.states.append(feel(d.person, manner, preset, d.states[-1], ACTS[a], True, d.seed * 64 + turn))
        taken += len(going)
    return taken


class Training(NamedTuple):
    """How an act policy is trained: GRPO, turns compared with the same turn of the group's others."""

    people: int = 8
    """People a step."""
    each: int = 8
    """Conversations with each."""
    turns: int = 100_000
    """Turns that may be taken in all, futures sampled for a reward included."""
    rate: float = 8.0
    entropy: float = 0.03
    """What a nat of entropy is worth, for exploration."""
    futures: int = 3
    """Of a forward-sampled reward: futures of each turn,"""
    horizon: int = 4
    """and how many turns long."""


def train(
    kind: Kind,
    start: Array,
    people: Sequence[Profile],
    manner: Manner,
    preset: Preset,
    how: Training,
    seed: int,
    look: Callable[[Array, int], None] = lambda weights, taken: None,
) -> tuple[Array, int]:
    """Train from some weights [FEATURES, acts] until the turns are spent; the weights then, and the turns taken.

    `look` is told both after each step.
    """
    rng = np.random.default_rng(seed)
    weights, taken = start, 0
    while taken < how.turns:
        some = [people[i] for i in rng.integers(len(people), size=how.people)]
        talks = talk(learnt(weights), some, how.each, manner, preset, rng)
        taken += sum(len(d.acts) for d in talks)
        if kind == "forward":
            values, more = _futures(weights, talks, manner, preset, how, rng)
            taken += more
        else:
            values = [turn_values(kind, d.scores, d.states[-1].over).tolist() for d in talks]
        advantages = np.concatenate(turn_advantages(values, [d.group for d in talks], std=True))
        inputs = np.concatenate([np.stack(d.inputs) for d in talks])
        p = probabilities(weights, inputs)
        done = np.eye(len(ACTS))[[a for d in talks for a in d.acts]]
        logp = np.log(np.maximum(p, 1e-12))
        doubt = p * (-logp - (-p * logp).sum(1, keepdims=True))
        push = advantages[:, None] * (done - p) + how.entropy * doubt
        weights = weights + how.rate * (inputs.T @ push) / len(inputs)
        look(weights, taken)
    return weights, taken


def cloned(policies: Sequence[Policy], people: Sequence[Profile], manner: Manner, preset: Preset, seed: int) -> Array:
    """Weights that imitate several policies at once, each in as many conversations: a start that does a bit of all.

    Maximum likelihood by 300 steps of gradient ascent, which is where it has settled.
    """
    rng = np.random.default_rng(seed)
    talks = [d for p in policies for d in talk(p, people, 1, manner, preset, rng)]
    inputs = np.concatenate([np.stack(d.inputs) for d in talks])
    done = np.eye(len(ACTS))[[a for d in talks for a in d.acts]]
    weights = np.zeros((FEATURES, len(ACTS)))
    for _ in range(300):
        weights = weights + 4.0 * inputs.T @ (done - probabilities(weights, inputs)) / len(inputs)
    return weights


def _futures(
    weights: Array, talks: Sequence[Talk], manner: Manner, preset: Preset, how: Training, rng: np.random.Generator
) -> tuple[list[list[float]], int]:
    """The forward-sampled value of every turn, and how many turns that took."""
    policy, taken = learnt(weights), 0

    def sample(starts: Sequence[tuple[Talk, int]], k: int) -> list[float]:
        nonlocal taken
        ahead = [
            # Other draws than those of the conversation itself, which would tell the future.
            Talk(d.person, int(rng.integers(2**31)), [d.states[t + 1]], list(d.acts[: t + 1]), [])
            for d, t in starts
            for _ in range(k)
        ]
        taken += _on(policy, ahead, manner, preset, rng, how.horizon)
        return [emotion(d.states[-1].score) for d in ahead]

    turns = [(d, t) for d in talks for t in range(len(d.acts))]
    flat = iter(forward_values(turns, sample, how.futures))
    return [[next(flat) for _ in d.acts] for d in talks], taken
