"""Before spending compute: would this policy learn from this feedback?

One batch is sampled, judged and told about exactly as the first training step would do it (`Method.teach`), once for
each kind of feedback, and nothing is learnt. Then for each kind:

- gap: the teacher's accuracy minus the student's on the same prompts. The gap before training was found to go with
  the final gain (arXiv 2605.30070).
- advantage: mean log q - log pi (teacher over student, nats a token) of the sampled tokens: on wrong steps it should be
  negative, on right ones not. Where no step can be judged, the same of wrong and right answers.
- localisation: which share of the absolute advantage of an answer with a wrong step lies on its first wrong step (and
  which share of its tokens does), and how well the summed advantage tells that step from the right ones.
- profile: the advantage by place relative to the first wrong step.
- what lands on right steps: their share of all negative advantage, beside their share of tokens.
- coverage and cost: which share of the answers gets feedback at all, and what a training step of it costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from frown.config import RunConfig
from frown.critics.base import Critic
from frown.critics.load import open_critic
from frown.errors import FrownError
from frown.evals.figures import number
from frown.evals.profile import JudgedAnswer, PromptSums, judged_steps, profile
from frown.evals.signal_quality import Units, quality
from frown.learner.scorer import Scorer
from frown.methods.base import KINDS, Classroom, Lesson, noisy_variance
from frown.policy.load import context_length
from frown.policy.policy import Policy, policy_of
from frown.policy.text import token_texts
from frown.runtime.randomness import FEEDBACK, PREFLIGHT, PROMPTS, seed_of
from frown.runtime.threads import settle
from frown.tasks.base import Environment
from frown.tasks.load import load_environment
from frown.training.context import Room, fitting
from frown.training.preflight import teacher_gap
from frown.types import Floats, Kind, Rollout

NO_HEADROOM = 0.95
"""A student this often right has too little left to learn for any feedback to show."""


def probe(config: RunConfig, kinds: Sequence[str] | None = None, *, prompts: int | None = None) -> dict[str, Any]:
    """Probe each kind of feedback (None: those of the configuration) on the policy that a run would start from.

    `prompts`: how many prompts to sample (None: those of one training step), `sampling.responses_per_prompt` answers
    each. More make every interval narrower. The method's own settings apply, so that an aim can be probed.

    Returns JSON data: {"model", "task", "prompts", "answers", "headroom", "kinds": {kind: ...}, "example"}, see
    `examine` and `example`.
    Raises FrownError for an unknown kind, or fewer than two prompts.
    """
    if config.conversation is not None:
        raise FrownError("a conversation is trained without a teacher: there is no feedback to probe")
    chosen: list[Kind] = []
    for name in kinds or config.method.kinds:
        if name not in KINDS:
            raise FrownError(f"there is no feedback {name!r} to probe, only {', '.join(KINDS)}")
        chosen += [kind for kind in KINDS if kind == name]
    if prompts is not None and prompts < 2:
        raise FrownError(f"a probe samples at least 2 prompts, got {prompts}")
    environment = load_environment(config.task, conversation=config.conversation)
    try:
        with open_critic(config.critic, environment) as critic:
            policy = policy_of(config)
            room = Room(context_length(policy.model), config.sampling.max_new_tokens)
            environment = fitting(environment, policy.tokenizer, room, split="train")
            settle(policy.model)
            return examine(config, chosen, policy, environment, critic, prompts=prompts)
    finally:
        environment.close()


def examine(
    config: RunConfig,
    kinds: Sequence[Kind],
    policy: Policy,
    environment: Environment,
    critic: Critic | None,
    *,
    prompts: int | None = None,
) -> dict[str, Any]:
    """`probe` with a loaded policy and environment. The policy is left as it was.

    "headroom": {"accuracy", "mixed", "all_right", "all_wrong", "unscored"}: the student's accuracy, shares of prompts
    by the outcomes of their scored answers, and how many answers could not be scored. Of a kind: "coverage", "gap"
    {"student", "teacher", "difference", "standard_error", "n"}, "advantage", "localisation" and "profile" (metrics
    {"mean", "ci95"}, intervals over prompts, none where a figure is of too few), "cost" of one training step, "verdict"
    and its "reason" in a sentence. What cannot be told is None.
    """
    count = prompts if prompts is not None else config.sampling.prompts_per_step
    tasks = environment.train_tasks(np.random.default_rng([config.seed, PROMPTS]), count)
    sampling = config.sampling
    rollouts = environment.rollouts(
        policy, tasks, sampling.responses_per_prompt, seed=seed_of(config.seed, 1), temperature=sampling.temperature
    )
    scorer = Scorer(policy, config.teacher, config.loss)
    room = headroom(rollouts)
    results, advantages = {}, {}
    for kind in kinds:
        results[kind], advantages[kind] = _examine(kind, rollouts, room, config, policy, scorer, environment, critic)
    return {
        "model": config.model.path,
        "task": environment.name,
        "seed": config.seed,
        "prompts": count,
        "answers": len(rollouts),
        "headroom": room,
        "kinds": results,
        "example": example(rollouts, advantages, policy),
    }


def headroom(rollouts: Sequence[Rollout]) -> dict[str, Any]:
    """How often the student is right, and how many prompts it gets always, never or sometimes right."""
    by_prompt: dict[int, list[bool]] = {}
    scored = [r for r in rollouts if r.verdict is not None and r.verdict.scored]
    for r in scored:
        by_prompt.setdefault(r.group, []).append(r.verdict is not None and r.verdict.right)
    outcomes = [(any(right), all(right)) for right in by_prompt.values()]
    return {
        "accuracy": number(np.mean([r.verdict.score for r in scored if r.verdict is not None])) if scored else None,
        "mixed": number(np.mean([some and not every for some, every in outcomes])) if outcomes else None,
        "all_right": number(np.mean([every for _, every in outcomes])) if outcomes else None,
        "all_wrong": number(np.mean([not some for some, _ in outcomes])) if outcomes else None,
        "unscored": len(rollouts) - len(scored),
    }


def _examine(
    kind: Kind,
    rollouts: Sequence[Rollout],
    room: dict[str, Any],
    config: RunConfig,
    policy: Policy,
    scorer: Scorer,
    environment: Environment,
    critic: Critic | None,
) -> tuple[dict[str, Any], dict[int, Floats]]:
    """What is found out about one kind, and the advantage of each token of the rollouts that were given it."""
    method = config.method.with_feedback(kind)
    rng = np.random.default_rng([config.seed, FEEDBACK])
    variance = noisy_variance(method, policy, rollouts, rng)
    lesson = method.teach(rollouts, Classroom(config, environment, policy, rng, critic, variance=variance))
    views = lesson.views
    gap = teacher_gap(policy, environment, rollouts, views, seed=seed_of(config.seed, PREFLIGHT))
    advantages = [scores["log_ratio"] for scores in scorer.score(rollouts, views)]
    viewed = [rollouts[v.rollout] for v in views]
    result: dict[str, Any] = {
        "coverage": number(len(views) / len(rollouts)),
        "gap": None
        if gap is None
        else {
            "student": number(gap.student),
            "teacher": number(gap.teacher),
            "difference": number(gap.teacher - gap.student),
            "standard_error": number(gap.standard_error),
            "n": gap.n,
        },
        "advantage": advantage(viewed, advantages),
        "localisation": localisation(viewed, advantages),
        "profile": profile(
            [JudgedAnswer(r.group, judged_steps(r), a) for r, a in zip(viewed, advantages, strict=True)]
        ),
        "cost": _cost(lesson, rollouts, config),
    }
    verdict, reason = judgement(kind, room, result)
    by_rollout = {v.rollout: a for v, a in zip(views, advantages, strict=True)}
    return {**result, "verdict": verdict, "reason": reason}, by_rollout


def example(
    rollouts: Sequence[Rollout], advantages: dict[Kind, dict[int, Floats]], policy: Policy
) -> dict[str, Any] | None:
    """One answer with a wrong step, token by token, and what each kind of feedback makes of it: the first of those that
    most kinds spoke about. {"question", "tokens", "steps" (ranges of tokens), "step_right", "advantage" {kind: nats a
    token}}; None where no step can be judged, or nothing was told about such an answer."""
    wrong = [i for i, r in enumerate(rollouts) if not all(right for _, right in judged_steps(r))]
    kinds = {i: [kind for kind in advantages if i in advantages[kind]] for i in wrong}
    if not any(kinds.values()):
        return None
    best = max(wrong, key=lambda i: (len(kinds[i]), -i))
    r = rollouts[best]
    return {
        "question": r.task.question,
        "tokens": token_texts(policy.tokenizer, r.ids.tolist()),
        "steps": [list(span) for span, _ in judged_steps(r)],
        "step_right": [right for _, right in judged_steps(r)],
        "advantage": {kind: [number(a) for a in advantages[kind][best]] for kind in kinds[best]},
    }


# -- what the teacher's word is worth ------------------------------------------------------------------------------


def advantage(rollouts: Sequence[Rollout], log_ratio: Sequence[Floats]) -> dict[str, Any]:
    """Mean log q - log pi a token, nats, where things are wrong and where they are right; metrics over prompts.

    `wrong_steps`, `right_steps`: tokens of judged steps; `wrong_answers`, `right_answers`: all tokens of scored
    answers. `negative_on_right_steps`: share of the summed negative advantage of judged steps that lies on right ones;
    `tokens_on_right_steps`: their share of tokens, what a teacher without a clue would put there.
    """
    sums = PromptSums([r.group for r in rollouts])
    for r, a in zip(rollouts, log_ratio, strict=True):
        if r.verdict is not None and r.verdict.scored:
            sums.add(r.group, "right_answers" if r.verdict.right else "wrong_answers", float(a.sum()), len(a))
        for (start, end), right in judged_steps(r):
            part = a[start:end]
            fall = float(-np.minimum(part, 0.0).sum())
            sums.add(r.group, "right_steps" if right else "wrong_steps", float(part.sum()), end - start)
            sums.add(r.group, "negative_on_right_steps", fall * right, fall)
            sums.add(r.group, "tokens_on_right_steps", (end - start) * float(right), end - start)
    names = ("wrong_steps", "right_steps", "wrong_answers", "right_answers")
    return {name: sums.metric(name) for name in (*names, "negative_on_right_steps", "tokens_on_right_steps")}


def localisation(rollouts: Sequence[Rollout], log_ratio: Sequence[Floats]) -> dict[str, Any]:
    """How much of the teacher's word is about the first wrong step; of answers with a wrong step, metrics over prompts.

    `share`: of the summed absolute advantage; `share_of_tokens`: of the tokens; `auroc`: the chance that the first
    wrong step has a lower summed advantage than a right step of the same answer (later wrong steps left out).
    """
    sums = PromptSums([r.group for r in rollouts])
    rows: list[tuple[int, int, int, float, float]] = []
    for i, (r, a) in enumerate(zip(rollouts, log_ratio, strict=True)):
        steps = judged_steps(r)
        first = next((j for j, (_, right) in enumerate(steps) if not right), None)
        if first is None:
            continue
        start, end = steps[first][0]
        sums.add(r.group, "share", float(np.abs(a[start:end]).sum()), float(np.abs(a).sum()))
        sums.add(r.group, "share_of_tokens", end - start, len(a))
        for j, ((start, end), right) in enumerate(steps):
            wrong = 1.0 if j == first else 0.0 if right else np.nan
            rows.append((sums.row[r.group], i, j, wrong, -float(a[start:end].sum())))
    columns = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    prompt, sequence, position = columns[:3].astype(np.int64)
    units = Units(max(len(sums.row), 1), prompt, sequence, position, columns[3], {"against": columns[4]})
    against = quality(units)["signals"].get("against", {})
    return {
        "share": sums.metric("share"),
        "share_of_tokens": sums.metric("share_of_tokens"),
        "auroc": against.get("auroc_within_sequence"),
    }


def _cost(lesson: Lesson, rollouts: Sequence[Rollout], config: RunConfig) -> dict[str, Any]:
    """Of one training step: tokens the teacher reads, tokens of its contexts among them, comments bought."""
    scale = config.sampling.answers_per_step / len(rollouts)
    context = sum(len(v.context_ids) for v in lesson.views)
    answers = sum(len(rollouts[v.rollout].ids) for v in lesson.views)
    comments = sum(p.kind == "critique" for f in lesson.feedback for p in f.parts)
    return {
        "teacher_tokens": number((context + answers) * scale),
        "context_tokens": number(context * scale),
        "comments": number(comments * scale),
    }


# -- the verdict ---------------------------------------------------------------------------------------------------


def judgement(kind: str, room: dict[str, Any], result: dict[str, Any]) -> tuple[str, str]:
    """The verdict on one kind of feedback, and its reason in one sentence.

    In this order: "cannot tell" (nothing scored, or nothing to compare), "nothing to tell" (no answer can have this
    feedback), "no headroom" (accuracy of `NO_HEADROOM` or more), "teacher worse" (by over two standard errors),
    "teacher not better" (by less than one), "unclear" (by less than two), "points the wrong way" (the teacher's
    advantage on what is wrong is no lower than on what is right), "worth trying".
    """
    accuracy, gap = room["accuracy"], result["gap"]
    if accuracy is None:
        return "cannot tell", "none of the answers could be scored."
    if not result["coverage"]:
        return "nothing to tell", f"no answer could be given {kind} feedback{_why_not(kind, room)}."
    if accuracy >= NO_HEADROOM:
        return "no headroom", f"the student is right in {accuracy:.0%} of its answers already."
    if gap is None:
        return "cannot tell", "too few of the teacher's answers could be scored to compare them."
    difference, error = gap["difference"], gap["standard_error"]
    reached = f"{gap['teacher']:.2f} against the student's {gap['student']:.2f}, {difference:+.2f} ± {error:.2f}"
    if difference < -2 * error:
        return "teacher worse", f"given {kind}, the teacher reaches {reached}: it would teach errors."
    if difference <= error:
        return "teacher not better", f"given {kind}, the teacher reaches {reached}."
    if difference <= 2 * error:
        return "unclear", f"given {kind}, the teacher reaches {reached}: sample more prompts to be sure."
    means = result["advantage"]
    what = "steps" if means["wrong_steps"] and means["right_steps"] else "answers"
    wrong, right = means[f"wrong_{what}"], means[f"right_{what}"]
    if wrong and right and wrong["mean"] >= right["mean"]:
        return (
            "points the wrong way",
            f"the teacher reaches {reached}, but favours the tokens of wrong {what} ({wrong['mean']:+.3f} nats) no "
            f"less than those of right ones ({right['mean']:+.3f}).",
        )
    where = (
        f" and it disfavours wrong {what} ({wrong['mean']:+.3f} nats a token)" if wrong and wrong["mean"] < 0 else ""
    )
    return "worth trying", f"given {kind}, the teacher reaches {reached}{where}."


def _why_not(kind: str, room: dict[str, Any]) -> str:
    if kind == "sibling":
        return f": in {room['all_wrong'] or 0.0:.0%} of the prompts no sibling is right"
    return {
        "reference": ": the tasks have no worked solutions",
        "critique": ": there is no critic, or no step to ask about",
        "affect": ": nothing was doubtful",
        "outcome": ": no answer was wrong",
    }.get(kind, "")
