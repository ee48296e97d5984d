"""The part of a page that shows what training cost, for each point of accuracy, and to a threshold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from frown.evals.wording import decimal, is_shown
from frown.report import numbers
from frown.report.blocks import Block, Cell, Row, Section, Table, Text, absent
from frown.report.material import Material
from frown.report.question import MISSING

COSTS: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
    ("rollouts", "Rollouts", numbers.amount),
    ("generated_tokens", "Tokens generated", numbers.amount),
    ("comments", "Steps a critic commented on", numbers.amount),
    ("seconds", "Time, evaluations included", numbers.duration),
)
TO_THRESHOLD = (
    ("steps_to_threshold", "Steps", numbers.amount),
    ("comments_to_threshold", "Comments", numbers.amount),
    ("tokens_to_threshold", "Tokens", numbers.amount),
    ("seconds_to_threshold", "Training time", numbers.duration),
)


def costs(m: Material) -> Section:
    """What training cost, for each point of accuracy, and to a threshold."""
    s, title = m.summary, "Costs"
    if m.kind == "evaluation":
        return absent(title, "An evaluation trains nothing; what a run cost is in the report of the run.")
    arms = s["arms"]
    calls = {n: critic_calls(m.metrics.get(n, {})) for n in arms}
    rows = [Row(name, [_cost(a[key], unit) for a in arms.values()]) for key, name, unit in COSTS]
    if any(c is not None for c in calls.values()):
        rows.append(Row("Critic calls", [Cell(numbers.amount(c)) for c in calls.values()]))
    per = [Row(name, [_per_point(a, key, unit) for a in arms.values()]) for key, name, unit in COSTS]
    blocks: list[Block] = [
        Table(["Mean of a run", *arms], rows),
        Table([f"For each point of {'reward' if m.graded else 'accuracy'} gained", *arms], per),
        Text(
            f"A point is .01 of {'mean reward' if m.graded else 'Avg@k'} over the untrained policy. The range is that "
            "of the gain's 95% interval; a dash: no gain is shown, so a point has no price.",
            note=True,
        ),
    ]
    if s["threshold"] is not None:
        rows = [Row(name, [_threshold(a, key, unit) for a in arms.values()]) for key, name, unit in TO_THRESHOLD]
        blocks += [
            Table([f"To reach {m.measure} of {decimal(s['threshold'])}", *arms], rows),
            Text(
                "Read off the straight line between evaluations. Where a seed did not get there, its cost is unknown "
                'and there is no mean. "beyond": that end of the interval lies past the last evaluation.',
                note=True,
            ),
        ]
    return Section(title, blocks)


def critic_calls(seeds: Mapping[int, Sequence[Mapping[str, Any]]]) -> float | None:
    """Calls of a language model that criticised, mean over seeds; None where no run counted any."""
    last = [next((x["critic"]["calls"] for x in reversed(lines) if x.get("critic")), None) for lines in seeds.values()]
    known = [float(c) for c in last if c is not None]
    return sum(known) / len(known) if known else None


def _per_point(arm: Mapping[str, Any], key: str, unit: Callable[[float | None], str]) -> Cell:
    gain, cost = (arm["change"] or {}).get("avg_at_k"), arm[key]
    if not gain or not is_shown(gain) or not cost or gain["ci95"][0] <= 0 or not cost["mean"]:
        return MISSING
    least, most = (cost["mean"] / (100 * g) for g in reversed(gain["ci95"]))
    return Cell(unit(cost["mean"] / (100 * gain["mean"])), f"[{unit(least)}, {unit(most)}]")


def _cost(metric: Mapping[str, Any] | None, unit: Callable[[float | None], str]) -> Cell:
    if metric is None:
        return MISSING
    varies = metric["ci95"] is not None and unit(metric["ci95"][0]) != unit(metric["ci95"][1])
    return Cell(unit(metric["mean"]), numbers.threshold_bounds(metric, unit) if varies else "")


def _threshold(arm: Mapping[str, Any], key: str, unit: Callable[[float | None], str]) -> Cell:
    metric = arm[key]
    return Cell(numbers.to_threshold(metric, len(arm["seeds"]), unit), numbers.threshold_bounds(metric, unit))
