r"""Mathematical answers: what a completion states is read here; what is no plain number goes to math-verify.

The final answer is the last of these that the visible text has (no thoughts, no other channel, nothing behind an end
token), unless it is taken back afterwards:

- `\boxed{...}` (a row of them is a list), `<answer>...</answer>`, JSON with an "answer",
- what stands behind `####` and "the answer is" where a quantity (or the words of a reference in words) stands there,
- else the last sentence with a quantity in it.

Of that statement the leading quantity counts, with its unit (`quantity.py`). A statement that denies, bounds, doubts or
asks, and one that gives several answers, is wrong. Numbers, times, dates, lists and words are compared in this
process, exactly; expressions in worker processes. Messages never quote a wrong answer: what a teacher is shown
again, it teaches.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from frown.errors import FrownError
from frown.tasks.grading import clock, marks, units, words
from frown.tasks.grading.canonical import canonical_number
from frown.tasks.grading.characters import plain_figures
from frown.tasks.grading.choice import letters_of
from frown.tasks.grading.completion import visible_text
from frown.tasks.grading.gold import Gold, clean, gold_text, list_parts, read_gold, without_calculator
from frown.tasks.grading.latex import as_intervals, as_latex, expression_of
from frown.tasks.grading.marks import Statement
from frown.tasks.grading.numerals import equal
from frown.tasks.grading.quantity import ASKED, NEGATED, Expression, Quantity, Refusal
from frown.tasks.grading.reading import read_quantity
from frown.tasks.grading.tokens import tokens_of
from frown.tasks.workers import Failure, WorkerPool
from frown.types import Verdict

_LONGEST = 100_000
"""Characters at the end of a visible text that are read."""
LONGEST_STATEMENT = 2000
"""Characters: what is longer states no answer."""
_WRONG = "the final answer is wrong"


def math_gold(raw: str) -> str:
    """The reference answer in an answer column: behind the last `####`, annotations gone; a plain number as figures."""
    gold = read_gold(raw)
    quantity = gold.quantity
    if gold.kind == "number" and quantity is not None and not quantity.percent and quantity.unit == units.NONE:
        return canonical_number(quantity.number.value) if re.fullmatch(r"[-+$€£\d.,\s]+", gold.text) else gold_text(raw)
    if gold.kind == "number" and quantity is not None and re.fullmatch(r"-?[$€£]-?[\d.,]+", gold.text):
        return canonical_number(quantity.number.value)
    return gold_text(raw)


def math_solution(raw: str) -> str | None:
    """The worked solution where the answer column holds one (GSM8K), without calculator annotations."""
    return without_calculator(raw) if "####" in raw else None


@dataclass(frozen=True)
class _Question:
    """An expression to be compared by math-verify."""

    statement: Statement
    gold: Gold
    reference: str
    """The reference in LaTeX, as the answer is."""
    answer: str
    places: int | None = None
    """Decimal places that one of the two is rounded to, where it shows six figures or more."""


class MathGrader:
    """Judges completions against reference answers.

    `limit`: seconds one answer may take in a worker, then it is unscored. Raises FrownError where math-verify
    is needed and not installed.
    """

    def __init__(self, workers: int = 2, limit: float = 5.0) -> None:
        self._pool = WorkerPool("frown.tasks.grading.math_judge:judge", workers=workers, limit=limit, share=32)

    def gold(self, raw: str) -> str:
        """The reference answer within a data set's answer column. Raises ValueError when there is none."""
        gold = math_gold(raw)
        if not gold:
            raise ValueError("there is nothing behind the last ####")
        return gold

    def grade(self, golds: Sequence[str], texts: Sequence[str]) -> list[Verdict]:
        """One verdict a completion, in order. Never raises for a bad completion or reference."""
        results = [judge(raw, text) for raw, text in zip(golds, texts, strict=True)]
        questions = [(i, r) for i, r in enumerate(results) if isinstance(r, _Question)]
        replies = self._ask(
            [
                {"gold": q.reference, "answer": q.answer, "number": q.gold.kind == "number", "places": q.places}
                for _, q in questions
            ]
        )
        verdicts: list[Any] = list(results)
        for (i, question), reply in zip(questions, replies, strict=True):
            verdicts[i] = _verdict(question, reply)
        return verdicts

    def close(self) -> None:
        """End the workers. Safe to call twice."""
        self._pool.close()

    def _ask(self, payloads: list[dict[str, Any]]) -> list[Any]:
        if payloads and importlib.util.find_spec("math_verify") is None:
            raise FrownError('grading mathematics needs math-verify: pip install "frown[math]"')
        return self._pool.map(payloads)


