"""Everything between judged rollouts and the loss: what was felt, what is told about it, and how the teacher sees it.

appraisals <- what the policy's own distribution said while it answered, under the control of an experiment
asked      <- the steps a critic is asked about, within its budget
feedback   <- siblings, references, comments, notes
views      <- the same answers behind a context that holds the feedback, with a weight on each token
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from frown.affect import weight as weights
from frown.affect.appraisal import appraise, signal, step_peaks
from frown.affect.controls import controlled, dealt_out
from frown.affect.normalise import Normaliser
from frown.affect.note import note, random_choices, resolve, sibling_choices, weigh_up
from frown.affect.quadrants import token_quadrants
from frown.affect.rules import rules_named
from frown.config import CritiqueConfig, FeedbackConfig, NoteConfig, RunConfig, WeightConfig
from frown.critics.base import Critic, Request
from frown.errors import FrownError
from frown.feedback.aim import aim, within_budget
from frown.feedback.compose import FeedbackFunction, by_function, compose, groups
from frown.feedback.disclosure import allowed, leak, reasoning_ends, shortened
from frown.policy.reader import Reader
from frown.policy.text import completion_text, token_steps
from frown.signals.group import sibling_disagreement, step_tokens
from frown.tasks.base import Environment
from frown.teacher.views import views as teacher_views
from frown.types import Appraisal, Feedback, Floats, Part, Rollout, Step, TeacherView

if TYPE_CHECKING:
    from frown.policy.policy import Policy

SignalFunction = Callable[[Rollout], Floats]
"""A signal of one's own: rollout -> one value a token [T], the largest first to be asked about."""

COPIES = 4
"""Copies with noisy weights from which the variance of a prediction is read."""


class Lesson(NamedTuple):
    """What is read in judged rollouts, what the teacher is told about each, and how it sees those it is told about."""

    appraisals: list[Appraisal]
    feedback: list[Feedback]
    views: list[TeacherView]
    counts: dict[str, int]
    """What was left out on the way (views too long for the model, steps that a budget of tokens left unasked, critiques
    lost, parts withheld, cut or left out), and how many rollouts are told a verdict, or what is right."""
    lost: tuple[str, ...]
    """Why, one line for each rollout whose critique was lost."""


def noisy_spread(
    rollouts: Sequence[Rollout], critique: CritiqueConfig, policy: Policy, rng: np.random.Generator
) -> list[Floats] | None:
    """How much copies with noisy weights disagree at each token (nats, float32[T] a rollout) where
    `feedback.critique.ask` is "variance", else None. All processes of a run take part; one then prepares the lesson."""
    if critique.ask != "variance":
        return None
    return policy.prediction_variance(rollouts, copies=COPIES, seed=int(rng.integers(2**31)))


def prepare(
    rollouts: Sequence[Rollout],
    config: RunConfig,
    environment: Environment,
    engine: Reader,
    rng: np.random.Generator,
    *,
    critic: Critic | None,
    normaliser: Normaliser | None = None,
    function: FeedbackFunction | None = None,
    signal: SignalFunction | None = None,
    spread: Sequence[Floats] | None = None,
) -> Lesson:
    """The lesson of one batch. What is drawn on the way comes from `rng`.

    `function` says what each teacher is told, instead of `feedback.parts`; the rest of the policy holds for it, too.
    `signal` scores steps for `feedback.critique.ask = "own"`, `spread` (see `noisy_spread`) for "variance".
    """
    affect, told = config.affect, config.feedback
    courses = told.courses if config.objective.distillation > 0 else ()
    kinds = {kind for course in courses for kind in course}
    given = step_scores(rollouts, told.critique, signal, spread)
    contested = [{} if row is None else {"disagreement": row} for row in given["disagreement"]]
    rules = rules_named(affect.rules)
    appraisals = [
        appraise(r, rules, step_signals=also, normaliser=normaliser)
        for r, also in zip(rollouts, contested, strict=True)
    ]
    if affect.control != "off":
        appraisals = [controlled(a, r, affect.control, rng) for a, r in zip(appraisals, rollouts, strict=True)]
    unasked = 0
    if function is not None and courses:
        composed = by_function(rollouts, appraisals, function, told.to)
    else:
        asked, unasked = ask(rollouts, appraisals, told.critique, rng, given) if "critique" in kinds else ([], 0)
        composed = compose(
            rollouts,
            courses,
            requests=requests(rollouts, asked, environment, engine) if "critique" in kinds else (),
            notes=notes(rollouts, appraisals, affect.note, environment, engine, rng) if "affect" in kinds else (),
            critic=critic,
            rng=rng,
            to=told.to,
            strip_reasoning=told.strip_reasoning,
            write=told.critique.write,
        )
    feedback, counts = within_policy(rollouts, composed.feedback, told, engine)
    views, unfit = look(rollouts, feedback, config, environment, engine, rng)
    if affect.weight.by != "none":
        views = weigh(views, rollouts, appraisals, affect.weight, rng if affect.control != "off" else None)
    counts |= {"views_too_long": unfit, "steps_unasked": unasked, "critiques_lost": len(composed.lost)}
    return Lesson(appraisals, feedback, views, counts, tuple(composed.lost))


