"""The numbers of a sentence, each with its unit and the arithmetic it comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from frown.tasks.grading import units
from frown.tasks.grading.numerals import Number
from frown.tasks.grading.quantity import (
    BOUND,
    RANGE,
    SEVERAL,
    Quantity,
    chain,
    quantity_at,
    split_at,
    text_of,
    unit_after,
)
from frown.tasks.grading.tokens import FUNCTIONS, Token, Value


@dataclass
class Item:
    """A number in a sentence with the unit behind it: tokens `first` to `last` (exclusive), unit words included."""

    quantity: Quantity | None
    expression: str | None
    refusal: str | None
    first: int
    last: int
    equals: bool = False
    """It is what an equation comes to."""


@dataclass(frozen=True)
class Words:
    """A sentence taken apart. `marked`: it is given as the answer."""

    statement: str
    tokens: list[Token]
    words: list[str]
    """The tokens in small letters."""
    items: list[Item]
    marked: bool


def words_of(statement: str, tokens: list[Token], marked: bool) -> Words:
    """A sentence with its numbers, "times" and "plus" between them read as operators."""
    tokens = word_operators(tokens)
    bare = Words(statement, tokens, [t.text.lower() for t in tokens], [], marked)
    return Words(statement, tokens, bare.words, _items(bare), marked)


def _items(s: Words) -> list[Item]:
    items: list[Item] = []
    at = 0
    while at < len(s.tokens):
        run = _run(s, at)
        if run > at:
            items.append(_of_run(s, at, run))
            at = max(items[-1].last, run)
        elif s.tokens[at].kind == "number":
            quantity, end = quantity_at(s.statement, s.tokens, at)
            if quantity is None:
                end = max(end, at + 1)
                while end < len(s.tokens) and (
                    s.tokens[end].kind == "mathematics" or s.tokens[end].start == s.tokens[end - 1].end
                ):
                    end += 1
                items.append(Item(None, text_of(s.statement, s.tokens[at:end]), None, at, end))
            else:
                items.append(Item(quantity, None, None, at, end))
            at = end
        elif s.tokens[at].kind == "mathematics":
            end = at
            while end < len(s.tokens) and s.tokens[end].kind in ("mathematics", "number", "operator"):
                end += 1
            items.append(Item(None, text_of(s.statement, s.tokens[at:end]), None, at, end))
            at = end
        else:
            at += 1
    return items


def _run(s: Words, at: int) -> int:
    """Where the arithmetic that begins at a token ends; `at` where none begins."""
    tokens, end, depth, operators = s.tokens, at, 0, 0
    start_kind = tokens[at].kind
    opens = tokens[at].text == "(" and at + 1 < len(tokens) and _opens_arithmetic(s, at)
    variable = (
        start_kind == "word"
        and len(tokens[at].text) == 1
        and at + 1 < len(tokens)
        and tokens[at + 1].kind == "operator"
    )
    function = start_kind == "mathematics"
    if start_kind != "number" and not opens and not variable and not function:
        return at
    operand = True
    while end < len(tokens):
        token = tokens[end]
        stuck = end > at and tokens[end - 1].end == token.start and tokens[end - 1].kind in ("number", "mathematics")
        if token.text == "(" and token.kind == "mark" and (operand or stuck or tokens[end - 1].text == ")"):
            depth += 1
            operand = True
        elif token.text == ")" and depth:
            depth -= 1
            operand = False
        elif token.kind == "number" and (operand or tokens[end - 1].kind == "mathematics"):
            operand = False
        elif token.kind == "mathematics":
            operand = False
        elif token.kind == "word" and operand and (len(token.text) == 1 or token.text.lower() in FUNCTIONS):
            operand = False
        elif token.kind == "word" and len(token.text) == 1 and not operand and tokens[end - 1].end == token.start:
            pass
        elif token.kind == "operator" and (not operand or token.text in "+-√") and token.text not in "~":
            if end == at:
                return at
            operators += 1
            operand = True
        elif token.kind == "word" and not operand and tokens[end - 1].kind == "number":
            unit = unit_after(tokens, end)
            if unit == end or unit >= len(tokens) or tokens[unit].kind != "operator" or tokens[unit].text == "–":
                break
            end = unit
            continue
        else:
            break
        end += 1
    while end > at and tokens[end - 1].kind == "operator":
        if tokens[end - 1].text in "<>≤≥±–":
            break
        end -= 1
        operators -= 1
    return end if operators > 0 and depth == 0 else at


def _opens_arithmetic(s: Words, at: int) -> bool:
    tokens = s.tokens
    depth = 0
    for i in range(at, min(len(tokens), at + 40)):
        depth += (tokens[i].text == "(") - (tokens[i].text == ")")
        if depth == 0:
            return i + 1 < len(tokens) and tokens[i + 1].kind == "operator" and tokens[i + 1].text != "–"
        if tokens[i].kind == "word" and len(tokens[i].text) > 1:
            return False
    return False


def _of_run(s: Words, first: int, last: int) -> Item:
    run = s.tokens[first:last]
    texts = [t.text for t in run if t.kind == "operator"]
    equals = any(t in "=≈→⇒" for t in texts)
    unit_end = unit_after(s.tokens, last) if run[-1].kind == "number" else last
    if set(texts) & set("<>≤≥≠"):
        return Item(None, None, BOUND, first, unit_end)
    if "±" in texts:
        return Item(None, None, SEVERAL, first, unit_end)
    if texts == ["–"] or (
        texts == ["-"] and len(run) == 3 and run[0].end == run[1].start and run[2].start == run[1].end
    ):
        return Item(None, None, RANGE, first, unit_end)
    if texts == ["/"] and len(run) > 3 and run[0].kind == run[2].kind == "number":
        pass
    pieces = [p for p in split_at(run, "=≈→⇒") if p]
    if pieces:
        pieces[-1] = pieces[-1] + s.tokens[last:unit_end]
    result = chain(s.statement, pieces) if pieces else None
    if result is not None:
        if result.unit == units.NONE and unit_end > last:
            unit = units.parse_unit(text_of(s.statement, s.tokens[last:unit_end]))
            result = Quantity(result.number, unit, result.percent, result.also, result.text)
        return Item(result, None, None, first, unit_end, equals)
    text = text_of(s.statement, pieces[-1] if pieces else run)
    return Item(None, text, None, first, max(unit_end, last), equals)


_OPERATOR_WORDS = {"times": "*", "plus": "+", "minus": "-", "equals": "=", "over": "/"}


def _ways(n: Token, k: Token) -> int | None:
    """How many ways there are to choose k of n; None where that is no sensible question."""
    if n.value is None or k.value is None:
        return None
    a, b = n.value.number.value, k.value.number.value
    sensible = a.denominator == b.denominator == 1 and 0 <= b <= a <= 200
    return math.comb(int(a), int(b)) if sensible else None


def word_operators(tokens: list[Token]) -> list[Token]:
    """The tokens with "times", "plus", "divided by", "squared" between numbers as operators."""
    out: list[Token] = []
    i = 0
    while i < len(tokens):
        token = tokens[i]
        word = token.text.lower()
        after_number = bool(out) and (out[-1].kind == "number" or out[-1].text == ")")
        follows = tokens[i + 1] if i + 1 < len(tokens) else None
        if token.kind == "word" and after_number and follows is not None:
            numeric = follows.kind == "number"
            if word in _OPERATOR_WORDS and numeric:
                out.append(token._replace(kind="operator", text=_OPERATOR_WORDS[word]))
                i += 1
                continue
            if (
                word in ("divided", "multiplied")
                and follows.text.lower() == "by"
                and i + 2 < len(tokens)
                and tokens[i + 2].kind == "number"
            ):
                out.append(Token("operator", "/" if word == "divided" else "*", token.start, follows.end))
                i += 2
                continue
        if word == "choose" and after_number and follows is not None and follows.kind == "number":
            ways = _ways(out[-1], follows)
            if ways is not None:
                out[-1] = Token("number", "", out[-1].start, follows.end, Value(Number(Fraction(ways))))
                i += 2
                continue
        if token.kind == "word" and after_number and word in ("squared", "cubed", "factorial"):
            if word == "factorial":
                out.append(Token("mathematics", "!", token.start, token.end))
            else:
                two = Number(Fraction(2 if word == "squared" else 3))
                out.append(Token("operator", "^", token.start, token.start))
                out.append(Token("number", token.text, token.start, token.end, Value(two)))
            i += 1
            continue
        out.append(token)
        i += 1
    return out
