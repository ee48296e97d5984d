"""The part of a page that shows calibration: right as often as confident, and what abstaining brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from frown.evals.wording import decimal
from frown.report.blocks import Cell, Details, Figure, Figures, Row, Section, Table, Text, absent
from frown.report.chart import Point, Series, line_chart
from frown.report.lines import legend, styles
from frown.report.material import Material
from frown.report.question import MISSING, figure

CONFIDENCES = {"agreement": "agreement of the samples", "min_probability": "probability of the weakest token"}


GRADED = (
    "Scores here are grades between 0 and 1, neither right nor wrong, so nothing is said of calibration, of errors "
    "when abstaining, of pass@k or of maj@k."
)


def calibration(m: Material) -> Section:
    """Is it right as often as it is confident, and what does abstaining bring?"""
    title, arms = "Calibration", m.summary["arms"]
    if m.graded:
        return absent(title, GRADED)
    drawn = {n: i for n, i in styles(m).items() if arms[n]["diagrams"]}
    if not drawn:
        return absent(title, "No run has a final evaluation, so nothing can be said of its confidence.")
    drawings, rows = [], []
    for key, words in CONFIDENCES.items():
        diagrams = {n: arms[n]["diagrams"][key] for n in drawn}
        bins = [
            Series(
                n,
                i,
                tuple(
                    Point(b["confidence"], b["mean"], *(b["ci95"] or (None, None))) for b in diagrams[n]["reliability"]
                ),
            )
            for n, i in drawn.items()
        ]
        drawings.append(
            Figure(
                f"Right when confident? By {words}",
                "On the dotted line, confidence is what it says; below it, too sure.",
                line_chart(
                    bins, "confidence", f"Share right by {words}", 1.0, x_range=(0, 1), diagonal=True, whiskers=True
                ),
            )
        )
        risks = [Series(n, i, tuple(Point(c, r) for c, r in diagrams[n]["risk_coverage"])) for n, i in drawn.items()]
        top = 1.0 if max((p.y for s in risks for p in s.points), default=0) > 0.5 else None
        drawings.append(
            Figure(
                f"Errors when abstaining, by {words}",
                "The error rate among the most confident share of the answers; lower is better.",
                line_chart(risks, "share of answers kept", f"Error rate by coverage, {words}", top, x_range=(0, 1)),
            )
        )
        rows += [
            Row(
                f"{n}, {words}",
                [
                    Cell(f"{decimal(b['mean'])} of {b['count']}", f"said {decimal(b['confidence'])}") if b else MISSING
                    for b in _ten(diagrams[n]["reliability"])
                ],
            )
            for n in drawn
        ]
    table = Table(
        ["Share right, by confidence", *(f"{decimal(i / 10, 1)} to {decimal((i + 1) / 10, 1)}" for i in range(10))],
        rows,
    )
    summary = Table(
        ["Final evaluation", *drawn],
        [
            Row(name, [figure(arms[n][key], 3) for n in drawn], hint)
            for key, name, hint in (
                ("ece", "ECE, agreement", "10 equal bins; lower is better"),
                ("brier", "Brier, agreement", "lower is better"),
                ("aurc", "AURC, agreement", "error averaged over coverages; lower is better"),
                ("ece_min_probability", "ECE, weakest token", "10 equal bins; lower is better"),
                ("brier_min_probability", "Brier, weakest token", "lower is better"),
                ("aurc_min_probability", "AURC, weakest token", "lower is better"),
                ("auroc_min_probability", "AUROC, weakest token", "are right answers surer? .5 is chance"),
            )
        ],
    )
    note = "Ten equally wide bins, empty ones left out, all seeds pooled; whiskers are 95% intervals over prompts."
    return Section(
        title,
        (summary, Figures(drawings, legend(m)), Text(note, note=True), Details("The bins in figures", (table,))),
    )


def _ten(bins: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any] | None]:
    """The ten bins in order, None for empty ones."""
    by_place = {min(int(b["confidence"] * 10), 9): b for b in bins}
    return [by_place.get(i) for i in range(10)]
