"""The figures of one arm and of one pair of arms, as the JSON data that a summary holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frown.evals import convergence, wording
from frown.evals.diagrams import diagrams
from frown.evals.fate import FATES, Fates
from frown.evals.metrics import CHANGE, CURVE, Arrays, Metric
from frown.evals.results import RunResult, shared_steps
from frown.evals.samples import GradedSamples
from frown.evals.stats import Draws, Interval, difference, interval, over_seeds
from frown.evals.weights import Statistic, ratio

THRESHOLD_COSTS = {
    "steps_to_threshold": "step",
    "tokens_to_threshold": "train_tokens",
    "comments_to_threshold": "train_comments",
    "seconds_to_threshold": "train_seconds",
}


@dataclass(frozen=True)
class Book:
    """What all figures of one summary share."""

    k: int
    steps: tuple[int, ...]
    """The steps at which every finished run of every arm was evaluated."""
    threshold: float | None
    metrics: Mapping[str, Metric]
    draws: Callable[[int, int], Draws]
    """The resamples for S seeds and N prompts."""

    def interval(self, statistic: Statistic, arrays: Arrays) -> Interval | None:
        """A figure of arrays [S, N, ...]."""
        return interval(statistic, *arrays, using=self.draws(*arrays[0].shape[:2]))

    def figure(self, name: str, evals: Sequence[GradedSamples]) -> dict[str, Any] | None:
        """The metric called `name`, of one evaluation a seed; None where it cannot be estimated."""
        metric = self.metrics[name]
        return as_json(self.interval(metric.statistic, stack([metric.arrays(e) for e in evals])))

    def area(self) -> Statistic:
        """Area under the learning curve over the shared steps."""
        return partial(convergence.area, at=np.array(self.steps))


def stack(runs: Sequence[Arrays]) -> Arrays:
    """One tuple of [N, ...] a seed to one tuple of [S, N, ...]."""
    return tuple(np.stack(column) for column in zip(*runs, strict=True))


def number(value: Any) -> float | None:
    """Six decimals: more than any figure here knows, and few enough to hide the last bit of a sum."""
    return None if value is None or not np.isfinite(value) else round(float(value), 6)


def as_json(estimate: Interval | None) -> dict[str, Any] | None:
    """{"mean", "ci95"}, and "p" of a difference; an infinite end is null."""
    if estimate is None:
        return None
    chance = {} if estimate.p is None else {"p": number(estimate.p)}
    return {"mean": number(estimate.mean), "ci95": [number(estimate.low), number(estimate.high)], **chance}


def arm(runs: Sequence[RunResult], book: Book) -> dict[str, Any]:
    """Every figure of one arm, from its finished runs; nulls when there is none."""
    lasts = [r.last for r in runs]
    out: dict[str, Any] = {name: book.figure(name, lasts) if runs else None for name in book.metrics}
    heldout = [r.heldout for r in runs if r.heldout is not None]
    out["heldout_avg_at_k"] = book.figure("avg_at_k", heldout) if runs and len(heldout) == len(runs) else None
    curves = np.stack([r.curve(book.steps) for r in runs]) if runs and book.steps else None
    out["auc"] = None if curves is None else as_json(book.interval(book.area(), (curves,)))
    out["change"] = change(runs, book)
    out["diagrams"] = diagrams(lasts, book.draws) if runs else None
    out["fate"] = fate(runs, book)
    rate = out["fate"]["suppression"] if out["fate"] else None
    out["suppression"] = rate and {key: rate[key] for key in ("mean", "ci95")}
    for name, attribute in THRESHOLD_COSTS.items():
        out[name] = None if curves is None else _to_threshold(runs, curves, attribute, book)
    for name, values in _costs(runs).items():
        metric = as_json(over_seeds(np.array(values), book.draws(len(runs), 1))) if runs else None
        # One seed shows no spread: its interval would be a point, and read as certainty.
        out[name] = {**metric, "ci95": None} if metric and len(runs) == 1 else metric
    out["unscored"] = int(sum((~s.scored).sum() for s in lasts))
    names = sorted({n for r in runs for n in r.counters})
    out["counters"] = {n: number(sum(float(r.counters.get(n, 0.0)) for r in runs)) for n in names}
    out["seeds"] = [r.seed for r in runs]
    out["runs"] = [_run(r, book) for r in runs]
    out["curve"] = _curve(runs, book)
    return out


def change(runs: Sequence[RunResult], book: Book) -> dict[str, Any] | None:
    """How the trained policy differs from the untrained one, and what that was; None unless every run measured both."""
    if not runs or any(r.evals[0].step != 0 or r.last.step == 0 for r in runs):
        return None
    out: dict[str, Any] = {}
    for name in CHANGE:
        metric = book.metrics[name]
        after, before = (
            stack([metric.arrays(e) for e in evals]) for evals in ([r.last for r in runs], [r.evals[0] for r in runs])
        )
        using = book.draws(*after[0].shape[:2])
        gap = as_json(difference(metric.statistic, after, before, using=using))
        known = number(np.mean([metric.statistic(*arrays) for arrays in zip(*before, strict=True)]))
        out[name] = None if gap is None else {**gap, "before": known}
    return out


def fate(runs: Sequence[RunResult], book: Book) -> dict[str, Any] | None:
    """What became of the untrained policy's doubts, each share beside its reference; None unless every finished run
    can tell. Definitions in `frown.evals.fate`."""
    fates = [r.fates for r in runs if r.fates is not None]
    if not runs or len(fates) < len(runs):
        return None

    def part(get: Callable[[Fates], Arrays]) -> dict[str, Any] | None:
        ours, unchanged = (stack([get(f[i]) for f in fates]) for i in (0, 1))
        shown = as_json(book.interval(ratio, ours))
        if shown is None:
            return None
        using = book.draws(*ours[0].shape[:2])
        reference = np.mean([ratio(*arrays) for arrays in zip(*unchanged, strict=True)])
        gap = difference(ratio, ours, unchanged, using=using)
        return {**shown, "reference": number(reference), "difference": as_json(gap)}

    after = [f for f, _ in fates]
    out: dict[str, Any] = {name: part(partial(_share_of, i)) for i, name in enumerate(FATES)}
    out["flow"] = _flow(after)
    out["suppression"] = part(lambda f: f.suppression)
    out["risen"] = part(lambda f: (f.risen, f.doubtful))
    out["elsewhere"] = part(lambda f: (f.elsewhere, f.doubtful))
    out["doubt_before"] = as_json(book.interval(ratio, stack([(f.spikes, f.steps) for f in after])))
    out["doubt_after"] = as_json(book.interval(ratio, stack([(f.spikes_after, f.steps_after) for f in after])))
    out["spikes"] = int(sum(f.spikes.sum() for f in after))
    out["unjudged"] = sum(f.unjudged for f in after)
    out["aligned_by"] = "step and state" if all(f.states for f in after) else "step"
    return out


def _flow(after: Sequence[Fates]) -> dict[str, dict[str, float | None]]:
    """From what the doubtful steps were before to what became of them: shares of all that were followed."""
    shares, wrong = (
        sum(x.sum(axis=0) for x in xs) for xs in ([f.shares for f in after], [f.shares_wrong for f in after])
    )
    whole = float(np.sum(shares)) or np.nan
    return {
        was: {fate: number(v / whole) for fate, v in zip(FATES, values, strict=True)}
        for was, values in (("wrong", wrong), ("right", shares - wrong))
    }


def _share_of(fate: int, fates: Fates) -> Arrays:
    return fates.shares[:, fate], fates.followed


def pair(name: str, other: str, metric: str, runs: Mapping[str, Sequence[RunResult]], book: Book) -> dict[str, Any]:
    """One arm against another in one metric, on the seeds that finished in both."""
    seeds = tuple(sorted({r.seed for r in runs[name]} & {r.seed for r in runs[other]}))
    both = [[r for r in runs[n] if r.seed in seeds] for n in (name, other)]
    gap: dict[str, Any] | None = None
    values: list[float | None] = [None, None]
    if seeds and (metric != "auc" or book.steps):
        statistic = _pair_statistic(metric, book)
        sides = [stack([_pair_arrays(r, metric, book) for r in side]) for side in both]
        using = book.draws(*sides[0][0].shape[:2])
        gap = as_json(difference(statistic, sides[0], sides[1], using=using))
        values = [number(np.mean([statistic(*arrays) for arrays in zip(*side, strict=True)])) for side in sides]
    return {
        "arm": name,
        "baseline": other,
        "metric": metric,
        "value": values[0],
        "baseline_value": values[1],
        "difference": gap,
        "excludes_zero": gap is not None and (gap["ci95"][0] > 0 or gap["ci95"][1] < 0),
        "shown": wording.is_shown(gap),
        "seeds": list(seeds),
        "sentence": wording.comparison(
            name,
            other,
            metric,
            book.k,
            values[0],
            values[1],
            gap,
            seeds,
            partial=max(len(runs[name]), len(runs[other])) > len(seeds),
        ),
    }


def _pair_statistic(metric: str, book: Book) -> Statistic:
    if metric == "suppression":
        return ratio
    return book.area() if metric == "auc" else book.metrics[metric].statistic


def _pair_arrays(run: RunResult, metric: str, book: Book) -> Arrays:
    if metric == "suppression":
        assert run.fates is not None
        return run.fates[0].suppression
    return (run.curve(book.steps),) if metric == "auc" else book.metrics[metric].arrays(run.last)


def _costs(runs: Sequence[RunResult]) -> dict[str, list[float]]:
    return {
        "seconds": [r.seconds for r in runs],
        "rollouts": [r.last.train_rollouts for r in runs],
        "comments": [r.last.train_comments for r in runs],
        "generated_tokens": [r.last.train_tokens for r in runs],
    }


def _to_threshold(
    runs: Sequence[RunResult], curves: NDArray[np.float64], attribute: str, book: Book
) -> dict[str, Any] | None:
    """Mean cost over seeds, null as soon as one seed did not get there, and the share of seeds that did."""
    if book.threshold is None:
        return None
    at = np.stack([r.cost(book.steps, attribute) for r in runs])
    spread = np.broadcast_to(at[:, None, :], curves.shape)
    statistic = partial(convergence.cost_to_threshold, threshold=book.threshold)
    reached = [np.isfinite(statistic(c, a)) for c, a in zip(curves, spread, strict=True)]
    out = as_json(book.interval(statistic, (curves, spread))) or {"mean": None, "ci95": None}
    if out["ci95"] == [None, None]:
        out["ci95"] = None
    return {**out, "reached": number(np.mean(reached))}


def _run(run: RunResult, book: Book) -> dict[str, Any]:
    """The finals of one seed, without intervals."""
    out: dict[str, Any] = {"seed": run.seed, "step": run.last.step}
    out |= {name: number(m.of(run.last)) for name, m in book.metrics.items()}
    out["heldout_avg_at_k"] = None if run.heldout is None else number(book.metrics["avg_at_k"].of(run.heldout))
    curve = run.curve(book.steps) if book.steps else None
    out["auc"] = None if curve is None else number(book.area()(curve))
    out["suppression"] = None if run.fates is None else number(ratio(*run.fates[0].suppression))
    for name, attribute in THRESHOLD_COSTS.items():
        out[name] = None
        if curve is not None and book.threshold is not None:
            at = run.cost(book.steps, attribute)
            out[name] = number(convergence.crossing(convergence.learning_curve(curve), at, book.threshold))
    out |= {name: number(values[0]) for name, values in _costs([run]).items()}
    out["unscored"] = int((~run.last.scored).sum())
    out["counters"] = {name: number(value) for name, value in sorted(run.counters.items())}
    return out


def _curve(runs: Sequence[RunResult], book: Book) -> list[dict[str, Any]]:
    """Avg@k and a few more at each step that every finished run of the arm was evaluated at."""
    points = []
    for step in shared_steps(runs):
        evals = [r.at([step])[0] for r in runs]
        point: dict[str, Any] = {"step": step}
        point |= book.figure("avg_at_k", evals) or {"mean": None, "ci95": None}
        point |= {name: book.figure(name, evals) for name in CURVE}
        for name, attribute in (
            ("generated_tokens", "train_tokens"),
            ("comments", "train_comments"),
            ("seconds", "train_seconds"),
        ):
            point[name] = number(np.mean([getattr(e, attribute) for e in evals]))
        point["unscored"] = int(sum((~e.scored).sum() for e in evals))
        points.append(point)
    return points