def within_policy(
    rollouts: Sequence[Rollout], feedback: Sequence[Feedback], told: FeedbackConfig, engine: Reader
) -> tuple[list[Feedback], dict[str, int]]:
    """The feedback that may be given, and counts of what was withheld or cut, and of what the rest gives away."""
    counts = dict.fromkeys(("parts_withheld", "parts_cut", "parts_left_out", "told_verdict", "told_gold"), 0)
    out = []
    for r, said in zip(rollouts, feedback, strict=True):
        kept, withheld = allowed(said, r.task, told.leak)
        counts["parts_withheld"] += withheld
        if told.max_tokens is not None:
            kept, cut, left_out = shortened(kept, told.max_tokens, engine.encode, engine.decode)
            counts["parts_cut"] += cut
            counts["parts_left_out"] += left_out
        leaks = {leak(p, r.task) for p in kept.parts}
        counts["told_gold"] += "gold" in leaks
        counts["told_verdict"] += "gold" not in leaks and "verdict" in leaks
        out.append(kept)
    return out, counts


def step_scores(
    rollouts: Sequence[Rollout],
    critique: CritiqueConfig,
    own: SignalFunction | None = None,
    spread: Sequence[Floats] | None = None,
) -> dict[str, list[Sequence[float] | None]]:
    """What others than the answer itself say of its steps: its siblings, the task's own rule of thumb, noisy copies,
    and a signal of one's `own`."""
    contested: dict[int, Sequence[float]] = {}
    for members in groups(rollouts).values():
        if len(members) > 1:
            tokens = [step_tokens(rollouts[i]) for i in members]
            states = [_states(rollouts[i]) for i in members]
            contested |= {i: c.tolist() for i, c in zip(members, sibling_disagreement(tokens, states), strict=True)}
    rules = [r.task.data.get("domain_rule") for r in rollouts]
    found: dict[str, list[Sequence[float] | None]] = {
        "disagreement": [contested.get(i) for i in range(len(rollouts))],
        "domain_rule": [
            None if rule is None else [float(s in rule) for s in range(len(r.steps))]
            for r, rule in zip(rollouts, rules, strict=True)
        ],
    }
    if spread is not None:
        found["variance"] = [step_peaks(v, r.steps) for r, v in zip(rollouts, spread, strict=True)]
    if own is not None and critique.ask == "own":
        found["own"] = [step_peaks(_own_signal(own, r), r.steps) for r in rollouts]
    return found


def _own_signal(own: SignalFunction, rollout: Rollout) -> Floats:
    values = np.asarray(own(rollout), np.float32)
    if values.shape != rollout.ids.shape:
        raise FrownError(f"a signal has one value a token, {rollout.ids.shape} here; yours has {values.shape}")
    return values


def _states(rollout: Rollout) -> list[str | None]:
    """What each step starts from, where the environment knows."""
    known = rollout.verdict.step_state if rollout.verdict else None
    return list(known) if known and len(known) == len(rollout.steps) else [None] * len(rollout.steps)


