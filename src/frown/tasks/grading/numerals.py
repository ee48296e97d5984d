"""Numbers as people write them, in figures and in English words, read exactly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from frown.tasks.grading.characters import THIN

MOST_DIGITS = 400
"""Longer numbers are not read: nobody states them as an answer."""
_LARGEST_EXPONENT = 400

_GAP = f"[ {THIN}]"
_BODY = re.compile(
    rf"(?P<english>\d{{1,3}}(?:,\d{{3}})+(?!\d)(?!,\d)(?:\.\d+)?(?!\.\d))"
    rf"|(?P<indian>\d{{1,2}}(?:,\d{{2}})+,\d{{3}}(?!\d)(?!,\d)(?:\.\d+)?)"
    rf"|(?P<european>\d{{1,3}}(?:\.\d{{3}}){{2,}}(?!\d)(?:,\d+(?!,?\d))?|\d{{1,3}}(?:\.\d{{3}})+,\d+(?!,?\d))"
    rf"|(?P<marked>\d{{1,3}}(?:['_]\d{{3}})+(?![\d'_])(?:\.\d+)?)"
    rf"|(?P<spaced>\d{{1,3}}(?:{_GAP}\d{{3}})+(?![\d/])(?!{_GAP}\d)(?:[.,]\d+)?)"
    r"|(?P<comma>(?<![(\[{])\d+,\d+(?![\d,)\]}]|\.\d|\s*,))"
    r"|(?P<decimal>\d*\.\d+|\d+\.(?![\d.])|\d+)"
)
_REPEATING = re.compile(
    r"\\overline\s*\{(\d+)\}|\\bar\s*\{(\d+)\}|\\bar\s*(\d)|\((\d{1,30})\)|\\dot\s*\{?(\d)\}?"
    r"|(?P<dots>\s?(?:\.{3}|…|\\[lc]?dots))"
)
_SECOND_DOT = re.compile(r"(\d*)\\dot\s*\{?(\d)\}?")
_OVERLINED = re.compile("(?:\\d[\u0305\u0304\u0307])+")
_REPEATING_WORD = re.compile(r"\s*\(?(?:repeating|recurring)\)?", re.IGNORECASE)
_EXPONENT = re.compile(r"[eE]([+-]?\d{1,6})(?![\w.]*\d)(?!\w)")
_POWER_OF_TEN = re.compile(
    rf"{_GAP}?(?:\\times|\\cdot|[xX*])\s*10\s*(?:\^|\*\*)\s*(?:\{{\s*([+-]?\d{{1,6}})\s*\}}|\(([+-]?\d{{1,6}})\)"
    rf"|([+-]?\d{{1,6}}))"
)
_TEN_TO = re.compile(r"10\s*(?:\^|\*\*)\s*(?:\{\s*([+-]?\d{1,6})\s*\}|\(([+-]?\d{1,6})\)|([+-]?\d{1,6}))(?![\d.^])")
_FRACTION = re.compile(r"\\frac\s*\{\s*([+-]?)\s*([\d.,]{1,40})\s*\}\s*\{\s*([\d.,]{1,40})\s*\}")
_SLASH = re.compile(rf"{_GAP}?/{_GAP}?(\d{{1,40}}(?:\.\d{{1,40}})?)(?![\d/]|\s*/\s*\d|,\d)")
_MIXED = re.compile(
    rf"(?:{_GAP}{{1,3}}(?:and |& )?|(?=\\frac))"
    rf"(?:(\d{{1,9}}){_GAP}?/{_GAP}?(\d{{1,9}})(?![\d/.])|\\frac\s*\{{\s*(\d{{1,9}})\s*\}}\s*\{{\s*(\d{{1,9}})\s*\}})"
)
_PREFIXED = re.compile(r"0([xXbBoO])([0-9a-fA-F]{1,60})(?!\w)")
_ORDINAL = re.compile(r"(?:st|nd|rd|th)\b")


@dataclass(frozen=True)
class Number:
    """A number and how it was written."""

    value: Fraction
    figures: int = 0
    """Significant figures of a decimal or a power of ten; 0 for what is exact: an integer, a fraction, a word."""
    places: int = 0
    """The power of ten of its last figure, negated: 2 for 3.14, -3 for 5e3."""

    def scaled(self, factor: Fraction | int) -> Number:
        """The number times a factor; figures stay known only where the factor is a power of ten."""
        shift = {10**k: -k for k in (2, 3, 6, 9, 12)} | {Fraction(1, 100): 2}
        if factor in shift:
            return Number(self.value * factor, self.figures, self.places + shift[factor])
        return Number(self.value * factor)


class Match(NamedTuple):
    """A number found at a place, and where it ends."""

    number: Number
    end: int


def equal(a: Number, b: Number) -> bool:
    """Whether two numbers are equal, or one is the other rounded to the six or more figures that it shows."""
    return a.value == b.value or _rounds_to(a, b) or _rounds_to(b, a)


def _rounds_to(exact: Number, shown: Number) -> bool:
    if shown.figures < 6 or shown.places <= 0 or (exact.figures and exact.figures < shown.figures):
        return False
    if exact.value.denominator == 1 and not exact.figures:  # an integer is not a rounded decimal
        return False
    step = Fraction(1, 10**shown.places)
    return abs(exact.value - shown.value) <= step / 2


def is_european(text: str) -> bool:
    """Whether a number is written with a decimal comma or with points between groups, beyond doubt."""
    body = _BODY.search(text)
    return body is not None and (
        body.lastgroup == "european" or (body.lastgroup == "comma" and body.end() == len(text))
    )


def match_number(text: str, at: int = 0, *, european: bool = False) -> Match | None:
    """The unsigned number in figures that begins at a place, as long as it goes; None where none begins there.

    `european`: how "1.234" and "1,234" are read, which are a thousand in one half of the world and one in the other.
    """
    fraction = _FRACTION.match(text, at)
    if fraction is not None:
        return _fraction(fraction)
    prefixed = _PREFIXED.match(text, at)
    if prefixed is not None:
        base = {"x": 16, "b": 2, "o": 8}[prefixed[1].lower()]
        try:
            return Match(Number(Fraction(int(prefixed[2], base))), prefixed.end())
        except ValueError:
            return None
    ten = _TEN_TO.match(text, at)
    if ten is not None:
        power = int(ten[1] or ten[2] or ten[3])
        return None if abs(power) > _LARGEST_EXPONENT else Match(Number(Fraction(10) ** power), ten.end())
    body = _BODY.match(text, at)
    if body is None or body.end() - body.start() > MOST_DIGITS:
        return None
    return _with_suffix(text, body, european)


def _with_suffix(text: str, body: re.Match[str], european: bool) -> Match | None:
    digits, end = _decimal_text(body, european), body.end()
    if (
        body.lastgroup == "spaced"
        and THIN not in body[0]
        and len(body[0].split(" ")[0]) == 3
        and body[0].count(" ") > 2
    ):
        return None  # a row of three-figure numbers
    number = _number(digits)
    repeating = _repeating(text, body, digits)
    if repeating is not None:
        return repeating
    ordinal = _ORDINAL.match(text, end)
    if ordinal is not None and "." not in digits:
        return Match(number, ordinal.end())
    exponent = _EXPONENT.match(text, end)
    power = _POWER_OF_TEN.match(text, end) if exponent is None else None
    if exponent is not None or power is not None:
        size = int(exponent[1]) if exponent is not None else int(power[1] or power[2] or power[3])  # type: ignore[index]
        if abs(size) > _LARGEST_EXPONENT:
            return None
        figures = len(digits.replace(".", "").lstrip("0"))
        places = (len(digits.partition(".")[2])) - size
        return Match(Number(number.value * Fraction(10) ** size, figures, places), (exponent or power).end())  # type: ignore[union-attr]
    if "." not in digits:
        mixed = _MIXED.match(text, end)
        if mixed is not None:
            top, bottom = int(mixed[1] or mixed[3]), int(mixed[2] or mixed[4])
            if bottom and top < bottom:
                return Match(Number(number.value + Fraction(top, bottom)), mixed.end())
            return None  # 4 10/3 is no mixed number and no other one either
    slash = _SLASH.match(text, end)
    if slash is not None:
        bottom_value = Fraction(slash[1])
        return Match(Number(number.value / bottom_value), slash.end()) if bottom_value else None
    return Match(number, end)


def _decimal_text(body: re.Match[str], european: bool) -> str:
    kind, raw = body.lastgroup, body[0]
    if kind == "english":
        alone = raw.count(",") == 1 and "." not in raw
        return raw.replace(",", "." if european and alone else "")
    if kind == "indian":
        return raw.replace(",", "")
    if kind == "european":
        return raw.replace(".", "").replace(",", ".")
    if kind == "marked":
        return re.sub("['_]", "", raw)
    if kind == "spaced":
        return re.sub(_GAP, "", raw).replace(",", ".")
    if kind == "comma":
        return raw.replace(",", ".")
    if european and re.fullmatch(r"\d{1,3}\.\d{3}", raw):
        return raw.replace(".", "")
    return raw.removesuffix(".") if raw.endswith(".") else raw


def _number(digits: str) -> Number:
    whole, point, rest = digits.partition(".")
    value = Fraction(f"{whole or '0'}.{rest or '0'}") if point else Fraction(int(whole))
    if not point:
        return Number(value)
    return Number(value, len((whole + rest).lstrip("0")), len(rest))


def _repeating(text: str, body: re.Match[str], digits: str) -> Match | None:
    """A decimal that repeats: an overline, a dot, brackets, an ellipsis or the word behind it."""
    end = body.end()
    start, fixed = body.start(), digits
    overlined = _OVERLINED.search(text, start, min(len(text), end + 60))
    if overlined is not None and "." in digits and end - 1 <= overlined.start() <= end:
        block = re.sub(r"\D", "", overlined[0])
        fixed = digits[: len(digits) - (end - overlined.start())] if overlined.start() < end else digits
        return Match(_repeated(fixed, block), overlined.end())
    suffix = _REPEATING.match(text, end)
    pointed = "." in body[0] or text[end : end + 1] == "."
    if suffix is not None and suffix["dots"] is None and pointed:
        block = next(g for g in suffix.groups() if g is not None)
        if "." not in fixed:
            fixed += "."
        after = suffix.end()
        if suffix[5] is not None:
            second = _SECOND_DOT.match(text, after)
            if second is not None:
                block, after = block + second[1] + second[2], second.end()
        return Match(_repeated(fixed, block), after)
    if "." not in digits:
        return None
    if suffix is not None and suffix["dots"] is not None:
        period = _period(digits.partition(".")[2])
        return Match(_repeated(digits, period), suffix.end()) if period else None
    word = _REPEATING_WORD.match(text, end)
    if word is not None:
        rest = digits.partition(".")[2]
        return Match(_repeated(digits, _period(rest) or rest), word.end())
    return None


def _repeated(fixed: str, block: str) -> Number:
    whole, _, rest = fixed.partition(".")
    tail = Fraction(int(block), (10 ** len(block) - 1) * 10 ** len(rest))
    return Number(Fraction(f"{whole or '0'}.{rest or '0'}") + tail)


def _period(places: str) -> str | None:
    """The shortest block that fills the end of the places at least twice (three times where it is one figure)."""
    for size in range(1, len(places) // 2 + 1):
        block, times = places[-size:], 3 if size == 1 else 2
        if places.endswith(block * times):
            return block
    return None


def _fraction(match: re.Match[str]) -> Match | None:
    parts = [match_number(match[i]) for i in (2, 3)]
    if any(p is None or p.end != len(match[i]) for p, i in zip(parts, (2, 3), strict=True)):
        return None
    top, bottom = parts
    if top is None or bottom is None or not bottom.number.value:
        return None
    value = top.number.value / bottom.number.value
    return Match(Number(-value if match[1] == "-" else value), match.end())


_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SMALL = {w: i for i, w in enumerate(_UNITS)} | {w: 10 * (i + 2) for i, w in enumerate(_TENS)} | {"fourty": 40}
_LARGE = {
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
}
_PARTS = {
    "half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fourth": 4, "fourths": 4,
    "fifth": 5, "fifths": 5, "sixth": 6, "sixths": 6, "seventh": 7, "sevenths": 7, "eighth": 8, "eighths": 8,
    "ninth": 9, "ninths": 9, "tenth": 10, "tenths": 10, "twelfth": 12, "twelfths": 12, "hundredth": 100,
    "hundredths": 100,
}  # fmt: skip
_WORD = re.compile(r"[ \-]*([A-Za-z]+)")
SCALES = _LARGE | {
    "hundred": 100, "dozen": 12, "dozens": 12, "thousands": 10**3, "millions": 10**6, "mio": 10**6, "mn": 10**6,
    "billions": 10**9, "bn": 10**9, "trillions": 10**12, "tn": 10**12, "lakh": 10**5, "lakhs": 10**5,
    "crore": 10**7, "crores": 10**7,
}  # fmt: skip
"""Words behind a number that multiply it."""


def match_words(text: str, at: int = 0) -> Match | None:
    """The number in English words that begins at a place: "twenty-five", "two and a half", "three quarters"."""
    words: list[tuple[str, int]] = []
    end = at
    while len(words) < 24:
        word = _WORD.match(text, end)
        if word is None or (not words and word.start(1) != at):
            break
        words.append((word[1].lower(), word.end()))
        end = word.end()
    value, used = _words([w for w, _ in words])
    return Match(Number(value), words[used - 1][1]) if value is not None and used else None


def _words(words: list[str]) -> tuple[Fraction | None, int]:
    whole, used = _whole(words)
    if words[:1] == ["half"]:
        if words[1:3] in (["a", "dozen"], ["a", "million"], ["a", "billion"], ["a", "thousand"], ["a", "hundred"]):
            return Fraction(SCALES[words[2]], 2), 3
        return Fraction(1, 2), 1
    if whole is None:
        return None, 0
    rest = words[used:]
    if rest[:1] and rest[0] in _PARTS and (whole != 1 or words[0] in ("one", "a")) and rest[0] != "second":
        return Fraction(whole, _PARTS[rest[0]]), used + 1
    if rest[:1] == ["and"]:
        part, more = _words(rest[1:])
        if part is not None and 0 < part < 1 and len(rest) > 1 and (rest[1] in ("a", "half", "one") or more > 1):
            return whole + part, used + 1 + more
    if words[0] == "a" and used == 1:  # the article, not a number
        return None, 0
    return Fraction(whole), used


def _whole(words: list[str]) -> tuple[int | None, int]:
    """A whole number: groups of up to three figures with thousand, million and so on behind them."""
    total, group, used, started = 0, 0, 0, False
    last = 10**15
    for i, word in enumerate(words):
        if word == "a" and i == 0 and len(words) > 1 and words[1] in (*_LARGE, "hundred", "dozen", *_PARTS):
            group, started = 1, True
        elif word in _SMALL:
            value = _SMALL[word]
            if started and (group % 100 if value >= 10 else (group % 10 or 10 <= group % 100 < 20)):
                break  # a second number
            if started and value == 0:
                break
            group, started = group + value, True
        elif word == "hundred" and started and 0 < group < 100:
            group *= 100
        elif word == "dozen" and started and not total and 0 < group < 100 and used == i:
            return group * 12, i + 1
        elif word in _LARGE and started and group and _LARGE[word] < last:
            total, group, last = total + group * _LARGE[word], 0, _LARGE[word]
        elif word == "and" and started and (total or group >= 100) and group % 100 == 0 and words[i + 1 : i + 2] != []:
            if words[i + 1] not in _SMALL:
                break
            continue
        else:
            break
        used = i + 1
    if words[:1] == ["a"] and used == 1:
        return 1, 1
    return (total + group, used) if started and used else (None, 0)
