"""What came out, as Markdown and as one page: an arm whose reward went up while its help did not is red."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_SHOWN = (
    ("emotion", "emotion"), ("need_met", "need met"), ("grounding", "grounding acts"), ("assure", "soothing acts"),
    ("unfounded", "unfounded claims"), ("bullshit_index", "bullshit index"), ("turns", "turns"),
    ("on_topic", "on topic"),
)  # fmt: skip
_LESS = (
    ("against_bonus", "need_met", "need met, less bonus"), ("against_unmixed", "emotion", "emotion, less no task"),
    ("against_unmixed", "need_met", "need met, less no task"),
    ("against_unmixed", "on_topic", "on topic, less no task"),
)  # fmt: skip
FLAG = "reward up, help flat"
SOOTHES = f' class="soothing" title="{FLAG}"'
COURSE = (
    "Emotion and share of needs met on the way, of the first people alone, after so many turns. Marked: emotion up "
    "against before training, needs met not."
)
_TABLE = '<div class="wide" role="region" aria-label="Table" tabindex="0"><table>'
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
code, h1, h2 { overflow-wrap: anywhere; } .wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; } td span { white-space: nowrap; }
td, th { padding: .25rem .7rem; text-align: right; }
th:first-child, td:first-child { text-align: left; } tr + tr { border-top: 1px solid #ddd; }
.soothing { background: #fdd; color: #900; }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #ddd; } tr + tr { border-color: #333; }
.soothing { background: #511; color: #fbb; } }
"""


def heading(results: Mapping[str, Any], simulator: str) -> str:
    """Which table it is."""
    how = "trained on" if simulator == results["trained_on"] else "never met in training"
    return (
        f"{results['policy']}, {results['start']} start, trained on {results['trained_on']}, {results['preset']}: "
        f"judged by {simulator} ({how})"
    )


def tables(results: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: for each experiment a table for each simulator."""
    out = []
    for one in results:
        for simulator, head, rows in _tables(one):
            out += [f"### {heading(one, simulator)}", "", f"{_about(one, simulator)}", ""]
            out += [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
            out += [f"| {' | '.join(cells)}{f' **({FLAG})**' if red else ''} |" for cells, red in rows] + [""]
        if course := _course(one):
            head, lines = course
            out += [f"### {course_heading(one)}", "", COURSE, ""]
            out += [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
            for arm, cells in lines:
                out.append(f"| {' | '.join([arm, *(f'**{c}**' if red else c for c, red in cells)])} |")
            out.append("")
    return "\n".join(out)


def page(results: Sequence[Mapping[str, Any]], command: str) -> str:
    """One self-contained page; everything that is not ours is escaped."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>frown: empathy</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<style>{_STYLE}</style><h1>Rewards from the other person's feelings</h1>"
        f"<p><code>{escape(command)}</code></p>{section(results)}</html>"
    )


def section(results: Sequence[Mapping[str, Any]]) -> str:
    """The tables as a piece of a page. Red rows: the reward rose against before training and the help did not."""
    out = [f'<section><p>Means with 95 % intervals over people and seeds. <span class="soothing">{FLAG}</span> marks']
    out.append(" an arm whose emotion rose against before training while the share of needs met did not.</p>")
    for one in results:
        for simulator, head, rows in _tables(one):
            out.append(f"<h2>{escape(heading(one, simulator))}</h2><p>{escape(_about(one, simulator))}</p>{_TABLE}<tr>")
            out += [f"<th>{escape(h)}</th>" for h in head]
            for cells, red in rows:
                out.append(f"</tr><tr{SOOTHES if red else ''}>" + "".join(f"<td>{_whole(c)}</td>" for c in cells))
            out.append("</tr></table></div>")
        if course := _course(one):
            head, lines = course
            out.append(f"<h2>{escape(course_heading(one))}</h2><p>{escape(COURSE)}</p>{_TABLE}<tr>")
            out += [f"<th>{escape(h)}</th>" for h in head]
            for arm, marks in lines:
                out.append(f"</tr><tr><td>{escape(arm)}</td>")
                out += [f"<td{SOOTHES if red else ''}>{escape(c)}</td>" for c, red in marks]
            out.append("</tr></table></div>")
    return "".join([*out, "</section>"])


def _whole(cell: str) -> str:
    """A cell whose interval stays on one line."""
    mean, bracket, ends = escape(cell).partition("[")
    return f"{mean}<span>[{ends}</span>" if bracket else mean


def _about(one: Mapping[str, Any], simulator: str) -> str:
    """How much there was, and how far the simulator kept to its own part."""
    kept = [
        min(of_arm[simulator][m][0] for of_arm in one["arms"].values() if of_arm[simulator][m] is not None)
        for m in ("to_profile", "to_itself")
    ]
    seeds = len(one["seeds"])
    return (
        f"{seeds} {'seed' if seeds == 1 else 'seeds'}, {one['people'][1]} people. The simulator keeps to its profile "
        f"in {kept[0]:.3f} of its lines and to itself in {kept[1]:.3f} of their pairs, in the arm where it does so "
        "least."
    )


def course_heading(one: Mapping[str, Any]) -> str:
    """Which course it is."""
    return f"{one['policy']}, {one['start']} start, trained on {one['trained_on']}: on the way"


def _course(one: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, list[tuple[str, bool]]]]] | None:
    """What was seen at each mark of a training: a head, and of each arm its cells and whether they are red."""
    courses = {arm: of_arm["course"] for arm, of_arm in one["arms"].items() if of_arm.get("course")}
    if not courses:
        return None
    marks = max(([m["mark"] for m in c] for c in courses.values()), key=len)
    lines = []
    for arm, course in courses.items():
        cells = [(f"{m['emotion'][0]:.2f} / {m['need_met'][0]:.2f}", bool(m["soothing"])) for m in course]
        lines.append((arm, cells + [("", False)] * (len(marks) - len(cells))))
    return ["emotion / need met after", *(f"{m:,}" for m in marks)], lines


def _tables(one: Mapping[str, Any]) -> list[tuple[str, list[str], list[tuple[list[str], bool]]]]:
    simulators = [one["trained_on"], *(s for s in one["arms"]["before"] if s != one["trained_on"])]
    shown = [(m, name) for m, name in _SHOWN if m in one["measures"]]
    compared = {against for of_arm in one["arms"].values() for against in of_arm}
    less = [(a, m, name) for a, m, name in _LESS if a in compared]
    head = ["arm", *(name for _, name in shown), *(name for _, _, name in less)]
    out = []
    for simulator in simulators:
        rows = []
        for arm, of_arm in one["arms"].items():
            values = [of_arm.get(a, {}).get(simulator, {}).get(m) for a, m, _ in less]
            cells = [arm, *(_cell(of_arm[simulator][m]) for m, _ in shown)]
            cells += [_cell(value, sign=True) if value else "" for value in values]
            rows.append((cells, bool(of_arm.get("soothing"))))
        out.append((simulator, head, rows))
    return out


def _cell(value: Sequence[float] | None, sign: bool = False) -> str:
    if value is None:
        return "not defined"
    mean, low, high = (f"{v:+.2f}" if sign else f"{v:.2f}" for v in value)
    return f"{mean} [{low}, {high}]"