def judge(raw: str, text: str) -> Verdict | _Question:
    """The verdict on a completion, or what has to be compared by math-verify first."""
    gold = read_gold(raw)
    if gold.kind == "none":
        shown = f" {gold.text[:60]!r}" if gold.text else ""
        why = "is a text or no mathematical expression" if shown else "is empty"
        return Verdict.unscored(f"the reference answer{shown} {why}")
    shown_text = without_calculator(visible_text(text))[-_LONGEST:]
    if not shown_text.strip():
        return Verdict(score=0.0, message="no answer found", well_formed=False)
    refused: Verdict | None = None
    for statement in _candidates(shown_text, gold):
        result = _read(gold, statement)
        if result is None:
            continue
        taken_back = marks.retraction(shown_text, statement.end, words=gold.kind == "words")
        if taken_back is None and gold.kind == "number":
            taken_back = marks.second_look(shown_text, statement.end)
            if taken_back is not None and _correction(shown_text, statement, taken_back, gold) is None:
                taken_back = None
        if taken_back is None and not (isinstance(result, Verdict) and result.message in (NEGATED, ASKED)):
            return result
        corrected = _correction(shown_text, statement, taken_back, gold)
        if corrected is not None:
            return corrected
        if taken_back is not None:
            return _wrong(statement, None, "the final answer is taken back")
        refused = refused or (result if isinstance(result, Verdict) else None)
        if statement.marked:
            return result
    return refused or Verdict(score=0.0, message="no answer found", well_formed=False)


_BESIDE = re.compile(
    r"[\W_]*(?:confidence|certainty|probability|likelihood|score|word count|words|tokens|time|time taken"
    r"|difficulty|rating|page|source|"
    r"reference|ref|steps|total steps)\b(?: level| score)?[\W_]*[:=]",
    re.IGNORECASE,
)
"""What begins a line that says something beside the answer."""
_BULLET = re.compile(r"\(?\d{1,2}[.)]\s+(?=[A-Za-z])")


def _candidates(text: str, gold: Gold) -> Iterator[Statement]:
    """What may be the final answer, the likeliest first."""
    boxes = marks.box_rows(text)
    objects = marks.json_answers(text)
    marked = [*boxes, *marks.answer_tags(text), *objects, *marks.hash_marks(text)]
    marked += [p for p in marks.phrases(text) if not any(p.start <= b.start and b.end <= p.end + 1 for b in boxes)]
    marked.sort(key=lambda s: (s.end, -s.start), reverse=True)
    yield from marked
    if not objects and marks.is_json(text):  # an object without an answer
        return
    lines = [s for s in marks.last_lines(text) if not _BESIDE.match(s.text)]
    if gold.kind == "words" and words.normal(gold.text) in words.YES_NO:
        yield from marks.opening(text, words.YES_NO)
    yield from lines


def _correction(text: str, statement: Statement, start: int | None, gold: Gold) -> Verdict | _Question | None:
    """What the text says instead, behind the words that take back a statement."""
    for sentence in marks.corrections(text, start if start is not None else statement.end):
        result = _read(gold, replace(sentence, rule=statement.rule if statement.rule != "box" else "answer is"))
        if result is not None and not (isinstance(result, Verdict) and result.message == ASKED):
            return result
    return None


