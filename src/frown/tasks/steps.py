"""Splitting an answer into written-out steps: character ranges that tile the text. Pure; never raises."""

from __future__ import annotations

import re
from typing import Literal, get_args

from frown.types import Step

Splitter = Literal["auto", "tagged", "numbered", "lines", "sentences"]
SPLITTERS: tuple[str, ...] = get_args(Splitter)

_TAG = re.compile(r"<step_?\d{1,4}>", re.IGNORECASE)
_TAG_END = re.compile(r"</step_?\d{1,4}>[^\S\n]*\n?", re.IGNORECASE)
_NUMBERED = re.compile(r"^[ \t]*(?:\*\*|#{1,4} )?(?:step[ \t]+)?\d{1,3}(?:[.):]|\*\*)(?=\s)", re.I | re.M)
_LINE = re.compile(r"\n")
_SENTENCE = re.compile(r"(?<![.!?])[.!?]++[\"')\]*]*+\s+|[。！？]+|\n")
_ABBREVIATION = re.compile(r"\b(?:[A-Z]|Mr|Mrs|Ms|Dr|St|vs|etc|approx|No|Fig|Eq|e\.g|i\.e)\.\s*$")


def split_steps(text: str, how: Splitter = "auto") -> list[Step]:
    """The steps of an answer as half-open character ranges, in order, end to end over the whole text.

    `tagged`: one step a `<step_1>...</step_1>`; `numbered`: one a line starting with "1.", "2)", "Step 3:";
    `lines`: one a line; `sentences`: one a sentence or line. `auto`: the first of these that finds two steps,
    in that order. What stands before the first mark, or after a closing tag, is a step of its own; blank
    stretches belong to the step before them (at the start: to the first step). "" has no steps.
    """
    if how == "auto":
        for one in ("tagged", "numbered", "lines"):
            steps = _tile(text, _cuts(text, one))
            if len(steps) > 1:
                return steps
        how = "sentences"
    return _tile(text, _cuts(text, how))


def _cuts(text: str, how: str) -> list[int]:
    """Character positions at which a step may begin."""
    if how == "tagged":
        starts = [m.start() for m in _TAG.finditer(text)]
        return sorted({*starts, *(m.end() for m in _TAG_END.finditer(text))}) if starts else []
    if how == "numbered":
        return [m.start() for m in _NUMBERED.finditer(text)]
    if how == "lines":
        return [m.end() for m in _LINE.finditer(text)]
    return [
        m.end()
        for m in _SENTENCE.finditer(text)
        if "\n" in m[0] or not _ABBREVIATION.search(text, max(0, m.start() - 8), m.end())
    ]


def _tile(text: str, cuts: list[int]) -> list[Step]:
    steps: list[Step] = []
    begin = checked = 0
    for cut in [*cuts, len(text)]:
        blank = not text[checked:cut].strip()  # what stands between begin and checked is blank
        checked = cut
        if blank:
            if steps and cut > begin:
                steps[-1] = Step(steps[-1].start, cut)
                begin = cut
            continue
        steps.append(Step(begin, cut))
        begin = cut
    return steps or ([Step(0, len(text))] if text else [])
