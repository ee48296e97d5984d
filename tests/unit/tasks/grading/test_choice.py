"""Multiple choice and exact match."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frown.tasks.grading.choice import ChoiceGrader, choice_gold, choose
from frown.tasks.grading.exact import ExactGrader
from paths import SHARED


def sciknoweval() -> list[dict]:
    folder = SHARED / "data" / "sciknoweval"
    if not folder.exists():
        pytest.skip("the shared data set sciknoweval is not here")
    files = sorted(folder.glob("*.jsonl"))
    return [json.loads(line) for f in files for line in f.read_text("utf-8").split("\n") if line]


def test_every_sciknoweval_answer_in_the_asked_form():
    rows = sciknoweval()
    assert len(rows) == 4335
    golds = [r["answer"] for r in rows]
    form = "<reasoning>\nA or B? Option {} it is not.\n</reasoning>\n<answer>\n{}\n</answer>"
    others = [chr(ord("A") + (ord(g) - ord("A") + 1) % 4) for g in golds]
    right = ChoiceGrader().grade(golds, [form.format(o, g) for g, o in zip(golds, others, strict=True)])
    wrong = ChoiceGrader().grade(golds, [form.format(g, o) for g, o in zip(golds, others, strict=True)])
    assert all(v.right and v.well_formed for v in right)
    assert all(v.score == 0.0 and v.scored and v.well_formed for v in wrong)
    assert [v.answer for v in wrong] == others


@pytest.mark.parametrize(
    ("text", "letters", "strict"),
    [
        ("<answer>B</answer>", "B", True),
        ("<answer>\n(b)\n</answer>", "B", False),
        ("<answer>B: 1.69</answer>", "B", False),
        ("<answer>**B**.</answer>", "B", False),
        ("<answer>B</answer> or <answer>C</answer>", "BC", False),
        ("<answer>B</answer> again <answer>B</answer>", "B", True),
        ("<answer>A or B</answer>", "AB", False),
        ("<answer>A, B and D</answer>", "ABD", False),
        ("<answer>1.69</answer> B", "", False),
        ("<answer></answer>", "", False),
        ("<answer>Both</answer>", "", False),
        ("<think><answer>A</answer></think><answer>B</answer>", "B", True),
        ("so \\boxed{B}", "B", True),
        ("\\boxed{\\text{(B)}}", "B", False),
        ("\\boxed{A} no: \\boxed{C}", "C", True),
        ("The answer is B.", "B", False),
        ("The correct answer is (B) because A is too small", "B", False),
        ("The answer is option C", "C", False),
        ("The answer is A. No: the answer is D", "D", False),
        ("The answer is A or B.", "AB", False),
        ("The answer is: **C**", "C", False),
        ("The answer is A, because B is too small", "A", False),
        ("The answer is A, I think", "A", False),
        ("The answer is A and then B follows", "A", False),
        ("The answer is A/C", "AC", False),
        ("The answer is clearly B", "B", False),
        ("The answer is not A", "", False),
        ("The answer is not A but B", "B", False),
        ("<answer>(B) 1.69</answer>", "B", False),
        ("<answer>B - a protein</answer>", "B", False),
        ("<answer>C, a protein</answer>", "C", False),
        ("It cannot be A.\n\nD", "D", False),
        ("D", "D", True),
        ("D: 0.45", "D", False),
        ("It must be the last one.", "", False),
        ("A cat sat", "", False),
        ("", "", False),
    ],
)
def test_letters(text, letters, strict):
    choice = choose(text)
    assert ("".join(sorted(choice.letters)), choice.strict) == (letters, strict)


def test_two_letters_and_none_are_wrong_and_a_bad_gold_is_unscored():
    two, none, unscored = ChoiceGrader().grade(["A", "A", "AB"], ["<answer>A/B</answer>", "hm", "<answer>A</answer>"])
    assert (two.score, two.message, two.answer) == (0.0, "more than one option named", "A, B")
    assert (none.score, none.message, none.answer, none.well_formed) == (0.0, "no answer found", None, False)
    assert not unscored.scored and "'AB'" in unscored.message


def test_gold_letters():
    assert [choice_gold(raw)[0] for raw in ("B", " b ", "(C)", "D.", "Option C", "\\text{(D)}")] == list("BBCDCD")
    assert choice_gold("A: text") == ("A", "text") and choice_gold("(B) Paris") == ("B", "Paris")
    assert ChoiceGrader().gold("B) Paris") == "B. Paris" and ChoiceGrader().gold("(b)") == "B"
    for raw in ("", "AB", "1", "é", "A or B", "A cat sat"):
        with pytest.raises(ValueError, match="one letter"):
            choice_gold(raw)


@settings(deadline=None)
@given(st.text(), st.text())
def test_bad_text_never_raises(gold, text):
    for grader in (ChoiceGrader(), ExactGrader()):
        (verdict,) = grader.grade([gold], [text])
        assert verdict.scored or "answer" in verdict.message


@pytest.mark.parametrize(
    ("gold", "text", "score"),
    [
        ("New  York", " new york\n", 1.0),
        ("Straße", "STRASSE", 1.0),
        ("a", "<answer> A </answer> done", 1.0),
        ("a", "<answer>a</answer><answer>b</answer>", 0.0),
        ("a", "<think>b</think>a", 1.0),
        ("a.", "a", 0.0),
        ("a", "", 0.0),
    ],
)
def test_exact_match(gold, text, score):
    (verdict,) = ExactGrader().grade([gold], [text])
    assert verdict.score == score
    assert not ExactGrader().grade([" "], [text])[0].scored
