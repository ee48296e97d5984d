"""The first screen: what was asked, the answer in a sentence with its interval, and the table it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frown.evals.stats import LEVEL
from frown.evals.wording import LOWER_IS_BETTER, NAMES, decimal, is_shown
from frown.report import numbers
from frown.report.blocks import Cell, Item, Row, Table
from frown.report.material import Material

SHORT = {
    "ece": "ECE, agreement",
    "brier": "Brier, agreement",
    "ece_min_probability": "ECE, weakest token",
    "brier_min_probability": "Brier, weakest token",
}
"""Names of figures where there is little room."""
OF_RIGHT_AND_WRONG = frozenset({
    "pass_at_k", "maj_at_k", "ece", "brier", "ece_min_probability", "brier_min_probability", "right_answer_wrong_step",
    "strict_accuracy",
})  # fmt: skip
"""Figures that take every score as right or wrong: where scores are grades, they are left out."""
MISSING = Cell(numbers.MISSING)


def question(m: Material) -> str:
    """What the reader wants to know."""
    s = m.summary
    others = [n for n in s["arms"] if n != s["baseline"]]
    if asked := s["config"].get("question"):
        return str(asked)
    if m.kind == "training run":
        return f"What did training change in {s['baseline']}?"
    if m.kind == "evaluation":
        task = s["config"].get("task", {}).get("kind", "the task")
        return (
            f"Is {others[0]} better than {s['baseline']} on {task}?"
            if others
            else f"How good is {s['baseline']} on {task}?"
        )
    if not others:
        return f"How far does {s['baseline']} get?"
    if len(others) == 1:
        return f"Is {others[0]} better than {s['baseline']}?"
    return f"Which of {', '.join(others[:-1])} and {others[-1]} is better than {s['baseline']}?"


def answer(m: Material) -> list[Item]:
    """One sentence for each comparison that was asked for, in accuracy unless other figures are named."""
    s = m.summary
    pairs = answering_pairs(s)
    if pairs:
        return [Item(p["sentence"], p["shown"]) for p in pairs]
    name = s["baseline"]
    arm = s["arms"][name]
    metric = "mean reward" if m.graded else NAMES["avg_at_k"].format(k=s["k"] or "k")
    if arm["change"] and arm["change"]["avg_at_k"]:
        return [changed(name, metric, arm["change"]["avg_at_k"], arm["avg_at_k"], s["prompts"])]
    if arm["avg_at_k"]:
        text = f"{name} reaches {metric} {numbers.mean(arm['avg_at_k'])} {numbers.bounds(arm['avg_at_k'])}"
        return [Item(f"{text}, over {s['prompts']} prompts.", None)]
    return [Item(f"Nobody can tell yet: {name} has no figures.", None)]


def answering_pairs(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The comparisons that answer the question, in the order they were asked for; where none is named, every pair in
    accuracy."""
    pairs = {(p["metric"], p["arm"], p["baseline"]): p for p in summary["pairs"]}
    named = [tuple(answer) for answer in summary["config"].get("answers") or ()]
    if not named:
        return [p for p in summary["pairs"] if p["metric"] == "avg_at_k"]
    return [pairs[answer] for answer in named if answer in pairs]


def changed(name: str, metric: str, gap: Mapping[str, Any], after: Mapping[str, Any], prompts: int) -> Item:
    """How training changed one figure, measured on so many prompts."""
    shown = is_shown(gap)
    low, high = gap["ci95"]
    if shown:
        verdict = "the interval excludes zero"
    elif low <= 0 <= high:
        verdict = "the interval includes zero, so no difference is shown"
    elif 2.0 ** (1 - prompts) > 1.0 - LEVEL:  # the share of all 2^N exchanges that none can be below
        few = "1 prompt is" if prompts == 1 else f"{prompts} prompts are"
        verdict = f"the interval excludes zero, but {few} too few to tell it from chance, so no difference is shown"
    else:
        verdict = "the interval excludes zero, but exchanging the two at random gives one as large too often (p = "
        verdict += f"{decimal(gap['p'], 3)}), so no difference is shown"
    text = (
        f"{name} went from {metric} {decimal(gap['before'])} before training to {numbers.mean(after)}: "
        f"{decimal(gap['mean'], sign=True)} {numbers.bounds(gap)}; {verdict}."
    )
    return Item(text, shown)


def table(m: Material) -> Table:
    """The figures that the answer rests on, one row an arm (of a run: one row a figure, before and after)."""
    s = m.summary
    arms = s["arms"]
    if m.kind == "training run" and (arm := arms[s["baseline"]])["change"]:
        return _before_and_after(m, arm)
    gaps = {p["arm"]: p for p in s["pairs"] if p["metric"] == "avg_at_k" and p["baseline"] == s["baseline"]}
    k = s["k"] or "k"
    more = () if m.graded else (("pass_at_k", f"pass@{k}", 2), ("maj_at_k", f"maj@{k}", 2), ("ece", "ECE", 3))
    bought = any(arm["comments"] and arm["comments"]["mean"] for arm in arms.values())
    head = ["", m.measure, *(["Comments"] if bought else []), *(name for _, name, _ in more), "Unscored"]
    if gaps:
        head.insert(2, f"against {s['baseline']}")
    rows = []
    for name, arm in arms.items():
        cells = [figure(arm["avg_at_k"])]
        if bought:
            cells.append(Cell(numbers.amount(arm["comments"]["mean"] if arm["comments"] else None)))
        cells += [figure(arm[key], digits) for key, _, digits in more]
        cells.append(Cell(str(arm["unscored"])))
        if gaps:
            cells.insert(1, difference(gaps[name]["difference"]) if name in gaps else Cell("baseline"))
        rows.append(Row(name, cells))
    return Table(head, rows)


def _before_and_after(m: Material, arm: Mapping[str, Any]) -> Table:
    rows = []
    for name, gap in arm["change"].items():
        if m.graded and name in OF_RIGHT_AND_WRONG:
            continue
        digits = 2 if name == "avg_at_k" else 3
        label = m.measure if name == "avg_at_k" else SHORT[name]
        lower = "lower is better" if name in LOWER_IS_BETTER else ""
        if gap is None:
            rows.append(Row(label, [MISSING, figure(arm[name], digits), MISSING], lower))
            continue
        before = Cell(decimal(gap["before"], digits))
        rows.append(Row(label, [before, figure(arm[name], digits), difference(gap, digits)], lower))
    return Table(["", "before", "after", "change"], rows)


def figure(metric: Mapping[str, Any] | None, digits: int = 2) -> Cell:
    """A metric with its interval below it."""
    return Cell(numbers.mean(metric, digits), numbers.bounds(metric, digits))


def difference(gap: Mapping[str, Any] | None, digits: int = 2) -> Cell:
    """A difference with its sign, its interval below it."""
    return MISSING if gap is None else Cell(decimal(gap["mean"], digits, sign=True), numbers.bounds(gap, digits))
