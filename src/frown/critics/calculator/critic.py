"""A critic of arithmetic: it evaluates every equation in a written-out step exactly and gives the right results."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from frown.critics.base import Comment, Request, Review
from frown.critics.calculator.arithmetic import SCALES, Item, Number
from frown.critics.calculator.equations import Check, check_equations

LONGEST = 100_000
"""Characters of steps that one request may ask about."""
_MOST_PLACES = 7
"""Decimals below which an exact value is written out."""
_SCALE_WORDS = {factor: f" {word}" for word, factor in SCALES.items()}


class CalculatorCritic:
    """Judges the arithmetic of steps, nothing else; implements `frown.critics.base.Critic`.

    A step is right when all its equations hold, and left out when it has none that can be judged. Whether they are
    the equations that the question calls for, it cannot tell. A comment reads `16 - 3 - 4 is 9.`: the same words
    confirm a right step and correct a wrong one, and a wrong result is never quoted. Needs no settings.
    """

    def review(self, requests: Sequence[Request]) -> list[Review]:
        """A review of each answer; of too long a one it says so. Never raises for what an answer holds."""
        return [_review(q) for q in requests]


def _review(request: Request) -> Review:
    if sum(len(request.steps[i]) for i in request.asked) > LONGEST:
        return Review(lost=f"the calculator reads no more than {LONGEST:,} characters of an answer")
    by_step = ((i, check_equations(request.steps[i])) for i in request.asked)
    return Review(tuple(_comment(i, each) for i, each in by_step if each))


def _comment(step: int, checks: Sequence[Check]) -> Comment:
    wrong = [c for c in checks if not c.right]
    if not wrong:
        return Comment(step, True, _text(checks))
    # A wrong result that another equation goes on from would be quoted by that one's correction.
    clean = [c for c in wrong if not any(_uses(c, other) for other in wrong if other.expression != c.expression)]
    return Comment(step, False, _text(clean or wrong[:1]))


def _uses(check: Check, other: Check) -> bool:
    results = [i.value for i in other.result if isinstance(i, Number)] if len(other.result) == 1 else []
    return any(isinstance(i, Number) and i.value in results for i in check.expression)


def _text(checks: Sequence[Check]) -> str:
    """The values of the expressions in words, each once."""
    return " ".join(dict.fromkeys(f"{_expression(c.expression)} is {_amount(c)}." for c in checks))


def _expression(items: Sequence[Item]) -> str:
    text = ""
    sign = True  # whether a minus here is a sign, not an operator
    for item in items:
        if isinstance(item, Number):
            text += item.text.replace(",", "") + "%" * item.percent + _SCALE_WORDS.get(item.scale, "")
        elif item in ("(", ")", "^") or sign:
            text += item
        else:
            text += f" {item} "
        sign = not isinstance(item, Number) and item != ")"
    return text


def _amount(check: Check) -> str:
    """The value: as a fraction where the result was one, exactly where it is a short decimal, else rounded."""
    exact, sign = check.value, "%" if check.percent else ""
    numbers = [i for i in check.result if isinstance(i, Number)]
    if exact.denominator > 1 and ("/" in check.result or any(n.value.denominator > 10**n.decimals for n in numbers)):
        return str(exact) + sign
    for places in range(_MOST_PLACES):
        if (exact * 10**places).denominator == 1:
            return _decimal(exact, places) + sign
    leading = 0  # three digits of a small value
    while abs(exact) * 10**leading < 100:
        leading += 1
    return f"about {_decimal(exact, max(2, leading, *(n.decimals for n in numbers)))}{sign}"


def _decimal(exact: Fraction, places: int) -> str:
    """Rounded to so many places, half away from zero."""
    digits = str(int(abs(exact) * 10**places + Fraction(1, 2))).rjust(places + 1, "0")
    whole, part = digits[: len(digits) - places], digits[len(digits) - places :]
    return "-" * (exact < 0) + whole + ("." + part if part else "")
