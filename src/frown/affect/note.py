"""What the self-teacher is told of the student's affect: a note on the student's own steps.

A note is made from an appraisal alone, never from the answer's text, so it cannot quote what may be wrong. It points;
it carries nothing that the teacher lacks, and on the lab such notes moved nothing (an oracle's note as little as a
random one). Two notes have content. The weighed note says what the student and its siblings considered at a step. The
resolved note says what the outcome makes of that: after a right answer, that what was written there holds; after a
wrong one, what else was considered.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from frown.types import Appraisal, Label, Rollout, Span

Mode = Literal["emotion", "plain", "numbers", "paraphrase", "content_free"]
TROUBLE: tuple[Label, ...] = ("frustration", "doubt", "confusion", "ambivalence")
"""Labels that a note may carry. Confidence and overconfidence are made with the verdict, so telling them would be a
verdict in disguise."""

_EMOTION: dict[Label, str] = {
    "frustration": "you were {much}frustrated",
    "doubt": "you were {much}doubtful",
    "confusion": "you were {much}confused",
    "ambivalence": "you were {much}torn",
    "overconfidence": "you were {much}overconfident",
    "confidence": "you were {much}confident",
}
_PLAIN: dict[Label, str] = {
    "frustration": "many ways to go on seemed {much}open",
    "doubt": "what you wrote seemed {much}unlikely to you",
    "confusion": "your attempts went {much}different ways",
    "ambivalence": "two ways to go on seemed {much}alike",
    "overconfidence": "what you wrote seemed {much}certain to you, and does not hold",
    "confidence": "what you wrote seemed {much}certain to you, and holds",
}


class Note(NamedTuple):
    """A note's words, the steps that it speaks about, and how many spans it could not place in a step."""

    text: str
    steps: tuple[int, ...]
    left_out: int


def note(appraisal: Appraisal, mode: Mode, *, most: int | None = None, labels: Sequence[Label] = TROUBLE) -> Note:
    """One sentence for each step that has a span of these labels; of several the most intense speaks.

    emotion "At step 3 you were very doubtful."; plain, the same without emotion words; numbers, the evidence alone;
    paraphrase, the steps in neutral words; content_free, as many sentences that say nothing of the answer. `most`: at
    most so many steps, the most intense. Steps are counted from 1 in the words.
    """
    spans = [s for s in appraisal.spans if s.label in labels]
    strongest = strongest_by_step(spans)
    chosen = sorted(strongest, key=lambda step: (-strongest[step].intensity, step))[:most]
    steps = tuple(sorted(chosen))
    text = " ".join(_sentence(strongest[step], step + 1, mode) for step in steps)
    return Note(text, steps, sum(s.step is None for s in spans))


def strongest_by_step(spans: Sequence[Span]) -> dict[int, Span]:
    """The most intense span of each step; of equally intense ones the first."""
    strongest: dict[int, Span] = {}
    for span in spans:
        if span.step is not None and (span.step not in strongest or span.intensity > strongest[span.step].intensity):
            strongest[span.step] = span
    return strongest


def weigh_up(
    steps: Sequence[int],
    own: Sequence[Sequence[str]],
    others: Sequence[Sequence[str]],
    rng: np.random.Generator,
    *,
    most: int = 4,
) -> dict[int, tuple[str, ...]]:
    """What was considered at each of these steps: the data of a weighed note.

    `own[s]`: the student's choices at step s, the one it wrote first, then its runners-up; `others[s]`: what siblings
    wrote there instead, from `sibling_choices`. At most `most` a step, the student's before the siblings', each once;
    then shuffled, so that the place does not say which one was written. Steps with fewer than two are left out: nothing
    was weighed there.
    """
    options_of = {}
    for step in steps:
        options = list(dict.fromkeys([*own[step], *others[step]]))[:most]
        if len(options) > 1:
            options_of[step] = tuple(options[i] for i in rng.permutation(len(options)))
    return options_of


