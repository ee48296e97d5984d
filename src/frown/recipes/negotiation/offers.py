"""Offers read from what people and models write: "I can't do 30 days, but two weeks would work" is 14 days.

Rules, no model. The last offer of a text is the one that stands (EmoDistill). A range is its middle. Not an offer:
what a clause refuses ("can't", "won't", "impossible"), what it says of the past ("overdue", "ago", "has been"), and a
number of other things ("2 children", "the 2nd floor", "invoice 4711"). How often that is right is measured by
tests/unit/recipes/negotiation/test_offers.py on two sets of sentences, one of which was written after the rules. A
reader of one's own dialogues should be measured on them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from frown.recipes.negotiation.scenarios import Unit

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_WORDS = {word: i for i, word in enumerate(_ONES)} | {
    word: 10 * i
    for i, word in enumerate(("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), start=2)
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000}

_DAY = {r"days?": 1, r"w(?:ee)?ks?": 7, r"fortnights?": 14, r"months?": 30, r"years?": 365, r"h(?:ou)?rs?": 1 / 24}
_MINUTE = {r"min(?:ute)?s?": 1, r"h(?:(?:ou)?rs?)?": 60, r"sec(?:ond)?s?": 1 / 60}
_MONEY = {r"dollars?|usd|bucks|euros?|eur|pounds?": 1, r"k": 1e3, r"m": 1e6}
_UNITS: dict[Unit, dict[str, float]] = {
    "days": _DAY,
    "minutes": _MINUTE,
    "percent": {r"%|percent|per cent|pct": 1},
    "money": _MONEY,
    "number": {},
    "clock": {},
}

_NUMBER = r"\d{1,3}(?:[, ]\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?"
_REFUSED = re.compile(
    r"\b(?:can'?t|cannot|can not|won'?t|no way|not able|unable|never|refuse|impossible|out of the q)\b"
)
_BOUND = re.compile(r"\b(?:not?|never)\s+(?:more|less|later|longer|before|earlier|above|below|under|over)\b")
_PAST = re.compile(
    r"\b(?:overdue|ago|late|have been|has been|was due|were due|lost|slept|worked|delivered|starts?|started"
    r"|last night)\b"
)
_NOT_COUNTED = r"(?:invoice|account|number|no\.|order|case|page|room|i'm|i am|aged|#)\s*$"
_GOES_ON = r"\s*(?:$|[.,;:!?)]|(?:is|then|and|now|or|would|should|at|instead|please|tops|not)\b)"


class _Amount(NamedTuple):
    start: int
    end: int
    value: float


def read_offer(text: str, unit: Unit) -> float | None:
    """The offer that a text ends up making, in `unit`; None where it makes none."""
    plain = re.sub(r"[\u2010-\u2015]", "-", text.lower()).replace("\u2019", "'").replace("\u00a0", " ")
    clauses = re.split(r"(?<=[a-z%);]),|,(?=\s)|[;!?]|\.(?=\s|$)|:(?=\s)|\bbut\b|(?<!\d)-(?=\s)", plain)
    standing = None
    for clause in clauses:
        if _PAST.search(clause) or (_REFUSED.search(clause) and not _BOUND.search(clause)):
            continue
        amounts = list(_times(clause) if unit == "clock" else _amounts(in_digits(clause), unit))
        if amounts:
            standing = amounts[-1].value
    return standing


def in_digits(text: str) -> str:
    """The text with its number words in digits: "forty-five" 45, "two and a half" 2.5, "a couple of" 2."""
    text = re.sub(r"\ba couple of\b", "2", text)
    text = re.sub(r"\ba(?=\s+(?:hundred|thousand|million)\b)", "one", text)
    scales, words = "|".join(_SCALES), "|".join([*_WORDS, *_SCALES])
    text = re.sub(rf"(\d+(?:\.\d+)?) ({scales})\b", lambda m: f"{float(m[1]) * _SCALES[m[2]]:.0f}", text)
    scaled = "|".join(f"(?<={scale})" for scale in _SCALES)
    text = re.sub(rf"\b(?:{words})(?:(?:[ -]|(?:{scaled}) and )(?:{words}))*\b", lambda m: _spelt(m[0]), text)
    text = re.sub(r"(\d+) and a half\b", lambda m: f"{m[1]}.5", text)
    text = re.sub(r"\bhalf an? (?=[a-z])", "0.5 ", text)
    text = re.sub(r"\b3 quarters of an (?=hour)", "0.75 ", text)
    text = re.sub(r"\ban? (?=(?:day|week|wk|fortnight|month|year|hour|minute)\b)", "1 ", text)
    return re.sub(r"(\d+) (hour|week|month|year)s? and a half\b", r"\1.5 \2", text)


def _spelt(words: str) -> str:
    """Words such as "forty-five" to "45". Two numbers in a row stay two: "ten thirty" to "10 30"."""
    out: list[float] = []
    total, part, last = 0, 0, 10**9
    for word in re.split(r"[ -](?:and )?", words):
        if word in _SCALES:
            scale = _SCALES[word]
            if scale == 100:
                part = max(part, 1) * 100
            else:
                total, part = total + max(part, 1) * scale, 0
            last = scale
            continue
        value = _WORDS[word]
        fits = last >= 100 or (20 <= last < 100 and 0 < value < 10)
        if not fits:
            out.append(total + part)
            total = part = 0
        part += value
        last = value
    return " ".join(str(n) for n in [*out, total + part])


def _amounts(clause: str, unit: Unit) -> Iterator[_Amount]:
    """Amounts with this unit, and bare numbers that nothing else is counted with, from left to right."""
    if unit == "percent":
        clause = _fractions(clause)
    scales = _UNITS[unit]
    units = "|".join(scales) or r"(?!)"
    mark = r"(?:[$€£]|\b(?:usd|eur)\b)\s*" if unit == "money" else r"(?!)"

    def amount(x: str) -> str:
        number = rf"(?P<mark{x}>{mark})?(?P<n{x}>(?<![\d.])-?(?:{_NUMBER}))(?!\d|(?:st|nd|rd|th)\b)"
        return number + rf"(?:\s*(?:more\s+)?(?P<u{x}>{units})(?![a-z]))?"

    several = re.compile(rf"{amount('a')}(?:\s*(?P<join>to|or|and|-)\s*{amount('b')})?")
    compound = re.compile(r"\s*(?:and\s+)?(\d+)(?:\s*min(?:ute)?s?)?\b") if unit == "minutes" else None
    at = 0
    while match := several.search(clause, at):
        at = match.end()
        pair = match["nb"] is not None
        between = re.search(r"\bbetween\s*$", clause[: match.start()]) is not None
        if pair and (match["join"] == "and" and not between):
            at, pair = match.end("ua") if match["ua"] else match.end("na"), False
        ends_with_unit = match["ub"] if pair else match["ua"]
        marked = bool(match["marka"])
        before, after = clause[: match.start()], clause[at:]
        if not ends_with_unit and not marked:
            foreign = re.search(rf"{_NOT_COUNTED}|[$€£]\s*$", before) or not re.match(_GOES_ON, after)
            if foreign:
                continue
        scale = _scale(ends_with_unit, scales)
        first = _value(match["na"]) * (_scale(match["ua"], scales) if match["ua"] else scale)
        value = (first + _value(match["nb"]) * scale) / 2 if pair else first
        if compound and not pair and scale == 60 and (more := compound.match(clause, at)):
            value += float(more[1])
            at = more.end()
        yield _Amount(match.start(), at, value)


def _fractions(clause: str) -> str:
    clause = re.sub(r"\b(1|one) third\b", f"{100 / 3} %", clause)
    clause = re.sub(r"\b(2|two) thirds\b", f"{200 / 3} %", clause)
    clause = re.sub(r"\b(3|three) quarters\b", "75 %", clause)
    clause = re.sub(r"\b(?:a|1|one) quarter\b", "25 %", clause)
    return re.sub(r"\bhalf\b", "50 %", clause)


def _scale(word: str | None, scales: dict[str, float]) -> float:
    return next((s for pattern, s in scales.items() if word and re.fullmatch(pattern, word)), 1.0)


def _value(digits: str) -> float:
    return float(re.sub(r"[, ]", "", digits))


_CLOCK = re.compile(
    r"(?P<midnight>\bmidnight\b)"
    r"|\b(?P<part>half|quarter) (?P<side>past|to) (?P<of>\d{1,2})\b(?:\s*(?P<half_part>[ap])\.?m\b)?"
    r"|(?<![\d:])(?P<h>\d{1,2})(?:[: ](?P<m>\d{2}))?(?!\d|[:%]|st\b|nd\b|rd\b|th\b)(?:\s*(?P<part_of_day>[ap])\.?m\b)?"
)


def _times(clause: str) -> Iterator[_Amount]:
    """Times of day, as minutes after 21:00. Without am or pm, 6 to 11 is the evening and 12 to 5 the night."""
    clause = in_digits(clause)
    times = []
    for match in _CLOCK.finditer(clause):
        if match["midnight"]:
            times.append(_Amount(match.start(), match.end(), 180.0))
            continue
        if match["part"]:
            shift = 30 if match["part"] == "half" else 15
            hour = int(match["of"]) * 60 + (shift if match["side"] == "past" else -shift)
            times.append(_Amount(match.start(), match.end(), _after_nine(hour, match["half_part"])))
            continue
        half, minutes = match["part_of_day"], match["m"]
        before, after = clause[: match.start()], clause[match.end() :]
        later = re.match(r"\s*(?:to|and|-)\s*\d{1,2}(?::\d{2})?\s*([ap])\.?m\b", after)
        if not half and later:
            half = later[1]
        alone = re.search(r"(?:^|\b(?:at|by|to|until|till|say))\s*$", before) and re.match(_GOES_ON, after)
        if (half or minutes or alone) and int(match["h"]) < 24 and int(minutes or 0) < 60:
            whole = int(match["h"]) * 60 + int(minutes or 0)
            times.append(_Amount(match.start(), match.end(), _after_nine(whole, half)))
    for i, time in enumerate(times):
        joined = (
            times[i - 1] if i and re.fullmatch(r"\s*(?:to|and|-)\s*", clause[times[i - 1].end : time.start]) else None
        )
        yield time if joined is None else _Amount(joined.start, time.end, (joined.value + time.value) / 2)


def _after_nine(minutes: int, half: str | None) -> float:
    if half is not None:
        minutes = minutes % 720 + (720 if half == "p" else 1440)
    elif minutes < 360:
        minutes += 1440
    elif minutes < 720:
        minutes += 720
    elif minutes < 780:
        minutes += 720  # 12:15 at night
    return float(minutes - 21 * 60)