def _read(gold: Gold, statement: Statement) -> Verdict | _Question | None:
    """The verdict on one statement; None where it holds nothing that could be an answer of this kind."""
    if len(statement.text) > LONGEST_STATEMENT:
        formal = statement.rule in _FORMAL
        return _wrong(statement, None, "the final answer is a text") if formal else None
    text = clean(statement.text if statement.marked else _BULLET.sub("", statement.text, count=1))
    if not text:
        return None
    if gold.kind != "number" and _same_text(gold.text, text):
        return _right(statement, gold)
    reader = {
        "number": _read_number, "list": _read_list, "clock": _read_clock, "option": _read_option, "words": _read_words,
        "expression": _read_expression,
    }[gold.kind]  # fmt: skip
    return reader(gold, statement, text)


def _same_text(gold: str, text: str) -> bool:
    return re.sub(r"[\s\u2009{}]", "", gold) == re.sub(r"[\s\u2009{}]", "", text)


_FORMAL = ("box", "boxes", "answer tag", "JSON")


def _read_number(gold: Gold, statement: Statement, text: str) -> Verdict | _Question | None:
    assert gold.quantity is not None
    if statement.rule == "####" and text.endswith(":"):
        return None
    formal = statement.rule in _FORMAL
    reading = read_quantity(text, european=gold.european, marked=statement.marked)
    if reading is None:
        return _based(gold, statement, text, formal)
    if isinstance(reading, Refusal):
        return _wrong(statement, None, reading.why)
    if isinstance(reading, Expression):
        if not formal and not _is_mathematics(reading.text):
            return None
        if _has_clock(reading.text):
            return _based(gold, statement, text, True)
        return _question(gold, statement, reading.text)
    if gold.name is not None and _other_name(gold.name, text):
        return _wrong(statement, canonical_number(reading.number.value), "the final answer is of another variable")
    same = _compare(gold.quantity, reading)
    answer = canonical_number(reading.number.value)
    if same is None:
        return _wrong(statement, answer, "the unit contradicts the reference's")
    return _right(statement, gold) if same else _wrong(statement, answer, _WRONG)


def _compare(gold: Quantity, answer: Quantity) -> bool | None:
    """Whether they are equal; None where the numbers are and the units contradict each other."""
    contradicted = False
    for number, unit in ((answer.number, answer.unit), *answer.also):
        ways = [number]
        if answer.percent and not gold.percent and gold.unit == units.NONE:
            ways.append(number.scaled(units.Fraction(1, 100)))
        if gold.percent and not answer.percent:
            ways.append(number.scaled(100))
        if unit.known and gold.unit.known and unit != gold.unit:
            converted = units.convert(number.value, unit, gold.unit)
            if converted is not None:
                if converted == gold.number.value:
                    return True
                contradicted = contradicted or number.value == gold.number.value
                continue
        fits = units.agree(gold.unit, unit) and not (
            (gold.percent and unit.known) or (answer.percent and gold.unit != units.NONE)
        )
        if any(equal(gold.number, w) for w in ways):
            if fits:
                return True
            contradicted = True
    return None if contradicted else False


def _other_name(name: str, text: str) -> bool:
    other = re.match(r"\s*([A-Za-z](?:_\{?\w\}?)?)\s*=(?!=)", text)
    return other is not None and other[1] != name


def _is_mathematics(text: str) -> bool:
    return re.search(r"[\d\\^=+*/()]|^\s*[A-Za-z]\s*$|∞|√", text) is not None


def _has_clock(text: str) -> bool:
    return any(t.kind == "clock" for t in tokens_of(text))


def _based(gold: Gold, statement: Statement, text: str, formal: bool) -> Verdict | None:
    """An answer in another base, or a time, beside a plain number."""
    readings = [t.reading for t in tokens_of(text) if t.kind == "clock"]
    assert gold.quantity is not None
    if len(readings) == 1 and isinstance(readings[0], clock.Based):
        value = readings[0].value
        right = value == gold.quantity.number.value
        return _right(statement, gold) if right else _wrong(statement, str(value), _WRONG)
    if len(readings) == 1 and isinstance(readings[0], clock.Ratio) and len(readings[0].terms) == 2:
        a, b = readings[0].terms
        if b and a / b == gold.quantity.number.value and gold.quantity.number.value.denominator != 1:
            return _right(statement, gold)
    if readings or formal:
        return _wrong(
            statement,
            None,
            "the final answer is not a number" if readings else "the final answer is not a mathematical expression",
        )
    return None


