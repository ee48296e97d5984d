"""What a run writes down: how a training step went, its rollouts, and what an evaluation measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from frown.affect.appraisal import appraise
from frown.affect.rules import rules_named
from frown.critics.model.critic import ModelCritic
from frown.evals.accuracy import avg_at_k
from frown.feedback.compose import groups
from frown.learner.learner import Update
from frown.policy.policy import Policy
from frown.policy.text import completion_text, token_texts
from frown.store.record import RolloutRecord, TeacherReading
from frown.training.batch import Batch
from frown.training.evaluation import Cost, evaluate
from frown.training.session import Session
from frown.training.state import LoopState
from frown.types import Appraisal, Rollout, TeacherView, episodes


def record_step(
    session: Session,
    before: LoopState,
    after: LoopState,
    batch: Batch,
    update: Update,
) -> dict[str, Any]:
    """Write a step's metrics and rollouts to the run directory and say what went wrong; the metrics."""
    answers, lesson = batch.answers, batch.lesson
    for complaint in sorted(set(lesson.complaints) - before.complaints):
        session.warn(f"step {after.step}: {complaint}")
    metrics: dict[str, Any] = {
        **answer_metrics(answers),
        "views": len(lesson.views),
        **lesson.counts,
        "replayed": len(update.views) - len(lesson.views),
        "weighted_tokens": weighted_tokens(lesson.views),
    }
    if session.config.method.demonstrated:
        metrics["without_solution"] = session.config.sampling.prompts_per_step - len(answers)
    if before.level is not None:
        metrics["level"] = before.level.level
    if isinstance(session.critic, ModelCritic):
        metrics["critic"] = session.critic.statistics.as_json()
    metrics |= {**update.averages, "grad_norm": update.gradient_norm}
    if session.config.guard.kl is not None and "kl_to_start" not in metrics:
        metrics["kl_to_start"] = session.learner.kl_to_start(answers)
    session.run.log({"step": after.step, **metrics, **after.cost._asdict()})
    if session.config.keep_rollouts:
        keep_rollouts(session, after.step, batch, update)
    return metrics


def weighted_tokens(views: Sequence[TeacherView]) -> int:
    """Tokens that the distillation loss lies on."""
    return int(sum(np.count_nonzero(v.weight) for v in views))


def answer_metrics(rollouts: Sequence[Rollout]) -> dict[str, Any]:
    """What a person, or the guard, wants to know of the answers of a training step; a conversation whose turns are
    rollouts of their own counts as one answer."""
    answers = [[rollouts[i] for i in turns] for turns in episodes(rollouts)]
    firsts = [turns[0] for turns in answers]
    scores = np.array([r.verdict.score if r.verdict else np.nan for r in firsts])
    scored = np.isfinite(scores)
    own_ids = [[i for r in turns for i in r.ids[r.own].tolist()] for turns in answers]
    entropy = [r.signals["entropy"][r.own] for r in rollouts if r.signals is not None]
    verdicts = [r.verdict for r in firsts if r.verdict is not None]
    process = [v.process_right for v in verdicts if v.process_right is not None]
    tokens, known = sum(int(r.own.sum()) for r in rollouts), [r for r in rollouts if not r.demonstrated]
    return {
        "train_accuracy": float(scores[scored].mean()) if scored.any() else None,
        "unscored": int((~scored).sum()),
        "well_formed": float(np.mean([v.well_formed for v in verdicts])),
        "process_accuracy": float(np.mean(process)) if process else None,
        "truncated": float(np.mean([any(r.truncated for r in turns) for turns in answers])),
        "doubt": float(sum(-r.logp.sum() for r in known) / sum(int(r.own.sum()) for r in known)) if known else None,
        "length": tokens / len(answers),
        "policy_entropy": float(np.concatenate(entropy).mean(dtype=np.float64)) if entropy else None,
        "repetition": float(np.mean([repetition(ids) for ids in own_ids])),
        "flat_groups": flat_groups([scores[members] for members in groups(firsts).values()]),
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


def spend(cost: Cost, batch: Batch, seconds: float) -> Cost:
    """What training has cost after one more step, in which learning took so many seconds."""
    return Cost(
        cost.train_rollouts + len(episodes(batch.sampled)),
        cost.train_tokens + sum(int(r.own.sum()) for r in batch.sampled if not r.demonstrated),
        cost.train_comments + sum(p.kind == "critique" for f in batch.lesson.feedback for p in f.parts),
        cost.train_seconds + batch.seconds + seconds,
    )


def keep_rollouts(
    session: Session,
    step: int,
    batch: Batch,
    update: Update,
) -> None:
    """Write the rollouts of a step with their signals, spans, feedback and advantages, and what the teacher made of
    each token."""
    tokenizer, lesson = session.policy.tokenizer, batch.lesson
    teachers = {
        view.rollout: TeacherReading(
            context_ids=view.context_ids,
            weight=view.weight,
            prompt=completion_text(tokenizer, view.context_ids),
            log_ratio=values["log_ratio"],
            entropy=values["teacher_entropy"],
            divergence=values["divergence"],
        )
        for view, values in zip(lesson.views, update.views[: len(lesson.views)], strict=True)
    }
    records = records_of(batch.answers, lesson.appraisals, session.policy)
    session.run.add_rollouts(
        step,
        [
            replace(record, feedback=feedback, advantage=advantage, teacher=teachers.get(i))
            for i, (record, feedback, advantage) in enumerate(zip(records, lesson.feedback, batch.credit, strict=True))
        ],
    )


def records_of(rollouts: Sequence[Rollout], appraisals: Sequence[Appraisal], policy: Policy) -> list[RolloutRecord]:
    """Appraised answers with their prompt and their tokens as text."""
    return [
        RolloutRecord(
            rollout,
            appraisal,
            prompt=completion_text(policy.tokenizer, rollout.prompt_ids),
            tokens=tuple(token_texts(policy.tokenizer, rollout.ids.tolist())),
            unknown=frozenset(("logp",)) if rollout.demonstrated else frozenset(),
        )
        for rollout, appraisal in zip(rollouts, appraisals, strict=True)
    ]


def evaluate_splits(session: Session, state: LoopState) -> dict[str, float]:
    """Evaluate on the test split, on the dev split where the guard watches it, and before and after training on the
    held-out one. Returns the accuracy on each split; a split of which nothing could be scored is left out.

    The answers of the test split are kept, appraised by what was usual in training."""
    config, step, run = session.config, state.step, session.run
    heldout = config.eval.heldout_prompts if step in (0, config.optimiser.steps) else 0
    splits = {"test": config.eval.prompts, "dev": config.eval.dev_prompts, "heldout": heldout}
    accuracy = {}

    def keep(answers: list[Rollout]) -> None:
        if split == "test" and config.keep_rollouts:
            rules = rules_named(config.affect.rules)
            appraisals = [appraise(r, rules, normaliser=state.normaliser) for r in answers]
            run.add_answers(step, split, records_of(answers, appraisals, session.policy))

    for split, n in splits.items():
        if not n:
            continue
        tasks = session.environment.test_tasks(split, n)
        if len(tasks) < n and step == 0:
            line = f"the {split} split has {len(tasks)} tasks, fewer than the {n} asked for; all of them are used"
            session.warn(line)
        samples = evaluate(
            session.policy, session.environment, tasks, config.eval, step=step, split=split, cost=state.cost, keep=keep
        )
        run.add_eval(samples)
        score = float(avg_at_k(samples.score))
        run.log({"step": step, "split": split, "avg_at_k": score if np.isfinite(score) else None})
        if np.isfinite(score):
            accuracy[split] = score
    return accuracy
