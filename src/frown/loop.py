"""The training loop: sample, judge, read, give feedback, look as the teacher, one loss, one step.

    prompts  <- what is practised next                                          curriculum
    answers  <- the policy, G to each of P prompts                              engine.sample
    verdicts <- the environment                                                 environment.verify
    lesson   <- spans of affect, a critic aimed at the doubtful steps,
                feedback, and the same answers behind a context that holds it   lesson.prepare
    loss     <- d * divergence(student, teacher) + (1 - d) * policy gradient    engine.forward_backward

Deviations from SDPO as published (arXiv 2601.20802): the whole vocabulary instead of the top K; a sibling is drawn
evenly among the right ones; one optimiser step a batch, so no importance ratio.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from frown import curriculum
from frown.affect import rehearsal
from frown.affect.normalise import Normaliser
from frown.affect.reward import affect_reward
from frown.config import RunConfig
from frown.engine.local import LocalEngine
from frown.engine.text import completion_text, token_texts
from frown.errors import FrownError, NotFinite
from frown.evals.accuracy import avg_at_k
from frown.evaluate import Cost, evaluate, judge
from frown.feedback.compose import FeedbackFunction
from frown.feedback.critic import Critic
from frown.feedback.model_critic import ModelCritic
from frown.lesson import Lesson, affect_weights, prepare
from frown.losses.advantages import group_advantages, tail_advantages
from frown.preflight import teacher_gap
from frown.routing import routed
from frown.store import RunDirectory, write_text
from frown.tasks.base import Environment
from frown.types import Appraisal, Feedback, Floats, Rollout, TeacherView

PROMPTS, FEEDBACK, PREFLIGHT, SAMPLING, PRACTICE = range(5)
"""Streams of random numbers: what feedback draws must not change which prompts are seen."""


NOBODY_TOLD = (
    "at the first step no rollout got any feedback, so nothing was distilled: check feedback.parts (a reference needs "
    "worked solutions, a sibling a right answer in the group)"
)


def train(
    config: RunConfig,
    engine: LocalEngine,
    environment: Environment,
    run: RunDirectory,
    warn: Callable[[str], None] = lambda line: None,
    critic: Critic | None = None,
    feedback: FeedbackFunction | None = None,
) -> None:
    """Train one policy, writing everything to its run directory.

    `critic`: who comments on single steps. `feedback`: a function of one's own that says what each rollout's teacher is
    told, instead of `feedback.parts`.
    """
    P, G, d = config.sampling.prompts_per_step, config.sampling.responses_per_prompt, config.objective.distillation
    practice = config.affect.practice
    rng = {stream: np.random.default_rng([config.seed, stream]) for stream in (PROMPTS, FEEDBACK, PRACTICE)}
    cost, normaliser = Cost(), Normaliser()
    flow, level = curriculum.beginning(practice, environment) or (None, None)
    kept: tuple[rehearsal.Kept, ...] = ()
    complaints: set[str] = set()
    for line in (*environment.notes, *engine.notes):
        warn(line)
        run.log({"step": 0, "note": line})
    measure(engine, environment, run, 0, cost, warn)
    checkpoint(engine, run, normaliser)

    step = 0
    try:
        for step in range(1, config.optimiser.steps + 1):
            started = time.perf_counter()
            tasks = curriculum.draw(environment, config, rng[PROMPTS], level)
            answers = engine.sample(tasks, G, seed=seed_of(config.seed, step), temperature=config.sampling.temperature)
            answers = judge(answers, environment, engine)
            normaliser = normaliser.update([r.signals for r in answers if r.signals is not None])
            rollouts = curriculum.select(answers, P, practice, rng[PRACTICE])
            lesson = prepare(
                rollouts,
                config,
                environment,
                engine,
                rng[FEEDBACK],
                critic=critic,
                normaliser=normaliser,
                function=feedback,
            )
            scores = np.array([r.verdict.score if r.verdict else np.nan for r in rollouts])

            if step == 1 and d > 0:
                began = time.perf_counter()
                gap = teacher_gap(engine, environment, rollouts, lesson.views, seed=seed_of(config.seed, 1, PREFLIGHT))
                warning = gap.warning if gap else NOBODY_TOLD if not lesson.views else None
                if warning:
                    warn(warning)
                run.log({"step": 0, "teacher_gap": gap._asdict() if gap else None, "warning": warning})
                started += time.perf_counter() - began  # a check, not training

            again = rehearsal.choose(kept, practice.rehearse, practice.rehearse_by, rng[PRACTICE])
            batch = [*rollouts, *(kept[i].rollout for i in again)]
            old = [replace(kept[i].view, rollout=len(rollouts) + j) for j, i in enumerate(again)]
            reward = advantages(rollouts, lesson.appraisals, scores, config, rng[FEEDBACK])
            if config.objective.blend == "route":
                taught, reward = routed(rollouts, lesson.views, reward)
                lesson = lesson._replace(views=taught)
            reward += [np.zeros(len(kept[i].rollout.ids), np.float32) for i in again]  # rehearsed: distilled alone
            learnt = engine.forward_backward(batch, [*lesson.views, *old], reward)
            norm = engine.step() if learnt.averages["rows"] else 0.0
            if practice.rehearse:
                new = [(rollouts[v.rollout], v) for v in lesson.views]
                kept = rehearsal.remember(kept, again, new, [seen["divergence"] for seen in learnt.views])

            for why in sorted(set(lesson.lost) - complaints):
                warn(f"step {step}: a critique was lost: {why}")
            complaints |= set(lesson.lost)
            cost = _spend(cost, answers, lesson.feedback, time.perf_counter() - started)
            told: dict[str, Any] = {"views": len(lesson.views), **lesson.counts, "rehearsed": len(again)}
            told |= {"weighted_tokens": weighted_tokens(lesson.views)}
            told |= {} if level is None else {"level": level.level}
            told |= {} if not isinstance(critic, ModelCritic) else {"critic": critic.statistics.as_json()}
            seen = {**_metrics(rollouts, scores), **told, **learnt.averages, "grad_norm": norm}
            run.log({"step": step, **seen, **cost._asdict()})
            if config.keep_rollouts:
                keep(run, step, rollouts, lesson, learnt.views, engine)
            if flow is not None and level is not None:
                level = curriculum.progress(level, flow, rollouts, lesson.appraisals)
            if step % config.eval.every == 0 or step == config.optimiser.steps:
                measure(engine, environment, run, step, cost, warn)
                checkpoint(engine, run, normaliser)
    except NotFinite as error:
        raise FrownError(f"step {step}: {error}; lower optimiser.lr (the last good checkpoint is kept)") from error
    if engine.steps_taken < config.optimiser.steps:
        idle = config.optimiser.steps - engine.steps_taken
        warn(f"{idle} of {config.optimiser.steps} steps had nothing to learn from and changed no weight")
        run.log({"step": config.optimiser.steps, "idle_steps": idle})


def advantages(
    rollouts: Sequence[Rollout],
    appraisals: Sequence[Appraisal],
    scores: np.ndarray,
    config: RunConfig,
    rng: np.random.Generator,
) -> list[Floats]:
    """The advantage of each token for the policy gradient, float32[T] a rollout, weighted by the student's affect."""
    if config.objective.distillation == 1:
        return [np.zeros(len(r.ids), np.float32) for r in rollouts]
    if config.objective.policy == "tail":
        return [
            (np.zeros(len(r.ids)) if r.signals is None else tail_advantages(r.logp, r.signals["entropy"])).astype(
                np.float32
            )
            for r in rollouts
        ]
    by_group = (scores + affect_reward(rollouts, config.affect.reward)).reshape(
        -1, config.sampling.responses_per_prompt
    )
    each = group_advantages(by_group, std=config.objective.divide_by_std).ravel()
    found = [np.full(len(r.ids), a, np.float32) for r, a in zip(rollouts, each, strict=True)]
    weight, control = config.affect.weight, config.affect.control
    if weight.by == "none":
        return found
    factors = affect_weights(rollouts, appraisals, found, weight, rng if control != "off" else None)
    return [a * f for a, f in zip(found, factors, strict=True)]


