"""Which of the numbers in a sentence is the one that it states."""

from __future__ import annotations

from frown.tasks.grading.context import contrasted, joined, refused_left, with_right_side
from frown.tasks.grading.items import Item, Words
from frown.tasks.grading.phrasing import RETRACTION, WORDS
from frown.tasks.grading.quantity import HEDGED, NEGATED, UNCLEAR, Reading, Refusal, same_quantity


def answer(s: Words) -> Reading | None:
    """What a sentence states; None where there is no number in it."""
    items = _after_retraction(s)
    if not items:
        if not s.items:
            return None
        return Refusal(NEGATED)
    items = [i for i in items if not contrasted(s, i)]
    if not items:
        return Refusal(NEGATED)
    chosen = _choose(s, items)
    if isinstance(chosen, Refusal):
        return chosen
    if _in_condition(s, chosen):
        return Refusal(HEDGED)
    left = refused_left(s, chosen)
    if left is not None:
        return Refusal(left)
    if chosen.refusal is not None:
        return Refusal(chosen.refusal)
    before = next((i for i in reversed(s.items) if i.last <= chosen.first), None)
    listed = before is not None and before in items and not contrasted(s, before)
    if before is not None and listed and _is_adjunct(s, before):  # "out of 50 students, 42"; not "between 40 and 42"
        listed = s.words[before.first - 1] in ("between", "from", "within", "either")
    if before is not None and listed and (before.equals or not chosen.equals):
        both = joined(s, before, chosen)
        if isinstance(both, Refusal) or (both is not None and both != before.quantity and "of" not in s.words):
            return both
    return with_right_side(s, chosen)


def _after_retraction(s: Words) -> list[Item]:
    for at in range(len(s.tokens) - 1, -1, -1):
        if s.words[at] not in RETRACTION or not _retracts(s, at):
            continue
        before = [i for i in s.items if i.last <= at]
        after = [i for i in s.items if i.first > at]
        if before and (after or s.words[at] in ("no", "wait", "nope", "oops", "scratch", "strike")):
            return after
    return s.items


def _retracts(s: Words, at: int) -> bool:
    before = s.tokens[at - 1] if at else None
    if before is None:
        return False
    word, follows = s.words[at], s.words[at + 1] if at + 1 < len(s.words) else ""
    if word == "rather":
        return before.text.lower() in ("or", ",", "–", "—", "-", "no") and follows != "than"
    if before.text.lower() in ("or", "and"):
        return word in ("no", "wait", "actually")
    if before.kind not in ("mark", "operator") or before.text in ("=", ":"):
        return False
    if word == "no":
        return (
            follows in ("", ",", ".", "wait", ":", "-", "–", "—", ";", ")", "it", "it's", "that", "not", "!")
            or follows[:1].isdigit()
        )
    return True


def _in_condition(s: Words, item: Item) -> bool:
    """Whether it stands in a condition in front: "if there were 42, it would be too many"."""
    if item.equals or s.words[0] not in ("if", "suppose", "supposing", "assuming", "unless", "imagine"):
        return False
    return not any(w in (",", ";", "then") for w in s.words[: item.first])


def _choose(s: Words, items: list[Item]) -> Item | Refusal:
    first = items[0]
    if s.marked and _is_head(s, first):
        return first
    items = _main_clause(s, items)
    equations = [i for i in s.items if i.equals and not _in_reason(s, i)] if not s.marked else []
    if equations and (equations[-1] in items or len(_distinct(s, equations)) == 1):
        return equations[-1]
    if items[0] is first and _is_head(s, first) and not _is_given(s, first):
        stated = [i for i in items if _follows_result(s, i)]
        if len(_distinct(s, [first, *stated])) == 1:
            return first
        if first in stated or all(w in _OPENING for w in s.words[: first.first]):
            return Refusal(UNCLEAR)
    distinct = _distinct(s, items)
    if len(distinct) == 1:
        return items[0] if len(items) == 1 else next((i for i in items if not _is_adjunct(s, i)), items[0])
    results = [i for i in items if i.equals or _follows_result(s, i)]
    if results and len(_distinct(s, results)) == 1:
        return results[0]
    if len(results) > 1 and results[-1].equals and not any(_follows_result(s, r) and not r.equals for r in results):
        return results[-1]
    if not results:
        free = [i for i in items if not _is_adjunct(s, i)]
        if free and len(_distinct(s, free)) == 1:
            return free[0]
    return Refusal(UNCLEAR)


