"""Word problems in English of three to five steps of arithmetic, each step a sentence with its equation.

    python experiments/real/problems.py --out runs/real/data

writes train.jsonl, test.jsonl and heldout.jsonl (longer stories) with the columns question, answer, solution (sentence
by sentence, what supervised training learns), reference (the whole of it as one expression: not what a student would
write) and operations (what each sentence does, so that each can be judged). The same arguments give the same files.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

NAMES = "Maya Omar Lena Tom Aisha Ben Clara Diego Emma Felix Grace Hugo Ines Jack Kira Leo Mina Noah Olga Paul".split()
THINGS = "stickers apples marbles shells cards books coins beads pencils stamps".split()
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
MOST = 99
"""No amount in a story is larger."""


class Event(NamedTuple):
    """One thing that happens in a story: its sentence, its worked steps, and the expression of the amount after it."""

    text: str
    steps: tuple[str, ...]
    operations: tuple[str, ...]
    """Of each step: what it does to the amount before it ("+ 5", "/ 2"), the product it works out beside it ("= 24"),
    or the addition of that ("+ =")."""
    expression: str
    amount: int


Happening = Callable[[random.Random, str, str, int, str], Event | None]


def gain(rng: random.Random, name: str, things: str, amount: int, expression: str) -> Event | None:
    """Some more."""
    n = rng.randint(3, 30)
    total = amount + n
    where = rng.choice(["finds", "buys", "is given", "wins"])
    return Event(
        f"{name} {where} {n} more {things}.",
        (f"{name} now has {amount} + {n} = {total} {things}.",),
        (f"+ {n}",),
        f"{expression} + {n}",
        total,
    )


def lose(rng: random.Random, name: str, things: str, amount: int, expression: str) -> Event | None:
    """Some fewer."""
    if amount < 5:
        return None
    n = rng.randint(2, amount - 2)
    verb = rng.choice(["loses", "sells", "gives away"])
    return Event(
        f"{name} {verb} {n} {things}.",
        (f"{name} now has {amount} - {n} = {amount - n} {things}.",),
        (f"- {n}",),
        f"{expression} - {n}",
        amount - n,
    )


def packs(rng: random.Random, name: str, things: str, amount: int, expression: str) -> Event | None:
    """Several packs more: two steps."""
    count, each = rng.randint(2, 6), rng.randint(3, 9)
    more = count * each
    return Event(
        f"{name} buys {count} packs of {each} {things}.",
        (
            f"The packs hold {count} * {each} = {more} {things}.",
            f"{name} now has {amount} + {more} = {amount + more} {things}.",
        ),
        (f"= {more}", "+ ="),
        f"{expression} + {count} * {each}",
        amount + more,
    )


def share(rng: random.Random, name: str, things: str, amount: int, expression: str) -> Event | None:
    """An even part of them is kept."""
    parts = [k for k in (2, 3, 4, 5) if amount % k == 0 and amount // k >= 3]
    if not parts:
        return None
    k = rng.choice(parts)
    return Event(
        f"{name} shares all {things} evenly among {k} people and keeps one part.",
        (f"{name} keeps {amount} / {k} = {amount // k} {things}.",),
        (f"/ {k}",),
        f"({expression}) / {k}",
        amount // k,
    )


def double(rng: random.Random, name: str, things: str, amount: int, expression: str) -> Event | None:
    """Twice as many."""
    return Event(
        f"Then the number of {things} that {name} has doubles.",
        (f"{name} now has 2 * {amount} = {2 * amount} {things}.",),
        ("* 2",),
        f"2 * ({expression})",
        2 * amount,
    )


HAPPENINGS: tuple[Happening, ...] = (gain, lose, packs, share, double)


def problem(rng: random.Random, events: int) -> dict[str, Any]:
    """A story of so many events."""
    name, things = rng.choice(NAMES), rng.choice(THINGS)
    amount = rng.randint(6, 40)
    story, steps, expression = [f"{name} has {amount} {things}."], [], str(amount)
    operations = [str(amount)]
    last: Happening | None = None
    while len(story) <= events:
        happening = rng.choice([h for h in HAPPENINGS if h is not last])
        event = happening(rng, name, things, amount, expression)
        if event is None or event.amount > MOST:
            continue
        last, amount, expression = happening, event.amount, event.expression
        story.append(event.text)
        steps += event.steps
        operations += event.operations
    return {
        "question": f"{' '.join(story)} How many {things} does {name} have now?",
        "answer": str(amount),
        "solution": "\n".join([*steps, f"#### {amount}"]),
        "reference": f"{expression} = {amount}\n#### {amount}",
        "operations": operations,
    }


def problems(seed: str, count: int, events: tuple[int, int], beside: set[str]) -> list[dict[str, Any]]:
    """Different stories, none of them in `beside`, which they join."""
    rng, rows = random.Random(seed), []
    while len(rows) < count:
        row = problem(rng, rng.randint(*events))
        if row["question"] not in beside:
            beside.add(row["question"])
            rows.append(row)
    return rows


def steps_right(operations: Sequence[str], lines: Sequence[str]) -> tuple[bool, ...]:
    """For each sentence of an answer, whether it says what follows from the sentences before it, by the last number in
    it. One more than the story has is wrong."""
    amount, product, right = Fraction(operations[0]), Fraction(0), []
    for i, line in enumerate(lines):
        numbers = _NUMBER.findall(line)
        if i + 1 >= len(operations) or not numbers:
            right.append(False)
            continue
        stated = Fraction(numbers[-1])
        sign, _, n = operations[i + 1].partition(" ")
        if sign == "=":
            right.append(stated == Fraction(n))
            product = stated
            continue
        by = product if n == "=" else Fraction(n)
        right.append(stated == {"+": amount + by, "-": amount - by, "*": amount * by, "/": amount / by}[sign])
        amount = stated
    return tuple(right)


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/real/data"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    questions: set[str] = set()
    for name, count, events in (("test", 400, (2, 4)), ("heldout", 400, (5, 6)), ("train", 6000, (2, 4))):
        rows = problems(name, count, events, questions)
        (out / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        print(f"{out / name}.jsonl: {count} problems")


if __name__ == "__main__":
    main()
