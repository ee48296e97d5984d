"""What became of each doubt, as a flow from before training to after it: inline SVG, its widths shares."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from markupsafe import Markup

from frown.evals.wording import decimal

WIDTH, HEIGHT = 440, 300
TOP, GAP, NODE = 26, 13, 9
LEFT, RIGHT = 8, 284
WAS = {"wrong": "doubtful, wrong", "right": "doubtful, right"}
BECAME = {
    "corrected": ("sure and right", 3),
    "settled": ("still right, sure", 1),
    "suppressed": ("sure, but wrong", 2),
    "persisted": ("still doubtful", 5),
    "avoided": ("not met again", 4),
}
"""Fate -> how it reads at the end of its band, and its colour."""


def flow_chart(flow: Mapping[str, Mapping[str, float | None]], description: str) -> Markup:
    """An SVG element of {"wrong": {fate: share}, "right": {fate: share}}, shares of all doubtful steps."""
    amounts = {(was, fate): flow[was][fate] or 0.0 for was in WAS for fate in BECAME}
    total = sum(amounts.values())
    if not total:
        return Markup('<p class="note">No step was doubtful before training.</p>')
    room = HEIGHT - TOP - 12 - GAP * (len(BECAME) - 1)
    high = {key: value / total * room for key, value in amounts.items()}
    sentences = "; ".join(f"{WAS[was]} to {BECAME[fate][0]}: {decimal(v)}" for (was, fate), v in amounts.items() if v)
    label = escape(f"{description}. {sentences}.", quote=True)
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">']
    parts.append(f'<text class="tick" x="{LEFT}" y="14">before training</text>')
    parts.append(f'<text class="tick" x="{RIGHT}" y="14">after</text>')
    ends: dict[tuple[str, str], float] = {}
    y = float(TOP)
    for fate, (words, _) in BECAME.items():
        whole = sum(high[was, fate] for was in WAS)
        parts.append(f'<rect class="node" x="{RIGHT}" y="{y:.1f}" width="{NODE}" height="{max(whole, 1):.1f}"/>')
        share = sum(amounts[was, fate] for was in WAS)
        middle = y + whole / 2
        parts.append(f'<text x="{RIGHT + NODE + 6}" y="{middle + 1:.1f}">{decimal(share)} {escape(fate)}</text>')
        if whole > 24:
            parts.append(f'<text class="tick" x="{RIGHT + NODE + 6}" y="{middle + 16:.1f}">{escape(words)}</text>')
        for was in WAS:
            ends[was, fate] = y
            y += high[was, fate]
        y += GAP
    y = TOP + GAP * (len(BECAME) - 2) / 2
    for was, words in WAS.items():
        whole = sum(high[was, fate] for fate in BECAME)
        share = sum(amounts[was, fate] for fate in BECAME)
        parts.append(f'<rect class="node" x="{LEFT}" y="{y:.1f}" width="{NODE}" height="{max(whole, 1):.1f}"/>')
        at = y
        for fate, (_, colour) in BECAME.items():
            if width := high[was, fate]:
                parts.append(
                    _ribbon(at, ends[was, fate], width, colour, f"{words} to {fate}: {decimal(amounts[was, fate])}")
                )
                at += width
        label = f"{decimal(share)} {words}"
        parts.append(f'<text class="over" x="{LEFT + NODE + 6}" y="{y + whole / 2 + 5:.1f}">{escape(label)}</text>')
        y += whole + GAP
    return Markup("\n".join([*parts, "</svg>"]))


def _ribbon(start: float, end: float, width: float, colour: int, title: str) -> str:
    x1, x2, middle = LEFT + NODE, RIGHT, (LEFT + NODE + RIGHT) / 2
    path = (
        f"M{x1},{start:.1f}C{middle},{start:.1f} {middle},{end:.1f} {x2},{end:.1f}V{end + width:.1f}"
        f"C{middle},{end + width:.1f} {middle},{start + width:.1f} {x1},{start + width:.1f}Z"
    )
    return f'<path class="flow dot c{colour}" d="{path}"><title>{escape(title)}</title></path>'
