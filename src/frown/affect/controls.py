"""Transforms of an appraisal that could prove the affect wrong: the same words, somewhere else or about nothing.

Each keeps what it does not test, so that an arm spends the teacher tokens of the arm that it controls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from frown.affect.appraisal import step_at, step_verdicts
from frown.types import Appraisal, Floats, Label, Rollout, Span

Control = Literal[
    "none",
    "shuffled_spans",
    "shuffled_labels",
    "random_spans",
    "position_only",
    "oracle",
]
LABELS: tuple[Label, ...] = get_args(Label)


def controlled(appraisal: Appraisal, rollout: Rollout, control: Control, rng: np.random.Generator) -> Appraisal:
    """The appraisal under a control."""
    if control == "none":
        return Appraisal(unread=appraisal.unread)
    if control == "shuffled_spans":
        return shuffled_spans(appraisal, rollout, rng)
    if control == "shuffled_labels":
        return shuffled_labels(appraisal, rng)
    if control == "random_spans":
        return random_spans(appraisal, rollout, rng)
    if control == "position_only":
        return position_only(appraisal, rollout)
    return oracle(rollout)


def shuffled_spans(appraisal: Appraisal, rollout: Rollout, rng: np.random.Generator) -> Appraisal:
    """Spans elsewhere: labels, lengths, intensities and evidence kept, positions drawn anew.

    Steps change places at random, and what was said of one is said of the other, so as many steps are pointed at as
    before, and the doubt of steps goes with them. Within its new step a span starts anywhere it fits. A span longer
    than its new step keeps its length and reaches beyond it. Spans outside of steps stay outside.
    """
    steps, length = rollout.steps, len(rollout.ids)
    to: list[int] = rng.permutation(len(steps)).tolist()
    spans = []
    for span in appraisal.spans:
        size = span.end - span.start
        if span.step is None:
            free = [t for t in range(length - size + 1) if step_at(steps, t) is None]
            start = int(rng.choice(free)) if free else span.start
            step = None
        else:
            step = to[span.step]
            a, b = steps[step]
            start = min(int(rng.integers(a, max(b - size, a) + 1)), length - size)
        spans.append(replace(span, start=start, end=start + size, step=step))
    doubt = [0.0] * len(appraisal.step_doubt)
    for old, new in enumerate(to[: len(doubt)]):
        doubt[new] = appraisal.step_doubt[old]
    return replace(appraisal, spans=_ordered(spans), step_doubt=tuple(doubt))


def shuffled_labels(appraisal: Appraisal, rng: np.random.Generator) -> Appraisal:
    """Labels (with their valence, arousal and dominance) dealt out anew over the same spans.

    With one label alone this changes nothing, and controls nothing.
    """
    order = rng.permutation(len(appraisal.spans)).tolist()
    spans = [_labelled(span, appraisal.spans[i]) for span, i in zip(appraisal.spans, order, strict=True)]
    return replace(appraisal, spans=tuple(spans))


def random_spans(appraisal: Appraisal, rollout: Rollout, rng: np.random.Generator) -> Appraisal:
    """As many spans on as many steps, with steps, lengths, labels and intensities drawn evenly.

    Lengths go up to the longest before. Spans outside of steps become spans anywhere in the answer that point at none.
    The doubt of each step is drawn evenly in [0, 1).
    """
    steps, length = rollout.steps, len(rollout.ids)
    longest = max((s.end - s.start for s in appraisal.spans), default=1)
    old = sorted({s.step for s in appraisal.spans if s.step is not None})
    new = rng.permutation(len(steps))[: len(old)].tolist()
    spans = []
    for span in appraisal.spans:
        step = None if span.step is None else new[old.index(span.step)]
        a, b = (0, length) if step is None else steps[step]
        size = int(rng.integers(1, min(longest, b - a) + 1))
        start = int(rng.integers(a, b - size + 1))
        label, drawn = LABELS[int(rng.integers(len(LABELS)))], float(rng.random())
        spans.append(Span(start, start + size, label, drawn, {"random": drawn}, step))
    doubt = tuple(rng.random(len(appraisal.step_doubt)).tolist())
    return replace(appraisal, spans=_ordered(spans), step_doubt=doubt)


def position_only(appraisal: Appraisal, rollout: Rollout) -> Appraisal:
    """The same labels at the end of the answer: as many steps as had spans, the last ones, whatever was read there.

    Labels keep their order. The doubt of a step is its position in (0, 1], the last step's the largest.
    """
    placed = [s for s in appraisal.spans if s.step is not None]
    old = sorted({s.step for s in placed if s.step is not None})
    first = len(rollout.steps) - len(old)
    spans = []
    for span in placed:
        assert span.step is not None
        step = first + old.index(span.step)
        a, b = rollout.steps[step]
        spans.append(replace(span, start=a, end=b, step=step, evidence={"position": (step + 1) / len(rollout.steps)}))
    count = len(appraisal.step_doubt)
    return replace(appraisal, spans=_ordered(spans), step_doubt=tuple((i + 1) / count for i in range(count)))


def oracle(rollout: Rollout, label: Label = "doubt") -> Appraisal:
    """Exactly the steps that are truly wrong, from the verdict; the doubt of a wrong step is 1, of a right one 0.

    Where nobody judged single steps it is empty and says so in `unread`.
    """
    known = step_verdicts(rollout.verdict, len(rollout.steps))
    if known is None:
        return Appraisal(unread=("oracle: nobody judged single steps",))
    spans = [
        Span(a, b, label, 1.0, {"right": 0.0}, i)
        for i, ((a, b), right) in enumerate(zip(rollout.steps, known, strict=True))
        if not right
    ]
    return Appraisal(tuple(spans), tuple(float(not right) for right in known))


def dealt_out(weights: Floats, counted: Floats, rng: np.random.Generator) -> Floats:
    """The same weights at other tokens of the same answer: float32[T], shuffled over the tokens that count."""
    out = weights.copy()
    at = np.flatnonzero(np.asarray(counted) != 0)
    out[at] = weights[at][rng.permutation(len(at))]
    return out


def _labelled(span: Span, other: Span) -> Span:
    return replace(span, label=other.label, valence=other.valence, arousal=other.arousal, dominance=other.dominance)


def _ordered(spans: Sequence[Span]) -> tuple[Span, ...]:
    return tuple(sorted(spans, key=lambda s: (s.start, s.end)))
