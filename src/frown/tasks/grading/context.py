"""What stands around a number in a sentence: it may deny it, bound it, doubt it or add another one."""

from __future__ import annotations

import re
from fractions import Fraction

from frown.tasks.grading import units
from frown.tasks.grading.items import Item, Words
from frown.tasks.grading.numerals import Number
from frown.tasks.grading.phrasing import BOUND_LEFT, BOUND_RIGHT, DENIED_LEFT, DENIED_RIGHT, HEDGED_RIGHT, WORDS
from frown.tasks.grading.quantity import (
    BOUND,
    HEDGED,
    NEGATED,
    RANGE,
    SEVERAL,
    Expression,
    Quantity,
    Reading,
    Refusal,
    compound,
    same_quantity,
)


def _left_words(s: Words, item: Item) -> str:
    at = item.first
    words: list[str] = []
    while at > 0 and len(words) < 8:
        at -= 1
        if s.tokens[at].kind == "mark" and s.tokens[at].text in ",;.:()":
            if s.tokens[at].text == "(":
                continue
            break
        if s.tokens[at].kind == "number":
            break
        words.append(s.words[at])
    return " ".join(reversed(words))


def refused_left(s: Words, item: Item) -> str | None:
    """Why what stands before a number makes it no answer; None where it does not."""
    left = _left_words(s, item)
    near = item.first and s.tokens[item.first - 1].text
    if near in ("<", ">", "≤", "≥", "≠"):
        return BOUND
    if near == "±":
        return SEVERAL
    padded = set(left.split())
    if (
        re.search(
            r"\b(?:may|could|might|can) (?:be|have|get|equal)(?: (?:about|exactly|around|the|a|an|as"
            r"|only))*$\b",
            left,
        )
        or padded & WORDS["hedge"]
    ):
        return HEDGED
    if DENIED_LEFT.search(left):
        return NEGATED
    if BOUND_LEFT.search(left):
        return BOUND
    if padded & {"whether", "wonder", "unless"}:
        return HEDGED
    return None


def with_right_side(s: Words, item: Item) -> Reading:
    """The quantity of a number, unless what stands behind it takes it back or adds another one."""
    right = _right_text(s, item)
    later = [i for i in s.items if i.first >= item.last]
    if BOUND_RIGHT.search(right):
        return Refusal(BOUND)
    if s.tokens[item.last].text in ("<", ">", "≤", "≥", "≠") if item.last < len(s.tokens) else False:
        return Refusal(BOUND)
    if item.last < len(s.tokens) and s.tokens[item.last].text == "±":
        return Refusal(SEVERAL)
    if HEDGED_RIGHT.search(right):
        return Refusal(HEDGED)
    if DENIED_RIGHT.search(right):
        return Refusal(NEGATED)
    following = next((i for i in later if not contrasted(s, i)), None)
    if following is not None:
        both = joined(s, item, following)
        if isinstance(both, Refusal | Quantity):
            return both
    if item.quantity is None:
        return Expression(item.expression or "")
    return item.quantity


def _right_text(s: Words, item: Item) -> str:
    """What follows up to the next number, in small letters."""
    at = item.last
    end = at
    while end < len(s.tokens) and s.tokens[end].kind != "number" and s.tokens[end].text not in (";", "?"):
        end += 1
    if at >= len(s.tokens):
        return ""
    return s.statement[s.tokens[at].start : s.tokens[end - 1].end].lower() if end > at else ""


