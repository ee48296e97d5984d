"""Which prompts are answered, and which of the answered ones are learnt from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frown.affect.quadrants import doubtful_steps
from frown.config import PracticeConfig, RunConfig
from frown.errors import FrownError
from frown.feedback.compose import groups
from frown.practice.difficulty import Candidate, Difficulty, Flow, choose_prompts, follow
from frown.tasks.base import Environment
from frown.types import Appraisal, Rollout, Task, episodes


def flow_of(config: PracticeConfig, environment: Environment) -> Flow | None:
    """The band of flow; None where difficulty is fixed.

    Raises FrownError where the tasks have no levels, or not the one asked for.
    """
    if config.difficulty == "fixed":
        return None
    levels = environment.levels
    if not levels:
        raise FrownError(f"practice.difficulty = 'flow': {environment.name} has no levels of difficulty")
    start = levels[0] if config.start is None else config.start
    if start not in levels:
        raise FrownError(f"practice.start = {start}: {environment.name} has levels {levels[0]} to {levels[-1]}")
    calm = Flow.calm if config.use_doubt else 1.0
    return Flow(least=levels[0], most=levels[-1], start=float(start), calm=calm)


def draw(environment: Environment, config: RunConfig, rng: np.random.Generator, at: Difficulty | None) -> list[Task]:
    """The prompts of one training step, candidates included, at the learner's difficulty."""
    n = config.sampling.prompts_per_step * config.practice.candidates
    return environment.train_tasks(rng, n, level=None if at is None else round(at.level))


def select(rollouts: Sequence[Rollout], config: RunConfig, rng: np.random.Generator) -> list[Rollout]:
    """The answers to the `sampling.prompts_per_step` prompts that are learnt from, group by group; all where there are
    no more."""
    if config.practice.candidates == 1:
        return list(rollouts)
    members = list(groups(rollouts).values())
    candidates = [_candidate([rollouts[i] for i in group]) for group in members]
    chosen = choose_prompts(candidates, config.sampling.prompts_per_step, config.practice.choose, rng)
    return [rollouts[i] for g in chosen for i in members[g]]


def _candidate(group: Sequence[Rollout]) -> Candidate:
    firsts = [group[turns[0]] for turns in episodes(group)]
    scored = [r.verdict.score for r in firsts if r.verdict is not None and r.verdict.scored]
    tokens = sum(int(r.own.sum()) for r in group)
    doubt = float(sum(-r.logp.sum() for r in group)) / tokens if tokens else 0.0
    return Candidate(sum(score >= 1.0 for score in scored), len(scored), max(doubt, 0.0))


def progress(at: Difficulty, flow: Flow, rollouts: Sequence[Rollout], appraisals: Sequence[Appraisal]) -> Difficulty:
    """The learner's difficulty after one more batch."""
    scores = [r.verdict.score for r in rollouts if r.verdict is not None and r.verdict.scored]
    doubted = [d for a in appraisals for d in doubtful_steps(a)]
    success = float(np.mean(scores)) if scores else float("nan")
    return follow(at, success, float(np.mean(doubted)) if doubted else 0.0, flow)
