"""From signals to labelled spans: what a spike means. The rules are data (`frown.affect.rules`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frown.affect.normalise import Normaliser
from frown.affect.rules import DEFAULT, Condition, Rule
from frown.affect.spikes import Scores, flags, form, score
from frown.signals.steps import step_peaks
from frown.types import Appraisal, Rollout, Span, Step, Verdict

DEFAULT_RULES = DEFAULT

DERIVED: dict[str, tuple[tuple[str, ...], Callable[..., NDArray[np.float32]]]] = {
    "probability": (("surprisal",), lambda s: np.exp(-s)),
    "runner_up": (("top_probability", "margin"), lambda top, margin: top - margin),
    "top_two": (("top_probability", "margin"), lambda top, margin: 2.0 * top - margin),
}
"""Signals that follow from others: the probability of the sampled token, that of the second likeliest token, and the
mass of the two likeliest."""


class _ConditionScores(NamedTuple):
    """One condition, read in one rollout."""

    values: Scores
    scores: Scores
    flags: NDArray[np.bool_]


def appraise(
    rollout: Rollout,
    rules: Sequence[Rule] = DEFAULT_RULES,
    *,
    step_signals: Mapping[str, Sequence[float]] | None = None,
    normaliser: Normaliser | None = None,
) -> Appraisal:
    """The labelled spans of a rollout, and the doubt of each of its steps.

    `step_signals`: further signals with one value a step, e.g. `disagreement`, the share in [0, 1] of siblings that
    went on otherwise from the same state; NaN where there is none. `normaliser`: for rules that ask how rare a value
    is in training. A rule that cannot be read is skipped, and `Appraisal.unread` says which and why.
    """
    if rollout.signals is None:
        raise ValueError("an appraisal needs the rollout's signals")
    spans: list[Span] = []
    unread: list[str] = []
    for rule in rules:
        of_rule = _spans(rule, rollout, step_signals or {}, normaliser)
        if isinstance(of_rule, str):
            unread.append(f"{rule.label}: {of_rule}")
        else:
            spans += of_rule
    spans.sort(key=lambda s: (s.start, s.end))
    doubt = tuple(step_peaks(rollout.signals["surprisal"], rollout.steps))
    return Appraisal(tuple(spans), doubt, tuple(unread))


def step_at(steps: Sequence[Step], token: int) -> int | None:
    """The step a token lies in, or None."""
    return next((i for i, (a, b) in enumerate(steps) if a <= token < b), None)


def signal(rollout: Rollout, name: str) -> NDArray[np.float32] | None:
    """A token signal of a rollout, read or derived: [T]; None where it is not there."""
    values = rollout.signals.values if rollout.signals else {}
    if name in values:
        return values[name]
    needs, derive = DERIVED.get(name, ((name,), np.array))
    return derive(*(values[n] for n in needs)) if all(n in values for n in needs) else None


def judged(rollout: Rollout, right: bool) -> NDArray[np.bool_] | None:
    """bool[T]: the tokens of steps judged right (or wrong), or the whole answer where only it was judged.

    None where nobody judged it.
    """
    verdict = rollout.verdict
    if verdict is None or not verdict.scored:
        return None
    mask = np.zeros(len(rollout.ids), np.bool_)
    known = step_verdicts(verdict, len(rollout.steps))
    if known is None:
        return np.full(len(mask), verdict.right == right)
    for (a, b), ok in zip(rollout.steps, known, strict=True):
        mask[a:b] = ok == right
    return mask


def step_verdicts(verdict: Verdict | None, steps: int) -> tuple[bool, ...] | None:
    """Whether each of the steps is right; None where nobody can tell, or where the count of steps differs."""
    known = verdict.step_right if verdict is not None else None
    return known if known is not None and len(known) == steps else None


def _spans(
    rule: Rule, rollout: Rollout, step_signals: Mapping[str, Sequence[float]], normaliser: Normaliser | None
) -> list[Span] | str:
    """The spans of one rule, or why it cannot be read."""
    mask = np.ones(len(rollout.ids), np.bool_)
    evidence: dict[str, float] = {}
    if rule.verdict is not None:
        of_steps = judged(rollout, rule.verdict == "right")
        if of_steps is None:
            return "the answer was not judged"
        mask, evidence = of_steps, {"right": float(rule.verdict == "right")}
    reads: list[_ConditionScores] = []
    for condition in rule.conditions:
        read = _condition_scores(condition, rollout, step_signals, normaliser)
        if isinstance(read, str):
            return read
        mask = mask & read.flags
        reads.append(read)
    return [
        _span(rule, reads, start, end, evidence, rollout.steps) for start, end in form(mask, rule.shape, rollout.steps)
    ]


def _condition_scores(
    condition: Condition, rollout: Rollout, step_signals: Mapping[str, Sequence[float]], normaliser: Normaliser | None
) -> _ConditionScores | str:
    name, detector = condition.signal, condition.detector
    if name in step_signals:
        values = spread(step_signals[name], rollout.steps, len(rollout.ids))
        token_values: NDArray[np.float32] | None = None
    else:
        token_values = signal(rollout, name)
        if token_values is None:
            return f"no signal {name!r}"
        values = np.asarray(token_values, np.float64)
    if condition.over == "step" and token_values is not None:
        if not rollout.steps:
            return "the answer has no steps"
        values = spread(step_peaks(token_values, rollout.steps), rollout.steps, len(values))
    quantiles = None
    if detector.kind == "quantile":
        if normaliser is None or name not in normaliser.signals:
            return f"no running quantiles of {name!r}"
        quantiles = normaliser.quantile(name, values)
    scores = score(values, detector, quantiles)
    return _ConditionScores(values, scores, flags(scores, detector))


def _span(
    rule: Rule,
    reads: Sequence[_ConditionScores],
    start: int,
    end: int,
    evidence: Mapping[str, float],
    steps: Sequence[Step],
) -> Span:
    evidence = dict(evidence)
    for condition, read in zip(rule.conditions, reads, strict=True):
        # A merged gap may hold values that nobody could score.
        at = start + int(np.nanargmax(read.scores[start:end]))
        evidence[condition.signal] = float(read.values[at])
        if condition.detector.kind == "quantile":
            evidence[f"{condition.signal}_quantile"] = float(read.scores[at])
        if condition is rule.conditions[0]:
            intensity = _intensity(rule, float(read.values[at]), float(read.scores[at]))
    return Span(
        start,
        end,
        rule.label,
        intensity=intensity,
        evidence=evidence,
        step=step_at(steps, start),
        valence=rule.vad.valence,
        arousal=rule.vad.arousal,
        dominance=rule.vad.dominance,
    )


def _intensity(rule: Rule, value: float, rated: float) -> float:
    """In [0, 1]; see `Rule`."""
    if rule.intensity == "unlikely":
        intensity = float(-np.expm1(-max(value, 0.0)))
    elif rule.intensity == "likely":
        intensity = float(np.exp(-max(value, 0.0)))
    elif rule.intensity == "excess":
        rated, enter = max(rated, 0.0), abs(rule.conditions[0].detector.enter)
        intensity = 1.0 if np.isinf(rated) else rated / max(rated + enter, 1e-12)
    else:
        intensity = {"share": value, "complement": 1.0 - value, "level": rated}[rule.intensity]
    return min(max(intensity, 0.0), 1.0)


def spread(per_step: Sequence[float], steps: Sequence[Step], length: int) -> Scores:
    """One value a step as one value a token: float64[T], NaN outside of steps."""
    if len(per_step) != len(steps):
        raise ValueError(f"a step signal has one value a step: {len(per_step)} for {len(steps)}")
    out = np.full(length, np.nan)
    for value, (a, b) in zip(per_step, steps, strict=True):
        out[a:b] = value
    return out
