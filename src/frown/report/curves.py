"""The part of a page that shows learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from frown.report.blocks import Cell, Details, Figure, Figures, Row, Section, Table, Text, absent
from frown.report.chart import Point, Series, line_chart
from frown.report.lines import legend, styles
from frown.report.material import Material
from frown.report.question import MISSING, figure

BANDS = (
    "Marks are evaluations, averaged over finished seeds; bands are 95% intervals over prompts and seeds; lines "
    "between marks are straight, nothing is smoothed."
)


def curves(m: Material) -> Section:
    """Learning curves with bands."""
    s, title = m.summary, "Learning curves"
    if all(len(a["curve"]) < 2 for a in s["arms"].values()):
        return absent(title, "A curve needs two evaluations of a run; there is one.")
    step, grades = "training step", m.measure if m.graded else f"Accuracy ({m.measure})"
    drawings = [
        _curve(m, grades, "The axis runs from 0 to 1.", None, "step", step, 1.0),
        _curve(
            m, "Entropy, nats a token", "Falls as the policy grows sure, rightly or not.", "entropy", "step", step, None
        ),
    ]
    if not m.graded:
        hint = "Lower is better. Few samples bias it upwards, and its band more so."
        drawings.insert(1, _curve(m, "Calibration error (ECE of agreement)", hint, "ece", "step", step, None))
    costs = (
        ("generated_tokens", "tokens generated for training"),
        ("comments", "comments bought"),
        ("seconds", "seconds of training"),
    )
    for key, words in costs:
        if any(p[key] for a in s["arms"].values() for p in a["curve"]):
            hint = f"The same {'reward' if m.graded else 'accuracy'}, against what was spent to learn it."
            head = f"{'Mean reward' if m.graded else 'Accuracy'} by {words}"
            drawings.append(_curve(m, head, hint, None, key, words, 1.0))
    rows = [Row(name, [_at(a["curve"], step) for step in s["steps"]]) for name, a in s["arms"].items() if s["steps"]]
    table = Table([f"{m.measure if m.graded else 'Avg@k'} by step", *(str(x) for x in s["steps"])], rows)
    blocks = (Figures(drawings, legend(m)), Text(BANDS, note=True), Details("The curves in figures", (table,)))
    return Section(title, blocks)


def _at(curve: Sequence[Mapping[str, Any]], step: int) -> Cell:
    return next((figure(p) for p in curve if p["step"] == step), MISSING)


def _curve(m: Material, title: str, hint: str, value: str | None, x: str, label: str, top: float | None) -> Figure:
    curves = {n: m.summary["arms"][n]["curve"] for n in styles(m)}
    series = [Series(n, i, _points(curves[n], value, x)) for n, i in styles(m).items() if any(p[x] for p in curves[n])]
    return Figure(title, hint, line_chart(series, label, f"{title} by {label}", top))


def _points(curve: Sequence[Mapping[str, Any]], value: str | None, x: str) -> tuple[Point, ...]:
    figures = [(p[x], p if value is None else p[value]) for p in curve]
    return tuple(
        Point(at, f["mean"], *(f["ci95"] or (None, None)))
        for at, f in figures
        if f and f["mean"] is not None and at is not None
    )
