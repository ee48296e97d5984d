"""ParsedReply of what a language model said of steps, and the comments made of it. Pure; nothing here raises."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from frown.critics.base import Comment, Request
from frown.critics.chat.blocks import sanitise
from frown.critics.model.prompt import MAX_CORRECTION, askable


class Judgement(BaseModel):
    """A model's judgement of one step, validated."""

    model_config = ConfigDict(frozen=True, strict=True)

    step: int
    """Counted from 1, as the model was shown it."""
    right: bool
    correction: str | None = Field(None, max_length=MAX_CORRECTION)
    """For a wrong step, what should stand there."""
    reason: str | None = None


class _Reply(BaseModel):
    model_config = ConfigDict(strict=True)

    steps: list[Judgement]


class ParsedReply(NamedTuple):
    """The usable part of a reply."""

    judgements: tuple[Judgement, ...] = ()
    """Of steps that were asked about, in order."""
    fault: str = ""
    """What the reply should have been otherwise, or "" where it is as asked."""
    stray: int = 0
    """Judgements of steps nobody asked about."""


def parse_reply(reply: str, request: Request, *, cut_after: int | None = None) -> ParsedReply:
    """Parse a reply about the asked steps. Never raises: what cannot be used is named in `fault`.

    `cut_after`: after how many tokens the reply was cut off, where it was.
    """
    asked = {s + 1 for s in askable(request)}
    try:
        judgements = _Reply.model_validate_json(_json(reply)).steps
    except ValidationError as error:
        return ParsedReply(
            fault=_explain(error) if cut_after is None else f"the reply was cut off after {cut_after} tokens; be brief"
        )
    faults: list[str] = []
    usable: dict[int, Judgement] = {}
    for number in sorted(asked):
        of_step = [j for j in judgements if j.step == number]
        if not of_step:
            faults.append(f"step {number} is not judged")
        elif len({j.right for j in of_step}) > 1:
            faults.append(f"step {number} is judged both right and wrong")
        elif fault := _comment_fault(of_step[0], request.steps[number - 1]):
            faults.append(fault)
        else:
            usable[number] = of_step[0]
    return ParsedReply(tuple(usable.values()), "; ".join(faults), sum(j.step not in asked for j in judgements))


def to_comment(judgement: Judgement, request: Request) -> Comment:
    """Make a judgement a comment, in the words that a teacher is shown."""
    number, at = judgement.step, judgement.step - 1
    if judgement.right:
        return Comment(at, True, f"Step {number} is right: {sanitise(request.steps[at]).strip()}")
    return Comment(at, False, f"Step {number} is wrong. It should be: {sanitise(judgement.correction or '').strip()}")


def find_contradictions(comments: Sequence[Comment], request: Request) -> set[int]:
    """The steps whose comments the verifier knows better about.

    Where it knows which steps are right: those of which the critic says otherwise. Else the steps called wrong in an
    answer that is right, and all of them where every step of a well-formed answer that is not right was called right:
    one of these is wrong, and nobody can tell which.
    """
    verdict = request.verdict
    if verdict is None or not verdict.scored:
        return set()
    right_by_step = {c.step: c.right for c in comments if c.step is not None}
    if verdict.step_right is not None and len(verdict.step_right) == len(request.steps):
        return {step for step, right in right_by_step.items() if right != verdict.step_right[step]}
    if verdict.right:
        return {step for step, right in right_by_step.items() if not right}
    called_right = {step for step, right in right_by_step.items() if right}
    return called_right if verdict.well_formed and len(called_right) == len(request.steps) else set()


def _comment_fault(judgement: Judgement, step_text: str) -> str:
    """The reason why a judgement cannot be made a comment, or ""."""
    if judgement.right:
        return ""
    number, correction, wrong = judgement.step, _bare(judgement.correction or ""), _bare(step_text)
    if not correction:
        return f"step {number} is judged wrong without a correction"
    if wrong and re.search(rf"(?<!\w)(?<!\d[.,]){re.escape(wrong)}(?!\w|[.,]\d)", f" {correction} "):
        return f"the correction of step {number} repeats what the student wrote there"
    return ""


def _bare(text: str) -> str:
    """A text without what makes no difference: case, spaces but between words, emphasis, its number, its last stop."""
    text = re.sub(r"\*\*|[`$\"'“”‘’]|</?step_?\d+>", " ", text.casefold())
    text = re.sub(r"^\s*(?:#{1,4}\s)?\s*(?:step\s*\d+\s*[.):]?\s|\d{1,3}[.):]\s)", " ", text)
    return re.sub(r"(?<=[^\w\s])\s+|\s+(?=[^\w\s])", "", " ".join(text.split())).rstrip(".;,!")


_OBJECT = re.compile(r'\{\s*"')


def _json(reply: str) -> str:
    """The last JSON object in a reply: models think aloud before it and put fences around it."""
    text = reply.rpartition("</think>")[2]
    decoder, at, last_object = json.JSONDecoder(), 0, ""
    for _ in range(200):  # enough for a model that thinks in braces, too few to be kept busy by one that means to
        start = _OBJECT.search(text, at)
        if start is None:
            break
        try:
            _, at = decoder.raw_decode(text, start.start())
            last_object = text[start.start() : at]
        except (ValueError, RecursionError):
            at = start.end()
    return last_object or text.strip()


def _explain(error: ValidationError) -> str:
    """The fault of a reply, without a word of it."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return "the reply is not JSON"
    return f"the reply's {'.'.join(map(str, first['loc'])) or 'JSON'} does not fit: {first['msg']}"
