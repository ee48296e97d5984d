"""Word problems in English of three to five steps of arithmetic, each step a sentence with its equation.

    python experiments/real/problems.py --out runs/real/data

writes train.jsonl, test.jsonl and heldout.jsonl (longer stories) with the columns question, answer, solution (sentence
by sentence, what supervised training learns) and reference (the whole of it as one expression: not what a student would
write). The same arguments give the same files.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

NAMES = "Maya Omar Lena Tom Aisha Ben Clara Diego Emma Felix Grace Hugo Ines Jack Kira Leo Mina Noah Olga Paul".split()
THINGS = "stickers apples marbles shells cards books coins beads pencils stamps".split()
MOST = 99
"""No amount in a story is larger."""


class Event(NamedTuple):
    """One thing that happens in a story: its sentence, its worked steps, and the expression of the amount after it."""

    text: str
    steps: tuple[str, ...]
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
        f"({expression}) / {k}",
        amount // k,
    )


def double(rng: random.Random, name: str, things: str, amount: int, expression: str) -> Event | None:
    """Twice as many."""
    return Event(
        f"Then the number of {things} that {name} has doubles.",
        (f"{name} now has 2 * {amount} = {2 * amount} {things}.",),
        f"2 * ({expression})",
        2 * amount,
    )


HAPPENINGS: tuple[Happening, ...] = (gain, lose, packs, share, double)


def problem(rng: random.Random, events: int) -> dict[str, str]:
    """A story of so many events."""
    name, things = rng.choice(NAMES), rng.choice(THINGS)
    amount = rng.randint(6, 40)
    told, steps, expression = [f"{name} has {amount} {things}."], [], str(amount)
    last: Happening | None = None
    while len(told) <= events:
        happening = rng.choice([h for h in HAPPENINGS if h is not last])
        event = happening(rng, name, things, amount, expression)
        if event is None or event.amount > MOST:
            continue
        last, amount, expression = happening, event.amount, event.expression
        told.append(event.text)
        steps += event.steps
    return {
        "question": f"{' '.join(told)} How many {things} does {name} have now?",
        "answer": str(amount),
        "solution": "\n".join([*steps, f"#### {amount}"]),
        "reference": f"{expression} = {amount}\n#### {amount}",
    }


def problems(seed: str, count: int, events: tuple[int, int], beside: set[str]) -> list[dict[str, str]]:
    """Different stories, none of them in `beside`, which they join."""
    rng, rows = random.Random(seed), []
    while len(rows) < count:
        row = problem(rng, rng.randint(*events))
        if row["question"] not in beside:
            beside.add(row["question"])
            rows.append(row)
    return rows


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
