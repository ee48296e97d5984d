"""Exact evaluation of arithmetic expressions as people write them, as a Fraction.

Nothing is ever handed to an interpreter. Sizes are limited: what exceeds them has no value (None), which means that
it cannot be judged, never that it is wrong.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

LONGEST = 120
"""Numbers, operators and parentheses that an expression may have."""
DEEPEST = 20
"""Parentheses within each other."""
MOST_DIGITS = 60
"""Digits of one number as written."""
MOST_BITS = 1024
"""Size of a numerator or denominator on the way: 309 digits."""

SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}


class Number(NamedTuple):
    """A number as written: `$1,250.50`, `20%`, `3 1/2`, `2.5 million`."""

    value: Fraction
    """Without its percent sign and scale word."""
    text: str
    decimals: int = 0
    """Digits shown behind the point."""
    percent: bool = False
    scale: int = 1
    """The factor of a scale word behind it (million); readers differ on whether the word belongs to the number."""
    units: tuple[str, ...] = ()
    """Words and currency signs at it, lower case."""


Item = Number | Literal["+", "-", "*", "/", "^", "(", ")"]
"""A piece of an expression."""


class Interpretation(NamedTuple):
    """An interpretation of the marks that people use in two ways."""

    percent: bool = True
    """Whether 20% is 20/100, or a count of 20."""
    scale: bool = True
    """Whether 2 million is 2,000,000, or 2 of something called million."""

    def of(self, number: Number) -> Fraction:
        """The value of a number, so read."""
        return number.value * self.unit(number)

    def unit(self, number: Number) -> Fraction:
        """The value of one whole of a number, so read."""
        return Fraction(number.scale if self.scale else 1, 100 if number.percent and self.percent else 1)


AS_WRITTEN = Interpretation()
"""Every mark taken literally."""


def parse_number(text: str) -> Number | None:
    """A plain number such as `1,250.5`, `.5` or a sign like `½`; None where it has too many digits or is none: 0730."""
    if len(text) == 1 and not text.isascii():
        return Number(Fraction(unicodedata.numeric(text)).limit_denominator(10), text)
    plain = text.replace(",", "")
    if len(plain) > MOST_DIGITS or (plain[0] == "0" and plain[1:2].isdigit()):
        return None
    return Number(Fraction(plain), text, len(plain.partition(".")[2]))


class _UnreadableError(Exception):
    """It is no expression, or too large a one."""


def evaluate(items: Sequence[Item], interpretation: Interpretation = AS_WRITTEN) -> Fraction | None:
    """The exact value of an expression; None where it is none, divides by zero, or is too large.

    The usual precedence; `^` binds to the right, and more than a sign before it.
    """
    if not items or len(items) > LONGEST:
        return None
    try:
        parser = _Parser(items, interpretation)
        result = parser.sum(0)
        return result if parser.at == len(items) else None
    except (_UnreadableError, ZeroDivisionError):
        return None


class _Parser:
    """Recursive descent over the items of one expression."""

    def __init__(self, items: Sequence[Item], interpretation: Interpretation) -> None:
        self.items, self.interpretation, self.at = items, interpretation, 0

    def sum(self, depth: int) -> Fraction:
        self._take("+")
        total = self.product(depth)
        while (sign := self._take("+", "-")) is not None:
            other = self.product(depth)
            total = _bounded(total + other if sign == "+" else total - other)
        return total

    def product(self, depth: int) -> Fraction:
        total = self.signed(depth)
        while True:
            if (sign := self._take("*", "/")) is None:
                return total
            other = self.signed(depth)
            total = _bounded(total * other if sign == "*" else total / other)

    def signed(self, depth: int) -> Fraction:
        negative = False
        while self._take("-") is not None:
            negative = not negative
        result = self.power(depth)
        return -result if negative else result

    def power(self, depth: int) -> Fraction:
        if depth > DEEPEST:
            raise _UnreadableError
        base = self.atom(depth)
        if self._take("^") is None:
            return base
        exponent = self.signed(depth + 1)
        if exponent.denominator != 1 or abs(exponent) * _bits(base) > MOST_BITS:
            raise _UnreadableError
        return base ** int(exponent)

    def atom(self, depth: int) -> Fraction:
        item = self._next()
        self.at += 1
        if isinstance(item, Number):
            return self.interpretation.of(item)
        if item != "(":
            raise _UnreadableError
        inner = self.sum(depth + 1)
        if self._take(")") is None:
            raise _UnreadableError
        return inner

    def _next(self) -> Item | None:
        return self.items[self.at] if self.at < len(self.items) else None

    def _take(self, *signs: str) -> str | None:
        item = self._next()
        if isinstance(item, str) and item in signs:
            self.at += 1
            return item
        return None


def _bits(x: Fraction) -> int:
    return max(x.numerator.bit_length(), x.denominator.bit_length())


def _bounded(x: Fraction) -> Fraction:
    if _bits(x) > MOST_BITS:
        raise _UnreadableError
    return x