def joined(s: Words, item: Item, following: Item) -> Reading | None:
    """What another quantity in the sentence does to this one: None where it only explains."""
    between = s.words[item.last : following.first]
    marks = set(between)
    plain = [w for w in between if w.isalpha()]
    hedges = WORDS["hedge"] & marks
    allowed = (
        WORDS["alternative"]
        | WORDS["filler"]
        | WORDS["hedge"]
        | WORDS["approximate"]
        | {"might", "may", "could", "be", "it", "but"}
    )
    joining = bool(marks & (WORDS["alternative"] | {",", "/", ";", "–", "—", "-", "(", "&"}))
    joining = joining or (not between and item.last - item.first == 1)
    if item.quantity is not None and following.quantity is not None:
        same = same_quantity(
            item.quantity, following.quantity, Fraction(2, 100) if marks & WORDS["approximate"] else Fraction(0)
        )
        if same and between and "of" not in marks and not marks & {"than"}:
            return None
    if following.last < len(s.tokens) and s.words[following.last] == "times":
        return None  # "21, 3 times the 7 we began with"
    if "than" in marks and marks & WORDS["comparison"] and len(plain) <= 4 and not marks & {",", "(", ";"}:
        return Refusal("the statement compares")
    if plain == ["of"] or plain == ["of", "the"] or plain == ["of", "a"]:
        return _part_of(s, item, following)
    if plain == ["out", "of"] or plain == ["out", "of", "the"] or plain == ["in", "every"]:
        return _out_of(s, item, following)
    if joining and all(w in allowed for w in plain) and not _explains_in_brackets(s, item, following):
        whole = (
            compound(s.statement, s.tokens[item.first : following.last], item.quantity, item.last - item.first)
            if item.quantity is not None
            else None
        )
        if whole is not None:
            return whole
        if marks & {"to", "through", "till", "until", "–", "-", "bis"} and not marks & {","}:
            return Refusal(RANGE)
        return Refusal(HEDGED if hedges else SEVERAL)
    if hedges and len(plain) <= 6:
        return Refusal(HEDGED)
    if (marks & {"or", "oder", "ou"}) and len(plain) <= 3 and "because" not in marks:
        return Refusal(SEVERAL)
    if plain[:1] == ["and"] and len(plain) <= 2 and not between[:1] == [","]:
        return Refusal(SEVERAL)
    return None


def _explains_in_brackets(s: Words, item: Item, following: Item) -> bool:
    """Whether it is a breakdown: "5 (3 red and 2 blue)": what is in brackets with words of its own is a breakdown."""
    between = s.words[item.last : following.first]
    if between != ["("]:
        return False
    if following.quantity is None or not following.quantity.unit.nouns:
        return False
    return following.last < len(s.tokens) and s.tokens[following.last].text != ")"


def _part_of(s: Words, item: Item, following: Item) -> Reading | None:
    """A share: "half of 10" and "20% of 50" state another number than they begin with; "3 of 4" does not."""
    if item.quantity is None or following.quantity is None:
        return None
    a, b = item.quantity, following.quantity
    if a.percent or a.number.value.denominator != 1:
        share = a.number.value / 100 if a.percent else a.number.value
        return Quantity(Number(share * b.number.value), b.unit, text=f"{a.text} of {b.text}")
    return _out_of(s, item, following)


def _out_of(s: Words, item: Item, following: Item) -> Reading | None:
    if item.quantity is None or following.quantity is None or not following.quantity.number.value:
        return None
    a, b = item.quantity, following.quantity
    share = Number(a.number.value / b.number.value)
    return Quantity(
        a.number, a.unit if a.unit != units.NONE else b.unit, a.percent, (*a.also, (share, units.NONE)), a.text
    )


def contrasted(s: Words, item: Item) -> bool:
    """Whether the sentence says that it is not this one: "not 5", "rather than 5", "isn't 5"."""
    at, steps = item.first - 1, 0
    while at >= 0 and steps < 7:
        word, token = s.words[at], s.tokens[at]
        if token.kind in ("number", "clock") or (word in ("but", "only", "just") and steps <= 2):
            return False
        if word in ("is", "are", "was", "were", "ist", "est", "es", "=") and not _is_denied(s, at):
            return False  # "the number without a spot is 5"
        if token.kind == "mark" and token.text not in ("(", "'", '"', "[", "$"):
            return False
        if word in WORDS["contrast"] or word in WORDS["negate"] or word.endswith(("n't", "not")):
            follows = s.words[at + 1] if at + 1 < len(s.words) else ""
            if word in ("instead", "rather") and follows not in ("of", "than"):
                return False
            if word in ("not",) and follows in ("only", "just", "less", "more", "fewer", "until"):
                return False
            if word in ("vs", "versus", "unlike"):
                return True
            return True
        if word == "than" and at and s.words[at - 1] == "other":
            return True
        at, steps = at - 1, steps + 1
    return False


def _is_denied(s: Words, at: int) -> bool:
    """Whether the verb at a place stands in a denial: "neither is", "nor is"."""
    return at > 0 and s.words[at - 1] in ("neither", "nor", "never", "not")
