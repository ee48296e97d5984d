"""What a probe found, as one table in the terminal and a sentence for each kind of feedback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from frown.evals.wording import decimal
from frown.report.numbers import amount, mean
from frown.report.reading import visible

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

SHADES = ((0.02, "green"), (-0.02, "dim"), (-0.5, "yellow"), (-np.inf, "bold red"))
"""The teacher's advantage on a token, nats, from here up, and the style it is shown in."""
HEADERS = ("told", "gap", "± se", "answers told", "A wrong", "A right", "at 1st wrong", "AUROC", "tokens", "comments")


def probe_table(results: Mapping[str, Any]) -> Table:
    """One row a kind of feedback. A: mean advantage (log q - log pi) in nats a token on wrong and right steps, of
    answers where steps are not judged; at 1st wrong: share of |A| on the first wrong step; AUROC: how well A tells
    that step from the right ones; tokens (read by the teacher) and comments of one training step."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, caption=Text(_caption(results)), caption_justify="left")
    for i, header in enumerate(HEADERS):
        table.add_column(Text(header), justify="left" if i == 0 else "right", no_wrap=i == 0)
    for kind, k in results["kinds"].items():
        table.add_row(*(Text(cell) for cell in _cells(kind, k)))
    return table


def profile_table(results: Mapping[str, Any]) -> Table | None:
    """The teacher's word by place: mean advantage, nats a token, of the steps around the first wrong one, one row a
    kind of feedback; None where no step could be judged."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    profiles = {kind: k["profile"]["steps"] for kind, k in results["kinds"].items()}
    places = [p for p in next(iter(profiles.values()), {}) if any(steps[p] for steps in profiles.values())]
    if not places:
        return None
    caption = "Advantage (log q - log pi), nats a token, by step from the first wrong one (0)."
    table = Table(box=box.SIMPLE_HEAD, caption=Text(caption), caption_justify="left")
    table.add_column(Text("told"), no_wrap=True)
    for place in places:
        table.add_column(Text(place if place == "0" else f"{int(place):+d}"), justify="right")
    for kind, steps in profiles.items():
        cells = (decimal(m["mean"], 3, sign=True) if (m := steps[p]) else "-" for p in places)
        table.add_row(Text(kind), *(Text(cell) for cell in cells))
    return table


def example_text(results: Mapping[str, Any]) -> Text | None:
    """One of the student's answers, once a kind of feedback, each token coloured by the teacher's advantage on it."""
    from rich.text import Text

    example = results["example"]
    if example is None:
        return None
    first = example["step_right"].index(False)
    out = Text(f"An answer to {visible(example['question'])}, wrong at step {first + 1}. ", style="italic")
    for low, style in SHADES:
        out.append(f"{'from' if np.isfinite(low) else 'below'} {low if np.isfinite(low) else SHADES[-2][0]:+g}", style)
        out.append("  ")
    width = max(map(len, example["advantage"]))
    for kind, advantage in example["advantage"].items():
        out.append(f"\n{kind:{width}}  ")
        for token, a in zip(example["tokens"], advantage, strict=True):
            out.append(visible(token), next(style for low, style in SHADES if a >= low))
    return out


def sentences(results: Mapping[str, Any]) -> list[str]:
    """The verdict on each kind, with its reason."""
    return [f"{kind}: {k['verdict']}: {k['reason']}" for kind, k in results["kinds"].items()]


def _cells(kind: str, k: Mapping[str, Any]) -> tuple[str, ...]:
    gap, advantage, place = k["gap"] or {}, k["advantage"], k["localisation"]
    what = "steps" if advantage["wrong_steps"] or advantage["right_steps"] else "answers"
    wrong, right = (advantage[f"{side}_{what}"] for side in ("wrong", "right"))
    return (
        kind,
        decimal(gap.get("difference"), sign=True),
        decimal(gap.get("standard_error")),
        f"{k['coverage']:.0%}",
        decimal(wrong and wrong["mean"], 3, sign=True),
        decimal(right and right["mean"], 3, sign=True),
        mean(place["share"]),
        mean(place["auroc"]),
        amount(k["cost"]["teacher_tokens"]),
        amount(k["cost"]["comments"]),
    )


def _caption(results: Mapping[str, Any]) -> str:
    room = results["headroom"]
    shares = ", ".join(
        f"{decimal(room[key])} {words}"
        for key, words in (("mixed", "sometimes"), ("all_right", "always"), ("all_wrong", "never"))
    )
    text = f"{results['answers']} answers to {results['prompts']} prompts, accuracy {decimal(room['accuracy'])}; "
    text += f"share of prompts answered right: {shares}."
    return text + (f" {room['unscored']} answers could not be scored." if room["unscored"] else "")
