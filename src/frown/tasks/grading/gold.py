"""What a reference answer is: a number, a list of numbers, a time, an option letter, words, or other mathematics."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Literal

from frown.tasks.grading import clock, words
from frown.tasks.grading.characters import plain_figures
from frown.tasks.grading.layout import bare, without_layout
from frown.tasks.grading.marks import boxes
from frown.tasks.grading.numerals import is_european
from frown.tasks.grading.quantity import Quantity
from frown.tasks.grading.reading import read_quantity

Kind = Literal["number", "list", "clock", "option", "words", "expression", "none"]

_CALCULATOR = re.compile(r"<<[^<>\n]*>>")
_NAME = re.compile(r"([A-Za-z](?:_\{?\w\}?)?)\s*=(?!=)")
_OPTION = re.compile(r"\(([A-Z])\)|([A-Z])\)?")
_LISTED = re.compile(r"(?!-?\d{1,3},\d{3}$)-?\d+,-?\d+")
_CENTS = re.compile(r",\d\d$")
_FUNCTION = re.compile(r"\s*[A-Za-z]\([^()]*\)\s*")
_SEPARATOR = re.compile(r"\s*(?:,(?!\d)|[;]|\b(?:and|or|und|oder|et|ou)\b|&|\\(?:land|lor|wedge|vee)\b|\n)\s*")


@dataclass(frozen=True)
class Gold:
    """A reference answer, read once."""

    text: str
    """Layout taken off; for mathematics still LaTeX."""
    kind: Kind
    quantity: Quantity | None = None
    parts: tuple[Quantity, ...] = ()
    """The numbers of a list."""
    reading: clock.Reading | None = None
    letter: str | None = None
    name: str | None = None
    """The variable it is the value of, where it says so."""
    european: bool = False


def without_calculator(text: str) -> str:
    """The text without GSM8K's calculator annotations `<<48/2=24>>`."""
    return _CALCULATOR.sub("", text)


def gold_text(raw: str) -> str:
    """The reference answer in an answer column: behind the last `####`, without annotations."""
    return without_calculator(raw).rpartition("####")[2].strip()


@functools.lru_cache(maxsize=8192)
def read_gold(raw: str) -> Gold:
    """The reference in an answer column, worked solutions included. Its kind is "none" where it says nothing."""
    own = gold_text(raw)
    boxed = boxes(own) if "box" in own else []
    if boxed and boxed[-1].text:
        own = boxed[-1].text
    text = clean(own)
    if not any(c.isalnum() for c in text) and not re.search(r"[∞∅]|\\\{|\\[A-Za-z]", text):
        return Gold(text, "none")
    european = is_european(text)
    matched = clock.match_clock(text)
    if matched is not None and matched.end == len(text):
        return Gold(text, "clock", reading=matched.reading)
    option = _OPTION.fullmatch(text)
    if option is not None and (option[1] or re.search(r"\\text|\\mathrm|\(", own)):
        return Gold(text, "option", letter=option[1] or option[2])
    name = _NAME.match(text)
    read = read_quantity(text, european=european, prose=False)
    if isinstance(read, Quantity) and _LISTED.fullmatch(text):  # two numbers, or one with a decimal comma
        parts = list_parts(text)
        return Gold(text, "list", quantity=read if _CENTS.search(text) else None, parts=parts, european=european)
    left = text.partition("=")[0] if "=" in text else ""
    equation = re.search(r"[A-Za-z]", left) is not None and (name is None or name.end() != len(left) + 1)
    if isinstance(read, Quantity) and not (equation and _FUNCTION.fullmatch(left) is None):
        return Gold(text, "number", quantity=read, name=name[1] if name else None, european=european)
    if words.is_words(text, own):
        parts = list_parts(text, european)
        if parts:
            return Gold(text, "list", parts=parts, european=european)
        return Gold(text, "words" if len(text.split()) <= words.LONGEST else "none")
    parts = list_parts(text, european)
    if parts:
        return Gold(text, "list", parts=parts, name=name[1] if name else None, european=european)
    return Gold(text, "expression", name=name[1] if name else None)


def clean(text: str) -> str:
    """A statement in plain characters without layout and enclosing signs."""
    return bare(without_layout(plain_figures(text)))


def list_parts(text: str, european: bool = False) -> tuple[Quantity, ...]:
    """The numbers of a list of two or more ("2, 3", "2 or 3", "x = 2, x = 3", "±3"); empty where it is no such list."""
    text = text.strip()
    if text.startswith("\\{") and text.endswith("\\}"):
        text = text[2:-2]
    names = set(_NAME.findall(text))
    if (
        len(names) > 1
        or len(text) > 2000
        or re.search(r"[(\[\]){}](?!\d*\})|[<>≤≥]|\\[lg]e", re.sub(r"\\frac\{[^{}]*\}\{[^{}]*\}", "1", text))
    ):
        return ()
    if names:
        text = _NAME.sub("", text)
    spaced = re.search(r",\s", text) is not None  # then a comma without a space groups digits
    pieces = [p for p in (_SEPARATOR.split(text) if spaced else re.split(rf"(?:{_SEPARATOR.pattern}|,)", text)) if p]
    parts: list[Quantity] = []
    for piece in pieces:
        both = re.match(r"(?:\\pm|±|\+/-)\s*(.+)", piece)
        apart = re.match(r"(.+?)\s*(?:\\pm|±|\+/-)\s*(.+)", piece)
        if both is not None:
            signed = [both[1], "-" + both[1]]
        elif apart is not None:
            signed = [f"{apart[1]}+{apart[2]}", f"{apart[1]}-{apart[2]}"]
        else:
            signed = [piece]
        for part in signed:
            read = read_quantity(part, european=european, prose=False)
            if not isinstance(read, Quantity):
                return ()
            parts.append(read)
    return tuple(parts) if len(parts) > 1 else ()
