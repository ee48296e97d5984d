"""What became of the untrained policy's doubts, in words and rows for the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frown.evals.wording import decimal, is_shown
from frown.report import numbers

ROWS = (
    ("corrected", "Corrected", "was wrong, is right and sure"),
    ("settled", "Settled", "was right, is right and sure"),
    ("suppressed", "Suppressed", "is sure and wrong; lower is better"),
    ("persisted", "Persisted", "still doubtful"),
    ("avoided", "Avoided", "does not come there any more"),
    ("risen", "Newly risen", "share of the doubts after training"),
)


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """One sentence an arm on its suppression rate; none where the environment has no judged steps."""
    return [_sentence(name, arm["fate"]) for name, arm in summary["arms"].items() if arm.get("fate")]


def rows(summary: Mapping[str, Any]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """(name, hint, a cell an arm) of each fate: the share, its interval and what no training would give."""
    fates = [arm.get("fate") for arm in summary["arms"].values()]
    if not any(fates):
        return []
    out = [(name, hint, [_cell(fate, key) for fate in fates]) for key, name, hint in ROWS]
    for key, name in (("doubt_before", "Doubtful steps before"), ("doubt_after", "Doubtful steps after")):
        cells = [(numbers.mean(f[key]), numbers.bounds(f[key])) if f else (numbers.MISSING, "") for f in fates]
        out.append((name, "share of all steps", cells))
    return out


def _cell(fate: Mapping[str, Any] | None, key: str) -> tuple[str, str]:
    share = fate[key] if fate else None
    if share is None:
        return numbers.MISSING, ""
    return numbers.mean(share), f"{numbers.bounds(share)}, untrained {decimal(share['reference'])}"


def _sentence(name: str, fate: Mapping[str, Any]) -> str:
    rate = fate["suppression"]
    if rate is None:
        return f"{name}: the suppression rate cannot be estimated; hardly a doubtful step was wrong before training."
    gap = rate["difference"]
    text = (
        f"{name}: of the steps that were doubtful and wrong before training, {decimal(rate['mean'])} "
        f"{numbers.bounds(rate)} are now sure and still wrong (suppressed); without training it would be "
        f"{decimal(rate['reference'])}"
    )
    if gap is None:
        return f"{text}."
    if not is_shown(gap):
        return f"{text}, so no suppression by training is shown."
    return f"{text}: {'training suppressed doubt' if gap['mean'] > 0 else 'training left less of it'}."