def keep(
    run: RunDirectory,
    step: int,
    rollouts: Sequence[Rollout],
    lesson: Lesson,
    read: Sequence[dict[str, Floats]],
    engine: LocalEngine,
) -> None:
    """Write the rollouts of a step with their signals, spans and feedback, and what the teacher made of each token."""
    seen = {
        v.rollout: {
            "teacher_prompt": completion_text(engine.tokenizer, v.context_ids),
            "weight": v.weight,
            **{name: values[name] for name in ("log_ratio", "teacher_entropy", "divergence")},
        }
        for v, values in zip(lesson.views, read[: len(lesson.views)], strict=True)
    }
    tokens = [token_texts(engine.tokenizer, r.ids.tolist()) for r in rollouts]
    run.add_rollouts(step, rollouts, lesson.appraisals, lesson.feedback, tokens, seen)


def checkpoint(engine: LocalEngine, run: RunDirectory, normaliser: Normaliser) -> None:
    """Keep the policy as it is now, and what was usual in its signals."""

    def save(folder: Path) -> None:
        engine.save(folder)
        write_text(folder / "normaliser.json", json.dumps(normaliser.state()))

    run.checkpoint(save)


def weighted_tokens(views: Sequence[TeacherView]) -> int:
    """Tokens that the distillation loss lies on."""
    return int(sum(np.count_nonzero(v.weight) for v in views))


