"""Precision and recall of the calculator critic on worked solutions, gold ones and ones with planted slips.

    python experiments/calculator.py ../shared/data/gsm8k/test.jsonl ../shared/data/gsm8k/train.jsonl

Every gold step that is called wrong is printed, to be read by a person. Then, in each solution, the result of one
equation drawn at random becomes another number, in the annotation and behind it alike, and every step is reviewed:
with the annotations (`<<9*2=18>>`), and without them. Recall: planted slips found at their step. Precision: steps
called wrong that hold a planted slip; the others are the gold solutions' own.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from frown.critics.base import Comment, Request
from frown.critics.calculator.critic import CalculatorCritic
from frown.types import Task

TASK = Task("gsm8k", ({"role": "user", "content": "?"},), "?")
ANNOTATION = re.compile(r"<<[^<>\n]*>>")
RESULT = re.compile(r"(<<[^<>\n=]*[0-9)][-+*/][^<>\n=]*=)[^<>\n=]*(>>\s?\$?)([0-9][0-9,]*(?:\.[0-9]+)?|\.[0-9]+)")
"""An annotation that computes something, and the number behind it."""


class Slip(NamedTuple):
    """A solution with one wrong result in it."""

    text: str
    step: int
    """The line it is on, from 0."""
    shown: bool
    """Whether the text shows the equation without its annotation, too."""


def review(text: str) -> list[Comment]:
    """The critic's comments on every line of a solution."""
    steps = tuple(text.split("\n"))
    return list(CalculatorCritic().review([Request(TASK, text, steps, tuple(range(len(steps))))])[0].comments)


def plant(text: str, rng: random.Random) -> Slip | None:
    """A solution with another number for one of its results; None where it has no result to change."""
    results = list(RESULT.finditer(text))
    if not results:
        return None
    at = rng.choice(results)
    new = another(at[3], rng)
    before = text[: at.start()]
    line = ANNOTATION.sub("", before.rpartition("\n")[2])
    slipped = f"{before}{at[1]}{new}{at[2]}{new}{text[at.end() :]}"
    return Slip(slipped, before.count("\n"), re.search(r"[-+*/x×÷–−].*=\s?\$?$", line) is not None)


def another(number: str, rng: random.Random) -> str:
    """Another number in the same form: a digit changed, two swapped, one more, or a small difference."""
    plain = number.replace(",", "")
    while True:
        how, digits = rng.randrange(4), list(plain)
        places = [i for i, c in enumerate(digits) if c != "."]
        at = rng.choice(places)
        if how == 0:
            digits[at] = rng.choice("0123456789")
        elif how == 1 and at + 1 in places:
            digits[at], digits[at + 1] = digits[at + 1], digits[at]
        elif how == 2:
            digits.insert(places[-1] + 1 if "." not in plain else plain.index("."), "0")
        else:
            decimals = len(plain.partition(".")[2])
            moved = abs(int(plain.replace(".", "")) + rng.choice((-10, -5, -3, -2, -1, 1, 2, 3, 5, 10)))
            padded = str(moved).rjust(decimals + 1, "0")
            digits = list(f"{padded[:-decimals]}.{padded[-decimals:]}" if decimals else padded)
        new = "".join(digits)
        if float(new) != float(plain) and re.fullmatch(r"(?:0|[1-9][0-9]*)?(?:\.[0-9]+)?", new):
            return new


def measure(solutions: Iterable[str], *, annotated: bool, seed: int = 0) -> Counter[str]:
    """Counts over planted slips: solutions, planted, found, shown, shown_found, flagged (steps called wrong)."""
    rng, count = random.Random(seed), Counter[str]()
    for text in solutions:
        slip = plant(text, rng)
        count["solutions"] += 1
        if slip is None:
            continue
        comments = review(slip.text if annotated else ANNOTATION.sub("", slip.text))
        flagged = {c.step for c in comments if not c.right}
        count.update(planted=1, found=slip.step in flagged, flagged=len(flagged))
        count.update(shown=slip.shown, shown_found=slip.shown and slip.step in flagged)
    return count


def solutions(path: Path) -> list[str]:
    """The worked solutions of a GSM8K file."""
    return [json.loads(line)["answer"] for line in path.read_text(encoding="utf-8").splitlines()]


def main(paths: Iterable[str]) -> None:
    """Read, measure, print."""
    every: list[str] = []
    for path in map(Path, paths):
        texts = solutions(path)
        every += texts
        steps = judged = wrong = 0
        for number, text in enumerate(texts, start=1):
            comments = review(text)
            steps += len(text.split("\n"))
            judged += len(comments)
            wrong += sum(not c.right for c in comments)
            for c in comments:
                if not c.right:
                    print(f"{path.name}:{number} {ANNOTATION.sub('', text.split(chr(10))[c.step])}\n    -> {c.text}")
        print(f"{path.name}: {len(texts)} gold solutions, {steps} lines, {judged} judged, {wrong} called wrong")
    for annotated in (True, False):
        c = measure(every, annotated=annotated)
        print(
            f"{'with' if annotated else 'without'} annotations: {c['planted']} slips planted in {c['solutions']} "
            f"solutions, {c['found']} found (recall {c['found'] / c['planted']:.4f}); of {c['shown']} that plain text "
            f"shows {c['shown_found']} ({c['shown_found'] / c['shown']:.4f}); {c['flagged']} steps called wrong "
            f"(precision {c['found'] / c['flagged']:.4f})"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
