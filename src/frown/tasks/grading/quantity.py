"""A number with its unit, and what an equation of such comes to."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from frown.tasks.grading import units
from frown.tasks.grading.numerals import Number, equal
from frown.tasks.grading.phrasing import WORDS
from frown.tasks.grading.tokens import Token, evaluate, is_unit_here
from frown.tasks.grading.units import Unit

NEGATED, BOUND, HEDGED = "the statement denies it", "the statement gives a bound", "the statement is unsure"
SEVERAL, RANGE, ASKED = "more than one final answer", "the statement gives a range", "the statement is a question"
UNCLEAR = "several quantities, none of them stated as the answer"


@dataclass(frozen=True)
class Quantity:
    """A number with its unit."""

    number: Number
    unit: Unit = units.NONE
    percent: bool = False
    also: tuple[tuple[Number, Unit], ...] = ()
    """Other ways to say the same: a conversion, a share."""
    text: str = ""
    """The words it was read from."""


@dataclass(frozen=True)
class Refusal:
    """A statement that is no answer, and why."""

    why: str


@dataclass(frozen=True)
class Expression:
    """Mathematics that is no plain number."""

    text: str


Reading = Quantity | Refusal | Expression


def unit_end(tokens: list[Token], at: int) -> int:
    """Where the unit that a token belongs to ends; `at` where it belongs to none: words right behind a number."""
    first = at
    while first > 0 and tokens[first - 1].kind == "word":
        first -= 1
    if first == 0 or tokens[first - 1].kind != "number":
        return at
    end = unit_after(tokens, first)
    return end if end > at else at


_NO_UNITS = (
    "is are was were will would be can could should must may but because times plus minus divided multiplied squared "
    "cubed altogether together total but, ok okay right which that who whom i we he she they it you this there here "
    "these those has have had does do did needs need gets get got off instead rather actually wait no more less each "
    "left per than now mod modulo choose factorial and or old out means makes make gives equals comes works looks "
    "seems becomes remain remains"
)
_UNITS_TOO = "day week year month hour minute step chapter page part question grade room number case"
UNIT_STOPS = frozenset(_NO_UNITS.split()) | frozenset().union(
    *(WORDS[k] for k in ("adjunct", "explain", "conclude", "alternative", "comparison", "hedge", "negate"))
) - frozenset(_UNITS_TOO.split())
"""Words that end a unit."""


def unit_after(tokens: list[Token], at: int) -> int:
    """Where the unit that begins behind a number ends: at most five words and signs."""
    start = at
    if (
        at < len(tokens)
        and at
        and tokens[at].kind == "word"
        and not is_unit_here(tokens[at].text, tokens[at - 1], tokens[at].start)
    ):
        return at
    while at < len(tokens) and at - start < 8:
        token = tokens[at]
        word = token.text.lower()
        if word == "in" and at == start and (at + 1 == len(tokens) or tokens[at + 1].kind == "mark"):
            at += 1  # inches
        elif word == "the" and at + 1 < len(tokens) and tokens[at + 1].kind == "number":
            return start
        elif token.kind == "word" and word == "per" and at + 1 < len(tokens) and tokens[at + 1].kind == "word":
            at += 2
        elif (
            token.kind == "word"
            and word == "of"
            and at == start
            and at + 1 < len(tokens)
            and tokens[at + 1].kind == "word"
        ):
            if tokens[at + 1].text.lower() in UNIT_STOPS:
                return start
            at += 1
        elif token.kind == "word" and word not in UNIT_STOPS and not word.endswith("n't") and at - start < 5:
            at += 1
        elif word == "of" and at > start and at + 1 < len(tokens) and tokens[at + 1].kind == "word" and at - start < 4:
            at += 2
        elif token.kind == "mark" and token.text and token.text in "%$€£¥₹₩₽₿¢°″":
            at += 1
        elif (
            token.text == "/" and at > start and at + 1 < len(tokens) and tokens[at + 1].kind == "word"
            and tokens[at + 1].text.lower() not in UNIT_STOPS
        ):  # fmt: skip
            at += 2
        elif token.text == "^" and at > start:  # cm^2, m^{-1}
            end = at + 1
            while end < len(tokens) and (tokens[end].text in "{}-" or tokens[end].kind == "number"):
                end += 1
                if tokens[end - 1].kind == "number":
                    break
            if end < len(tokens) and tokens[end].text == "}":
                end += 1
            at = end
        elif (
            token.text == "*"
            and at > start
            and at + 1 < len(tokens)
            and tokens[at + 1].kind == "word"
            and len(tokens[at + 1].text) <= 3
        ):
            at += 2
        elif token.text == "(" and at + 3 <= len(tokens) and tokens[at + 1].text.lower() in ("mod", "s", "es"):
            while at < len(tokens) and tokens[at].text != ")":
                at += 1
            at += 1
        elif token.text.lower() in ("mod", "modulo") and at + 1 < len(tokens) and tokens[at + 1].kind == "number":
            at += 2
        elif token.text in ("\\pmod", "\\bmod", "\\mod"):
            at += 1
            while at < len(tokens) and (tokens[at].text in "{}" or tokens[at].kind == "number"):
                at += 1
        else:
            break
    return min(at, len(tokens))


def quantity_at(statement: str, tokens: list[Token], at: int) -> tuple[Quantity | None, int]:
    """The number that is token `at`, with its unit, and where that ends. None where it is the factor of a variable."""
    token = tokens[at]
    value = token.value
    assert value is not None
    after = at + 1
    if after < len(tokens):
        following = tokens[after]
        stuck = following.start == token.end
        if following.kind == "mathematics" and not following.text.startswith(("\\pmod", "\\bmod", "\\mod")):
            return None, after
        if following.kind == "word" and not is_unit_here(following.text, token, following.start):
            if stuck or (len(following.text) == 1 and not _is_article(tokens, after)):
                return None, after
        if following.text == "(" and stuck:
            return None, after
        if (
            following.text == "!"
            and stuck
            and after + 1 < len(tokens)
            and tokens[after + 1].kind in ("number", "operator")
        ):
            return None, after
    end = unit_after(tokens, after)
    text = statement[tokens[after].start : tokens[end - 1].end] if end > after else ""
    unit = units.parse_unit(value.currency + " " + text if value.currency else text)
    also = tuple((n, unit) for n in value.doubtful)
    return Quantity(value.number, unit, value.percent, also, statement[token.start : tokens[end - 1].end]), end


def _is_article(tokens: list[Token], at: int) -> bool:
    return (tokens[at].text == "a" and at + 1 < len(tokens) and tokens[at + 1].kind == "word") or tokens[at].text in (
        "I",
        "A",
    )


def single(statement: str, tokens: list[Token]) -> Quantity | None:
    """The quantity that all these tokens are; a variable, a sign of approximation or brackets in front say no more."""
    while tokens and tokens[0].text in ("≈", "~", "=", ":", "+") and len(tokens) > 1:
        tokens = tokens[1:]
    while len(tokens) >= 3 and tokens[0].text in ("(", "{") and tokens[-1].text in (")", "}"):
        tokens = tokens[1:-1]
    if not tokens or tokens[0].kind != "number":
        return None
    quantity, end = quantity_at(statement, tokens, 0)
    if quantity is None:
        return None
    if end < len(tokens):
        return compound(statement, tokens, quantity, end)
    return quantity


def compound(statement: str, tokens: list[Token], first: Quantity, end: int) -> Quantity | None:
    """Several units of one kind that add up: 1 hour 30 minutes, 5 ft 3 in, 2 dollars and 50 cents."""
    total, smallest = first.number.value * first.unit.factor, first.unit
    if not first.unit.known:
        return None
    while end < len(tokens):
        if tokens[end].text.lower() in ("and", ",", "&"):
            end += 1
        if end >= len(tokens) or tokens[end].kind != "number":
            return None
        part, end = quantity_at(statement, tokens, end)
        if part is None or part.unit.dimensions != first.unit.dimensions or part.unit.factor >= smallest.factor:
            return None
        total, smallest = total + part.number.value * part.unit.factor, part.unit
    number = Number(total / smallest.factor)
    return Quantity(number, smallest, False, ((Number(total / first.unit.factor), first.unit),), statement)


def split_at(tokens: list[Token], operators: str) -> list[list[Token]]:
    """Pieces between these operators, brackets kept whole."""
    pieces: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token.text in ("(", "[", "{")) - (token.text in (")", "]", "}"))
        if token.kind in ("operator", "mark") and token.text in operators and token.text and depth <= 0:
            pieces.append([])
        else:
            pieces[-1].append(token)
    return pieces


def text_of(statement: str, tokens: list[Token]) -> str:
    """The words of these tokens as they stand."""
    return statement[tokens[0].start : tokens[-1].end] if tokens else ""


def chain(statement: str, pieces: list[list[Token]]) -> Quantity | None:
    """What an equation comes to: its last part where that is a number, else its first, else the value of its last."""
    last = single(statement, pieces[-1])
    if last is not None:
        unit = last.unit
        first = single(statement, pieces[0]) if len(pieces) > 1 else None
        if first is not None and first.unit != units.NONE and unit == units.NONE:
            unit = first.unit if first.number.value == last.number.value else unit
        also = last.also
        if first is not None and first.number.value != last.number.value and _near(first.number, last.number):
            also = (*also, (first.number, first.unit))
        return Quantity(last.number, unit, last.percent, also, text_of(statement, pieces[-1]))
    value = evaluate(pieces[-1])
    if len(pieces) > 1:
        first = single(statement, pieces[0])
        if first is not None and value is not None:
            return first
    if value is not None:
        return Quantity(Number(value), text=text_of(statement, pieces[-1]))
    return None


def _near(a: Number, b: Number) -> bool:
    """Whether one is the other rounded to the figures it shows."""
    for exact, shown in ((a, b), (b, a)):
        if (
            shown.figures >= 2
            and shown.places > 0
            and abs(exact.value - shown.value) <= Fraction(1, 10**shown.places) / 2
        ):
            return True
    return False


def same_quantity(a: Quantity, b: Quantity, tolerance: Fraction = Fraction(0)) -> bool:
    """Whether two quantities say the same, one perhaps in another unit or as a share."""
    ways_a = [(a.number, a.unit), *a.also]
    ways_b = [(b.number, b.unit), *b.also]
    for x, ux in ways_a:
        for y, uy in ways_b:
            if ux.known and uy.known and ux != uy:
                converted = units.convert(y.value, uy, ux)
                if converted is not None and abs(converted - x.value) <= tolerance * abs(x.value):
                    return True
            elif equal(x, y) or _share(a, x) == _share(b, y):
                return True
    return False


def _share(quantity: Quantity, number: Number) -> Fraction:
    return number.value / 100 if quantity.percent else number.value