def measure(
    engine: LocalEngine,
    environment: Environment,
    run: RunDirectory,
    step: int,
    cost: Cost,
    warn: Callable[[str], None],
) -> None:
    """Evaluate on the test split, and before and after training on the held-out one."""
    settings, last = engine.config.eval, engine.config.optimiser.steps
    splits = {"test": settings.prompts, "heldout": settings.heldout_prompts if step in (0, last) else 0}
    for split, n in splits.items():
        if n:
            tasks = environment.test_tasks(split, n)
            if len(tasks) < n and step == 0:
                warn(f"the {split} split has {len(tasks)} tasks, fewer than the {n} asked for; all of them are used")
            samples = evaluate(engine, environment, tasks, step=step, split=split, cost=cost)
            run.add_eval(samples)
            score = float(avg_at_k(samples.score))
            run.log({"step": step, "split": split, "avg_at_k": score if np.isfinite(score) else None})


def _metrics(rollouts: Sequence[Rollout], scores: np.ndarray) -> dict[str, Any]:
    """What a person wants to know of a training step."""
    scored = np.isfinite(scores)
    verdicts = [r.verdict for r in rollouts if r.verdict is not None]
    process = [v.process_right for v in verdicts if v.process_right is not None]
    tokens = sum(len(r.ids) for r in rollouts)
    return {
        "train_accuracy": float(scores[scored].mean()) if scored.any() else None,
        "unscored": int((~scored).sum()),
        "well_formed": float(np.mean([v.well_formed for v in verdicts])),
        "process_accuracy": float(np.mean(process)) if process else None,
        "truncated": float(np.mean([r.truncated for r in rollouts])),
        "doubt": float(sum(-r.logp.sum() for r in rollouts) / tokens),
    }


def _spend(cost: Cost, rollouts: Sequence[Rollout], feedback: Sequence[Feedback], seconds: float) -> Cost:
    return Cost(
        cost.train_rollouts + len(rollouts),
        cost.train_tokens + sum(len(r.ids) for r in rollouts),
        cost.train_comments + sum(p.kind == "critique" for f in feedback for p in f.parts),
        cost.train_seconds + seconds,
    )


def seed_of(run: int, step: int, purpose: int = SAMPLING) -> int:
    """A 63-bit seed for one purpose at one step of one run."""
    return int(np.random.SeedSequence([run, step, purpose]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def check(config: RunConfig, critic: Critic | None) -> None:
    """Refuse a run that could not learn as configured, before anything is loaded."""
    if config.objective.distillation > 0 and set(config.feedback.kinds) <= {"critique"} and critic is None:
        raise FrownError(
            f"task.kind = {config.task.kind!r} has no critic: name one (feedback.critique.critic), or use other "
            "feedback.parts"
        )
