"""The teacher's word by place: how it speaks of the steps before, at and after the first wrong one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frown.evals.figures import as_json, number
from frown.evals.stats import draws, interval
from frown.evals.weights import ratio
from frown.types import Floats, Rollout

REACH = 3
"""Steps before and after the first wrong one in a profile."""
Steps = Sequence[tuple[tuple[int, int], bool]]
"""Token range [start, end) and rightness of each step of an answer."""


class JudgedAnswer(NamedTuple):
    """An answer with judged steps that a teacher has looked at."""

    prompt: Hashable
    """Answers to the same prompt share it."""
    steps: Steps
    """Empty where nobody can tell which are right."""
    advantage: Floats
    """[T] log q - log pi of each token, nats; NaN where the teacher was not asked."""


def profile(answers: Sequence[JudgedAnswer]) -> dict[str, Any]:
    """The teacher's word by place relative to the first wrong step; of answers with a wrong step, metrics over prompts.

    `steps`: {offset: mean advantage, nats a token}, offset 0 the first wrong step, -`REACH` to `REACH` (as strings, in
    order); `size_before`, `size_at`, `size_after`: mean absolute advantage, nats a token, of all steps before it, of
    itself and of all after it.
    """
    sums = PromptSums([a.prompt for a in answers])
    for prompt, steps, advantage in answers:
        first = next((j for j, (_, right) in enumerate(steps) if not right), None)
        if first is None:
            continue
        for j, ((start, end), _) in enumerate(steps):
            side = "size_before" if j < first else "size_after" if j > first else "size_at"
            of_step = advantage[start:end]
            of_step = of_step[np.isfinite(of_step)]
            sums.add(prompt, side, float(np.abs(of_step).sum()), len(of_step))
            if abs(j - first) <= REACH:
                sums.add(prompt, str(j - first), float(of_step.sum()), len(of_step))
    return {
        "steps": {str(k): sums.metric(str(k)) for k in range(-REACH, REACH + 1)},
        **{side: sums.metric(side) for side in ("size_before", "size_at", "size_after")},
    }


def judged_steps(r: Rollout) -> list[tuple[tuple[int, int], bool]]:
    """Token range and rightness of each step; none where nobody can tell, or which is which is not known."""
    right = r.verdict.step_right if r.verdict is not None else None
    if right is None or len(right) != len(r.steps):
        return []
    return [((s.start, s.end), bool(ok)) for s, ok in zip(r.steps, right, strict=True)]


class PromptSums:
    """Sums of parts and wholes of each prompt, so that a ratio of them has an interval over prompts."""

    def __init__(self, prompts: Sequence[Hashable]) -> None:
        self.row = {p: i for i, p in enumerate(dict.fromkeys(prompts))}
        self._sums: dict[str, NDArray[np.float64]] = {}

    def add(self, prompt: Hashable, name: str, part: float, whole: float) -> None:
        """Add to the sums that are called `name`."""
        self._sums.setdefault(name, np.zeros((2, len(self.row))))[:, self.row[prompt]] += (part, whole)

    def metric(self, name: str) -> dict[str, Any] | None:
        """Part over whole as a metric; None where nothing was added."""
        if name not in self._sums:
            return None
        part, whole = self._sums[name]
        metric = as_json(interval(ratio, part[None], whole[None], using=draws(1, len(self.row))))
        point = number(ratio(part, whole))
        # A figure of few prompts, missing in many resamples, is worth seeing; it has no interval.
        return metric or (None if point is None else {"mean": point, "ci95": None})
