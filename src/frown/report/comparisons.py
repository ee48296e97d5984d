"""The part of a page that says in words which arms differ."""

from __future__ import annotations

from frown.report.blocks import Details, Item, Points, Section, Text
from frown.report.material import Material
from frown.report.question import OF_RIGHT_AND_WRONG


def comparisons(m: Material) -> Section | None:
    """Every comparison in words; None where there is none."""
    s = m.summary
    groups: dict[str, list[Item]] = {}
    for p in s["pairs"]:
        if m.graded and p["metric"] in OF_RIGHT_AND_WRONG:
            continue
        groups.setdefault(f"{p['arm']} against {p['baseline']}", []).append(Item(p["sentence"], p["shown"]))
    if not groups:
        return None
    note = (
        "● a difference is shown: zero lies outside its interval, and exchanging the two at random gives one as large "
        "in at most 5% of cases; ○ none is shown, which does not mean that they are equal. Differences are paired over "
        "shared prompts and seeds. Each comparison is for itself: of twenty of equal arms at most one is expected to "
        f"show a difference, and there are {len(s['pairs'])} here."
    )
    return Section(
        "Comparisons", (*(Details(title, (Points(items),)) for title, items in groups.items()), Text(note, note=True))
    )
