"""Steps tile any text; the teacher's template keeps every text verbatim."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frown.tasks.steps import SPLITTERS, split_steps
from frown.tasks.wording import English
from frown.types import Feedback, Part, Task
from growth import is_linear

pytestmark = pytest.mark.slow

PIECES = st.sampled_from(
    ["<step_1>", "</step_1>", "<step_22>", "1. ", "2) ", "Step 3: ", "\n", "\n\n", " ", "Mr. X. ", "a. ", "B!? ",
     "…", "é", "\u2028", "。", "x", "3.5", "\r\n", "**2.** "]
)  # fmt: skip


@pytest.mark.parametrize("how", SPLITTERS)
@settings(max_examples=200, deadline=None)
@given(text=st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=30).map("".join)))
def test_steps_tile_any_text(how, text):
    steps = split_steps(text, how)
    assert "".join(text[s.start : s.end] for s in steps) == text
    assert all(s.start < s.end for s in steps)
    if text.strip():
        assert all(text[s.start : s.end].strip() for s in steps)  # no blank step


@pytest.mark.parametrize(
    ("how", "text", "expected"),
    [
        ("lines", "a\n\nb\n", ["a\n\n", "b\n"]),
        ("lines", "\n\na\nb", ["\n\na\n", "b"]),
        ("numbered", "Plan:\n1. a\n more\n2. b 3. c\n", ["Plan:\n", "1. a\n more\n", "2. b 3. c\n"]),
        ("numbered", "Step 1: a\nStep 2: b", ["Step 1: a\n", "Step 2: b"]),
        ("numbered", "3.5 apples\n2 pears", ["3.5 apples\n2 pears"]),
        ("tagged", "<step_1>a</step_1>\n<step_2>b\nc</step_2>\nso 4",
         ["<step_1>a</step_1>\n", "<step_2>b\nc</step_2>\n", "so 4"]),
        ("tagged", "<step_1>a", ["<step_1>a"]),
        ("sentences", "It is 3.5. Mr. X has two. Is it? Yes", ["It is 3.5. ", "Mr. X has two. ", "Is it? ", "Yes"]),
        ("auto", "<step_1>a\nb</step_1><step_2>1. c</step_2>", ["<step_1>a\nb</step_1>", "<step_2>1. c</step_2>"]),
        ("auto", "1. a\nmore\n2. b", ["1. a\nmore\n", "2. b"]),
        ("auto", "One. Two.\nThree.", ["One. Two.\n", "Three."]),
        ("auto", "One. Two.", ["One. ", "Two."]),
        ("auto", "", []),
        ("auto", " \n", [" \n"]),
    ],
)  # fmt: skip
def test_splitters(how, text, expected):
    assert [text[s.start : s.end] for s in split_steps(text, how)] == expected


@pytest.mark.parametrize("piece", ["<step_1>", "1. ", "a. ", "\n", " ", "A." * 3, "!", "</step_1> "])
def test_splitting_takes_linear_time(piece):
    assert is_linear(lambda n: [split_steps(piece * n, how) for how in SPLITTERS], 5_000)


TASK = Task(
    "id",
    (
        {"role": "system", "content": "sys"},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "reply"},
        {"role": "user", "content": "What is {x} % of %s?"},
    ),
    "4",
)
NASTY = "{prompt} {0} {} %s %(a)d }{ \\n $x {{feedback_raw}}"


def test_template_is_the_papers():
    feedback = Feedback(
        (Part("outcome", "wrong"), Part("sibling", "2 + 2 = 4"), Part("critique", "step 1 is off", (0,)))
    )
    messages = English().teacher_messages(TASK, feedback)
    assert messages[:3] == list(TASK.messages[:3])
    assert messages[3]["content"] == (
        "What is {x} % of %s?\n"
        "Correct solution:\n\n2 + 2 = 4\n\n"
        "The following is feedback from your unsuccessful earlier attempt:\n\nwrong\nstep 1 is off\n\n"
        "Correctly solve the original question."
    )


def test_template_leaves_out_absent_sections():
    only_solution = English().teacher_messages(TASK, Feedback((Part("reference", "R"),)))[3]["content"]
    assert "Correct solution:\n\nR\n" in only_solution and "feedback" not in only_solution
    only_words = English().teacher_messages(TASK, Feedback((Part("affect", "A"),)))[3]["content"]
    assert "Correct solution" not in only_words and only_words.endswith("A\n\nCorrectly solve the original question.")
    assert English().teacher_messages(TASK, Feedback()) == list(TASK.messages)


@pytest.mark.parametrize("kind", ["outcome", "sibling", "reference", "critique", "affect"])
@settings(max_examples=40, deadline=None)
@given(text=st.one_of(st.just(NASTY), st.text(min_size=1)))
def test_template_keeps_texts_verbatim(kind, text):
    content = English().teacher_messages(TASK, Feedback((Part(kind, text),)))[3]["content"]
    assert content.startswith("What is {x} % of %s?\n") and f"\n\n{text}\n" in content
    assert TASK.messages[3]["content"] == "What is {x} % of %s?"  # the task itself is untouched


def test_a_weighed_note_quotes_what_was_considered():
    said = English().weighed({2: ("so 7 + 3 = 11\n", "so 7 + 3 = 10\n"), 0: ("a", "b", "c")})
    assert said == 'At step 1 you weighed "a", "b" and "c". At step 3 you weighed "so 7 + 3 = 11" and "so 7 + 3 = 10".'
    assert English().weighed({1: ("so  2",)}) == 'Step 2 may well read "so 2".'
    assert English().weighed({}) == ""


def test_a_step_is_reworded_with_the_number_of_another():
    assert English().reworded("so 7 + 3 = 10.", "that makes 2.5 in all") == "so 7 + 3 = 2.5."
    assert English().reworded("no number", "3") is None and English().reworded("3", "none") is None
