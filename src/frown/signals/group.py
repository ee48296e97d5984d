"""What the answers to one prompt say about each other. No forward pass: the group is sampled anyway.

A group is G sibling rollouts of one prompt. Answers are canonical (`Verdict.answer`): equal answers are equal
strings, and None is an answer that was not found, which agrees with nobody, not even with another None.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from frown.types import Rollout

Array = NDArray[np.float64]


def sibling_disagreement(
    results: Sequence[Sequence[Hashable]], states: Sequence[Sequence[Hashable | None]] | None = None
) -> list[Array]:
    """For each sibling and step, the share of the other siblings in the same place that wrote something else.

    Returns G arrays float64[steps of that sibling], in [0, 1], high is contested; NaN where no other sibling was
    in that place: not known is not agreement. The variance of the group's vote at a place, seen from each of the
    votes; the step-level form of self-consistency (Wang et al. 2022, arXiv 2203.11171).

    Args:
        results: what each sibling wrote at each step: its text, its tokens (`step_tokens`), or a canonical result.
        states: for each sibling and step, what the step starts from, where the environment can tell (in the lab
            the number before the operation): siblings that went different ways to the same state are then
            compared. None for a step that nothing is known of: it is compared with nobody. Without `states`, the
            same place means that all steps before are the same. Only steps of the same index are compared, and a
            sibling that had already stopped there wrote nothing and does not count.

    Raises:
        ValueError: states that do not match the results one to one.
    """
    if states is None:
        states = [[tuple(written[:j]) for j in range(len(written))] for written in results]
    if [len(r) for r in results] != [len(s) for s in states]:
        raise ValueError("sibling_disagreement takes one state a result")
    there: Counter[tuple[int, Hashable]] = Counter()
    wrote: Counter[tuple[int, Hashable, Hashable]] = Counter()
    for written, before in zip(results, states, strict=True):
        for j, (result, state) in enumerate(zip(written, before, strict=True)):
            there[j, state] += 1
            wrote[j, state, result] += 1
    out = []
    for written, before in zip(results, states, strict=True):
        shares = np.full(len(written), np.nan)
        for j, (result, state) in enumerate(zip(written, before, strict=True)):
            others = there[j, state] - 1
            if state is not None and others:
                shares[j] = (there[j, state] - wrote[j, state, result]) / others
        out.append(shares)
    return out


def step_tokens(rollout: Rollout) -> list[tuple[int, ...]]:
    """The token ids of each written-out step, without the end-of-sequence token: what to compare siblings by
    where nobody can read results out of the text."""
    last = len(rollout.ids) - (rollout.stop == "eos")
    return [tuple(rollout.ids[a : min(b, last)].tolist()) for a, b in rollout.steps]
