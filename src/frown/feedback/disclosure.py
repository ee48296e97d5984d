"""What may be told: how much is given away, and how long it may be. What is withheld or cut is counted."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

from frown.config.feedback import FeedbackConfig
from frown.policy.reader import Reader
from frown.types import Feedback, Part, Rollout, Task

Leak = Literal["none", "verdict", "gold"]
"""What feedback gives away: nothing that the verifier knows, whether something is right, or what is right."""
LEAKS: tuple[Leak, ...] = get_args(Leak)

CUT = " [cut]"
"""Stands where a text was cut, if the model's vocabulary can write it."""

_THOUGHT = re.compile(r"<think>.*?(?:</think>\s*|\Z)", re.DOTALL)


def leak(part: Part, task: Task) -> Leak:
    """What a part gives away. It is careful: a text in which the reference answer stands as a word gives it away.

    A sibling is a right answer and a reference the worked solution. An outcome and a critique are verdicts, and so is a
    note that was made with the outcome; a note without it gives nothing away.
    """
    answer = task.answer.strip()
    if part.kind in ("sibling", "reference"):
        return "gold"
    if answer and re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", part.text):
        return "gold"
    return "none" if part.kind == "affect" and not part.verdict else "verdict"


class DisclosedFeedback(NamedTuple):
    """Feedback without what gives away too much."""

    feedback: Feedback
    withheld: int
    """Parts left out."""


def allowed(feedback: Feedback, task: Task, most: Leak) -> DisclosedFeedback:
    """The parts that give away no more than `most`."""
    kept = tuple(p for p in feedback.parts if LEAKS.index(leak(p, task)) <= LEAKS.index(most))
    return DisclosedFeedback(Feedback(kept), len(feedback.parts) - len(kept))


class TruncatedFeedback(NamedTuple):
    """Feedback within a budget of tokens."""

    feedback: Feedback
    cut: int
    """Parts whose text was cut, 0 or 1."""
    left_out: int
    """Parts that no longer fitted at all."""


def shortened(
    feedback: Feedback, most: int, encode: Callable[[str], Sequence[int]], decode: Callable[[Sequence[int]], str]
) -> TruncatedFeedback:
    """The first `most` tokens of what is told: whole parts as far as they go, and then one that is cut and says so.

    Only the texts of parts count and are cut, never the instruction around them. `encode` and `decode` are the
    model's own. A budget that ends less than two tokens into a part leaves it out.
    """
    mark = list(encode(CUT))
    mark = mark if decode(mark) == CUT else []
    kept: list[Part] = []
    left = most
    for i, part in enumerate(feedback.parts):
        ids = encode(part.text)
        if len(ids) <= left:
            kept.append(part)
            left -= len(ids)
            continue
        room = left - len(mark)
        cut = room >= 2
        if cut:
            kept.append(part._replace(text=decode(list(ids[:room])) + decode(mark)))
        return TruncatedFeedback(Feedback(tuple(kept)), int(cut), len(feedback.parts) - i - cut)
    return TruncatedFeedback(feedback, 0, 0)


def without_reasoning(text: str) -> str:
    """A text without its <think>...</think> blocks, one that was never closed included: what a demonstration shows."""
    spoken = _THOUGHT.sub("", text)
    # Templates that open the block in the prompt leave only its end in the answer.
    return spoken.rpartition("</think>")[2].lstrip() if "</think>" in spoken else spoken


def reasoning_ends(text: str) -> int:
    """The character at which an answer's leading reasoning is over: behind </think>; all of it if it never closes."""
    end = text.rfind("</think>")
    if end >= 0:
        return end + len("</think>")
    return len(text) if text.lstrip().startswith("<think>") else 0


def disclose(
    rollouts: Sequence[Rollout], feedback: Sequence[Feedback], config: FeedbackConfig, policy: Reader
) -> tuple[list[Feedback], dict[str, int]]:
    """The feedback that may be given, and counts of what was withheld or cut, and of what the rest gives away."""
    counts = dict.fromkeys(("parts_withheld", "parts_cut", "parts_left_out", "told_verdict", "told_gold"), 0)
    disclosed = []
    for r, whole in zip(rollouts, feedback, strict=True):
        rest, withheld = allowed(whole, r.task, config.leak)
        counts["parts_withheld"] += withheld
        if config.max_tokens is not None:
            rest, cut, left_out = shortened(rest, config.max_tokens, policy.encode, policy.decode)
            counts["parts_cut"] += cut
            counts["parts_left_out"] += left_out
        leaks = {leak(p, r.task) for p in rest.parts}
        counts["told_gold"] += "gold" in leaks
        counts["told_verdict"] += "gold" not in leaks and "verdict" in leaks
        disclosed.append(rest)
    return disclosed, counts
