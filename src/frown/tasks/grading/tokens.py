"""A statement as tokens: numbers with what belongs to them, times and dates, words, operators, other mathematics."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

from frown.tasks.grading import clock
from frown.tasks.grading.characters import THIN
from frown.tasks.grading.numerals import SCALES, Number, match_number, match_words
from frown.tasks.grading.units import STUCK

Kind = Literal["number", "clock", "word", "operator", "mark", "mathematics"]

FUNCTIONS = frozenset(
    "sqrt sin cos tan cot sec csc sinh cosh tanh arcsin arccos arctan asin acos atan log ln exp max min gcd lcm "
    "mod inf "
    "infty cbrt abs det lim sup floor ceil pi theta".split()
)
"""Words that are mathematics."""

_CURRENCY = re.compile(
    r"(?:(?:US|AU|CA|NZ|HK|SG|A|C|R)?\$|[€£¥₹₩₽₿])\s?|(?:USD|EUR|GBP|INR|JPY|CNY|CHF|Rs\.?|RM)[ ]?(?=[\d.-])"
)
_SIGN = re.compile(r"[+-]\s?(?=[\d.$€£¥₹\\(U])|(?:minus|negative)\s+", re.IGNORECASE)
_SCALE = re.compile(r"[ \-]?(" + "|".join(sorted(SCALES, key=len, reverse=True)) + r")\b(?!\s+of\b)", re.IGNORECASE)
_STUCK_SCALE = re.compile(r"(k|K|M|MM|B|bn|mn|m|T)\b(?![\w^/])")
_STUCK_SIZES = {"k": 3, "K": 3, "M": 6, "MM": 6, "m": 6, "mn": 6, "B": 9, "bn": 9, "T": 12}
_PERCENT = re.compile(rf"[ {THIN}]?%|[ {THIN}]*(?:percent|per\s?cent|pct|percentage)\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+(?:['\-][^\W\d_]+)*(?:\.(?:[^\W\d_]\.)+)?")
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_COMMANDS = {
    "times": "*", "cdot": "*", "ast": "*", "div": "/", "le": "≤", "leq": "≤", "leqslant": "≤", "ge": "≥", "geq": "≥",
    "geqslant": "≥", "lt": "<", "gt": ">", "approx": "≈", "simeq": "≈", "sim": "≈", "doteq": "≈", "pm": "±", "mp": "±",
    "ne": "≠", "neq": "≠", "to": "→", "rightarrow": "→", "Rightarrow": "→", "implies": "→", "Longrightarrow": "→",
    "therefore": "→", "equiv": "=",
}  # fmt: skip
_UNIT_COMMANDS = {"Omega": "Ω", "ohm": "Ω", "mu": "µ", "euro": "€", "pounds": "£", "celsius": "°C", "percent": "%"}
_ARROW = re.compile(r"[-=]+>|<=>|<=|>=|!=|==|\+/-|\+-|±|∓")
_ARROWS = {"<=": "≤", ">=": "≥", "!=": "≠", "==": "=", "+/-": "±", "+-": "±", "±": "±", "∓": "±"}
_OPERATORS = frozenset("+-*/^=≈<>≤≥≠→–⇒∴~")
_PRONOUN_BEFORE = frozenset("the this that each every no any another which other right wrong correct some".split())
_PRONOUN_AFTER = re.compile(
    r"\s+(?:who|that|which|another|should|can|could|must|might|needs|has|is|of (?:the|them|these|those|us))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Value:
    """A number as it stands in a sentence."""

    number: Number
    percent: bool = False
    currency: str = ""
    """The sign or code in front of it."""
    words: bool = False
    """Written in words."""
    doubtful: tuple[Number, ...] = ()
    """Other numbers it can be read as: 300K is a temperature or a sum."""


class Token(NamedTuple):
    """A piece of a statement; `value` of a number, `reading` of a time or date."""

    kind: Kind
    text: str
    start: int
    end: int
    value: Value | None = None
    reading: clock.Reading | None = None


def tokens_of(text: str, *, european: bool = False) -> list[Token]:
    """The tokens of a statement, in order. Linear time for statements of ordinary make."""
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        counted = len(tokens) > 1 and tokens[-1].kind == "word" and tokens[-2].kind == "number"
        token = _token(text, at, tokens[-1] if tokens else None, european, counted)
        if token.text:
            tokens.append(token)
        at = token.end
    for i in range(1, len(tokens) - 1):  # "3 x 5"
        if tokens[i].text in ("x", "X") and tokens[i - 1].kind == tokens[i + 1].kind == "number":
            tokens[i] = tokens[i]._replace(kind="operator", text="*")
    return tokens


def _token(text: str, at: int, before: Token | None, european: bool, counted: bool) -> Token:
    """The token at a place. `counted`: the one before is a word right behind a number: a sign here is an operator."""
    char = text[at]
    fresh = at == 0 or not (text[at - 1].isalnum() or text[at - 1] in "_.")
    if fresh and (char.isalnum() or char == "("):
        matched = clock.match_clock(text, at)
        if matched is not None:
            return Token("clock", text[at : matched.end], at, matched.end, None, matched.reading)
    number = _value(text, at, before, european, fresh, counted)
    if number is not None:
        value, end = number
        return Token("number", text[at:end], at, end, value)
    word = _WORD.match(text, at)
    if word is not None:
        return Token("word", word[0], at, word.end())
    if char == "\\":
        return _command(text, at)
    arrow = _ARROW.match(text, at)
    if arrow is not None:
        return Token("operator", _ARROWS.get(arrow[0], "→"), at, arrow.end())
    if char == "*" and text[at : at + 2] == "**":
        return Token("operator", "^", at, at + 2)
    if char in _OPERATORS:
        return Token("operator", {"⇒": "→", "∴": "→"}.get(char, char), at, at + 1)
    if char == "$":
        return Token("mark", "", at, at + 1)
    kind: Kind = "mathematics" if char in "{}_∞√∫∑∏πθ∅∪∩∈" else "mark"
    return Token(kind, char, at, at + 1)


def _command(text: str, at: int) -> Token:
    command = _COMMAND.match(text, at)
    if command is None:
        if text[at : at + 2] in ("\\(", "\\)", "\\[", "\\]", "\\\\"):
            kind: Kind = "mathematics" if text[at + 1] == "\\" else "mark"
            return Token(kind, "" if kind == "mark" else "\\\\", at, at + 2)
        return Token("mathematics", text[at : at + 2], at, min(at + 2, len(text)))
    name = command[1]
    if name in _COMMANDS:
        return Token("operator", _COMMANDS[name], at, command.end())
    if name in _UNIT_COMMANDS:
        return Token("word", _UNIT_COMMANDS[name], at, command.end())
    if name in ("ldots", "dots", "cdots"):
        return Token("mark", "...", at, command.end())
    return Token("mathematics", command[0], at, command.end())


def _value(
    text: str, at: int, before: Token | None, european: bool, fresh: bool, counted: bool
) -> tuple[Value, int] | None:
    """A number at a place with its sign, currency, scale and percent sign."""
    after_value = before is not None and (before.kind in ("number", "clock") or before.text in (")", "}", "]"))
    after_value = after_value or (counted and text[at] in "+-")
    start, negative = at, False
    sign = _SIGN.match(text, start)
    if sign is not None and not after_value and (fresh or not sign[0][0].isalpha()):
        negative, start = sign[0][0] in "-mMnN", sign.end()
    currency = _CURRENCY.match(text, start) if fresh or start > at or text[at] in "$€£¥₹₩₽₿" else None
    if currency is not None:
        start = currency.end()
        sign = _SIGN.match(text, start)
        if sign is not None and sign[0][0] in "+-":
            negative, start = negative != (sign[0][0] == "-"), sign.end()
    words = False
    if start < len(text) and (text[start].isdigit() or text[start] == "." or text.startswith("\\frac", start)):
        if start == at and text[start].isdigit() and at and text[at - 1].isalpha():
            return None  # the 2 of H2O
        matched = match_number(text, start, european=european)
    elif start < len(text) and text[start].isalpha() and (fresh or start > at):
        matched = match_words(text, start)
        words = True
        if matched is not None and _is_pronoun(text, start, matched.end, before):
            return None
    else:
        return None
    if matched is None:
        return None
    number, end = matched
    doubtful: tuple[Number, ...] = ()
    scale = _SCALE.match(text, end)
    stuck = _STUCK_SCALE.match(text, end) if not words else None
    if scale is not None and not words:
        number, end = number.scaled(SCALES[scale[1].lower()]), scale.end()
    elif stuck is not None and (currency is not None or stuck[1] not in ("m", "T", "MM")):
        plain = number
        number, end = number.scaled(10 ** _STUCK_SIZES[stuck[1]]), stuck.end()
        doubtful = (plain,) if stuck[1] == "K" and currency is None and plain.value >= 100 else ()
    percent = _PERCENT.match(text, end)
    if percent is not None:
        end = percent.end()
    if negative:
        number = Number(-number.value, number.figures, number.places)
    code = currency[0].strip() if currency is not None else ""
    return Value(number, percent is not None, code, words, doubtful), end


def _is_pronoun(text: str, start: int, end: int, before: Token | None) -> bool:
    if text[start:end].lower() != "one":
        return False
    if before is not None and before.kind == "word" and before.text.lower() in _PRONOUN_BEFORE:
        return True
    return _PRONOUN_AFTER.match(text, end) is not None


def is_unit_here(word: str, after: Token, at: int) -> bool:
    """Whether a word that follows a number counts or measures; letters that stand against it or alone are variables."""
    if after.end == at:  # nothing between
        return (
            word in STUCK
            or not word.isascii()
            or (len(word) >= 3 and word.lower() not in FUNCTIONS and after.value is not None)
        )
    return len(word) > 1 or word not in "xyznkpquvbceijfor"


def evaluate(tokens: list[Token]) -> Fraction | None:
    """The value of figures with + - * / ^ and brackets, exactly; None for anything else, and for what is too large."""
    output: list[Fraction] = []
    pending: list[str] = []
    rank = {"+": 1, "-": 1, "*": 2, "/": 2, "^": 3}
    operand = True
    for token in tokens:
        if token.kind == "number" and token.value is not None and operand:
            number = token.value.number.value
            output.append(number / 100 if token.value.percent else number)
            operand = False
        elif token.text == "(" and operand:
            pending.append("(")
        elif token.text == ")" and not operand and "(" in pending:
            while pending[-1] != "(":
                if not _apply(output, pending.pop()):
                    return None
            pending.pop()
        elif token.kind == "operator" and token.text in rank and not operand:
            while pending and pending[-1] != "(" and rank[pending[-1]] >= rank[token.text] and token.text != "^":
                if not _apply(output, pending.pop()):
                    return None
            pending.append(token.text)
            operand = True
        else:
            return None
    while pending:
        if not _apply(output, pending.pop()):
            return None
    return output[0] if len(output) == 1 and not operand else None


def _apply(output: list[Fraction], operator: str) -> bool:
    if len(output) < 2 or operator == "(":
        return False
    b, a = output.pop(), output.pop()
    if operator == "+":
        output.append(a + b)
    elif operator == "-":
        output.append(a - b)
    elif operator == "*":
        output.append(a * b)
    elif operator == "/" and b:
        output.append(a / b)
    elif operator == "^" and b.denominator == 1 and abs(b) <= 64 and (a or b > 0) and _size(a) * abs(b) < 2000:
        output.append(a ** int(b))
    else:
        return False
    return _size(output[-1]) < 8000


def _size(value: Fraction) -> int:
    return value.numerator.bit_length() + value.denominator.bit_length()