def resolve(
    steps: Sequence[int], own: Sequence[Sequence[str]], others: Sequence[Sequence[str]], right: bool
) -> dict[int, tuple[str, ...]]:
    """What the outcome makes of these steps: the data of a resolved note, one text a step.

    In a right answer what was written; in a wrong one the first of what siblings wrote instead (`others[s]`) and the
    student's runners-up (`own[s]` after its first). Steps of which nothing else was considered are left out. A doubtful
    step of a wrong answer need not be the wrong one, so what is said there may be wrong.
    """
    if right:
        return {step: (own[step][0],) for step in steps}
    instead = {step: [*others[step], *own[step][1:]][:1] for step in steps}
    return {step: tuple(texts) for step, texts in instead.items() if texts}


def sibling_choices(
    rollouts: Sequence[Rollout], choices: Sequence[Sequence[str]], *, right: bool = False
) -> list[list[tuple[str, ...]]]:
    """For each rollout and step, what siblings wrote at the same step in the same state instead, the commonest first.

    `choices[i][s]`: the result that rollout i wrote at step s, in canonical form. Siblings share a group; states come
    from `Verdict.step_state`, and where an environment knows none nothing is comparable and all is empty. `right`: only
    what siblings with a right answer wrote.
    """
    written: dict[Hashable, dict[str, int]] = {}
    for r, wrote in zip(rollouts, choices, strict=True):
        if right and (r.verdict is None or not r.verdict.right):
            continue
        for key, choice in zip(_places(r), wrote, strict=False):
            if key is not None:
                at = written.setdefault(key, {})
                at[choice] = at.get(choice, 0) + 1

    def instead(key: Hashable | None, choice: str) -> tuple[str, ...]:
        at = written.get(key, {}) if key is not None else {}
        return tuple(sorted((c for c in at if c != choice), key=lambda c: (-at[c], c)))

    out = []
    for r, wrote in zip(rollouts, choices, strict=True):
        places = _places(r)
        out.append([instead(places[s] if s < len(places) else None, c) for s, c in enumerate(wrote)])
    return out


def random_choices(
    rollouts: Sequence[Rollout],
    own: Sequence[Sequence[Sequence[str]]],
    reworded: Callable[[str, str], str | None],
    rng: np.random.Generator,
) -> list[list[tuple[str, ...]]]:
    """A control of a weighed note's content: for each rollout and step one option that nobody considered there.

    It is the result of a step drawn anywhere in the batch, put into this step: `reworded(step, other)` writes it so, or
    is None where it cannot. As many options are named as before, in the same words.
    """
    everything = [c[0] for of_rollout in own for c in of_rollout]
    out = []
    for of_rollout in own:
        options: list[tuple[str, ...]] = []
        for choices in of_rollout:
            drawn = (reworded(choices[0], everything[int(rng.integers(len(everything)))]) for _ in range(8))
            options.append(tuple([text for text in drawn if text is not None and text != choices[0]][:1]))
        out.append(options)
    return out


def _places(rollout: Rollout) -> list[Hashable | None]:
    states = rollout.verdict.step_state if rollout.verdict is not None else None
    return [None if state == "?" else (rollout.group, s, state) for s, state in enumerate(states or ())]


def _sentence(span: Span, number: int, mode: Mode) -> str:
    if mode == "content_free":
        return "Take your time and check what you do."
    if mode == "paraphrase":
        return f"Step {number} is worth another look."
    if mode == "numbers":
        values = ", ".join(f"{name} {value:.2f}" for name, value in sorted(span.evidence.items()))
        return f"Step {number}: {values}; intensity {span.intensity:.2f}."
    much = "slightly " if span.intensity < 1 / 3 else "very " if span.intensity > 2 / 3 else ""
    return f"At step {number} {(_EMOTION if mode == 'emotion' else _PLAIN)[span.label].format(much=much)}."
