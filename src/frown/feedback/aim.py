"""Which steps of which rollouts a critic is asked about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from frown.affect.appraisal import signal, step_peaks, step_verdicts
from frown.errors import FrownError
from frown.feedback.compose import groups
from frown.signals.group import sibling_disagreement, step_tokens
from frown.types import Appraisal, Floats, Rollout

Aim = Literal[
    "surprisal", "entropy", "margin", "varentropy", "disagreement", "variance", "learnable", "tempered", "custom",
    "all", "random", "expert_rule", "oracle", "first_wrong", "first", "last",
]  # fmt: skip
"""How steps are chosen; see `choose_steps`."""
NAMES: tuple[str, ...] = get_args(Aim)
FREE = ("all", "random", "first", "last")
"""Names that need no scores."""
Whom = Literal["even", "failed", "aim"]
"""Which rollouts come first; see `choose_rollouts`."""


SignalFunction = Callable[[Rollout], Floats]
"""A signal of one's own: rollout -> one value a token [T], the largest first to be asked about."""


def aim(
    rollouts: Sequence[Rollout],
    appraisals: Sequence[Appraisal],
    how: Aim,
    rng: np.random.Generator,
    *,
    steps: int = 1,
    answers: int | None = None,
    whom: Whom = "even",
    scores: Mapping[str, Sequence[Sequence[float] | None]] | None = None,
) -> list[tuple[int, ...]]:
    """For each rollout the steps to ask about, in order; () where none.

    At most `steps` of each rollout, of at most so many `answers` (None: all), of which `whom` comes first. `scores`:
    those of `external_scores`. A rollout without the scores that `how` needs is asked nothing.

    Raises:
        FrownError: when no rollout that has steps has the scores that `how` needs.
    """
    known: list[dict[str, Sequence[float]]] = []
    for i, (r, a) in enumerate(zip(rollouts, appraisals, strict=True)):
        more = {name: row for name, rows in (scores or {}).items() if (row := rows[i]) is not None}
        known.append({**step_scores(r, a, how), **more})
    able = [how in FREE or how in own for own in known]
    if rollouts and not any(ok or not r.steps for ok, r in zip(able, rollouts, strict=True)):
        raise FrownError(f"method.aim = {how!r}: {_WHY.get(how, 'nothing here scores steps so')}")
    best = [max(own.get(how, ()), default=-np.inf) for own in known]
    chosen = set(choose_rollouts(rollouts, answers, rng, whom=whom, best=best))
    return [
        choose_steps(how, len(r.steps), own, steps, rng) if i in chosen and able[i] else ()
        for i, (r, own) in enumerate(zip(rollouts, known, strict=True))
    ]


_WHY = {
    "oracle": "this task has no verdicts on single steps; use surprisal",
    "first_wrong": "this task has no verdicts on single steps; use surprisal",
    "expert_rule": "this task has no rule of an expert; use surprisal",
    "custom": "it needs a signal of your own: frown.train(..., signal=function)",
    "disagreement": "it needs the disagreement of siblings, which nobody measured; use surprisal or entropy",
}


def choose_steps(
    by: str, count: int, scores: Mapping[str, Sequence[float]], most: int, rng: np.random.Generator
) -> tuple[int, ...]:
    """The steps of one answer to ask about: at most `most` of `count`, in the order of the answer.

    `scores`: name -> one value a step; NaN comes last. By name:

    - all: every step, whatever `most` is. random, first, last: so many, drawn evenly, from the start, from the end.
    - surprisal, entropy, margin, varentropy, disagreement, learnable, tempered: the largest scores; of equal ones
      the earlier.
    - expert_rule: steps that score above 0, drawn evenly, and then others, so that it spends what random spends.
    - oracle, first_wrong: steps that score above 0 and no others, so they may spend less; of more than `most` wrong
      ones oracle draws evenly, first_wrong takes the first.

    Raises:
        FrownError: for a name that is unknown or has no scores.
    """
    if by == "all":
        return tuple(range(count))
    if by == "random":
        return tuple(sorted(rng.permutation(count)[:most].tolist()))
    if by == "first":
        return tuple(range(min(most, count)))
    if by == "last":
        return tuple(range(max(count - most, 0), count))
    if by not in scores:
        known = "no such way to aim" if by not in NAMES else "no scores to aim by"
        raise FrownError(f"method.aim = {by!r}: {known}; there are {', '.join([*FREE, *scores])}")
    values = np.asarray(scores[by], np.float64)
    if len(values) != count:
        raise ValueError(f"{by} has one score a step: {len(values)} for {count}")
    if by == "first_wrong":
        order = np.flatnonzero(values > 0)[:1]
    elif by in ("oracle", "expert_rule"):
        order = rng.permutation(count)
        wrong = values[order] > 0
        order = order[wrong] if by == "oracle" else np.concatenate([order[wrong], order[~wrong]])
    else:
        order = np.argsort(-values, kind="stable")
    return tuple(sorted(order[:most].tolist()))


