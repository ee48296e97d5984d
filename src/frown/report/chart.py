"""Line charts as inline SVG: the numbers, their 95% bands or whiskers, straight lines between them, nothing else.

Written by hand, because a drawing whose colours are CSS variables follows the reader's light or dark theme,
and one that is laid out at the width of a phone is readable on one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from frown.evals.wording import decimal
from frown.report.numbers import amount

WIDTH, HEIGHT = 440, 264
LEFT, RIGHT, TOP, BOTTOM = 44, 24, 12, 46
COLOURS = 7
DASHES = ("none", "7 3", "2 3", "10 3 2 3", "4 2")
"""Seven colours and five dashes do not share a factor, so thirty-five arms look different."""


@dataclass(frozen=True)
class Point:
    """A value with its 95% interval (None: not estimable); `x` in the unit of the axis."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """A named line. `style` picks colour, dash and marker."""

    name: str
    style: int
    points: tuple[Point, ...]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from `low` to `high` or just beyond, some `about` of them."""
    if not high > low:
        high = low + 1.0
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def line_chart(
    series: Sequence[Series],
    x_label: str,
    description: str,
    y_top: float | None = None,
    *,
    x_range: tuple[float, float] | None = None,
    diagonal: bool = False,
    whiskers: bool = False,
) -> Markup:
    """An SVG element. The y axis holds 0 and all bands, and ends at `y_top` where that is given.

    `description` is what a screen reader says before the last value of each line. `x_range`: what the x axis holds at
    least. `diagonal`: a guide from (0, 0) to (1, 1). `whiskers`: intervals as lines at their points, not as bands.
    """
    points = [p for s in series for p in s.points]
    if not points:
        return Markup('<p class="note">Nothing was measured.</p>')
    top = y_top or max(p.y if p.high is None else p.high for p in points)
    y_ticks = ticks(min(0.0, *(p.y if p.low is None else p.low for p in points)), max(top, 0.0))
    start, end = (f([*(x_range or ()), *(p.x for p in points)]) for f in (min, max))
    span_x, span_y = (end - start) or 1.0, y_ticks[-1] - y_ticks[0]

    def at(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - start) / span_x * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - (y - y_ticks[0]) / span_y * (HEIGHT - TOP - BOTTOM)

    ends = "; ".join(f"{s.name} ends at {_number(s.points[-1].y)}" for s in series if s.points)
    label = escape(f"{description}. {ends}.", quote=True)
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">']
    for y in y_ticks:
        _, down = at(start, y)
        kind = "zero" if y == 0 and y_ticks[0] < 0 else "grid"
        parts.append(f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down:.1f}" y2="{down:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{down + 4:.1f}" text-anchor="end">{_number(y)}</text>')
    for x in (t for t in ticks(start, end) if start <= t <= end):
        across, down = at(x, y_ticks[0])
        parts.append(f'<text class="tick" x="{across:.1f}" y="{down + 17:.1f}" text-anchor="middle">{_tick(x)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 5}" text-anchor="middle">{escape(x_label)}</text>')
    if diagonal:
        (x1, y1), (x2, y2) = at(0, 0), at(1, 1)
        parts.append(f'<line class="guide" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')
    parts += [_whiskers(s, at) if whiskers else _band(s, at) for s in series] + [_line(s, at) for s in series]
    return Markup("\n".join([*(p for p in parts if p), "</svg>"]))


def swatch(style: int) -> Markup:
    """A short piece of the line, for the legend."""
    line = f'<line class="{_colour(style)}" x1="1" x2="35" y1="7" y2="7" {_dash(style)}/>'
    return Markup(f'<svg class="swatch" viewBox="0 0 36 14" aria-hidden="true">{line}{_marker(style, 18, 7)}</svg>')


def _number(value: float) -> str:
    """Up to three decimals without trailing zeros: .05, .125, 1."""
    return decimal(value, 3).rstrip("0").rstrip(".") or "0"


def _tick(value: float) -> str:
    """A number of the x axis: a small one with its decimals, a large one short."""
    return _number(value) if abs(value) < 10 else amount(value)


def _colour(style: int) -> str:
    return f"line c{style % COLOURS}"


def _dash(style: int) -> str:
    return f'stroke-dasharray="{DASHES[style % len(DASHES)]}"'


def _band(s: Series, at: Callable[[float, float], tuple[float, float]]) -> str:
    known = [p for p in s.points if p.low is not None and p.high is not None]
    if len(known) < 2:
        return ""
    outline = [at(p.x, p.high or 0.0) for p in known] + [at(p.x, p.low or 0.0) for p in reversed(known)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in outline)
    return f'<polygon class="band c{s.style % COLOURS}" points="{path}"/>'


def _whiskers(s: Series, at: Callable[[float, float], tuple[float, float]]) -> str:
    known = [(*at(p.x, p.low), at(p.x, p.high)[1]) for p in s.points if p.low is not None and p.high is not None]
    return "\n".join(
        f'<line class="line whisker c{s.style % COLOURS}" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
        for x, low, high in known
    )


def _line(s: Series, at: Callable[[float, float], tuple[float, float]]) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(p.x, p.y) for p in s.points))
    out = [f'<polyline class="{_colour(s.style)}" points="{path}" {_dash(s.style)}/>']
    for p in s.points:
        interval = "" if p.low is None or p.high is None else f" [{_number(p.low)}, {_number(p.high)}]"
        title = escape(f"{s.name}, {_tick(p.x)}: {_number(p.y)}{interval}")
        out.append(_marker(s.style, *at(p.x, p.y), title=title))
    return "\n".join(out)


def _marker(style: int, x: float, y: float, title: str = "") -> str:
    shapes = (
        "M-3,0a3,3 0 1,0 6,0a3,3 0 1,0 -6,0",
        "M-2.7,-2.7h5.4v5.4h-5.4z",
        "M0,-3.6L3.3,2.6H-3.3z",
        "M0,-3.8L3.8,0L0,3.8L-3.8,0z",
    )
    inner = f"<title>{title}</title>" if title else ""
    place = f'transform="translate({x:.1f},{y:.1f})"'
    return f'<path class="dot c{style % COLOURS}" {place} d="{shapes[style % len(shapes)]}">{inner}</path>'
