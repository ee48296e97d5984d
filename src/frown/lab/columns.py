"""Family "columns": column-by-column arithmetic with carries, least significant column first, with a house
rule "@".

`Q7+1,3@5,8+9` is answered `07+1=08;03@5=17;18+9=18`: each step rewrites the carry that comes in and the column,
then the carry it hands on and its own digit. The state is the carry. The final answer is the whole number (here
1878), so errors cannot cancel.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

from frown.errors import FrownError
from frown.lab.family import Family, Item, Pair, Prior, Problem

_COLUMN = re.compile(r"([0-9])([+@])([0-9])")


class Columns(Family):
    """Column arithmetic with a carry."""

    name = "columns"
    separator = ","
    width = 2
    prior = Prior.make([(a, b) for a in range(10) for b in range(10)], values=19, seed=54321)
    house_rule_share = 0.4

    def draw_start(self, rng: random.Random) -> int:
        """No carry comes into the first column."""
        return 0

    def draw_item(self, rng: random.Random) -> Item:
        """A column: two digits and an operator."""
        op = "@" if rng.random() < self.house_rule_share else "+"
        return rng.randrange(10), op, rng.randrange(10)

    def start_text(self, start: int) -> str:
        """Nothing: it is always 0."""
        return ""

    def read_item(self, text: str) -> Item | None:
        """`7+1` as (7, "+", 1)."""
        match = _COLUMN.fullmatch(text)
        return (int(match[1]), match[2], int(match[3])) if match else None

    def state_of(self, result: int) -> int:
        """The carry: the first of the two digits."""
        return result // 10

    def pair(self, state: int, item: Item) -> Pair | None:
        """The two digits for "@"; the carry has no part in the convention."""
        return (int(item[0]), int(item[2])) if item[1] == "@" else None

    def apply(self, state: int, item: Item, convention: Mapping[Pair, int]) -> int:
        """The column's total, 0 to 19, the incoming carry added."""
        a, b = int(item[0]), int(item[2])
        return (convention[a, b] if item[1] == "@" else a + b) + state

    def usual_slip(self, state: int, item: Item) -> tuple[float, int]:
        """The incoming carry of an ordinary column is forgotten."""
        if item[1] == "+" and state:
            return 0.25, int(item[0]) + int(item[2])
        return 0.0, 0

    def read_question(self, question: str) -> Problem:
        """`Q7+1,3@5` as its problem."""
        items = [self.read_item(row) for row in question.removeprefix("Q").split(",")]
        if not question.startswith("Q") or None in items:
            raise FrownError(f"lab: {question!r} is no question of the family 'columns' (one looks like Q7+1,3@5,8+9)")
        return Problem(0, tuple(item for item in items if item is not None))

    def final(self, results: Sequence[int]) -> str:
        """The whole number: the last carry and digit, then the digits of the columns before, backwards."""
        return str(int(f"{results[-1]:02d}" + "".join(str(r % 10) for r in reversed(results[:-1]))))


COLUMNS = Columns()