def step_scores(rollout: Rollout, appraisal: Appraisal, *names: str) -> dict[str, Sequence[float]]:
    """What one rollout says of its own steps, by name, the largest first to be asked: one value a step.

    All names, or those given. Of a step's tokens the largest counts.

    - surprisal: of the sampled token, nats. entropy, varentropy: of its distribution, nats, nats squared.
    - margin: minus the smallest margin between the two likeliest tokens.
    - learnable: surprisal times the probability of the second likeliest token, nats: doubt where the student holds a
      second choice that a correction could lift.
    - tempered: -p log p of the sampled token, in [0, 1/e] nats: what it adds to the entropy. Largest at p = 1/e; a
      nearly impossible token, an unlucky draw, adds nearly nothing.
    - oracle, first_wrong: 1 for wrong steps, else 0.

    A name whose signal the rollout lacks is left out.
    """
    wanted = names or NAMES
    scores: dict[str, Sequence[float]] = {}
    tokens: dict[str, Floats | None] = {}
    if "surprisal" in wanted and len(appraisal.step_doubt) == len(rollout.steps):
        scores["surprisal"] = appraisal.step_doubt
    for name in ("entropy", "varentropy"):
        if name in wanted:
            tokens[name] = signal(rollout, name)
    if "margin" in wanted:
        margin = signal(rollout, "margin")
        tokens["margin"] = None if margin is None else -margin
    surprisal = signal(rollout, "surprisal")
    if surprisal is not None:
        if "tempered" in wanted:
            tokens["tempered"] = surprisal * np.exp(-surprisal)
        if "learnable" in wanted and (second := signal(rollout, "runner_up")) is not None:
            tokens["learnable"] = surprisal * second
    scores |= {name: step_peaks(values, rollout.steps) for name, values in tokens.items() if values is not None}
    known = step_verdicts(rollout.verdict, len(rollout.steps))
    if known is not None:
        scores |= {name: [float(not ok) for ok in known] for name in ("oracle", "first_wrong") if name in wanted}
    return scores


def external_scores(
    rollouts: Sequence[Rollout], *, variance: Sequence[Floats] | None = None, custom: SignalFunction | None = None
) -> dict[str, list[Sequence[float] | None]]:
    """What others than the answer itself say of its steps, by name, for each rollout one value a step or None.

    disagreement: of its siblings; expert_rule: 1 for the steps an expert would look at, else 0; variance: of copies
    with noisy weights, from their disagreement at each token; custom: of a signal of one's own.
    """
    contested: dict[int, Sequence[float]] = {}
    for group in groups(rollouts).values():
        members = [i for i in group if rollouts[i].episode is None]  # turns of a conversation answer other prompts
        if len(members) > 1:
            tokens = [step_tokens(rollouts[i]) for i in members]
            states = [_states(rollouts[i]) for i in members]
            contested |= {i: c.tolist() for i, c in zip(members, sibling_disagreement(tokens, states), strict=True)}
    rules = [r.task.expert_steps for r in rollouts]
    scores: dict[str, list[Sequence[float] | None]] = {
        "disagreement": [contested.get(i) for i in range(len(rollouts))],
        "expert_rule": [
            None if rule is None else [float(s in rule) for s in range(len(r.steps))]
            for r, rule in zip(rollouts, rules, strict=True)
        ],
    }
    if variance is not None:
        scores["variance"] = [step_peaks(v, r.steps) for r, v in zip(rollouts, variance, strict=True)]
    if custom is not None:
        scores["custom"] = [step_peaks(_custom(custom, r), r.steps) for r in rollouts]
    return scores


def _custom(function: SignalFunction, rollout: Rollout) -> Floats:
    values = np.asarray(function(rollout), np.float32)
    if values.shape != rollout.ids.shape:
        raise FrownError(f"a signal has one value a token, {rollout.ids.shape} here; yours has {values.shape}")
    return values


def _states(rollout: Rollout) -> list[str | None]:
    """What each step starts from, where the environment knows."""
    known = rollout.verdict.step_state if rollout.verdict else None
    return list(known) if known and len(known) == len(rollout.steps) else [None] * len(rollout.steps)


def choose_rollouts(
    rollouts: Sequence[Rollout],
    most: int | None,
    rng: np.random.Generator,
    *,
    whom: Whom = "even",
    best: Sequence[float] = (),
) -> list[int]:
    """At most `most` rollouts that have steps: a second from a group only when each gave one.

    Within that, `whom` comes first: even, in random order; failed, those judged not right, at random, before the
    others; aim, those whose `best` (the largest score of a step, one value a rollout) is largest.
    """
    able = [i for i, r in enumerate(rollouts) if r.steps]
    if most is None or most >= len(able):
        return able
    queue: list[int] = rng.permutation(able).tolist()
    if whom == "failed":
        queue.sort(key=lambda i: (v := rollouts[i].verdict) is None or not v.scored or v.right)
    elif whom == "aim":
        queue.sort(key=lambda i: -best[i])
    taken: dict[int, int] = {}
    order: list[tuple[int, int, int]] = []
    for i in queue:
        turn = taken.get(rollouts[i].group, 0)
        taken[rollouts[i].group] = turn + 1
        order.append((turn, len(order), i))
    return [i for _, _, i in sorted(order)[:most]]


def within_budget(
    asked: Sequence[tuple[int, ...]], cost: Sequence[Sequence[float]], budget: float, rng: np.random.Generator
) -> tuple[list[tuple[int, ...]], int]:
    """The asked steps that a budget allows, and how many it does not.

    `cost[i][s]`: what a comment on step s of rollout i costs, in any unit (calls, tokens), 0 or more. Dealt out in
    rounds, one step of each rollout a round, the rollouts in a random order; a step that no longer fits is left out.
    """
    order = rng.permutation(len(asked)).tolist()
    kept: list[list[int]] = [[] for _ in asked]
    for turn in range(max(map(len, asked), default=0)):
        for i in order:
            if turn < len(asked[i]) and cost[i][asked[i][turn]] <= budget:
                budget -= cost[i][asked[i][turn]]
                kept[i].append(asked[i][turn])
    return [tuple(k) for k in kept], sum(map(len, asked)) - sum(map(len, kept))