def _read_list(gold: Gold, statement: Statement, text: str) -> Verdict | _Question | None:
    parts = list_parts(_without_lead(text))
    if not parts or (gold.quantity is not None and _DECIMAL_COMMA.search(text)):
        reading = read_quantity(text, european=gold.european, marked=statement.marked)
        if reading is None and statement.rule not in _FORMAL:
            return None
        if isinstance(reading, Quantity):
            if gold.quantity is not None and _compare(gold.quantity, reading):
                return _right(statement, gold)
            return _wrong(statement, canonical_number(reading.number.value), _WRONG)
        if isinstance(reading, Refusal) and reading.why not in (NEGATED, ASKED) and not statement.marked:
            return _wrong(statement, None, reading.why)
        if isinstance(reading, Refusal) and reading.why in (NEGATED, ASKED):
            return _wrong(statement, None, reading.why)
        return _question(gold, statement, text)
    if gold.name is not None and _other_name(gold.name, text):
        return _wrong(statement, _listed(parts), "the final answer is of another variable")
    left = list(parts)
    for wanted in gold.parts:
        match = next((p for p in left if _compare(wanted, p)), None)
        if match is None:
            return _wrong(statement, _listed(parts), _WRONG)
        left.remove(match)
    return _right(statement, gold) if not left else _wrong(statement, _listed(parts), _WRONG)


_DECIMAL_COMMA = re.compile(r"\d,\d{1,2}\s*[€$£]")


def _without_lead(text: str) -> str:
    return re.sub(
        r"^(?:(?:either|both|the (?:numbers|values|solutions|roots)(?: are)?|are|is|so|therefore|thus"
        r"|hence)\b\s*:?\s*)+",
        "",
        text,
        flags=re.I,
    )


def _listed(parts: Sequence[Quantity]) -> str:
    return ", ".join(canonical_number(p.number.value) for p in parts)


_CLOCK_REFUSED = re.compile(
    r"\b(?:not|maybe|perhaps|possibly|before|until|between|or|might|never)\b|n['’]t\b|[?]$", re.I
)


def _read_clock(gold: Gold, statement: Statement, text: str) -> Verdict | _Question | None:
    assert gold.reading is not None
    readings = [t.reading for t in tokens_of(text) if t.reading is not None]
    if not readings:
        return _clock_as_number(gold, statement, text)
    denied = _CLOCK_REFUSED.search(text)
    if denied is not None:
        leading = tokens_of(text)[0].kind == "clock" and re.search(r"^[^,(]*(?:,|\()\s*(?:and )?not\b", text)
        if not leading:
            return _wrong(statement, None, "the statement is no single time or date")
    first = readings[0]
    if any(clock.compare(first, r) == "different" for r in readings[1:]) and denied is None:
        return _wrong(statement, None, "more than one final answer")
    same = clock.compare(gold.reading, first)
    if same == "open":
        return Verdict.unscored("half of the day or the year is not stated, nobody can tell")
    return _right(statement, gold) if same == "equal" else _wrong(statement, text[:60], _WRONG)


def _clock_as_number(gold: Gold, statement: Statement, text: str) -> Verdict | _Question | None:
    reading = read_quantity(text, marked=statement.marked)
    if reading is None:
        return _wrong(statement, None, _WRONG) if statement.rule in _FORMAL else None
    if isinstance(gold.reading, clock.Based) and isinstance(reading, Quantity | Expression):
        digits = re.sub(r"[\s,\u2009]", "", reading.text).upper().lstrip("0") or "0"
        return _right(statement, gold) if digits == gold.reading.digits else _wrong(statement, digits[:60], _WRONG)
    if isinstance(reading, Quantity):
        ratio = gold.reading
        if isinstance(ratio, clock.Ratio) and len(ratio.terms) == 2 and re.search(r"/|frac", reading.text):
            if ratio.terms[1] and reading.number.value == ratio.terms[0] / ratio.terms[1]:
                return _right(statement, gold)
        return _wrong(statement, canonical_number(reading.number.value), _WRONG)
    if isinstance(reading, Refusal):
        return _wrong(statement, None, reading.why)
    return _wrong(statement, None, _WRONG)


