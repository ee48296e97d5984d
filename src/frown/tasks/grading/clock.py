"""Times of day, dates, ratios and numbers in other bases: compared as what they are, never as quotients."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

Comparison = Literal["equal", "different", "open"]
"""Open: nobody could tell from what is written."""

_MONTHS = {
    name: i + 1
    for i, names in enumerate(
        ("january jan", "february feb", "march mar", "april apr", "may", "june jun", "july jul", "august aug",
         "september sep sept", "october oct", "november nov", "december dec")
    )
    for name in names.split()
}  # fmt: skip
_MONTH = "(" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\b\.?"
_WEEKDAY = r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day,?\s+)?"
_MERIDIEM = r"(?:\s*([ap])\.?\s?m\b\.?)"
_TIME = re.compile(
    rf"(\d{{1,2}})(?:\s:\s|:)(\d{{2}})(?:(?:\s:\s|:)(\d{{2}}))?(?![\d:]|\s?:\s?\d){_MERIDIEM}?", re.IGNORECASE
)
_HOUR = re.compile(rf"(\d{{1,2}})(?:{_MERIDIEM}|\s*o'clock\b{_MERIDIEM}?)", re.IGNORECASE)
_NAMED_HOUR = re.compile(r"(?:12\s*)?(noon|midnight|midday)\b", re.IGNORECASE)
_ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?![\d-])|(\d{4})/(\d{1,2})/(\d{1,2})(?![\d/])")
_SLASHED = re.compile(r"(\d{1,2})([/.])(\d{1,2})\2(\d{4})(?![\d/])")
_MONTH_DAY = re.compile(
    rf"{_WEEKDAY}{_MONTH}\s+(?:the\s+)?(\d{{1,2}})(?:st|nd|rd|th)?(?![\d.:/])(?:,?\s+(\d{{4}})(?!\d))?", re.IGNORECASE
)
_DAY_MONTH = re.compile(
    rf"{_WEEKDAY}(?:the\s+)?(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}(?:,?\s+(\d{{4}})(?!\d))?", re.IGNORECASE
)
_RATIO = re.compile(r"\d+(?:\.\d+)?(?:(?:\s:\s|:)\d+(?:\.\d+)?)+(?![\d:])")
_BASE = re.compile(r"(?:\(([0-9A-Za-z]+)\)|([0-9A-Za-z]+))\s*_\s*(?:\{\s*\(?(\d{1,2}|[a-z]+)\)?\s*\}|(\d{1,2}))(?!\w)")
_BASE_WORDS = re.compile(r"([0-9A-Za-z]+)\s*(?:\(?\s*(?:in\s+)?base\s+(\d{1,2}|[a-z]+)\)?)", re.IGNORECASE)
_BASE_NAMES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
               "sixteen": 16, "twelve": 12}  # fmt: skip


@dataclass(frozen=True)
class Time:
    """A time of day. `half`: "a" or "p" where it says so."""

    hour: int
    minute: int
    second: int = 0
    half: str | None = None


@dataclass(frozen=True)
class Date:
    """A day of a year, or of any year."""

    month: int
    day: int
    year: int | None = None


@dataclass(frozen=True)
class Ratio:
    """Terms of a ratio, two or more."""

    terms: tuple[Fraction, ...]


@dataclass(frozen=True)
class Based:
    """Digits in a base other than ten, and their value."""

    digits: str
    base: int

    @property
    def value(self) -> int:
        """The number."""
        return int(self.digits, self.base)


Reading = Time | Date | Ratio | Based


class Match(NamedTuple):
    """What stands at a place, and where it ends."""

    reading: Reading
    end: int


def match_clock(text: str, at: int = 0) -> Match | None:
    """The time, date, ratio or number in another base that begins at a place."""
    return _date(text, at) or _time(text, at) or _ratio(text, at) or _based(text, at)


def compare(gold: Reading, answer: Reading) -> Comparison:
    """Whether two readings say the same."""
    if isinstance(gold, Time) and isinstance(answer, Time):
        return _times(gold, answer)
    if isinstance(gold, Date) and isinstance(answer, Date):
        if (gold.month, gold.day) != (answer.month, answer.day):
            return "different"
        if gold.year is not None and answer.year is None:
            return "open"
        return "equal" if gold.year in (None, answer.year) else "different"
    if isinstance(gold, Based) and isinstance(answer, Based):
        return "equal" if gold.value == answer.value else "different"
    gold, answer = _as_ratio(gold), _as_ratio(answer)
    if isinstance(gold, Ratio) and isinstance(answer, Ratio):
        same = len(gold.terms) == len(answer.terms)
        same = same and all(
            a * answer.terms[0] == b * gold.terms[0] for a, b in zip(gold.terms, answer.terms, strict=True)
        )
        return "equal" if same else "different"
    return "different"


def _as_ratio(reading: Reading) -> Reading:
    """As a ratio: "2:30" beside "1:15:20": what looks like a time is a ratio where the other cannot be a time."""
    if isinstance(reading, Time) and reading.half is None and not reading.second:
        return Ratio((Fraction(reading.hour), Fraction(reading.minute)))
    return reading


def _times(gold: Time, answer: Time) -> Comparison:
    if (gold.minute, gold.second) != (answer.minute, answer.second):
        return "different"
    a, b = _hours(gold), _hours(answer)
    if a is not None and b is not None:
        return "equal" if a == b else "different"
    same_face = gold.hour % 12 == answer.hour % 12
    if not same_face:
        return "different"
    if gold.half is None and answer.half is None:
        return "equal" if gold.hour == answer.hour else "open"
    return "open" if gold.half is not None or answer.half == "p" else "equal"


def _hours(time: Time) -> int | None:
    """The hour of 24 where it is certain."""
    if time.half is not None:
        return time.hour % 12 + (12 if time.half == "p" else 0)
    return time.hour if time.hour > 12 or time.hour == 0 else None


def _time(text: str, at: int) -> Match | None:
    match = _TIME.match(text, at)
    if match is not None and int(match[1]) < 25 and int(match[2]) < 60:
        half = match[4].lower() if match[4] else None
        return Match(Time(int(match[1]), int(match[2]), int(match[3] or 0), half), match.end())
    hour = _HOUR.match(text, at)
    if hour is not None and int(hour[1]) < 25:
        half = hour[2] or hour[3]
        return Match(Time(int(hour[1]), 0, 0, half.lower() if half else None), hour.end())
    named = _NAMED_HOUR.match(text, at)
    if named is not None:
        return Match(Time(12, 0, 0, "a" if named[1].lower() == "midnight" else "p"), named.end())
    return None


def _date(text: str, at: int) -> Match | None:
    iso = _ISO.match(text, at)
    if iso is not None:
        year, month, day = (int(iso[i] or iso[i + 3]) for i in (1, 2, 3))
        return _day(month, day, year, iso.end())
    slashed = _SLASHED.match(text, at)
    if slashed is not None:
        a, b, year = int(slashed[1]), int(slashed[3]), int(slashed[4])
        month, day = (b, a) if slashed[2] == "." or a > 12 else (a, b)
        return _day(month, day, year, slashed.end())
    named = _MONTH_DAY.match(text, at)
    if named is not None:
        return _day(_MONTHS[named[1].lower()], int(named[2]), int(named[3]) if named[3] else None, named.end())
    named = _DAY_MONTH.match(text, at)
    if named is not None:
        return _day(_MONTHS[named[2].lower()], int(named[1]), int(named[3]) if named[3] else None, named.end())
    return None


def _day(month: int, day: int, year: int | None, end: int) -> Match | None:
    return Match(Date(month, day, year), end) if 1 <= month <= 12 and 1 <= day <= 31 else None


def _ratio(text: str, at: int) -> Match | None:
    match = _RATIO.match(text, at)
    if match is None or len(match[0]) > 100:
        return None
    terms = tuple(Fraction(t) for t in re.split(r"\s*:\s*", match[0]))
    return Match(Ratio(terms), match.end())


def _based(text: str, at: int) -> Match | None:
    match = _BASE.match(text, at)
    if match is not None:
        digits, base = match[1] or match[2], match[3] or match[4]
    else:
        match = _BASE_WORDS.match(text, at)
        if match is None:
            return None
        digits, base = match[1], match[2].lower()
    size = _BASE_NAMES.get(base, 0) if base.isalpha() else int(base)
    if not 2 <= size <= 36 or len(digits) > 200 or not any(c.isdigit() for c in digits):
        return None
    try:
        int(digits, size)
    except ValueError:
        return None
    return Match(Based(digits.upper().lstrip("0") or "0", size), match.end())
