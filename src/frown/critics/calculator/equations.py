r"""Find the equations in worked solutions and check whether they hold.

Read are GSM8K's calculator annotations (`<<48/2=24>>`; Cobbe et al. 2021, arXiv 2110.14168) and equations in running
text: `5 apples x $2 = $10`, `a = b = c`, `20% of 50 = 10`, simple LaTeX. A side that cannot be read for certain (a
variable, a word that computes, a clash of units) makes its equation one that nobody judges. A result may be rounded:
it is right when it is nearest to the exact value at the decimals it shows.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from frown.critics.calculator.arithmetic import Interpretation, Item, Number, evaluate
from frown.critics.calculator.notation import ENDS, Piece, Token, to_pieces, tokenise

_ANNOTATION = re.compile(r"<<([^<>\n]*)>>")
_UNITS: dict[str, tuple[str, str]] = {
    name: (dimension, names.split()[0])
    for dimension, units in {
        "time": "second seconds sec secs s|minute minutes min mins|hour hours hr hrs h|day days|week weeks|month months"
        "|year years|decade decades|century centuries",
        "length": "inch inches|foot feet ft|yard yards|mile miles|mm|cm centimeter centimeters|m meter meters metre "
        "metres|km kilometer kilometers",
        "amount": "mg|gram grams g|kilogram kilograms kg|ounce ounces oz|pound pounds lb lbs|ton tons|ml milliliter "
        "milliliters|liter liters litre litres|teaspoon teaspoons|tablespoon tablespoons|cup cups|pint pints"
        "|quart quarts|gallon gallons",
        "money": "dollar dollars $ buck bucks|cent cents ¢ penny pennies|nickel nickels|dime dimes",
    }.items()
    for names in units.split("|")
    for name in names.split()
}
_FACTORS = {
    "time": (60, 3600, 24, 1440, 7, 168, 4, 30, 31, 12, 52, 365),
    "length": (12, 3, 36, 5280, 1760, 10, 100, 1000),
    "amount": (16, 2000, 1000, 2, 3, 4, 8),
    "money": (100, 5, 10, 20, 2),
}
"""By what a number may change when one unit of a dimension is written as another."""


class Check(NamedTuple):
    """An equation that could be judged."""

    expression: tuple[Item, ...]
    """The side that is computed."""
    value: Fraction
    """What it really equals."""
    percent: bool
    """Whether the value counts percent: 80 for 80%."""
    result: tuple[Item, ...]
    """The other side, as it was written."""
    right: bool


class _Side(NamedTuple):
    """One side of an equation that can be read."""

    items: tuple[Item, ...]
    beside: tuple[str, ...] = ()
    """Units of the number next to it: of `1 hour and 30 minutes * 2`, hour."""


class _Segment(NamedTuple):
    """The text between two equality signs, read from either end; None where it cannot be read for certain."""

    follows: bool
    """Whether an equality sign joins it to the one before."""
    head: _Side | None
    tail: _Side | None
    whole: bool
    """Whether it is one expression and nothing else."""


def check_equations(text: str) -> list[Check]:
    """Check the equations of a text that can be judged, those of annotations first, each once. Linear in its length."""
    checks = [c for annotation in _ANNOTATION.findall(text) for c in _check_prose(annotation)]
    checks += _check_prose(_ANNOTATION.sub("", text))
    return list(dict.fromkeys(checks))


def _check_prose(text: str) -> Iterator[Check]:
    for chain in _chains(_segments(tokenise(text))):
        yield from _check_chain(chain)


def _segments(tokens: Sequence[Token]) -> Iterator[_Segment]:
    begin, follows = 0, False
    for at in range(len(tokens) + 1):
        kind = tokens[at].kind if at < len(tokens) else "relation"
        if kind in ("equal", "relation"):
            pieces = to_pieces(tokens[begin:at])
            head, whole = _head(pieces)
            yield _Segment(follows, head, _tail(pieces), whole)
            begin, follows = at + 1, kind == "equal"


def _chains(segments: Iterable[_Segment]) -> Iterator[list[_Side | None]]:
    """The members of each `a = b = c`."""
    chain: list[_Side | None] = []
    for segment in segments:
        if segment.follows:
            chain.append(segment.head)
            if segment.whole:
                continue
        if len(chain) > 1:
            yield chain
        chain = [segment.tail]
    if len(chain) > 1:
        yield chain


def _head(pieces: Sequence[Piece]) -> tuple[_Side | None, bool]:
    """The expression that the pieces begin with, and whether it is all of them."""
    depth, end, opened = 0, 0, 0
    for end, piece in enumerate([*pieces, "stop"]):
        if piece == "(":
            opened = end if depth == 0 else opened
            depth += 1
        elif piece == ")":
            depth -= 1
        if piece in ENDS or depth < 0:
            break
    if depth > 0:  # 15 (3 of which ...
        end = opened
    if end == len(pieces):
        return _side(pieces, []), True
    return None if pieces[end] == "unclear" else _side(pieces[:end], pieces[end + 1 : end + 2]), False


def _tail(pieces: Sequence[Piece]) -> _Side | None:
    """The expression that the pieces end with."""
    depth, begin = 0, 0
    for begin in range(len(pieces), -1, -1):
        piece = pieces[begin - 1] if begin else "stop"
        depth += (piece == ")") - (piece == "(")
        if piece in ENDS or depth < 0:
            break
    before = pieces[begin - 1] if begin else "stop"
    if before in ("unclear", "aside") or (before == "(" and begin > 1 and pieces[begin - 2] not in (*ENDS, "(")):
        return None
    return _side(pieces[begin:], pieces[max(begin - 2, 0) : max(begin - 1, 0)])


def _side(items: Sequence[Piece], beside: Sequence[Piece]) -> _Side | None:
    expression = tuple(p for p in items if p != "stop" and p != "aside" and p != "unclear")
    while expression[:1] == ("(",) and expression[-1:] == (")",) and len(expression) < 5:  # a number in parentheses
        expression = expression[1:-1]
    if len(expression) == 2 and expression[0] in ("+", "-") and isinstance(number := expression[1], Number):
        signed = -number.value if expression[0] == "-" else number.value
        expression = (number._replace(value=signed, text=f"{expression[0]}{number.text}"),)
    if evaluate(expression) is None:
        return None
    near = [n.units for n in beside if isinstance(n, Number) and len(n.units) < 3]
    return _Side(expression, tuple(itertools.chain(*near)))


def _check_chain(chain: Sequence[_Side | None]) -> Iterator[Check]:
    """The members of `a = b = c` against each other, up to the first that is wrong: what follows rests on it."""
    computed: _Side | None = None
    """What the last member goes back to, where it is known to be that: 1/4 = 0.25 = 25%."""
    earlier: _Side | None = None
    """What stands before it: the last member of 100 / 3 * 2 = 33.33 * 2 = 66.67 was not made from 33.33."""
    for left, right in itertools.pairwise(chain):
        if left is None or right is None:
            computed = earlier = None
            continue
        if len(left.items) > 1:
            computed, earlier = left, computed or earlier
        elif evaluate(left.items) == evaluate(right.items):
            continue
        check = _compare(computed, right, left) if computed else None
        if check and not check.right and earlier:
            before = _compare(earlier, right, left)
            check = before if before and before.right else check
        if check is None:
            computed, earlier = None, computed
            continue
        yield check
        if not check.right:
            return


def _compare(computed: _Side, result: _Side, between: _Side) -> Check | None:
    """None where the sides differ, but may be meant in a way that is not read here.

    `between`: the member of the chain just before the result, whose units tell.
    """
    percent = _has_percent(computed.items) and len(result.items) == 1 and _has_percent(result.items)
    rounded = len(result.items) > 1 and any(isinstance(i, Number) and i.decimals for i in result.items)
    near = False
    readings = itertools.product(_interpretations(computed.items, computed=True), _interpretations(result.items))
    for of_computed, of_result in readings:
        a, b = evaluate(computed.items, of_computed), evaluate(result.items, of_result)
        if a is None or b is None:
            return None
        rounding = _rounding_error(result.items, of_result)
        if abs(a - b) <= rounding:
            shown = a * 100 if percent and of_computed.percent else a
            return Check(_without_scales(computed.items, of_computed), shown, percent, result.items, True)
        # Cut off and not rounded (50 / 3 = 16, and 2 are left), or rounded on the way (100 / 3 * 2 = 33.33 * 2).
        near |= abs(a - b) < 2 * rounding or (rounded and abs(a - b) < abs(a) / 100)
    for most in (1, 3):  # 12 * 2 = 24 + 5 = 29 goes on from 24; 1 - 2/3 = 1/3 of the 30
        if len(result.items) > most:
            begun = _side(result.items[:most], [])
            check = _compare(computed, begun, between) if begun else None
            if check and check.right:
                return check
    exact = evaluate(computed.items)
    if exact is None or near or _ambiguous(computed.items) or _ambiguous(result.items):
        return None
    if _converts(exact, evaluate(result.items), _Side(computed.items, (*computed.beside, *_units(between))), result):
        return None
    return Check(computed.items, exact * 100 if percent else exact, percent, result.items, False)


def _interpretations(items: Sequence[Item], *, computed: bool = False) -> list[Interpretation]:
    """The interpretations of an expression, the literal one first."""
    numbers = [i for i in items if isinstance(i, Number)]
    percent = [n for n in numbers if n.percent]
    # 100 - 20% and 3 / 21 * 100% may count percent; 20% * 50 may not.
    counts = not computed or ("*" not in items and "/" not in items) or all(n.value == 100 for n in percent)
    percents = (True, False) if percent and counts else (True,)
    scales = (True, False) if any(n.scale > 1 for n in numbers) else (True,)
    return [Interpretation(*r) for r in itertools.product(percents, scales)]


def _without_scales(items: Sequence[Item], interpretation: Interpretation) -> tuple[Item, ...]:
    """The items without the scale words that do not count."""
    return tuple(i._replace(scale=1) if isinstance(i, Number) and not interpretation.scale else i for i in items)


def _has_percent(items: Sequence[Item]) -> bool:
    return any(isinstance(i, Number) and i.percent for i in items)


def _rounding_error(items: Sequence[Item], interpretation: Interpretation) -> Fraction:
    """Distance a result may have from the exact value: half of its last digit; 0 for a fraction or an expression."""
    if len(items) > 1 or not isinstance(number := items[0], Number):
        return Fraction(0)
    last = Fraction(1, 10**number.decimals)
    return last / 2 * interpretation.unit(number) if (number.value / last).denominator == 1 else Fraction(0)


def _ambiguous(items: Sequence[Item]) -> bool:
    """Whether what it equals depends on how marks are read, by more than where a percent sign is put."""
    if any(
        a == c == "/" and isinstance(b, Number) and b.units
        for a, b, c in zip(items, items[1:], items[2:], strict=False)
    ):
        return True  # 150 minutes / 5 minutes/100 meters
    if not _has_percent(items):
        return False
    a, b = evaluate(items), evaluate(items, Interpretation(percent=False))
    return not a or b is None or b / a not in (100, 10_000)


def _converts(exact: Fraction, written: Fraction | None, *sides: _Side) -> bool:
    """Whether the difference may be a conversion: 2 hours + 30 minutes = 150 minutes, 12 inches = 1 foot."""
    computed, units = ({_UNITS[w] for s in each for w in _units(s) if w in _UNITS} for each in (sides[:1], sides))
    added = "+" in sides[0].items or "-" in sides[0].items
    for dimension, factors in _FACTORS.items():
        if added and sum(of == dimension for of, _ in computed) > 1:
            return True
        if sum(of == dimension for of, _ in units) > 1 and exact and written:
            if any(exact / written in (f, Fraction(1, f)) for f in factors):
                return True
    return False


def _units(side: _Side) -> tuple[str, ...]:
    return (*side.beside, *(u for i in side.items if isinstance(i, Number) for u in i.units))