def ask(
    rollouts: Sequence[Rollout],
    appraisals: Sequence[Appraisal],
    critique: CritiqueConfig,
    rng: np.random.Generator,
    given: Mapping[str, Sequence[Sequence[float] | None]],
) -> tuple[list[tuple[int, ...]], int]:
    """The steps a critic is asked about, per rollout, and how many its budget of tokens left unasked."""
    asked = aim(rollouts, appraisals, critique, rng, given=given)
    if critique.tokens_per_step is None:
        return asked, 0
    cost = [[float(len(r.prompt_ids) + step.end) for step in r.steps] for r in rollouts]
    return within_budget(asked, cost, critique.tokens_per_step, rng)


def requests(
    rollouts: Sequence[Rollout], asked: Sequence[tuple[int, ...]], environment: Environment, engine: Reader
) -> list[Request | None]:
    """What a critic is asked about each rollout; None where nothing."""
    return [
        Request(r.task, r.text, step_texts(r, environment, engine), steps, r.verdict, r.truncated) if steps else None
        for r, steps in zip(rollouts, asked, strict=True)
    ]


def step_texts(rollout: Rollout, environment: Environment, engine: Reader) -> tuple[str, ...]:
    """The written-out steps of an answer as they read, one text for each of its `steps`."""
    found = environment.steps(rollout.text)
    if len(found) == len(rollout.steps):
        return tuple(rollout.text[a:b] for a, b in found)
    # A step in which no token begins is none of the rollout's steps: then the tokens say what belongs together.
    return tuple(completion_text(engine.tokenizer, rollout.ids[a:b]) for a, b in rollout.steps)


def notes(
    rollouts: Sequence[Rollout],
    appraisals: Sequence[Appraisal],
    config: NoteConfig,
    environment: Environment,
    engine: Reader,
    rng: np.random.Generator,
) -> list[Part | None]:
    """The affect note on each rollout, in the environment's words; None where there is nothing to say."""
    if config.mode == "weighed" or config.mode == "resolved":
        written = [note(a, "plain", most=config.most) for a in appraisals]
        return _notes_with_content(rollouts, [n.steps for n in written], config, environment, engine, rng)
    written = [note(a, config.mode, most=config.most) for a in appraisals]
    pointed = [() if config.mode == "content_free" else n.steps for n in written]
    return [
        Part("affect", environment.note(n.text, steps, len(n.steps)), n.steps) if n.steps else None
        for n, steps in zip(written, pointed, strict=True)
    ]


def _notes_with_content(
    rollouts: Sequence[Rollout],
    steps: Sequence[Sequence[int]],
    config: NoteConfig,
    environment: Environment,
    engine: Reader,
    rng: np.random.Generator,
) -> list[Part | None]:
    """Notes of what student and siblings considered at the doubtful steps, each as the text of the whole step."""
    resolved = config.mode == "resolved"
    own = [own_choices(r, engine) for r in rollouts]
    wrote = [[choices[0] for choices in of_rollout] for of_rollout in own]
    others = sibling_choices(rollouts, wrote, right=resolved)
    if config.options != "considered":
        own = [[choices[:1] for choices in of_rollout] for of_rollout in own]
    if config.options == "random":
        others = random_choices(rollouts, own, environment.reworded, rng)
    elif config.options == "none":
        others = [[() for _ in of_rollout] for of_rollout in own]
    out: list[Part | None] = []
    for i, r in enumerate(rollouts):
        if not resolved:
            said = weigh_up(steps[i], own[i], others[i], rng, most=config.options_per_step)
        elif r.verdict is not None and r.verdict.scored:
            said = resolve(steps[i], own[i], others[i], r.verdict.right)
        else:
            said = {}  # nobody knows how it ended
        text = environment.weighed(said)
        out.append(Part("affect", text, tuple(sorted(said)), verdict=resolved) if text else None)
    return out


def own_choices(rollout: Rollout, engine: Reader) -> list[tuple[str, ...]]:
    """For each step what the student wrote, and what it would have been with another token at the one place where the
    likeliest other token was likeliest."""
    top, second = signal(rollout, "top_probability"), signal(rollout, "runner_up")
    surprisal = signal(rollout, "surprisal")  # not `logp`: that may be another engine's
    found: list[tuple[str, ...]] = []
    for a, b in rollout.steps:
        wrote = completion_text(engine.tokenizer, rollout.ids[a:b])
        if rollout.alternative is None or top is None or second is None or surprisal is None:
            found.append((wrote,))
            continue
        likeliest = np.exp(-surprisal[a:b]) > top[a:b] * (1.0 - 1e-4)
        at = int(np.argmax(np.where(likeliest, second[a:b], top[a:b])))
        changed = rollout.ids[a:b].copy()
        changed[at] = rollout.alternative[a + at]
        found.append((wrote, completion_text(engine.tokenizer, changed)))
    return found


