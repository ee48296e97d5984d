"""Math grading: GSM8K's own answers, planted wrong ones, a hang, threads, and the readers of answers."""

import json
import random
import threading
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frown.tasks.grading.canonical import canonical_number
from frown.tasks.grading.marks import answer_tags, boxes, phrases
from frown.tasks.grading.math import MathGrader, judge, math_gold, math_solution
from frown.tasks.grading.numerals import match_number
from growth import is_linear
from paths import SHARED

pytestmark = pytest.mark.slow

BOMB = "\\boxed{10^{10^{10^{10}}}+1}"
BOMB_GOLD = "10^{10^{10^{10}}}"


@pytest.fixture(scope="module")
def grader():
    pytest.importorskip("math_verify")
    grader = MathGrader(workers=1)
    yield grader
    grader.close()


def gsm8k(*splits: str) -> list[str]:
    folder = SHARED / "data" / "gsm8k"
    if not folder.exists():
        pytest.skip("the shared data set gsm8k is not here")
    lines = [line for s in splits or ("test",) for line in (folder / f"{s}.jsonl").read_text("utf-8").split("\n")]
    return [json.loads(line)["answer"] for line in lines if line]


def test_every_gsm8k_solution_is_right(grader):
    rows = gsm8k("train", "test")
    verdicts = grader.grade(rows, rows)
    assert len(verdicts) == 8792 and all(v.right and v.well_formed for v in verdicts)
    assert [v.answer for v in verdicts] == [math_gold(r) for r in rows]


def test_every_gsm8k_solution_with_another_answer_is_wrong(grader):
    rows = gsm8k()
    planted = [r.rpartition("####")[0] + f"#### {int(math_gold(r)) + 1:,}" for r in rows]
    assert all(v.score == 0.0 and v.scored for v in grader.grade(rows, planted))


def test_gsm8k_through_math_verify(grader):
    rows = random.Random(0).sample(gsm8k(), 200)
    doubled = [2 * int(math_gold(r)) for r in rows]
    right = grader.grade(rows, [f"So \\boxed{{\\frac{{{d}}}{{2}}}}." for d in doubled])
    wrong = grader.grade(rows, [f"So \\boxed{{\\frac{{{d + 1}}}{{2}}}}." for d in doubled])
    assert all(v.right for v in right) and all(v.score == 0.0 for v in wrong)
    assert [v.answer for v in right] == [math_gold(r) for r in rows]


@pytest.mark.parametrize(
    ("gold", "text", "answer"),
    [
        ("1/2", "\\boxed{\\frac12}", "0.5"),
        ("\\frac{\\sqrt{2}}{2}", "\\boxed{1/\\sqrt{2}}", "\\frac{\\sqrt{2}}{2}"),
        ("18", "The answer is **18**.", "18"),
        ("18", "The answer is $18 per day.", "18"),
        ("18", "so #### 18 dollars", "18"),
        ("18", "18.0", "18"),
        ("5000000", "The answer is 5 million.", "5000000"),
        ("1450000", "\\boxed{1{,}450{,}000}", "1450000"),
        ("1,450,000", "<think>2</think>#### 1450000.00", "1450000"),
        ("x^2+2x+1", "\\boxed{(x+1)^2}", "x^2+2x+1"),
        ("\\{1,2\\}", "\\boxed{\\{2,1\\}}", "1, 2"),
        ("sqrt(2)", "answer: sqrt(2)", "sqrt(2)"),
        ("\\text{blue}", "\\boxed{\\text{blue}}", "blue"),
        ("-5", "<answer>-5</answer>", "-5"),
        ("\\frac{9}{2}", "#### 4 1/2", "4.5"),
        ("-4.5", "\\boxed{-4 1/2}", "-4.5"),
        ("1000", "#### 1 000", "1000"),
        ("x^2+1", "x^2+1", "x^2+1"),
        ("4", "it makes 4.00 in all", "4"),
        ("3:45", "3:45", "3:45"),
        ("12", "one gross: 3 no, #### 1 dozen", "12"),
        ("18", "The answer is 3 * 6 = 18 dollars.", "18"),
        ("18", "The answer is $x = 18$.", "18"),
        ("6", "The answer is 5. Wait, the answer is 6.", "6"),
    ],
)
def test_equal_answers_are_right(grader, gold, text, answer):
    (verdict,) = grader.grade([gold], [text])
    assert verdict.right, verdict
    assert verdict.answer == answer


