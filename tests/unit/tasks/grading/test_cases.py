"""Answers as people and models write them, judged rightly: a file of cases here, and one beside the project."""

import json
from pathlib import Path

import pytest

from frown.tasks.load import make_grader
from paths import HELPERS, SHARED

OWN = HELPERS / "data" / "grading.jsonl"
GATHERED = SHARED / "cases" / "grading.jsonl"


def misjudged(file: Path) -> list[tuple[str, str, str, str]]:
    cases = [json.loads(line) for line in file.read_text("utf-8").split("\n") if line]
    wrong = []
    for task in ("math", "choice", "exact"):
        if task == "math":
            pytest.importorskip("math_verify")
        of_task = [c for c in cases if c["task"] == task]
        grader = make_grader(task)
        try:
            verdicts = grader.grade([c["answer"] for c in of_task], [c["completion"] for c in of_task])
        finally:
            grader.close()
        for case, verdict in zip(of_task, verdicts, strict=True):
            judged = "right" if verdict.right else "wrong" if verdict.scored else "unscored"
            if judged != case["expected"]:
                wrong.append(
                    (case["completion"][:200], case["answer"], case["expected"], f"{judged}: {verdict.message}")
                )
    return wrong


@pytest.mark.slow
def test_every_case_is_judged_as_a_person_would():
    assert len(OWN.read_text("utf-8").split("\n")) > 500
    assert misjudged(OWN) == []


@pytest.mark.slow
def test_every_gathered_case_is_judged_as_a_person_would():
    if not GATHERED.exists():
        pytest.skip("the gathered cases are not beside the project")
    assert misjudged(GATHERED) == []


@pytest.mark.parametrize("said", ["Yes", "No", "true", "Tuesday", "Evelyn"])
def test_words_are_judged_all_alike(said):
    """A set of yes and no must not be judged by half."""
    grader = make_grader("math")
    try:
        same, other, number, nothing = grader.grade(
            [said] * 4, [f"So it is {said}.", "The answer is Maybe.", "7", "hm"]
        )
    finally:
        grader.close()
    assert same.right and all(v.scored and not v.right for v in (other, number, nothing))


@pytest.mark.parametrize(
    ("gold", "completion"),
    [("3:45 PM", "The answer is 3:45."), ("March 5, 2024", "The answer is March 5."), ("3:45", "It is 3:45 PM.")],
)
def test_half_a_time_is_unscored(gold, completion):
    grader = make_grader("math")
    try:
        (verdict,) = grader.grade([gold], [completion])
    finally:
        grader.close()
    assert not verdict.scored and "nobody can tell" in verdict.message
