"""A reading in the terminal: the text coloured by how much each token surprised the model, and its spans.

Tokens are other people's text: no markup is parsed, and what a terminal would obey is shown, not sent.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

SHADES = ((0.9, "dim"), (0.5, ""), (0.1, "yellow"), (0.0, "bold red"))
"""The model's probability of the token it reads, from here up, and the style it is shown in."""
_MOST_ROWS = 10


def render(result: Mapping[str, Any]) -> RenderableType:
    """What `frown.inspect.read.read` returned, for a person: text, legend, the most surprising tokens, spans.

    Without colour the tables say the same as the shades. They show the ten most surprising tokens and the ten
    most intense spans, and say how many there are.
    """
    from rich.console import Group
    from rich.text import Text

    surprisal = np.asarray(result["signals"]["surprisal"])
    entropy = np.asarray(result["signals"]["entropy"])
    text = Text()
    for token, s in zip(result["tokens"], surprisal, strict=True):
        text.append(visible(token), style=shade(float(s)))
    legend = Text("p(token): ", style="italic")
    for low, style in SHADES:
        legend.append(f"{'>=' if low else '<'} {low or SHADES[-2][0]:g}", style=style).append("   ")
    total = Text(
        f"{len(surprisal)} tokens at temperature {result['temperature']:g}: "
        f"surprisal {surprisal.mean():.3f} nats a token (most {surprisal.max():.3f}), entropy {entropy.mean():.3f}"
    )
    parts: list[RenderableType] = [text, Text(), legend, total, _tokens(result)]
    if result["spans"]:
        parts.append(_spans(result))
    parts += [Text(f"not read: {visible(why)}", style="dim") for why in result["unread"]]
    return Group(*parts)


def shade(surprisal: float) -> str:
    """The style of a token of this surprisal (nats)."""
    p = float(np.exp(-surprisal))
    return next(style for low, style in SHADES if p >= low)


def visible(text: str) -> str:
    r"""Text as a terminal may have it: newlines marked and kept, other control characters as \xNN or \uNNNN.

    Escapes of the terminal, carriage returns, and marks that turn the reading direction are all among them.
    """
    return "".join(_visible(c) for c in text)


def _visible(c: str) -> str:
    if c == "\n":
        return "⏎\n"
    if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}"
    return c


def _tokens(result: Mapping[str, Any]) -> RenderableType:
    from rich.table import Table

    signals = result["signals"]
    order = np.argsort(-np.asarray(signals["surprisal"]), kind="stable")
    names = ("surprisal", "entropy", "top_probability", "margin")
    title = f"most surprising {min(len(order), _MOST_ROWS)} of {len(order)} tokens"
    table = Table("at", "token", *(name.replace("_", " ") for name in names), title=title, title_justify="left")
    for i in order[:_MOST_ROWS].tolist():
        table.add_row(str(i), _cell(result["tokens"][i]), *(f"{signals[name][i]:.3f}" for name in names))
    return table


def _spans(result: Mapping[str, Any]) -> RenderableType:
    from rich.table import Table

    spans = sorted(result["spans"], key=lambda s: -s["intensity"])
    title = f"most intense {min(len(spans), _MOST_ROWS)} of {len(spans)} spans"
    table = Table("at", "label", "intensity", "step", "text", "evidence", title=title, title_justify="left")
    for s in spans[:_MOST_ROWS]:
        words = "".join(result["tokens"][s["start"] : s["end"]])
        table.add_row(
            f"{s['start']}-{s['end'] - 1}",
            _cell(s["label"]),
            f"{s['intensity']:.2f}",
            "" if s["step"] is None else str(s["step"] + 1),
            _cell(words),
            _cell(", ".join(f"{name} {value:.3f}" for name, value in s["evidence"].items())),
        )
    return table


def _cell(text: str) -> Text:
    from rich.text import Text

    shown = visible(text).replace("⏎\n", "⏎")
    return Text(shown if len(shown) <= 40 else f"{shown[:39]}…")
