"""Spike fate: what became of each doubt of the base policy in the trained policy's answers to the same prompts.

A step is **doubtful** when some token sampled in it had less than even odds (surprisal above log 2). Each doubtful
step of each base answer is followed to each of the trained policy's answers to the same prompt. Its **place** there
is the step of the same index; where the environment knows states (`Verdict.step_state`) it must also start from the
same state, for only then is it the same small problem. Every pair (doubtful base step, trained answer) has one fate:

| the base step was  | in the trained answer, its place is | fate       |                                          |
|--------------------|-------------------------------------|------------|------------------------------------------|
| doubtful and wrong | confident and right                 | corrected  | doubt resolved: what training is for     |
| doubtful and right | confident and right                 | settled    | doubt resolved: nothing was wrong        |
| doubtful           | confident and wrong                 | suppressed | the doubt is gone, the error is there    |
| doubtful           | doubtful, right or wrong            | persisted  |                                          |
| doubtful           | not there                           | avoided    | shorter, or it came by another way       |

and the other way round, for each pair (doubtful trained step, base answer): **risen** when the base step at that
place was confident, **elsewhere** when the base answer never was at that place (else it was doubtful there, too).

Shares are of all pairs of all prompts, so a prompt with more doubt counts for more. The **suppression rate** is the
share of suppressed among the pairs whose base step was doubtful and wrong.

Even a policy that never changes does not give the same answers twice: sampled anew, a doubtful wrong step is often
right. So every share has a **reference**: `spike_fate(base, base)`, the fate of the base policy's doubts in its own
other answers. What training did is the difference from it. Answer i is never compared with answer i, in both:
evaluations draw with the same random numbers, so those two are no independent draws. It takes two answers a prompt.

What it cannot do. A flagged span is followed as the step it lies in; where a step has no token of its own the whole
answer is left out (`unjudged`). Without states, the same index may hold another problem. "Wrong" may be another error
than the base's. Whether a sampled token had even odds is partly luck at temperature one, hence the reference. The
threshold is the same on both sides: a policy that grew sharper as a whole is confident without being better, which
is why the fates ask what is right, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from frown.evals.samples import GradedSamples, StepRecord
from frown.evals.weights import Array

DOUBT = float(np.log(2.0))
"""Nats: a sampled token above it had less than even odds. The threshold of the default appraisal."""
FATES = ("corrected", "settled", "suppressed", "persisted", "avoided")
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Fates:
    """Counts of one training run, a row a prompt. A doubtful step counts one, in equal parts for the answers that it
    is followed to.

    `shares` [N, 5]: pairs of each fate, in the order of `FATES`; `followed` [N] their sum: doubtful base steps.
    `shares_wrong` [N, 5]: the part of `shares` whose base step was wrong.
    `risen`, `elsewhere`, `doubtful` [N]: doubtful trained steps that are newly risen, elsewhere, and all.
    `spikes`, `spikes_after` [N]: doubtful steps of judged answers; `steps`, `steps_after` [N]: all steps of them.
    `unjudged`: answers (base and trained) left out because nobody knows which of their steps are right.
    """

    shares: Array
    shares_wrong: Array
    followed: Array
    risen: Array
    elsewhere: Array
    doubtful: Array
    spikes: Array
    steps: Array
    spikes_after: Array
    steps_after: Array
    unjudged: int
    states: bool
    """Whether places were matched by state, too."""

    @property
    def suppression(self) -> tuple[Array, Array]:
        """[N] each: the suppressed, and all, of the pairs whose base step was wrong."""
        return self.shares_wrong[:, FATES.index("suppressed")], self.shares_wrong.sum(axis=1)


def spike_fate(base: GradedSamples, trained: GradedSamples, threshold: float = DOUBT) -> Fates | None:
    """Follow each doubtful step of `base` to `trained`; None where nothing can be followed (no judged steps, or one
    answer a prompt). `spike_fate(base, base)` is the reference of a policy that does not change.

    Raises ValueError for other prompts or another number of answers.
    """
    if (base.task_ids, base.k) != (trained.task_ids, trained.k):
        raise ValueError("fate is followed on the same prompts with the same number of answers; these differ")
    if base.steps is None or trained.steps is None or base.k < 2:
        return None
    longest = max((len(r.surprisal) for s in (base, trained) for r in _records(s)), default=0)
    before, after = (_Steps(s, threshold, longest) for s in (base, trained))
    if not before.judged.any() or not after.judged.any():
        return None
    states = before.states and after.states
    counts = np.stack([_prompt(before, after, n, states) for n in range(base.prompts)])
    risen, elsewhere, doubtful = counts[:, 10:].T
    return Fates(
        shares=counts[:, :5],
        shares_wrong=counts[:, 5:10],
        followed=counts[:, :5].sum(1),
        risen=risen,
        elsewhere=elsewhere,
        doubtful=doubtful,
        spikes=_count(before.doubt),
        steps=_count(before.there),
        spikes_after=_count(after.doubt),
        steps_after=_count(after.there),
        unjudged=int((~before.judged).sum() + (~after.judged).sum()),
        states=states,
    )


def fate_masks(right: Flags, same: Flags, doubt2: Flags, right2: Flags) -> tuple[Flags, Flags, Flags, Flags, Flags]:
    """For doubtful steps, in the order of `FATES`, where each fate holds. Arrays of one shape, or that broadcast.

    `right`: the doubtful step was right. `same`: its place is there in the other answer; `doubt2`, `right2`: what is
    there is doubtful, is right.
    """
    confident = same & ~doubt2
    return confident & right2 & ~right, confident & right2 & right, confident & ~right2, same & doubt2, ~same


def _count(flag: NDArray[np.bool_]) -> Array:
    """[N]: flagged steps of each prompt."""
    return flag.sum(axis=(1, 2)).astype(np.float64)


def _records(samples: GradedSamples) -> list[StepRecord]:
    """The answers whose steps were judged."""
    answers: list[StepRecord | None] = [] if samples.steps is None else samples.steps.ravel().tolist()
    return [r for r in answers if r is not None and r.right is not None]


class _Steps:
    """The judged steps of one evaluation as arrays [N, k, S], padded to S steps."""

    def __init__(self, samples: GradedSamples, threshold: float, longest: int) -> None:
        shape = (samples.prompts, samples.k, longest)
        self.judged = np.zeros(shape[:2], bool)
        self.there, self.doubt, self.right = (np.zeros(shape, bool) for _ in range(3))
        self.state = np.zeros(shape, dtype=np.int64)
        self.states = all(r.state is not None for r in _records(samples))
        assert samples.steps is not None
        for at, r in np.ndenumerate(samples.steps):
            if r is None or r.right is None:
                continue
            s = len(r.surprisal)
            self.judged[at] = self.there[at][:s] = True
            self.doubt[at][:s] = np.asarray(r.surprisal) > threshold
            self.right[at][:s] = r.right
            # A number for each text, good within this process, and that is all it is compared in.
            self.state[at][:s] = [hash(x) for x in r.state or [""] * s]


def _prompt(before: _Steps, after: _Steps, n: int, states: bool) -> Array:
    """The thirteen counts of one prompt, in the order of `Fates`."""
    there, doubt, right = (x[n][:, None] for x in (before.there, before.doubt, before.right))  # [base, 1, S]
    there2, doubt2, right2 = (x[n][None] for x in (after.there, after.doubt, after.right))  # [1, trained, S]
    pairs = before.judged[n][:, None] & after.judged[n][None]
    np.fill_diagonal(pairs, False)
    same = there & there2
    if states:
        same = same & (before.state[n][:, None] == after.state[n][None])
    fates = fate_masks(right, same, doubt2, right2)
    # A doubtful step is one spike, whatever the number of answers it is followed to.
    each = (pairs / np.maximum(pairs.sum(1, keepdims=True), 1))[:, :, None] * doubt
    back = (pairs / np.maximum(pairs.sum(0, keepdims=True), 1))[:, :, None] * doubt2
    counts = [(each * fate).sum() for fate in fates]
    counts += [(each * (fate & ~right)).sum() for fate in fates]
    counts += [(back * (same & ~doubt)).sum(), (back * ~same).sum(), back.sum()]
    return np.array(counts, dtype=np.float64)
