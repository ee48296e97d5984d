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
