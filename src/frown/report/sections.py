"""The parts of a page that show what happened: curves, calibration, doubts, feedback, costs, signs of collapse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from frown.evals.wording import decimal, is_shown
from frown.report import fate, numbers
from frown.report.blocks import Block, Cell, Figure, Figures, Folded, Item, Points, Row, Section, Table, Text, absent
from frown.report.chart import Point, Series, line_chart, swatch
from frown.report.flow import flow_chart
from frown.report.material import Material
from frown.report.question import MISSING, OF_RIGHT_AND_WRONG, difference, figure
from frown.training.guard import CANARIES

BANDS = (
    "Marks are evaluations, averaged over finished seeds; bands are 95% intervals over prompts and seeds; lines "
    "between marks are straight, nothing is smoothed."
)
CONFIDENCES = {"agreement": "agreement of the samples", "min_probability": "probability of the weakest token"}
GRADED = (
    "Scores here are grades between 0 and 1, neither right nor wrong, so nothing is said of calibration, of errors "
    "when abstaining, of pass@k or of maj@k."
)
SIGNS = {**CANARIES, "doubt": "mean surprisal of sampled tokens, nats", "grad_norm": "norm of the gradient"}
"""Key of metrics.jsonl -> what it says."""


def styles(m: Material) -> dict[str, int]:
    """Arm -> line style: the baseline always has the plain one."""
    s = m.summary
    return {n: i for i, n in enumerate([s["baseline"], *(n for n in s["arms"] if n != s["baseline"])])}


def legend(m: Material) -> list[tuple[Any, str]]:
    """The lines of the arms, with their names."""
    base = m.summary["baseline"] if len(m.summary["arms"]) > 1 else None
    return [(swatch(i), f"{n} (baseline)" if n == base else n) for n, i in styles(m).items()]


def comparisons(m: Material) -> Section | None:
    """Every comparison in words; None where there is none."""
    s = m.summary
    groups: dict[str, list[Item]] = {}
    for p in s["pairs"]:
        if m.graded and p["metric"] in OF_RIGHT_AND_WRONG:
            continue
        groups.setdefault(f"{p['arm']} against {p['baseline']}", []).append(Item(p["sentence"], p["shown"]))
    if not groups:
        return None
    note = (
        "● a difference is shown: zero lies outside its interval, and exchanging the two at random gives one as large "
        "in at most 5% of cases; ○ none is shown, which does not mean that they are equal. Differences are paired over "
        "shared prompts and seeds. Each comparison is for itself: of twenty of equal arms at most one is expected to "
        f"show a difference, and there are {len(s['pairs'])} here."
    )
    return Section(
        "Comparisons", (*(Folded(title, (Points(items),)) for title, items in groups.items()), Text(note, note=True))
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
    blocks = (Figures(drawings, legend(m)), Text(BANDS, note=True), Folded("The curves in figures", (table,)))
    return Section(title, blocks)


def _at(curve: Sequence[Mapping[str, Any]], step: int) -> Cell:
    return next((figure(p) for p in curve if p["step"] == step), MISSING)


def _curve(m: Material, title: str, hint: str, value: str | None, x: str, label: str, top: float | None) -> Figure:
    curves = {n: m.summary["arms"][n]["curve"] for n in styles(m)}
    series = [Series(n, i, _points(curves[n], value, x)) for n, i in styles(m).items() if any(p[x] for p in curves[n])]
    return Figure(title, hint, line_chart(series, label, f"{title} by {label}", top))


def _points(curve: Sequence[Mapping[str, Any]], value: str | None, x: str) -> tuple[Point, ...]:
    found = [(p[x], p if value is None else p[value]) for p in curve]
    return tuple(
        Point(at, f["mean"], *(f["ci95"] or (None, None)))
        for at, f in found
        if f and f["mean"] is not None and at is not None
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
        found = {n: arms[n]["diagrams"][key] for n in drawn}
        bins = [
            Series(
                n,
                i,
                tuple(Point(b["confidence"], b["mean"], *(b["ci95"] or (None, None))) for b in found[n]["reliability"]),
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
        risks = [Series(n, i, tuple(Point(c, r) for c, r in found[n]["risk_coverage"])) for n, i in drawn.items()]
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
                    for b in _ten(found[n]["reliability"])
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
        (summary, Figures(drawings, legend(m)), Text(note, note=True), Folded("The bins in figures", (table,))),
    )


def _ten(bins: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any] | None]:
    """The ten bins in order, None for empty ones."""
    by_place = {min(int(b["confidence"] * 10), 9): b for b in bins}
    return [by_place.get(i) for i in range(10)]


def doubts(m: Material) -> Section:
    """What became of the untrained policy's doubts."""
    title, arms = "Doubt: resolved or suppressed?", m.summary["arms"]
    if m.kind == "evaluation":
        return absent(
            title, "What became of a doubt is told by a training run, from before to after; this is one measurement."
        )
    told = {n: a["fate"] for n, a in arms.items() if a["fate"]}
    if not told:
        why = "This needs an evaluation before training, two answers a prompt, and steps that somebody can judge."
        return absent(title, why)
    flows = [
        Figure(
            name,
            f"{f['spikes']} doubtful steps before training",
            flow_chart(f["flow"], f"{name}: from doubtful steps before training to what became of them"),
        )
        for name, f in told.items()
    ]
    rows = [Row(name, [Cell(*c) for c in cells], hint) for name, hint, cells in fate.rows(m.summary)]
    note = (
        "A step is doubtful when a token in it had less than even odds. It is held against the same step in the "
        "trained policy's other answers to the same prompt. \"Untrained\": the share that the untrained policy's own "
        "other answers would give: chance alone resolves many doubts. The first five shares add up to 1."
    )
    blocks: list[Block] = [
        Points([Item(x) for x in fate.sentences(m.summary)]),
        Figures(flows),
        Table(["Share of doubtful steps", *arms], rows),
        Text(note, note=True),
    ]
    return Section(title, blocks)


