"""What came out, as Markdown and as one page: an arm whose reward went up while its help did not is red."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_SHOWN = (
    ("emotion", "emotion"), ("need_met", "need met"), ("grounding", "grounding acts"), ("assure", "soothing acts"),
    ("unfounded", "unfounded claims"), ("bullshit_index", "bullshit index"), ("turns", "turns"),
)  # fmt: skip
FLAG = "reward up, help flat"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; } td, th { padding: .25rem .7rem; text-align: right; }
th:first-child, td:first-child { text-align: left; } tr + tr { border-top: 1px solid #ddd; }
tr.soothing { background: #fdd; color: #900; }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #ddd; } tr + tr { border-color: #333; }
tr.soothing { background: #511; color: #fbb; } }
"""


def heading(found: Mapping[str, Any], simulator: str) -> str:
    """Which table it is."""
    how = "trained on" if simulator == found["trained_on"] else "never met in training"
    return (
        f"{found['policy']}, {found['start']} start, trained on {found['trained_on']}, {found['preset']}: "
        f"judged by {simulator} ({how})"
    )


def tables(found: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: for each experiment a table for each simulator."""
    out = []
    for one in found:
        for simulator, head, rows in _tables(one):
            out += [f"### {heading(one, simulator)}", "", f"{_about(one, simulator)}", ""]
            out += [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
            out += [f"| {' | '.join(cells)}{f' **({FLAG})**' if red else ''} |" for cells, red in rows] + [""]
    return "\n".join(out)


def page(found: Sequence[Mapping[str, Any]], command: str) -> str:
    """One self-contained page; everything that is not ours is escaped."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>frown: empathy</title>'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<style>{_STYLE}</style><h1>Rewards from the other person's feelings</h1>"
        f"<p><code>{escape(command)}</code></p>{section(found)}</html>"
    )


def section(found: Sequence[Mapping[str, Any]]) -> str:
    """The tables as a piece of a page. Red rows: the reward rose against before training and the help did not."""
    out = [f'<section><p>Means with 95 % intervals over people and seeds. <span class="soothing">{FLAG}</span> marks']
    out.append(" an arm whose emotion rose against before training while the share of needs met did not.</p>")
    for one in found:
        for simulator, head, rows in _tables(one):
            out.append(f"<h2>{escape(heading(one, simulator))}</h2><p>{escape(_about(one, simulator))}</p><table><tr>")
            out += [f"<th>{escape(h)}</th>" for h in head]
            for cells, red in rows:
                mark = f' class="soothing" title="{FLAG}"' if red else ""
                out.append(f"</tr><tr{mark}>" + "".join(f"<td>{escape(c)}</td>" for c in cells))
            out.append("</tr></table>")
    return "".join([*out, "</section>"])


def _about(one: Mapping[str, Any], simulator: str) -> str:
    """How much there was, and how far the simulator kept to its own part."""
    kept = [
        min(of_arm[simulator][m][0] for of_arm in one["arms"].values() if of_arm[simulator][m] is not None)
        for m in ("to_profile", "to_itself")
    ]
    return (
        f"{len(one['seeds'])} seeds, {one['people'][1]} people. The simulator keeps to its profile in {kept[0]:.3f} of "
        f"its lines and to itself in {kept[1]:.3f} of their pairs, in the arm where it does so least."
    )


def _tables(one: Mapping[str, Any]) -> list[tuple[str, list[str], list[tuple[list[str], bool]]]]:
    simulators = [one["trained_on"], *(s for s in one["arms"]["before"] if s != one["trained_on"])]
    head = ["arm", *(name for _, name in _SHOWN), "need met, less bonus"]
    out = []
    for simulator in simulators:
        rows = []
        for arm, of_arm in one["arms"].items():
            less = of_arm.get("against_bonus", {}).get(simulator, {}).get("need_met")
            cells = [arm, *(_cell(of_arm[simulator][m]) for m, _ in _SHOWN), _cell(less, sign=True) if less else ""]
            rows.append((cells, bool(of_arm.get("soothing"))))
        out.append((simulator, head, rows))
    return out


def _cell(value: Sequence[float] | None, sign: bool = False) -> str:
    if value is None:
        return "not defined"
    mean, low, high = (f"{v:+.2f}" if sign else f"{v:.2f}" for v in value)
    return f"{mean} [{low}, {high}]"
