"""What a run writes down: how a training step went, its rollouts, and what an evaluation found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from frown.affect.appraisal import appraise
from frown.affect.normalise import Normaliser
from frown.affect.rules import rules_named
from frown.evals.accuracy import avg_at_k
from frown.feedback.compose import groups
from frown.learner.engine import LocalEngine
from frown.policy.text import completion_text, token_texts
from frown.store.record import RolloutRecord, TeacherReading
from frown.store.run_directory import RunDirectory
from frown.tasks.base import Environment
from frown.train.evaluation import Cost, evaluate
from frown.train.lesson import Lesson
from frown.types import Appraisal, Feedback, Floats, Rollout


def step_metrics(rollouts: Sequence[Rollout], scores: np.ndarray) -> dict[str, Any]:
    """What a person, or the guard, wants to know of the answers of a training step."""
    scored = np.isfinite(scores)
    entropy = [r.signals["entropy"][r.own] for r in rollouts if r.signals is not None]
    verdicts = [r.verdict for r in rollouts if r.verdict is not None]
    process = [v.process_right for v in verdicts if v.process_right is not None]
    tokens = sum(int(r.own.sum()) for r in rollouts)
    return {
        "train_accuracy": float(scores[scored].mean()) if scored.any() else None,
        "unscored": int((~scored).sum()),
        "well_formed": float(np.mean([v.well_formed for v in verdicts])),
        "process_accuracy": float(np.mean(process)) if process else None,
        "truncated": float(np.mean([r.truncated for r in rollouts])),
        "doubt": float(sum(-r.logp.sum() for r in rollouts) / tokens),
        "length": tokens / len(rollouts),
        "policy_entropy": float(np.concatenate(entropy).mean(dtype=np.float64)) if entropy else None,
        "repetition": float(np.mean([repetition(r.ids[r.own].tolist()) for r in rollouts])),
        "flat_groups": flat_groups([scores[members] for members in groups(rollouts).values()]),
    }


def repetition(ids: Sequence[int], n: int = 4) -> float:
    """Share of the n-grams of an answer that stood in it before, in [0, 1); 0 where it has none (the complement of
    distinct-n, Li et al. 2016, arXiv 1510.03055, within one answer)."""
    grams = [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]
    return 1.0 - len(set(grams)) / len(grams) if grams else 0.0


def flat_groups(scores: Sequence[np.ndarray]) -> float | None:
    """Share of the groups in which rewards say nothing and nobody is right: all scores equal, and below 1.

    Groups with fewer than two scored answers do not count; None where none is left. Groups in which all are right are
    flat, too, but mastered.
    """
    known = [s[np.isfinite(s)] for s in scores]
    flat = [s.max() == s.min() < 1.0 for s in known if len(s) > 1]
    return float(np.mean(flat)) if flat else None


def spend(cost: Cost, rollouts: Sequence[Rollout], feedback: Sequence[Feedback], seconds: float) -> Cost:
    """What training has cost after one more step."""
    return Cost(
        cost.train_rollouts + len(rollouts),
        cost.train_tokens + sum(int(r.own.sum()) for r in rollouts),
        cost.train_comments + sum(p.kind == "critique" for f in feedback for p in f.parts),
        cost.train_seconds + seconds,
    )


def keep_rollouts(
    run: RunDirectory,
    step: int,
    rollouts: Sequence[Rollout],
    lesson: Lesson,
    advantages: Sequence[Floats],
    read: Sequence[dict[str, Floats]],
    engine: LocalEngine,
) -> None:
    """Write the rollouts of a step with their signals, spans, feedback and advantages, and what the teacher made of
    each token."""
    teachers = {
        view.rollout: TeacherReading(
            context_ids=view.context_ids,
            weight=view.weight,
            prompt=completion_text(engine.tokenizer, view.context_ids),
            log_ratio=values["log_ratio"],
            entropy=values["teacher_entropy"],
            divergence=values["divergence"],
        )
        for view, values in zip(lesson.views, read[: len(lesson.views)], strict=True)
    }
    records = [
        replace(kept, feedback=feedback, advantage=advantage, teacher=teachers.get(i))
        for i, (kept, feedback, advantage) in enumerate(
            zip(records_of(rollouts, lesson.appraisals, engine), lesson.feedback, advantages, strict=True)
        )
    ]
    run.add_rollouts(step, records)


def records_of(
    rollouts: Sequence[Rollout], appraisals: Sequence[Appraisal], engine: LocalEngine
) -> list[RolloutRecord]:
    """Appraised answers with their prompt and their tokens as text."""
    return [
        RolloutRecord(
            rollout,
            appraisal,
            prompt=completion_text(engine.tokenizer, rollout.prompt_ids),
            tokens=tuple(token_texts(engine.tokenizer, rollout.ids.tolist())),
        )
        for rollout, appraisal in zip(rollouts, appraisals, strict=True)
    ]


def measure(
    engine: LocalEngine,
    environment: Environment,
    run: RunDirectory,
    step: int,
    cost: Cost,
    warn: Callable[[str], None],
    normaliser: Normaliser,
) -> dict[str, float]:
    """Evaluate on the test split, on the dev split where the guard watches it, and before and after training on the
    held-out one. Returns the accuracy on each split; a split of which nothing could be scored is left out.
    The answers of the test split are kept, appraised with `normaliser`, what was usual in training."""
    settings, last = engine.config.eval, engine.config.optimiser.steps
    heldout = settings.heldout_prompts if step in (0, last) else 0
    splits = {"test": settings.prompts, "dev": settings.dev_prompts, "heldout": heldout}
    rules = rules_named(engine.config.affect.rules)
    found = {}

    def keep(answers: list[Rollout]) -> None:
        if split == "test" and engine.config.keep_rollouts:
            appraisals = [appraise(r, rules, normaliser=normaliser) for r in answers]
            run.add_answers(step, split, records_of(answers, appraisals, engine))

    for split, n in splits.items():
        if n:
            tasks = environment.test_tasks(split, n)
            if len(tasks) < n and step == 0:
                warn(f"the {split} split has {len(tasks)} tasks, fewer than the {n} asked for; all of them are used")
            samples = evaluate(engine, environment, tasks, step=step, split=split, cost=cost, keep=keep)
            run.add_eval(samples)
            score = float(avg_at_k(samples.score))
            run.log({"step": step, "split": split, "avg_at_k": score if np.isfinite(score) else None})
            if np.isfinite(score):
                found[split] = score
    return found
