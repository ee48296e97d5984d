"""Figures, comparisons and warnings in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from frown.evals.accuracy import pass_of_prompts
from frown.evals.results import RunResult
from frown.evals.stats import LEVEL

NAMES = {
    "avg_at_k": "Avg@{k}",
    "auc": "area under the learning curve",
    "ece": "calibration error (ECE of agreement)",
    "brier": "Brier score (of agreement)",
    "ece_min_probability": "calibration error (ECE of the least likely token)",
    "brier_min_probability": "Brier score (of the least likely token)",
    "suppression": "suppression rate",
}
LOWER_IS_BETTER = frozenset({"ece", "brier", "ece_min_probability", "brier_min_probability", "suppression"})


def decimal(value: float | None, digits: int = 2, sign: bool = False) -> str:
    """.85 for 0.85, +.02 with `sign`, 12.30 for 12.3; a dash for None."""
    if value is None:
        return "–"
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    if float(text) == 0.0:
        text = text.replace("-", "+" if sign else "")
    head, _, tail = text.partition(".")
    return f"{head[:-1]}.{tail}" if head in ("0", "+0", "-0") and tail else text


def is_shown(gap: Mapping[str, Any] | None) -> bool:
    """Whether a difference {"mean", "ci95", "p"} is shown; `frown.evals.stats` says when it is."""
    if gap is None:
        return False
    low, high = gap["ci95"]
    return (low > 0 or high < 0) and gap["p"] <= 1.0 - LEVEL


def comparison(
    arm: str,
    other: str,
    metric: str,
    k: int,
    ours: float | None,
    theirs: float | None,
    gap: Mapping[str, Any] | None,
    seeds: Sequence[int],
    partial: bool,
) -> str:
    """One sentence on `arm` against `other`; `partial`: some finished seeds had no partner."""
    name = NAMES[metric].format(k=k or "k")
    if gap is None:
        why = "it cannot be estimated from these samples" if seeds else "no seed finished in both"
        return f"{arm} against {other}, {name}: no comparison, {why}."
    low, high = gap["ci95"]
    digits = 3 if any(0.0 < abs(v) < 0.005 for v in (gap["mean"], low, high)) else 2
    value = decimal(ours, digits)
    text = f"{arm} reaches {value}" if metric == "avg_at_k" else f"{arm} has {name} {value}"
    text += f" against {other}'s {decimal(theirs, digits)}: {decimal(gap['mean'], digits, sign=True)} "
    text += f"[{decimal(low, digits)}, {decimal(high, digits)}]; "
    if low <= 0 <= high:
        text += "the interval includes zero, so no difference is shown."
    elif not is_shown(gap):
        text += (
            f"the interval excludes zero, but chance would give one as large in {gap['p']:.0%} of cases (p = "
            f"{decimal(gap['p'], 3)}), so no difference is shown."
        )
    else:
        better = (gap["mean"] < 0) == (metric in LOWER_IS_BETTER)
        lower = " (lower is better)" if metric in LOWER_IS_BETTER else ""
        text += f"the interval excludes zero: {arm} is {'better' if better else 'worse'}{lower}."
    if partial:
        text += f" Only seeds that finished in both count here: {', '.join(map(str, seeds))}."
    return text


def compared(
    names: Sequence[str],
    baseline: str,
    finished: Mapping[str, Sequence[RunResult]],
    k: int,
    prompts: int,
    steps: Sequence[int],
) -> str:
    """One sentence: which arms, how many seeds, prompts and samples, evaluated when."""
    others = [n for n in names if n != baseline]
    who = f"{', '.join(others)} against {baseline}" if others else f"{baseline} alone"
    if not steps:
        return f"{who}: no finished runs with an evaluation in common."
    counts = sorted({len(runs) for runs in finished.values()})
    seeds = " to ".join(str(c) for c in dict.fromkeys((counts[0], counts[-1])))
    at = ", ".join(map(str, steps)) if len(steps) <= 8 else f"{steps[0]} to {steps[-1]}, {len(steps)} times"
    return (
        f"{who}: {seeds} finished {'seed' if seeds == '1' else 'seeds'} an arm, {prompts} prompts with {k} "
        f"samples each, evaluated at {'step' if len(steps) == 1 else 'steps'} {at}."
    )


def warnings(
    arms: Mapping[str, Any], finished: Mapping[str, Sequence[RunResult]], steps: Sequence[int], k: int
) -> list[str]:
    """What a reader must know before believing a figure, one sentence each."""
    out = []
    for name, runs in finished.items():
        if not runs:
            out.append(f"{name}: no run finished, so it has no figures.")
            continue
        if len(runs) == 1:
            out.append(f"{name}: one seed, so its intervals say nothing about other training runs.")
        if arms[name]["unscored"]:
            total = sum(r.last.score.size for r in runs)
            lost = sum(int(np.isnan(pass_of_prompts(r.last.right, k)).sum()) for r in runs)
            out.append(
                f"{name}: {arms[name]['unscored']} of {total} final samples could not be scored and are left "
                f"out of every figure; pass@{k} leaves out their prompts ({lost}, all seeds together)."
            )
        if cut := sum(int(r.last.truncated.sum()) for r in runs):
            total = sum(r.last.truncated.size for r in runs)
            out.append(f"{name}: {cut} of {total} final answers were cut at the token limit.")
        fate = arms[name]["fate"]
        if fate is not None and fate["unjudged"]:
            total = sum(r.evals[0].score.size + r.last.score.size for r in runs)
            out.append(
                f"{name}: in {fate['unjudged']} of {total} answers before and after training nobody could tell which "
                f"steps were right; they are left out of the fate of doubts."
            )
        measured = sum(r.heldout is not None for r in runs)
        if 0 < measured < len(runs):
            out.append(f"{name}: held-out samples in {measured} of {len(runs)} seeds, so no held-out figure.")
    done = [r for runs in finished.values() for r in runs]
    if len({r.last.step for r in done}) > 1:
        ends = ", ".join(f"{n} {max(r.last.step for r in runs)}" for n, runs in finished.items() if runs)
        out.append(f"Runs end at different steps ({ends}): final figures compare unequal training.")
    if any({e.step for e in r.evals} != set(steps) for r in done):
        out.append("Runs were evaluated at different steps: areas and costs to a threshold use shared ones.")
    return out
