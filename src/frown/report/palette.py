"""The seven colours of every figure, in light and dark.

Their lightness rises in steps of some 7 to 10 (CIE L*), so they stay apart in greyscale and for protanopia,
deuteranopia and tritanopia, and each has a contrast of 3 or more with the page (WCAG 2.2, 1.4.11). Nothing is told by
colour alone: lines have dashes and markers as well, areas have labels, and every figure has a table.
"""

from __future__ import annotations

LIGHT = ("#1c1c1c", "#03568e", "#d94f1e", "#03775d", "#770368", "#b98904", "#022083")
DARK = ("#ececea", "#51b5fe", "#f97034", "#04d8c4", "#b55fdd", "#ffcf73", "#7a5cdc")


def variables(colours: tuple[str, ...]) -> str:
    """CSS: --c0 to --c6."""
    return " ".join(f"--c{i}: {colour};" for i, colour in enumerate(colours))