def _is_head(s: Words, item: Item) -> bool:
    """Whether only words that introduce an answer stand before it."""
    for at in range(item.first):
        token, word = s.tokens[at], s.words[at]
        if (token.kind == "mark" and token.text in "([:,\"'*-`$") or (
            token.kind == "operator" and token.text in "=≈~→"
        ):
            continue
        if (word == "in" and s.words[at + 1] in ("fact", "total", "all", "summary")) or word in ("fact", "summary"):
            continue
        if token.kind == "word" and (word in WORDS["lead"] or word in WORDS["approximate"] or word in WORDS["hedge"]):
            continue
        if token.kind == "word" and word in WORDS["comparison"] | {
            "than",
            "at",
            "least",
            "most",
            "over",
            "under",
            "up",
        }:
            continue
        if token.kind == "word" and (word.endswith("n't") or word in ("not", "no", "never", "cannot")):
            continue
        return False
    return True


_OPENING = WORDS["conclude"] | {",", "and", "well", "ok", "okay", ":", "(", "*"}
"""Words behind which a number begins its sentence."""


def _in_reason(s: Words, item: Item) -> bool:
    """Whether it stands in a reason for another number: "0, since 2 = 2"."""
    reasons = [j for j in range(item.first) if s.words[j] in WORDS["explain"] and s.words[j] not in ("with", "after")]
    if not reasons or not any(i.last <= reasons[-1] for i in s.items):
        return False
    return not any(w in WORDS["conclude"] for w in s.words[reasons[-1] : item.first])


def _is_given(s: Words, item: Item) -> bool:
    """Whether it is given, as in "the 3 friends": a number that is spoken of, not stated."""
    return item.first > 0 and s.words[item.first - 1] in ("the", "these", "those", "all", "each", "every", "both")


def _main_clause(s: Words, items: list[Item]) -> list[Item]:
    """The items behind the last word that concludes; without those of a condition in front or a reason behind."""
    for at in range(len(s.words) - 1, 0, -1):
        concludes = s.words[at] in WORDS["conclude"] or s.tokens[at].text in ("→", ":")
        if concludes and s.words[at] == "then" and s.words[at - 1] in ("and", ","):
            concludes = any(w in ("if", "since", "when") for w in s.words[:at])
        after = [i for i in items if i.first > at]
        if concludes and after and not _explained(s, items, at):
            items = after
            break
    for at, word in enumerate(s.words):
        if word in WORDS["explain"]:
            before = [i for i in items if i.last <= at]
            comma = next((j for j in range(at, len(s.words)) if s.words[j] == ","), None)
            if before and word not in ("with", "after", "when", "before", "until", "using", "once"):
                items = before
                break
            lead = not before and comma is not None and all(i.first > at for i in items)
            if lead and word in (
                "because",
                "since",
                "as",
                "given",
                "when",
                "if",
                "while",
                "after",
                "with",
                "using",
                "once",
                "although",
            ):
                after = [i for i in items if comma is not None and i.first > comma]
                items = after or items
                break
    return items


def _explained(s: Words, items: list[Item], at: int) -> bool:
    """Whether a conclusion stands within a reason: "42, because ..., so ..."."""
    return any(w in ("because", "since") and any(i.last <= j for i in items) for j, w in enumerate(s.words[:at]))


def _follows_result(s: Words, item: Item) -> bool:
    at = item.first - 1
    for _ in range(4):
        if at < 0:
            return False
        word, token = s.words[at], s.tokens[at]
        if word in WORDS["result"] or token.text in ("=", "≈", ":", "→"):
            return True
        skipped = (
            WORDS["filler"]
            | WORDS["approximate"]
            | {"a", "total", "of", "the", "up", "be", "to", "equal", "with", "out"}
        )
        if not (word in skipped or token.text in ("$", "(", "*")):
            return False
        at -= 1
    return False


def _is_adjunct(s: Words, item: Item) -> bool:
    at = item.first - 1
    while at >= 0 and s.words[at] in ("the", "a", "about", "every", "all", "these", "those", "next", "last", "first"):
        at -= 1
    return (
        at >= 0
        and s.words[at] in WORDS["adjunct"]
        and not (
            s.words[at] == "of" and at > 0 and s.words[at - 1] in ("total", "sum", "amount", "value", "cost", "price")
        )
    )


def _distinct(s: Words, items: list[Item]) -> list[Item]:
    kept: list[Item] = []
    for item in items:
        if not any(_alike(s, item, other) for other in kept):
            kept.append(item)
    return kept


def _alike(s: Words, a: Item, b: Item) -> bool:
    if a.quantity is not None and b.quantity is not None:
        return same_quantity(a.quantity, b.quantity)
    return a.expression is not None and a.expression == b.expression