@pytest.mark.parametrize(
    "gold",
    [
        "\\frac{1}{2}", "x^2 + 1", "$\\sqrt{3}$", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", "(1, 2)", "[0, 1)", "2\\pi",
        "x = 5", "x=5 or x=7", "10\\%", "\\frac{\\sqrt{2}}{2}", "y", "90^\\circ", "\\{1, 2\\}", "\\infty", "1e5",
        "3 + 4i",
        "n(n+1)/2", "x \\le 4", "2, 3", "-\\frac{1}{3}", "18 dollars", "\\text{blue}",
    ],
)  # fmt: skip
def test_a_gold_is_its_own_right_answer_bare_and_boxed(grader, gold):
    bare, boxed, hashes = grader.grade([gold] * 3, [gold, f"so \\boxed{{{gold.strip('$')}}}", f"so\n#### {gold}"])
    assert bare.right and boxed.right and hashes.right, (bare, boxed, hashes)
    assert bare.answer == boxed.answer == hashes.answer


@pytest.mark.parametrize(
    ("gold", "text", "message"),
    [
        ("5", "\\boxed{6}", "the final answer is wrong"),
        ("5", "\\boxed{x+5}", "the final answer is wrong"),
        ("5", "The answer is 5 million.", "the final answer is wrong"),
        ("5", "\\boxed{5 or 7}", "more than one final answer"),
        ("5", "\\boxed{???}", "the final answer is not a mathematical expression"),
        ("5", "It takes 3 hours and then 5", "more than one final answer"),
        ("18", "\\boxed{18} no, \\boxed{19}", "the final answer is wrong"),
        ("18", "#### 18\nbut \\boxed{19}", "the final answer is wrong"),
        ("3", "3 apples and 4 pears", "more than one final answer"),
    ],
)
def test_other_answers_are_wrong(grader, gold, text, message):
    (verdict,) = grader.grade([gold], [text])
    assert (verdict.score, verdict.message) == (0.0, message)


@pytest.mark.parametrize("text", ["", "  \n", "I do not know.", "<think>5</think>", "<think>\\boxed{5}</think> hm"])
def test_no_answer_is_wrong_not_unscored(grader, text):
    (verdict,) = grader.grade(["5"], [text])
    assert (verdict.score, verdict.message, verdict.answer) == (0.0, "no answer found", None)
    assert not verdict.well_formed


@pytest.mark.parametrize("gold", ["???", "####", "", "It depends on how " + "very " * 10 + "large it is"])
def test_a_gold_that_nobody_can_compare_is_unscored(grader, gold):
    verdicts = grader.grade([gold, gold], ["\\boxed{5}", "\\boxed{Tuesyad}"])
    assert all(not v.scored and "reference answer" in v.message for v in verdicts)


def test_an_unmarked_answer_is_found_but_not_well_formed(grader):
    marked, unmarked = grader.grade(["5", "5"], ["#### 5", "we end with 5 pears"])
    assert marked.right and unmarked.right
    assert marked.well_formed and not unmarked.well_formed


def test_messages_never_quote_the_wrong_answer(grader):
    verdicts = grader.grade(["5"] * 3, ["\\boxed{777}", "\\frac{777}{3}", "\\boxed{777+x}"])
    assert all(v.score == 0.0 and "777" not in v.message for v in verdicts)


def test_a_hanging_item_costs_only_itself():
    pytest.importorskip("math_verify")
    grader = MathGrader(workers=1, limit=5.0)
    try:
        grader.grade(["x+1"], ["\\boxed{x+1}"])  # the worker is warm: start-up is not on the clock below
        verdicts = grader.grade(["x+1", BOMB_GOLD, "x+2", "7"], ["\\boxed{1+x}", BOMB, "\\boxed{2+x}", "7"])
    finally:
        grader.close()
    assert [v.right for v in verdicts] == [True, False, True, True]
    assert not verdicts[1].scored and "within 5 s" in verdicts[1].message


