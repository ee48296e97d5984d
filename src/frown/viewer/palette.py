"""The page's colours, read from its style sheet, for whoever else draws in them."""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

from frown.viewer.file import ASSETS

_PAIR = re.compile(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)")


@cache
def palette(theme: Literal["light", "dark"]) -> dict[str, str]:
    """Name -> "#rrggbb" of every colour of a theme."""
    css = (ASSETS / "look.css").read_text(encoding="utf-8")
    return {name: light if theme == "light" else dark for name, light, dark in _PAIR.findall(css)}


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours "#rrggbb", from 1 to 21 (WCAG 2.2, "contrast ratio"); 4.5 is AA for text."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    """Relative luminance of an sRGB colour, in [0, 1] (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
