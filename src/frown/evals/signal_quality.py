"""How well a signal tells wrong from right: AUROC, average precision and top-1 hits, with intervals.

A unit is a written-out step ("this step is wrong") or a whole answer ("this answer is wrong"). Every signal is
turned so that higher means more doubtful (`doubtfulness`), and read at its worst token: the maximum over the
unit's tokens of surprisal, entropy and varentropy; one minus the minimum of top probability and margin.

Three ways to compare units, the same formula each time (`frown.evals.ranking`, with `within`):

- pooled: every wrong unit against every right one. A signal may earn this by telling kinds of steps apart.
- within position: only units at the same place (step index) of their answers, pooled over places. What is left
  when "the third step is hard" is known.
- within sequence: only units of the same answer, pooled over answers. What an aim needs that must choose a step
  of a given answer.

Units whose truth is unknown are left out and counted. At temperature one, surprisal partly measures the luck of
the draw: what was unlikely is often wrong because it was unlikely. Read it beside a low temperature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frown.evals.figures import as_json, number
from frown.evals.ranking import auroc, average_precision, top1
from frown.evals.stats import Draws, draws, interval
from frown.evals.weights import Array, as_result, as_weights, divide
from frown.types import Floats, Rollout

DOUBTFUL = (
    *("surprisal", "entropy", "varentropy", "effective_choices"),
    *("resampled_surprisal", "disagreement", "mutual_information"),
)
"""Signals that are high where the model doubts, in nats, choices or shares: read at their maximum."""
SURE = ("top_probability", "margin")
"""Probabilities that are high where the model is sure: read as one minus their minimum."""
SURE_NATS = ("self_certainty", "top_k_confidence")
"""Signals in nats that are high where the model is sure: read as minus their minimum."""


def doubtfulness(name: str, values: Floats) -> float:
    """One token signal [T] as one number, higher for more doubt, in the signal's unit; NaN without tokens.

    Raises ValueError for a signal whose direction is not known here: it is never guessed.
    """
    if name not in (*DOUBTFUL, *SURE, *SURE_NATS):
        raise ValueError(f"nobody has said whether a high {name!r} means doubt; add it to frown.evals.signal_quality")
    if len(values) == 0:
        return float("nan")
    if name in DOUBTFUL:
        return float(values.max())
    return float((1.0 if name in SURE else 0.0) - values.min())


@dataclass(frozen=True, eq=False)
class Units:
    """M units of the answers to N prompts. Arrays are [M].

    `prompt` in 0 .. N - 1; `sequence`: which answer (equal numbers, same answer); `position`: the unit's index in
    its answer; `wrong`: 1, 0 or NaN (unknown); `values`: name to doubtfulness, NaN where there is none.
    """

    prompts: int
    prompt: NDArray[np.int64]
    sequence: NDArray[np.int64]
    position: NDArray[np.int64]
    wrong: Array
    values: Mapping[str, Array]

    def __post_init__(self) -> None:
        sizes = {len(a) for a in (self.prompt, self.sequence, self.position, self.wrong, *self.values.values())}
        if len(sizes) > 1:
            raise ValueError(f"units have one entry each in every array, got lengths {sorted(sizes)}")

    @property
    def unscored(self) -> int:
        """Units of which nobody knows whether they are right."""
        return int(np.isnan(self.wrong).sum())


def step_units(rollouts: Sequence[Rollout]) -> Units:
    """The written-out steps of judged rollouts. Answers to the same task are one prompt.

    Where an answer's tokens and its verdicts have different numbers of steps nobody can tell which is which: all
    its steps are unscored.
    """

    def rows(r: Rollout) -> Iterator[_Row]:
        right = r.verdict.step_right if r.verdict is not None else None
        known = right is not None and len(right) == len(r.steps)
        for position, (start, end) in enumerate(r.steps):
            wrong = float(not right[position]) if right is not None and known else np.nan
            yield _Row(position, wrong, _read(r, start, end))

    return _units(rollouts, rows)


def answer_units(rollouts: Sequence[Rollout]) -> Units:
    """Whole answers of judged rollouts: wrong is a score below 1, read at their worst token."""

    def rows(r: Rollout) -> Iterator[_Row]:
        known = r.verdict is not None and r.verdict.scored
        yield _Row(0, float(not r.verdict.right) if r.verdict and known else np.nan, _read(r, 0, len(r.ids)))

    return _units(rollouts, rows)


class _Row(NamedTuple):
    position: int
    wrong: float
    values: dict[str, float]


def _read(rollout: Rollout, start: int, end: int) -> dict[str, float]:
    signals = rollout.signals.values if rollout.signals is not None else {}
    return {name: doubtfulness(name, v[start:end]) for name, v in signals.items()}


def _units(rollouts: Sequence[Rollout], rows: Callable[[Rollout], Iterator[_Row]]) -> Units:
    prompts: dict[str, int] = {}
    places: list[tuple[int, int, _Row]] = []
    for i, r in enumerate(rollouts):
        prompt = prompts.setdefault(r.task.id, len(prompts))
        places += [(prompt, i, row) for row in rows(r)]
    names = sorted({name for _, _, row in places for name in row.values})
    return Units(
        prompts=len(prompts),
        prompt=np.array([p for p, _, _ in places], dtype=np.int64),
        sequence=np.array([i for _, i, _ in places], dtype=np.int64),
        position=np.array([row.position for _, _, row in places], dtype=np.int64),
        wrong=np.array([row.wrong for _, _, row in places], dtype=np.float64),
        values={n: np.array([row.values.get(n, np.nan) for _, _, row in places], dtype=np.float64) for n in names},
    )


def prevalence(wrong: NDArray[Any], weights: Array | None = None) -> Array:
    """The share of wrong units among those whose truth is known."""
    known = np.isfinite(wrong)
    w = as_weights(weights, len(wrong))
    return as_result(divide(w @ np.where(known, wrong, 0.0).sum(1), w @ known.sum(1).astype(np.float64)), weights)


def quality(units: Units, using: Draws | None = None) -> dict[str, Any]:
    """Every figure of every signal, as JSON data with metrics {"mean", "ci95"} (null: cannot be estimated).

    {"units", "unscored", "wrong", "prompts", "prevalence", "top1_chance", "signals": {name: {"missing", "auroc",
    "auroc_within_position", "auroc_within_sequence", "average_precision", "average_precision_within_position",
    "average_precision_within_sequence", "top1"}}}

    `missing` counts units of known truth without a value of this signal. Intervals resample prompts, and a
    prompt's answers and steps stay together (`frown.evals.stats`); they say nothing about other policies.
    """
    out: dict[str, Any] = {
        "units": len(units.wrong),
        "unscored": units.unscored,
        "wrong": int(np.nansum(units.wrong)),
        "prompts": units.prompts,
    }
    if len(units.wrong) == 0:
        return {**out, "prevalence": None, "top1_chance": None, "signals": {}}
    using = draws(1, units.prompts) if using is None else using
    table = _PaddedUnits(units)
    wrong, position, sequence = (table(a) for a in (units.wrong, units.position, units.sequence))
    pooled = np.zeros_like(wrong)

    def metric(statistic: Callable[..., Array], *arrays: Array) -> dict[str, Any] | None:
        return as_json(interval(statistic, *(a[None] for a in arrays), using=using))

    out["prevalence"] = metric(prevalence, wrong)
    out["top1_chance"] = metric(top1, pooled, wrong, sequence)
    out["signals"] = {}
    own = partial(auroc, own=True)
    for name, values in units.values.items():
        value = table(values)
        out["signals"][name] = {
            "missing": int((np.isnan(values) & np.isfinite(units.wrong)).sum()),
            "auroc": metric(auroc, value, wrong, pooled),
            "auroc_within_position": metric(auroc, value, wrong, position),
            "auroc_within_sequence": metric(own, value, wrong, sequence),
            "average_precision": metric(average_precision, value, wrong, pooled),
            "average_precision_within_position": metric(average_precision, value, wrong, position),
            "average_precision_within_sequence": metric(average_precision, value, wrong, sequence),
            "top1": metric(top1, value, wrong, sequence),
        }
    return out


def signal_quality(rollouts: Sequence[Rollout], using: Draws | None = None) -> dict[str, Any]:
    """`quality` of the signals of judged rollouts, for "this step is wrong" and "this answer is wrong".

    {"steps": ..., "answers": ..., "temperature"}; of answers the pooled figures alone, an answer being one unit.
    """
    whole = quality(answer_units(rollouts), using)
    whole.pop("top1_chance")
    whole["signals"] = {
        name: {key: figures[key] for key in ("missing", "auroc", "average_precision")}
        for name, figures in whole["signals"].items()
    }
    temperatures = sorted({r.temperature for r in rollouts})
    return {
        "steps": quality(step_units(rollouts), using),
        "answers": whole,
        "temperature": number(temperatures[0]) if len(temperatures) == 1 else None,
    }


class _PaddedUnits:
    """Lays [M] arrays of units out as [N, m], NaN where a prompt has fewer units than another."""

    def __init__(self, units: Units) -> None:
        order = np.argsort(units.prompt, kind="stable")
        count = np.bincount(units.prompt, minlength=units.prompts)
        start = np.cumsum(count) - count
        self.shape = (units.prompts, int(count.max()))
        self.order, self.row = order, units.prompt[order]
        self.column = np.arange(len(order)) - start[self.row]

    def __call__(self, values: NDArray[Any]) -> Array:
        out = np.full(self.shape, np.nan)
        out[self.row, self.column] = values[self.order]
        return out
