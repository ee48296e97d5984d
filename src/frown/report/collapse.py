"""The part of a page that shows signs of collapse, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from frown.evals.wording import decimal
from frown.report import numbers
from frown.report.blocks import Cell, Details, Figure, Figures, Row, Section, Table, Text, absent
from frown.report.chart import Point, Series, line_chart
from frown.report.lines import legend, styles
from frown.report.material import Material
from frown.training.guard import CANARIES

SIGNS = {**CANARIES, "doubt": "mean surprisal of sampled tokens, nats", "grad_norm": "norm of the gradient"}
"""Key of metrics.jsonl -> what it says."""


def canaries(m: Material) -> Section:
    """Signs of collapse, step by step."""
    title = "Signs of collapse"
    if m.kind == "evaluation":
        return absent(title, "An evaluation trains nothing that could collapse.")
    drawings, rows = [], []
    for key, meaning in SIGNS.items():
        words = meaning[0].upper() + meaning[1:]
        series = [Series(n, i, _each_step(m.metrics.get(n, {}), key)) for n, i in styles(m).items()]
        if any(len(s.points) > 1 for s in series):
            drawings.append(Figure(words, "", line_chart(series, "training step", words)))
            rows += [
                Row(f"{words}: {s.name}", [Cell(_short(s.points[0].y)), Cell(_short(s.points[-1].y))])
                for s in series
                if s.points
            ]
    if not drawings:
        return absent(title, "There is no metrics.jsonl with two training steps or more.")
    note = "Of each training step, averaged over seeds; bands reach from the lowest seed to the highest."
    table = Table(["", "first step", "last step"], rows)
    return Section(title, (Figures(drawings, legend(m)), Text(note, note=True), Details("In figures", (table,))))


def _each_step(seeds: Mapping[int, Sequence[Mapping[str, Any]]], key: str) -> tuple[Point, ...]:
    by_step: dict[int, list[float]] = {}
    for lines in seeds.values():
        for line in lines:
            if isinstance(line.get(key), (int, float)):
                by_step.setdefault(int(line["step"]), []).append(float(line[key]))
    several = len(seeds) > 1
    return tuple(
        Point(step, float(np.mean(v)), min(v) if several else None, max(v) if several else None)
        for step, v in sorted(by_step.items())
    )


def _short(value: float) -> str:
    return decimal(value, 3) if abs(value) < 10 else numbers.amount(value)
