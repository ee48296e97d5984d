"""The affect note of each rollout: what a teacher is told of the student's own affect, in the environment's words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frown.affect.appraisal import signal
from frown.affect.note import note, random_choices, resolve, sibling_choices, weigh_up
from frown.config.affect import NoteConfig
from frown.policy.reader import Reader
from frown.policy.text import completion_text
from frown.tasks.base import Environment
from frown.types import Appraisal, Part, Rollout


def notes(
    rollouts: Sequence[Rollout],
    appraisals: Sequence[Appraisal],
    config: NoteConfig,
    environment: Environment,
    policy: Reader,
    rng: np.random.Generator,
) -> list[Part | None]:
    """The affect note on each rollout, in the environment's words; None where there is nothing to say."""
    if config.mode == "weighed" or config.mode == "resolved":
        written = [note(a, "plain", most=config.most) for a in appraisals]
        return _notes_with_content(rollouts, [n.steps for n in written], config, environment, policy, rng)
    written = [note(a, config.mode, most=config.most) for a in appraisals]
    pointed = [() if config.mode == "content_free" else n.steps for n in written]
    return [
        Part("affect", environment.wording.note(n.text, steps, len(n.steps)), n.steps) if n.steps else None
        for n, steps in zip(written, pointed, strict=True)
    ]


def _notes_with_content(
    rollouts: Sequence[Rollout],
    steps: Sequence[Sequence[int]],
    config: NoteConfig,
    environment: Environment,
    policy: Reader,
    rng: np.random.Generator,
) -> list[Part | None]:
    """Notes of what student and siblings considered at the doubtful steps, each as the text of the whole step."""
    resolved = config.mode == "resolved"
    own = [own_choices(r, policy) for r in rollouts]
    wrote = [[choices[0] for choices in of_rollout] for of_rollout in own]
    others = sibling_choices(rollouts, wrote, right=resolved)
    if config.options != "considered":
        own = [[choices[:1] for choices in of_rollout] for of_rollout in own]
    if config.options == "random":
        others = random_choices(rollouts, own, environment.wording.reworded, rng)
    elif config.options == "none":
        others = [[() for _ in of_rollout] for of_rollout in own]
    parts: list[Part | None] = []
    for i, r in enumerate(rollouts):
        if not resolved:
            options = weigh_up(steps[i], own[i], others[i], rng, most=config.options_per_step)
        elif r.verdict is not None and r.verdict.scored:
            options = resolve(steps[i], own[i], others[i], r.verdict.right)
        else:
            options = {}  # nobody knows how it ended
        text = environment.wording.weighed(options)
        parts.append(Part("affect", text, tuple(sorted(options)), verdict=resolved) if text else None)
    return parts


def own_choices(rollout: Rollout, policy: Reader) -> list[tuple[str, ...]]:
    """For each step what the student wrote, and what it would have been with another token at the one place where the
    likeliest other token was likeliest."""
    top, second = signal(rollout, "top_probability"), signal(rollout, "runner_up")
    surprisal = signal(rollout, "surprisal")  # not `logp`: that may be another engine's
    choices: list[tuple[str, ...]] = []
    for a, b in rollout.steps:
        wrote = completion_text(policy.tokenizer, rollout.ids[a:b])
        if rollout.alternative is None or top is None or second is None or surprisal is None:
            choices.append((wrote,))
            continue
        likeliest = np.exp(-surprisal[a:b]) > top[a:b] * (1.0 - 1e-4)
        at = int(np.argmax(np.where(likeliest, second[a:b], top[a:b])))
        changed = rollout.ids[a:b].copy()
        changed[at] = rollout.alternative[a + at]
        choices.append((wrote, completion_text(policy.tokenizer, changed)))
    return choices