def _read_option(gold: Gold, statement: Statement, text: str) -> Verdict | None:
    letters = letters_of(statement.text)
    if not letters:
        return _wrong(statement, None, _WRONG) if statement.rule in _FORMAL else None
    if len(letters) > 1:
        return _wrong(statement, ", ".join(sorted(letters)), "more than one final answer")
    letter = next(iter(letters))
    return _right(statement, gold) if letter == gold.letter else _wrong(statement, letter, _WRONG)


def _read_words(gold: Gold, statement: Statement, text: str) -> Verdict | None:
    said = plain_figures(statement.text)
    if words.says(gold.text, said):
        return _right(statement, gold)
    return _wrong(statement, words.normal(said)[:60], _WRONG)


def _read_expression(gold: Gold, statement: Statement, text: str) -> Verdict | _Question | None:
    if words.normal(text) == words.normal(gold.text) and words.normal(gold.text) in ("∅", "all real numbers"):
        return _right(statement, gold)
    expression = expression_of(plain_figures(statement.text), statement.rule in _FORMAL)
    if isinstance(expression, Refusal):
        return _wrong(statement, None, expression.why)
    if expression is None:
        return (
            _wrong(statement, None, "the final answer is not a mathematical expression")
            if statement.rule in _FORMAL
            else None
        )
    if _INTERVAL.search(gold.text):
        expression = as_intervals(plain_figures(expression)) or expression
    if _same_text(gold.text, expression):
        return _right(statement, gold)
    return _question(gold, statement, expression)


_INTERVAL = re.compile(r"^(?:[A-Za-z]\s*\\in\s*)?[(\[].*[)\]]$|\\cup|∪")


def _question(gold: Gold, statement: Statement, answer: str) -> _Question:
    text = (
        canonical_number(gold.quantity.number.value)
        if gold.quantity is not None and not gold.quantity.percent
        else gold.text
    )
    if gold.quantity is not None and gold.name is not None:
        text = gold.text
    shown = gold.quantity or read_quantity(answer, prose=False)
    places = None
    if isinstance(shown, Quantity) and shown.number.figures >= 6 and shown.number.places > 0:
        places = shown.number.places
    return _Question(statement, gold, as_latex(text), as_latex(answer), places)


def _right(statement: Statement, gold: Gold) -> Verdict:
    if gold.kind == "number" and gold.quantity is not None:
        answer = canonical_number(gold.quantity.number.value)
    elif gold.kind == "list":
        answer = _listed(gold.parts)
    elif gold.kind in ("words", "option"):
        answer = gold.letter or words.normal(gold.text)
    else:
        answer = gold.text
    return Verdict(
        score=1.0, answer=answer, well_formed=statement.marked, rule=statement.rule, stated=_shown(statement)
    )


def _wrong(statement: Statement, answer: str | None, message: str) -> Verdict:
    return Verdict(
        score=0.0, message=message, answer=answer, rule=statement.rule, stated=_shown(statement),
        well_formed=statement.marked and answer is not None,
    )  # fmt: skip


def _shown(statement: Statement) -> str:
    return " ".join(statement.text.split())[:200]


def _verdict(question: _Question, reply: Any) -> Verdict:
    statement = question.statement
    if isinstance(reply, Failure):
        return Verdict.unscored(f"math-verify could not judge the answer: {reply.why}")
    if reply["status"] == "unscored":
        return Verdict.unscored(reply["message"])
    if reply["status"] == "right":
        return _right(statement, question.gold)
    return _wrong(statement, reply["answer"], reply["message"])
