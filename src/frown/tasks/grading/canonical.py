"""One string a value, so that equal answers are equal strings."""

from __future__ import annotations

from fractions import Fraction


def canonical_number(value: Fraction) -> str:
    """One string a value: an integer, a decimal where it ends within 12 places, else a fraction "p/q"."""
    if value.denominator == 1:
        return str(value.numerator)
    scaled = value * 10**12
    if scaled.denominator != 1:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(scaled.numerator)).rjust(13, "0")
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[:-12]}.{digits[-12:]}".rstrip("0")
