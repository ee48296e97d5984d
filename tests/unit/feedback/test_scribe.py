"""The faithful scribe: what stands verbatim, what is replaced, what is left out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from frown.critics.base import Comment, Request, Review
from frown.feedback.compose import compose
from frown.feedback.scribe import LONGEST, scribe
from frown.tasks.wording import ATTEMPT, English
from frown.types import Feedback, Part, Rollout, Task, Verdict

STEPS = ("1. 2 + 2 = 4\n", "2. 4 * 3 = 13\n", "3. 13 - 1 = 12")


def word(step, right, text="!"):
    return Comment(step, right, text)


def test_an_answer_is_put_right_at_its_earliest_error_and_goes_on_from_there():
    said = [word(0, True), word(1, False, "2. 4 * 3 = 12"), word(2, True)]
    assert scribe(STEPS, said) == "1. 2 + 2 = 4\n2. 4 * 3 = 12"
    assert scribe(STEPS, said, "3. 12 - 1 = 11") == "1. 2 + 2 = 4\n2. 4 * 3 = 12\n3. 12 - 1 = 11"


def test_a_right_answer_is_reproduced_and_what_nobody_judged_is_left_out():
    assert scribe(STEPS, [word(i, True) for i in range(3)]) == "".join(STEPS)
    assert scribe(STEPS, [word(0, True), word(2, True)]) == STEPS[0].strip() + "\n" + STEPS[2]
    assert scribe(STEPS, []) == ""


def test_a_truncated_answer_is_condensed_and_finished():
    long = "so " * LONGEST
    told = scribe((long, "x"), [word(0, True), word(1, True)], "The answer is 4.", truncated=True)
    first, *rest = told.split("\n")
    assert len(first) <= LONGEST + 6 and first.endswith("[...]") and long.startswith(first.removesuffix(" [...]"))
    assert rest == ["x", "The answer is 4."]


@given(
    st.lists(st.text("abc =1", min_size=1, max_size=20), min_size=1, max_size=6),
    st.data(),
)
def test_a_wrong_step_is_never_quoted(texts, data):
    steps = [f"<{i}>{t}" for i, t in enumerate(texts)]
    right = [data.draw(st.booleans()) for _ in steps]
    told = scribe(steps, [word(i, ok, "CORRECTED") for i, ok in enumerate(right)])
    first = right.index(False) if False in right else len(right)
    for i in range(len(steps)):
        assert (f"<{i}>" in told) == (i < first)
    assert ("CORRECTED" in told) == (first < len(right))


class Marker:
    def review(self, requests):
        return [Review((word(0, True), word(1, False, "2. 4 * 3 = 12")), "3. 12 - 1 = 11") for _ in requests]


def test_the_same_builder_serves_every_critic():
    task = Task("t", ({"role": "user", "content": "q"},), "11")
    request = Request(task, "".join(STEPS), STEPS, (0, 1, 2))
    composed = compose(
        [Rollout(task, 0, np.arange(2), np.arange(2), np.zeros(2), 1.0, "eos", "", verdict=Verdict(0.0))],
        [["critique"]],
        requests=[request],
        notes=[None],
        critic=Marker(),
        rng=None,
        selected=[0],
        write="scribe",
    )
    [part] = composed.feedback[0].parts
    assert part.attempt and part.steps is None
    content = English().teacher_messages(task, Feedback((part, Part("outcome", "wrong"))))[0]["content"]
    assert (
        content.index(ATTEMPT)
        < content.index("4 * 3 = 12")
        < content.index("unsuccessful")
        < content.index("\n\nwrong\n")
    )
    assert "13" not in content
