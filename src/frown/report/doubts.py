"""The parts of a page about doubt and the teacher: the fate of doubtful steps, and the advantage by place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frown.report import fate
from frown.report.blocks import Block, Cell, Figure, Figures, Item, Points, Row, Section, Table, Text, absent
from frown.report.chart import Point, Series, line_chart, swatch
from frown.report.flow import flow_chart
from frown.report.material import Material
from frown.report.question import difference


def doubts(m: Material) -> Section:
    """What became of the untrained policy's doubts."""
    title, arms = "Doubt: resolved or suppressed?", m.summary["arms"]
    if m.kind == "evaluation":
        return absent(
            title,
            "What became of a doubt is told by a training run, from before to after; this is one measurement.",
        )
    fates = {n: a["fate"] for n, a in arms.items() if a["fate"]}
    if not fates:
        why = "This needs an evaluation before training, two answers a prompt, and steps that somebody can judge."
        return absent(title, why)
    flows = [
        Figure(
            name,
            f"{f['spikes']} doubtful steps before training",
            flow_chart(f["flow"], f"{name}: from doubtful steps before training to what became of them"),
        )
        for name, f in fates.items()
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
    profiles = {n: kinds for n, kinds in m.profiles.items() if kinds}
    if not profiles:
        why = (
            "This needs rollouts on disk (keep_rollouts) that a teacher looked at, with steps that somebody can judge."
        )
        return absent(title, why if m.kind != "evaluation" else "An evaluation asks no teacher.")
    return Section(title, profile_blocks(profiles))


def profile_blocks(profiles: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    """Drawings and a table of name -> kind of feedback -> profile."""
    names = list(dict.fromkeys(kind for kinds in profiles.values() for kind in kinds))
    drawings, rows = [], []
    places = [str(k) for k in range(-3, 4)]
    for name, kinds in profiles.items():
        series = []
        for kind, profile in kinds.items():
            figures = [(int(p), profile["steps"][p]) for p in places if profile["steps"].get(p)]
            points = tuple(Point(at, f["mean"], *(f["ci95"] or (None, None))) for at, f in figures)
            series.append(Series(kind, names.index(kind), points))
            rows.append(
                Row(f"{name}: {kind}" if name else kind, [difference(profile["steps"].get(p), 3) for p in places])
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
