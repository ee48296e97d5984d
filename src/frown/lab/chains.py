"""Family "chains": a left-to-right chain of operations modulo 10, with a house rule "@".

`Q7@3+8*6` is answered `7@3=4;4+8=2;2*6=2`. The state, which every step rewrites, is the value so far.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

from frown.errors import FrownError
from frown.lab.family import Family, Item, Pair, Prior, Problem

_QUESTION = re.compile(r"Q([0-9])((?:[+\-*@][1-9])+)")


class Chains(Family):
    """Left-to-right chains modulo 10."""

    name = "chains"
    separator = ""
    width = 1
    prior = Prior.make([(a, b) for a in range(10) for b in range(1, 10)], values=10, seed=12345)

    def draw_start(self, rng: random.Random) -> int:
        """A digit."""
        return rng.randrange(10)

    def draw_item(self, rng: random.Random) -> Item:
        """An operator, each equally often, and its operand (1-9; 2-9 for "*")."""
        op = "+-*@"[rng.randrange(4)]
        return op, rng.randrange(2 if op == "*" else 1, 10)

    def start_text(self, start: int) -> str:
        """The digit that the chain starts from."""
        return str(start)

    def read_item(self, text: str) -> Item | None:
        """`@3` as ("@", 3)."""
        return (text[0], int(text[1])) if re.fullmatch(r"[+\-*@][1-9]", text) else None

    def state_of(self, result: int) -> int:
        """The value itself."""
        return result

    def pair(self, state: int, item: Item) -> Pair | None:
        """(value so far, operand) for "@"."""
        return (state, int(item[1])) if item[0] == "@" else None

    def apply(self, state: int, item: Item, convention: Mapping[Pair, int]) -> int:
        """The value modulo 10."""
        op, b = item[0], int(item[1])
        if op == "@":
            return convention[state, b]
        return (state + b if op == "+" else state - b if op == "-" else state * b) % 10

    def usual_slip(self, state: int, item: Item) -> tuple[float, int]:
        """Off by one when "+" wraps, smaller from larger for "-", the neighbouring table entry for "*"."""
        op, b = item[0], int(item[1])
        if op == "+" and state + b >= 10:
            return 0.14, (state + b + 1) % 10
        if op == "-" and state < b and (b - state) % 10 != (state - b) % 10:
            return (0.60 if b >= 7 else 0.25), (b - state) % 10
        if op == "*" and state >= 3 and b >= 3:
            return (0.55 if state >= 6 and b >= 6 else 0.12), (state * (b - 1)) % 10
        return 0.0, 0

    def read_question(self, question: str) -> Problem:
        """`Q7@3+8` as its problem."""
        match = _QUESTION.fullmatch(question)
        if not match:
            raise FrownError(f"lab: {question!r} is no question of the family 'chains' (one looks like Q7@3+8*6)")
        rows = match[2]
        return Problem(int(match[1]), tuple((rows[i], int(rows[i + 1])) for i in range(0, len(rows), 2)))

    def final(self, results: Sequence[int]) -> str:
        """The last value."""
        return str(results[-1])


CHAINS = Chains()