def look(
    rollouts: Sequence[Rollout],
    feedback: Sequence[Feedback],
    config: RunConfig,
    environment: Environment,
    engine: Reader,
    rng: np.random.Generator,
) -> tuple[list[TeacherView], int]:
    """How the teacher sees each rollout that got feedback, and how many were left out as too long."""
    told = [i for i, f in enumerate(feedback) if f.parts]
    messages = [environment.teacher_messages(rollouts[i].task, feedback[i]) for i in told]
    ids = {i: engine.prompt(m) for i, m in zip(told, messages, strict=True)}
    contexts = {i: context for i, context in ids.items() if engine.fits(context)}
    views = teacher_views(
        rollouts,
        feedback,
        [contexts.get(i) for i in range(len(rollouts))],
        loss_on=config.feedback.loss_on,
        rng=rng,
        anchor=config.feedback.anchor,
    )
    if config.feedback.own_reasoning == "skip":
        views = [_without_reasoning(v, rollouts[v.rollout], engine) for v in views]
    return views, len(ids) - len(contexts)


def _without_reasoning(view: TeacherView, rollout: Rollout, engine: Reader) -> TeacherView:
    """The view without weight on the answer's leading reasoning."""
    end = reasoning_ends(rollout.text)
    if not end:
        return view
    [thought] = token_steps(engine.tokenizer, rollout.ids, rollout.text, [Step(0, end)]) or [Step(0, 0)]
    weight = view.weight.copy()
    weight[: thought.end] = 0.0
    return replace(view, weight=weight)


def weigh(
    views: Sequence[TeacherView],
    rollouts: Sequence[Rollout],
    appraisals: Sequence[Appraisal],
    config: WeightConfig,
    control: np.random.Generator | None,
) -> list[TeacherView]:
    """The views with their tokens weighted by the student's affect; see `affect_weights`."""
    at = [v.rollout for v in views]
    counted = [v.weight for v in views]
    found = affect_weights([rollouts[i] for i in at], [appraisals[i] for i in at], counted, config, control)
    return [replace(v, weight=(v.weight * w).astype(np.float32)) for v, w in zip(views, found, strict=True)]


def affect_weights(
    rollouts: Sequence[Rollout],
    appraisals: Sequence[Appraisal],
    counted: Sequence[Floats],
    config: WeightConfig,
    control: np.random.Generator | None,
) -> list[Floats]:
    """How much each token of each rollout counts, float32[T], mean one over the `counted` (non-zero) ones.

    `control`: the same weights in other places of the same answer.
    """
    if config.by == "quadrant":
        codes = [
            token_quadrants(_doubted(r, a), r.steps, r.verdict, whole=True)
            for r, a in zip(rollouts, appraisals, strict=True)
        ]
        factors: dict[weights.Quadrant, float] = {
            "confident-wrong": config.confident_wrong,
            "doubt-wrong": config.doubt_wrong,
            "doubt-right": config.doubt_right,
            "confident-right": config.confident_right,
        }
        found = weights.by_quadrant(codes, counted, factors)
    else:
        values: list[Floats] = []
        for r in rollouts:
            row = signal(r, config.signal)
            if row is None:
                raise FrownError(f"affect.weight.signal = {config.signal!r}: no such signal; try entropy or surprisal")
            values.append(row)
        if config.by == "top_share":
            found = weights.top_share(values, counted, config.share)
        else:
            found = weights.by_signal(values, counted, config.strength)
    if control is not None:
        found = [dealt_out(w, c, control) for w, c in zip(found, counted, strict=True)]
    return found


def _doubted(rollout: Rollout, appraisal: Appraisal) -> np.ndarray:
    """bool[T]: tokens in a span of doubt."""
    mask = np.zeros(len(rollout.ids), np.bool_)
    for span in appraisal.spans:
        if span.label == "doubt":
            mask[span.start : span.end] = True
    return mask
