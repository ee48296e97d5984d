"""Rollouts in the terminal, in the colours of the page.

Texts are other people's: no markup is parsed, and what a terminal would obey is shown, not sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from frown.errors import FrownError
from frown.report.reading import visible
from frown.viewer.columns import GRAVITY
from frown.viewer.index import Index
from frown.viewer.page import page, record_at, token_values
from frown.viewer.palette import palette
from frown.viewer.scales import Scale, in_order, level, scale, span_of

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

WORDS = {"confident-wrong": "sure, wrong", "doubt-wrong": "unsure, wrong", "doubt-right": "unsure, right",
         "confident-right": "sure, right", "unknown": "not judged"}  # fmt: skip
_INVERSE = {
    "confident-wrong": "bold red",
    "doubt-wrong": "red",
    "doubt-right": "green",
    "confident-right": "bold green",
}


def render(index: Index, i: int, signal: str) -> RenderableType:
    """Rollout `i`: what it is, its legend, the answer step by step in the colours of a signal, spans and feedback.

    Raises FrownError for a signal that it does not have.
    """
    from rich.console import Group
    from rich.text import Text

    data = page(index, i)
    values = token_values(record_at(index, i))
    if values and signal not in values:
        raise FrownError(f"no signal {signal!r} in {data['key']}; there are {', '.join(in_order(set(values)))}")
    quadrant = GRAVITY[index.quadrant[i]]
    head = Text.assemble(("● ", _INVERSE.get(quadrant, "dim")), (visible(data["question"] or ""), "bold"))
    reward = "unscored" if data["score"] is None else f"reward {data['score']:g}"
    facts = f"{visible(data['key'])}   {WORDS[quadrant]}   {reward}   {len(data['tokens'])} tokens"
    parts: list[RenderableType] = [
        head,
        Text(facts + (", cut at the limit" if data["stop"] == "length" else ""), "dim"),
    ]
    if data["verdict"]:
        parts.append(Text(f"verifier: {visible(data['verdict'])}", "dim"))
    if values:
        s = scale(signal)
        ends = span_of(s, values[signal].tolist())
        parts += [legend(s, ends), answer(data, values[signal], s, ends)]
    else:
        parts.append(Text(visible("".join(data["tokens"]))))
    for span in data["spans"]:
        words = visible("".join(data["tokens"][span["start"] : span["end"]])).replace("⏎\n", "⏎")
        evidence = ", ".join(f"{visible(k)} {v:.3g}" for k, v in span["evidence"].items())
        parts.append(Text(f"  {visible(span['label'])} {span['intensity']:.2f}  {_cut(words)}  ({evidence})", "dim"))
    for part in data["feedback"]:
        where = "" if part["steps"] is None else f" on step {', '.join(str(k + 1) for k in part['steps'])}"
        parts.append(Text(f"{visible(part['kind'])}{where}: {visible(part['text'])}"))
    return Group(*parts, Text())


def answer(data: dict[str, Any], values: np.ndarray, s: Scale, span: tuple[float, float]) -> Text:
    """The tokens, a line a written-out step, each with its verdict and its doubt; of a conversation a line a turn, what
    others said without colours."""
    from rich.text import Text

    out = Text()
    starts = {step["start"]: (k, step) for k, step in enumerate(data["steps"])}
    others = dict(data["heard"] or ())
    until = 0
    for i, token in enumerate(data["tokens"]):
        if i in starts:
            k, step = starts[i]
            sign = {True: "✓", False: "✗", None: "·"}[step["right"]]
            doubt = "    " if step["doubt"] is None else f"{step['doubt']:4.2f}"
            out.append(f"{chr(10) if i else ''}{k + 1:3} {sign} {doubt}  ", _INVERSE.get(step["quadrant"], "dim"))
            if step["reward"] is not None:
                out.append(f"earned {step['reward']:+g}  ", "dim")
        elif i in others:
            until = others[i]
            out.append(f"{chr(10) if i else ''}   others   ", "dim")
        last = i + 1 == len(data["tokens"]) or i + 1 in starts or i + 1 in others
        shown = visible(token)
        style = "" if i < until else _style(level(float(values[i]), s, span))
        out.append(shown.replace("⏎\n", "⏎") if last else shown, style)
    return out


def legend(s: Scale, span: tuple[float, float]) -> Text:
    """The ramp with its ends and its unit."""
    from rich.text import Text

    steps = ["n4", "n3", "n2", "n1", "v0", "p1", "p2", "p3", "p4"] if s.direction == "both" else _RAMP
    if s.direction == "low":
        steps = steps[::-1]
    out = Text(f"{s.title} {span[0]:.3g} ")
    for step in steps:
        out.append("  ", _style(step))
    return out.append(f" {span[1]:.3g} {s.unit}  {s.note}", "dim")


_RAMP = [f"v{k}" for k in range(9)]


def _style(step: str) -> str:
    if step == "none":
        return "dim"
    colours = palette("light")
    return f"{colours['ink']} on {colours[step]}" if step in colours else ""


def _cut(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"