def test_grading_works_in_a_thread(grader):
    found = []

    def grade() -> None:
        found.extend(grader.grade(["x/2", "3"], ["\\boxed{\\frac{x}{2}}", "\\boxed{3x}"]))

    threads = [threading.Thread(target=grade) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [v.score for v in found] == [1.0, 0.0] * 3


def test_the_last_mark_counts_and_says_by_which_rule():
    everything = "The answer is 4\n<answer>3</answer>\n#### 2\n\\boxed{1}"
    for gold, rule in (("1", "box"), ("2", "####"), ("3", "answer tag"), ("4", "answer is")):
        verdict = judge(gold, everything)
        assert verdict.right and verdict.rule == rule
        everything = everything.rpartition("\n")[0]
    unmarked = judge("42", "we end with 42 of them")
    assert (unmarked.right, unmarked.rule, unmarked.stated) == (True, "last line", "we end with 42 of them")


@pytest.mark.parametrize(
    ("raw", "gold"),
    [("a\n#### 1,234", "1234"), ("#### 1 #### -$5.50", "-5.5"), ("7", "7"), ("<<1+1=2>>2", "2"), ("x^2", "x^2")],
)
def test_gold(raw, gold):
    assert math_gold(raw) == gold
    assert (math_solution(raw) is None) == ("####" not in raw)


def test_readers():
    text = "\\boxed{a} \\boxed{\\frac{1}{2}} \\boxed 7 \\boxed{3"
    assert [b.text for b in boxes(text)] == ["a", "\\frac{1}{2}", "7"]
    assert [b.text for b in boxes("\\boxed{\\{1\\}} \\boxed{\\boxed{4}}")] == ["\\{1\\}", "\\boxed{4}"]
    assert not boxes("boxed{1} {2}")
    tags = answer_tags("<answer>a</answer></answer><ANSWER> b\nc </answer><answer>d")
    assert [(t.text, t.rule) for t in tags] == [("a", "answer tag"), ("b\nc", "answer tag"), ("d", "open answer tag")]
    assert [p.text for p in phrases("Answer: 3.5.\nmore")] == ["3.5"] and not phrases("the answers we had")
    assert [p.text for p in phrases("the answer isn't 5. I doubt the answer is 6.")] == ["not 5", "not 6"]


@given(st.fractions())
def test_canonical_numbers_are_one_string_a_value(value):
    text = canonical_number(value)
    assert Fraction(text) == value
    if len(text) < 60:
        assert match_number(text.removeprefix("-")).number.value == abs(value)


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="\\boxed{}<>/answer is#: 0123\n", max_size=80))
def test_readers_never_raise(text):
    judge("5", text)
    judge(text, "5")
    math_gold(text)


@pytest.mark.parametrize(
    "piece",
    ["\\boxed{", "<answer>", "answer is ", "answer is 5. ", "####", "#### 5\n", "<<", "{", "answer" + " " * 50,
     "5 ", "5,", "1/", "(", "not ", "\n", "wait, ", "no. ", "$", "\\(", "\\frac{1}{2}", "x = 5, ", "<think>",
     "</think>", '{"answer": ', "- ", "**", "A", "5 apples and ", "because 5 ", "1:2:", "=5", "1.", "\\text{", "^{",
     "\u2009", "٣", "½"],
)  # fmt: skip
def test_reading_takes_linear_time(piece):
    assert is_linear(lambda n: (judge("5", piece * n), judge("x^2", piece * n)), 5_000 // len(piece))


def test_equal_wrong_answers_are_one_string(grader):
    texts = ["\\boxed{0.5}", "\\boxed{\\frac{1}{2}}", "#### 1/2", "we get 0.50", "\\boxed{\\frac{2}{4}}", ".5"]
    assert {v.answer for v in grader.grade(["7"] * 6, texts)} == {"0.5"}
    texts = ["\\boxed{\\sqrt{2}}", "\\boxed{\\frac{2}{\\sqrt{2}}}", "\\boxed{2^{1/2}}"]
    assert len({v.answer for v in grader.grade(["7"] * 3, texts)}) == 1
    assert len({v.answer for v in grader.grade(["7"] * 2, ["\\boxed{x(x+1)}", "\\boxed{x^2+x}"])}) == 1