def advantage(m: Material) -> Section:
    """The teacher's word by place relative to the first wrong step, one line a kind of feedback."""
    title = "What the teacher said, and where"
    told = {n: kinds for n, kinds in m.profiles.items() if kinds}
    if not told:
        why = (
            "This needs rollouts on disk (keep_rollouts) that a teacher looked at, with steps that somebody can judge."
        )
        return absent(title, why if m.kind != "evaluation" else "An evaluation asks no teacher.")
    return Section(title, profile_blocks(told))


def profile_blocks(told: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    """Drawings and a table of name -> kind of feedback -> profile."""
    names = list(dict.fromkeys(kind for kinds in told.values() for kind in kinds))
    drawings, rows = [], []
    places = [str(k) for k in range(-3, 4)]
    for name, kinds in told.items():
        series = []
        for kind, found in kinds.items():
            seen = [(int(p), found["steps"][p]) for p in places if found["steps"].get(p)]
            points = tuple(Point(at, f["mean"], *(f["ci95"] or (None, None))) for at, f in seen)
            series.append(Series(kind, names.index(kind), points))
            rows.append(
                Row(f"{name}: {kind}" if name else kind, [difference(found["steps"].get(p), 3) for p in places])
            )
        if any(s.points for s in series):
            drawing = line_chart(
                series, "steps from the first wrong one", f"{name} advantage by place", x_range=(-3, 3)
            )
            drawings.append(Figure(name or "By kind of feedback", "Advantage, nats a token.", drawing))
    note = (
        "Advantage: log-probability of the student's token under the teacher minus under the student, averaged over "
        "the tokens of a step, in answers with a wrong step; bands are 95% intervals over prompts. 0 is the first "
        "wrong step: a teacher that knows where the error is lies low there and near zero elsewhere."
    )
    table = Table(["Steps from the first wrong one", *(p if p == "0" else f"{int(p):+d}" for p in places)], rows)
    lines = [(swatch(i), kind) for i, kind in enumerate(names)]
    if not drawings:
        return [Text("No answer that a teacher looked at had a wrong step that somebody can name.", note=True)]
    return [Figures(drawings, lines), table, Text(note, note=True)]


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


def canaries(m: Material) -> Section:
    """Signs of collapse, step by step."""
    title = "Signs of collapse"
    if m.kind == "evaluation":
        return absent(title, "An evaluation trains nothing that could collapse.")
    drawings, rows = [], []
    for key, told in SIGNS.items():
        words = told[0].upper() + told[1:]
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
    return Section(title, (Figures(drawings, legend(m)), Text(note, note=True), Folded("In figures", (table,))))


def _each_step(seeds: Mapping[int, Sequence[Mapping[str, Any]]], key: str) -> tuple[Point, ...]:
    seen: dict[int, list[float]] = {}
    for lines in seeds.values():
        for line in lines:
            if isinstance(line.get(key), (int, float)):
                seen.setdefault(int(line["step"]), []).append(float(line[key]))
    several = len(seeds) > 1
    return tuple(
        Point(step, float(np.mean(v)), min(v) if several else None, max(v) if several else None)
        for step, v in sorted(seen.items())
    )


def _short(value: float) -> str:
    return decimal(value, 3) if abs(value) < 10 else numbers.amount(value)
