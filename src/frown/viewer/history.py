"""Other answers to the same prompt, and what became of a doubt: the fate of each doubtful step of one answer.

The fates and their definition are those of `frown.evals.fate`, here for one answer against each answer of the same
run to the same task, from its own training step on. At its own step that is the policy's other answers: the reference.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from frown.evals.fate import DOUBT, FATES, fate_masks
from frown.viewer.index import Index
from frown.viewer.page import opened, steps

MOST = 512
"""Answers to one prompt that are compared, at most; `history` says how many there are."""


def history(index: Index, i: int) -> dict[str, Any]:
    """What is known of the answers to the task of rollout `i`, in the same split and seed.

    Returns `answers`: position, and of each written-out step `doubt` (nats) and `right` (None where unknown);
    `fates`: for each doubtful, judged step of rollout `i`, by training step the number of answers of each fate, in the
    order of `FATES`; `all`: how many answers there are, of which at most `MOST` are in `answers`.
    """
    seeds = np.array([-1 if r.seed is None else r.seed for r in index.runs])[index.run]
    same = index.same_task(i)
    alike = same[(index.split[same] == index.split[i]) & (seeds[same] == seeds[i])].tolist()
    # The nearest in training time first, so that what is left out is what is farthest.
    near = sorted(alike, key=lambda j: (abs(int(index.step[j]) - int(index.step[i])), j))[:MOST]
    answers = {j: _read(*index.place(j)) for j in sorted({*near, i})}
    mine = [j for j in answers if index.run[j] == index.run[i] and index.step[j] >= index.step[i]]
    # Evaluations draw with the same random numbers: their answers in the same row are no independent draws.
    training = index.splits[index.split[i]] == "train"
    others = [j for j in mine if j != i and (training or index.row[j] != index.row[i])]
    return {
        "all": len(alike),
        "answers": [{"position": j, "doubt": s["doubt"], "right": s["right"]} for j, s in answers.items()],
        "fates": _fates(answers[i], [(int(index.step[j]), answers[j]) for j in others]),
    }


@lru_cache(maxsize=8192)
def _read(path: Path, at: int) -> dict[str, list[Any]]:
    row = opened(path).values(at, ("steps", "step_doubt", "step_right", "step_state"))
    written, states = steps(row["steps"], row["step_doubt"], row["step_right"]), row["step_state"]
    return {
        "doubt": [s["doubt"] for s in written],
        "right": [s["right"] for s in written],
        "state": states if states is not None and len(states) == len(written) else [],
    }


def _fates(base: dict[str, list[Any]], others: list[tuple[int, dict[str, list[Any]]]]) -> list[dict[str, Any]]:
    if None in base["right"]:
        return []
    size = len(base["doubt"])
    counts: dict[int, np.ndarray] = {}
    for step, other in others:
        if None in other["right"] or None in other["doubt"]:
            continue
        there = np.arange(size) < len(other["doubt"])
        if base["state"] and other["state"]:
            there &= np.array([a == b for a, b in zip(base["state"], _padded(other["state"], size), strict=True)])
        doubt = np.array([d is not None and d > DOUBT for d in _padded(other["doubt"], size)])
        right = np.array([bool(r) for r in _padded(other["right"], size)])
        fates = np.stack(fate_masks(np.array(base["right"], bool), there, doubt, right))
        counts[step] = counts.get(step, np.zeros((len(FATES), size), np.int64)) + fates
    return [
        {"step": s, "after": [{"step": at, "counts": n[:, s].tolist()} for at, n in sorted(counts.items())]}
        for s, doubt in enumerate(base["doubt"])
        if doubt is not None and doubt > DOUBT
    ]


def _padded(values: list[Any], size: int) -> list[Any]:
    return [*values, *[None] * (size - len(values))][:size]
