"""Measure a policy: sample k answers to each prompt of a fixed split and judge them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from frown.config import EvalConfig
from frown.evals.samples import GradedSamples, StepRecord
from frown.policy.policy import Policy
from frown.tasks.base import Environment
from frown.types import Floats, Rollout, Task, Verdict, episodes

EVAL_SEED = 271_828
"""The same for all arms and seeds, so that they differ by what was learnt and not by the draw."""


class Cost(NamedTuple):
    """What training has cost so far."""

    train_rollouts: int = 0
    train_tokens: int = 0
    """Tokens generated."""
    train_comments: int = 0
    """Steps a critic commented on."""
    train_seconds: float = 0.0
    """Evaluations left out."""


def evaluate(
    policy: Policy,
    environment: Environment,
    tasks: Sequence[Task],
    settings: EvalConfig,
    *,
    step: int,
    split: str,
    cost: Cost,
    keep: Callable[[list[Rollout]], None] = lambda answers: None,
) -> GradedSamples:
    """Grade `settings.samples` answers to each task at `settings.temperature`; `keep` is handed the judged answers."""
    policy.sync()
    answers = environment.rollouts(policy, tasks, settings.samples, seed=EVAL_SEED, temperature=settings.temperature)
    keep(answers)
    return graded(answers, [t.id for t in tasks], step=step, split=split, cost=cost)


def graded(
    rollouts: Sequence[Rollout],
    task_ids: Sequence[str],
    *,
    step: int,
    split: str,
    cost: Cost,
) -> GradedSamples:
    """Judged rollouts, task after task, as arrays [N, k]; a conversation whose turns are rollouts of their own is one
    sample."""
    whole = [[rollouts[i] for i in turns] for turns in episodes(rollouts)]
    verdicts = [turns[0].verdict or Verdict.unscored("not judged") for turns in whole]
    logp = [_of_policy([r.logp for r in turns], turns) for turns in whole]
    entropy = [_of_policy([r.signals["entropy"] for r in turns if r.signals], turns) for turns in whole]
    shape = (len(task_ids), len(whole) // len(task_ids))
    records = [step_record(turns) for turns in whole]

    def table(values: Sequence[object], kind: type = float) -> np.ndarray:
        flat: np.ndarray = np.empty(len(values), dtype=kind)
        flat[:] = values
        return flat.reshape(shape)

    process = [np.nan if v.process_right is None else float(v.process_right) for v in verdicts]
    return GradedSamples(
        step=step,
        split=split,
        task_ids=tuple(task_ids),
        score=table([v.score for v in verdicts]),
        well_formed=table([v.well_formed for v in verdicts], bool),
        process_right=table(process),
        answer=table([v.answer for v in verdicts], object),
        min_probability=table([float(np.exp(p.min())) for p in logp]),
        mean_probability=table([float(np.exp(p.mean())) for p in logp]),
        tokens=table([len(p) for p in logp], int),
        entropy=table([float(h.mean()) if len(h) else np.nan for h in entropy]),
        surprisal=table([float(-p.mean()) for p in logp]),
        truncated=table([any(r.truncated for r in turns) for turns in whole], bool),
        steps=table(records, object) if any(records) else None,
        **cost._asdict(),
    )


def _of_policy(values: Sequence[Floats], turns: Sequence[Rollout]) -> Floats:
    """A value a token of each turn of an episode, of the policy's own tokens and end to end; empty where there is none
    of every turn."""
    if len(values) < len(turns):
        return np.zeros(0, np.float32)
    return np.concatenate([v[r.own] for v, r in zip(values, turns, strict=True)])


def step_record(turns: Sequence[Rollout]) -> StepRecord | None:
    """What the policy doubted at each written-out step of an episode; None where nobody looks for steps.

    Where a step has no token of its own, tokens and verdicts cannot be told apart step by step: then the doubt is
    kept, and nobody knows which steps were right. An answer without steps, where steps are judged, has none of them.
    """
    verdict, count = turns[0].verdict, sum(len(r.steps) for r in turns)
    right = verdict.step_right if verdict is not None else None
    state = verdict.step_state if verdict is not None else None
    known = right is not None and len(right) == count
    if not count and not known:
        return None
    doubt = tuple(float(-r.logp[a:b].min()) for r in turns for a, b in r.steps)
    states = state if known and state is not None and len(state) == count else None
    return StepRecord(doubt, right if known else None, states)
