"""What one run of an experiment left behind, and whether runs can be compared at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from frown.errors import FrownError
from frown.evals.accuracy import row_means
from frown.evals.fate import Fates, spike_fate
from frown.evals.samples import GradedSamples

Status = Literal["finished", "failed", "interrupted"]


@dataclass(frozen=True, eq=False)
class RunResult:
    """What one arm left behind for one seed."""

    arm: str
    seed: int
    evals: tuple[GradedSamples, ...]
    """Evaluations of the main split, by rising step."""
    heldout: GradedSamples | None = None
    """The last policy on the held-out split."""
    seconds: float = 0.0
    """Wall-clock seconds of the whole run, evaluations included."""
    status: Status = "finished"
    counters: Mapping[str, float] = field(default_factory=dict)
    """Whatever was counted on the way (skipped groups, refused comments, ...)."""
    message: str = ""
    """Why a run failed or was interrupted."""
    warnings: tuple[str, ...] = ()
    """What the run itself warned of, each naming its arm and seed."""

    @property
    def last(self) -> GradedSamples:
        """The last evaluation of the main split."""
        return self.evals[-1]

    @cached_property
    def fates(self) -> tuple[Fates, Fates] | None:
        """What became of the untrained policy's doubts after training, and what becomes of them without any; None
        without an evaluation before training, or where steps are not judged."""
        if not self.evals or self.evals[0].step != 0 or self.last.step == 0:
            return None
        base = self.evals[0]
        after, unchanged = spike_fate(base, self.last), spike_fate(base, base)
        return None if after is None or unchanged is None else (after, unchanged)

    def at(self, steps: Sequence[int]) -> list[GradedSamples]:
        """The evaluations at these steps."""
        by_step = {e.step: e for e in self.evals}
        return [by_step[s] for s in steps]

    def curve(self, steps: Sequence[int]) -> NDArray[np.float64]:
        """[N, E]: each prompt's mean score at these steps."""
        return np.stack([row_means(e.score) for e in self.at(steps)], axis=1)

    def cost(self, steps: Sequence[int], attribute: str) -> NDArray[np.float64]:
        """[E]: a cost of training, an attribute of `GradedSamples`, at these steps."""
        return np.array([getattr(e, attribute) for e in self.at(steps)], dtype=np.float64)


def shared_steps(runs: Sequence[RunResult]) -> tuple[int, ...]:
    """The steps at which every one of these runs was evaluated."""
    return tuple(sorted(set.intersection(*({e.step for e in r.evals} for r in runs)))) if runs else ()


def check(results: Sequence[RunResult]) -> None:
    """Raise FrownError unless no run is there twice and all share their prompts and number of samples."""
    if not results:
        raise FrownError("there are no runs to summarise; run `frown compare` first")
    cells: set[tuple[str, int]] = set()
    first: dict[str, tuple[str, GradedSamples]] = {}
    for r in results:
        who = f"arm {r.arm!r} seed {r.seed}"
        if (r.arm, r.seed) in cells:
            raise FrownError(f"{who} is there twice; keep one of the two runs")
        cells.add((r.arm, r.seed))
        if r.status != "finished":
            continue
        steps = [e.step for e in r.evals]
        if not steps:
            raise FrownError(f"{who} finished without an evaluation; evaluate it or mark it as failed")
        if steps != sorted(set(steps)):
            raise FrownError(f"{who} has evaluations at steps {steps}; they should rise, each step once")
        for kind, samples in _evaluations(r):
            known, other = first.setdefault(kind, (who, samples))
            if (samples.task_ids, samples.k) != (other.task_ids, other.k):
                raise FrownError(
                    f"{who} was evaluated on other {kind} prompts, or with another number of samples, than "
                    f"{known} (step {samples.step}); evaluate both on the same prompts with k={other.k}"
                )


def _evaluations(run: RunResult) -> Iterator[tuple[str, GradedSamples]]:
    for e in run.evals:
        yield "main", e
    if run.heldout is not None:
        yield "held-out", run.heldout
