"""Numbers, units, times, and: nobody is called right who states another number."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frown.tasks.grading import clock, units
from frown.tasks.grading.canonical import canonical_number
from frown.tasks.grading.gold import clean
from frown.tasks.grading.math import judge
from frown.tasks.grading.numerals import Number, equal, match_number, match_words
from frown.types import Verdict


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234.5", "1234.5"), ("12,34,567", "1234567"), ("1.234.567", "1234567"), ("1.234,5", "1234.5"),
        ("1250,50", "1250.5"), ("1 500", "1500"), ("25\\,000", "25000"), ("1'000'000", "1000000"), ("2 1/2", "5/2"),
        ("2\\frac12", "5/2"), ("2½", "5/2"), ("0.\\overline{3}", "1/3"), ("0.(142857)", "1/7"), ("0.1666...", "1/6"),
        ("0.3̅", "1/3"), ("1e3", "1000"), ("1.6\\times 10^{-2}", "0.016"), ("10⁻³", "1/1000"), ("0x1F", "31"), 
        ("٤٢", "42"), ("１２", "12"), (".5", "1/2"), ("5th", "5"), ("\\dfrac{1.5}{2}", "3/4"), ("1{,}000", "1000"),
    ],
)  # fmt: skip
def test_numbers_in_figures(text, value):
    text = clean(text)
    matched = match_number(text)
    assert matched is not None and matched.number.value == Fraction(value) and matched.end == len(text)


@pytest.mark.parametrize("text", ["4 10/3", "7/8/9", "1,2,3", "x", "", "1e99999", "9" * 500])
def test_what_is_no_single_number(text):
    matched = match_number(text)
    assert matched is None or matched.end < len(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("zero", 0), ("five", 5), ("twenty-five", 25), ("one hundred and twenty", 120), ("two thirds", Fraction(2, 3)),
        ("three quarters", Fraction(3, 4)), ("two and a half", Fraction(5, 2)), ("half a dozen", 6), ("a dozen", 12),
        ("one million two hundred thousand", 1_200_000), ("twelve hundred", 1200), ("a third", Fraction(1, 3)),
    ],
)  # fmt: skip
def test_numbers_in_words(text, value):
    matched = match_words(text)
    assert matched is not None and matched.number.value == value and matched.end == len(text)
    assert match_words("a car") is None and match_words("someone") is None


def test_equal_is_relative_to_what_is_shown():
    third = Number(Fraction(1, 3))
    assert equal(match_number("0.333333").number, third) and not equal(match_number("0.333").number, third)
    assert not equal(match_number("1000000.4").number, match_number("1000000").number)
    assert not equal(match_number("0.0000000001").number, match_number("0.0000000002").number)


def test_units():
    minutes, hours = units.parse_unit("minutes"), units.parse_unit("hour")
    assert units.convert(Fraction(30), minutes, hours) == Fraction(1, 2)
    assert units.agree(units.NONE, hours) and not units.agree(units.parse_unit("boys"), units.parse_unit("girls"))
    assert units.agree(units.parse_unit("apples"), units.parse_unit("red apple"))
    assert units.parse_unit("square feet") == units.parse_unit("ft^2") != units.parse_unit("feet")
    assert units.parse_unit("km/h") == units.parse_unit("km per hour")


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("3:45 PM", "15:45", "equal"), ("3:45 PM", "3:45", "open"), ("12:00", "1:00", "different"),
        ("March 5, 2024", "2024-03-05", "equal"), ("March 5", "5th of March", "equal"), 
        ("March 5, 2024", "March 5", "open"),
        ("2:3", "4:6", "equal"), ("2:3", "3:2", "different"), ("1:15", "2:30", "different"), ("101_2", "12_3", "equal"),
        ("101_2", "101_3", "different"), ("noon", "12:00 PM", "equal"), ("midnight", "noon", "different"),
    ],
)  # fmt: skip
def test_times_dates_ratios_and_bases(a, b, same):
    gold, answer = clock.match_clock(a), clock.match_clock(b)
    assert gold is not None and answer is not None and clock.compare(gold.reading, answer.reading) == same


_WHOLE = st.integers(0, 5000)
_VALUES = st.one_of(
    _WHOLE.map(Fraction),
    st.tuples(_WHOLE, st.integers(1, 99)).map(lambda p: p[0] + Fraction(p[1], 100)),
    st.tuples(st.integers(1, 60), st.integers(2, 12)).map(lambda p: Fraction(*p)),
    _WHOLE.map(lambda n: Fraction(-n)),
)
_FORMS = (
    "The answer is {}.", "\\boxed{{{}}}", "#### {}", "<answer>{}</answer>", "So the answer is {}.", "Answer: {}",
    "Therefore, we get {}.", "It is {}", "**Final answer:** {}", '{{"answer": "{}"}}', "Final answer: ${}$",
)  # fmt: skip
_TAILS = (
    "", " apples", ", because 7 + {d} was too much", " (not {d})", ", not {d}", " in {d} days", " for {d} people",
    ", since {d} = {d}", " out of {d}", ", as step {d} shows", " per day over {d} days", " rather than {d}",
)  # fmt: skip
_SPOILT = (
    "not {}", "more than {}", "less than {}", "at least {}", "maybe {}", "{} or {d}", "{} and {d}",
    "between {} and {d}", "{} to {d}", "either {} or {d}", "{} ± {d}", "{}? No, {d}", "{}, no, {d}",
    "{}, {d}", "{} or more",
    "{}, maybe {d}", "anything but {}", "{d} more than {}", "{d} times {}", "{} is wrong",
)  # fmt: skip


def right(gold: str, text: str) -> bool:
    verdict = judge(gold, text)
    return isinstance(verdict, Verdict) and verdict.right


@pytest.mark.slow
@settings(deadline=None, max_examples=1000)
@given(_VALUES, _VALUES, st.integers(2, 400), st.sampled_from(_FORMS), st.sampled_from(_TAILS))
def test_nobody_is_right_who_states_another_number(gold, stated, distractor, form, tail):
    """`distractor` may well be the reference itself: it is not what is stated."""
    text = form.format(canonical_number(stated) + tail.format(d=distractor))
    way = {gold, gold * 100, gold / 100} if "%" in text else {gold}
    if stated in way:
        return
    share = " out of " in text and Fraction(stated) / distractor == gold
    if not share:
        assert not right(canonical_number(gold), text)


@pytest.mark.slow
@settings(deadline=None, max_examples=1000)
@given(_VALUES, st.integers(2, 400), st.sampled_from(_FORMS), st.sampled_from(_TAILS))
def test_who_states_it_is_right_whatever_else_is_said(gold, distractor, form, tail):
    assert right(canonical_number(gold), form.format(canonical_number(gold) + tail.format(d=distractor)))


@pytest.mark.slow
@settings(deadline=None, max_examples=1000)
@given(_VALUES, st.integers(2, 400), st.sampled_from(_FORMS), st.sampled_from(_SPOILT))
def test_what_is_denied_bounded_doubted_or_several_is_not_right(gold, distractor, form, spoilt):
    if gold == distractor or gold < 0:
        return
    stated = spoilt.format(canonical_number(gold), d=distractor)
    product = spoilt == "{d} times {}" and gold == distractor * gold
    if not product:
        assert not right(canonical_number(gold), form.format(stated))
