"""What a statement states: a quantity, an expression, or nothing that could be an answer.

A statement that denies, bounds, doubts or asks, and one that gives several different quantities, gives none.
"""

from __future__ import annotations

from frown.tasks.grading.items import words_of
from frown.tasks.grading.quantity import (
    ASKED,
    BOUND,
    RANGE,
    SEVERAL,
    Expression,
    Quantity,
    Reading,
    Refusal,
    chain,
    same_quantity,
    single,
    split_at,
    text_of,
    unit_end,
)
from frown.tasks.grading.sentence import answer
from frown.tasks.grading.tokens import FUNCTIONS, Token, tokens_of


def read_quantity(statement: str, *, european: bool = False, prose: bool = True, marked: bool = True) -> Reading | None:
    """What a statement states, layout already taken off; None where there is no mathematics in it.

    `prose`: whether words may stand around it; else a statement with words is no quantity. `marked`: the statement is
    given as the answer, so that its head is; in any other sentence a conclusion comes before the head.
    """
    tokens = tokens_of(statement, european=european)
    if not tokens:
        return None
    if tokens[-1].text == "?" or tokens[0].text == "?":
        return Refusal(ASKED) if any(t.kind == "number" for t in tokens) else None
    while tokens and tokens[-1].text in (".", "!", ",", ";", ":", "'", '"', "`") and tokens[-1].kind == "mark":
        if tokens[-1].text == "!" and len(tokens) > 1 and tokens[-2].end == tokens[-1].start and not has_prose(tokens):
            break  # a factorial
        tokens.pop()
    if not tokens:
        return None
    if not has_prose(tokens):
        return mathematics(statement, tokens)
    return answer(words_of(statement, tokens, marked)) if prose else None


def has_prose(tokens: list[Token]) -> bool:
    """Whether there is a word that is no unit, no variable and no function."""
    for i, token in enumerate(tokens):
        if token.kind == "mark" and token.text == "(" and i and tokens[i - 1].kind in ("number", "word"):
            if tokens[i - 1].end < token.start and tokens[i + 1 : i + 2] and tokens[i + 1].text.lower() != "mod":
                return True  # "5 (6)" is no product
        if token.kind != "word":
            continue
        word = token.text.lower()
        if word in FUNCTIONS or len(word) == 1:
            continue
        if (
            i
            and tokens[i - 1].kind == "number"
            and tokens[i - 1].end == token.start
            and len(word) < 4
            and word.isascii()
        ):
            continue  # a unit, or variables
        if unit_end(tokens, i) > i:
            continue
        return True
    return False


def mathematics(statement: str, tokens: list[Token]) -> Reading | None:
    """A statement without words: a number, an equation that comes to one, or an expression."""
    if all(t.kind in ("word", "mark") for t in tokens):
        return Expression(statement) if any(t.kind == "word" for t in tokens) else None
    texts = {t.text for t in tokens if t.kind == "operator"}
    if texts & {"<", ">", "≤", "≥", "≠"}:
        return Refusal(BOUND)
    if "±" in texts:
        return Refusal(SEVERAL)
    if tokens[-1].text == "+":
        return Refusal(BOUND)
    if "–" in texts or _is_range(tokens):
        return Refusal(RANGE)
    listed = [p for p in split_at(tokens, ",;") if p]
    if len(listed) > 1:
        whole = single(statement, tokens)
        return whole if whole is not None else _several(statement, listed)
    tokens = listed[0] if listed else tokens
    pieces = [p for p in split_at(tokens, "=≈→⇒") if p]
    if not pieces:
        return None
    result = chain(statement, pieces)
    if result is not None:
        return result
    if any(t.kind == "clock" for t in tokens):
        return Expression(statement)
    return Expression(text_of(statement, pieces[-1]) if len(pieces) > 1 else text_of(statement, tokens))


def _is_range(tokens: list[Token]) -> bool:
    """Whether it is a range, as in "5-6 hours": two rising numbers against one dash, with a unit behind."""
    if len(tokens) < 4 or tokens[1].text != "-" or tokens[3].kind != "word" or tokens[3].text.lower() in FUNCTIONS:
        return False
    a, b = tokens[0].value, tokens[2].value
    tight = tokens[0].end == tokens[1].start and tokens[1].end == tokens[2].start
    return tight and a is not None and b is not None and a.number.value < b.number.value and len(tokens[3].text) > 1


def _several(statement: str, listed: list[list[Token]]) -> Reading:
    """A list: one answer only where all that is in it is the same."""
    parts = [chain(statement, [p for p in split_at(piece, "=≈→⇒") if p] or [piece]) for piece in listed]
    first = parts[0]
    if isinstance(first, Quantity) and all(isinstance(p, Quantity) and same_quantity(first, p) for p in parts):
        return first
    return Refusal(SEVERAL)
