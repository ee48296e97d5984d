"""The grader agrees with reasoning-gym's own scorers on every data set whose answers are numbers."""

import random
import re

import pytest

from frown.tasks.grading.gold import read_gold
from frown.tasks.grading.math import MathGrader

ITEMS = 50
NOT_NUMBERS = {
    "countdown": "the answer is an expression, and many are right",
    "puzzle24": "the answer is an expression, and many are right",
    "codeio": "the answer is what a program prints, which is seldom a number",
    "composite": "a mixture of others",
    "coin_flip": "its scorer takes 11 for 1",
}


def numeric_datasets(gym) -> dict[str, list[dict]]:
    from reasoning_gym.factory import DATASETS

    datasets = {}
    for name in sorted(set(DATASETS) - set(NOT_NUMBERS)):
        few = gym.create_dataset(name, seed=1, size=3)
        first = [few[i]["answer"] for i in range(3)]
        if all(a is not None and re.fullmatch(r"[-+]?[\d.,/]*\d(?:e[-+]?\d+)?", str(a).strip()) for a in first):
            whole = gym.create_dataset(name, seed=1, size=ITEMS)
            datasets[name] = [(whole, whole[i]) for i in range(ITEMS)]
    return datasets


@pytest.mark.slow
def test_agreement_with_the_scorers_of_numeric_data_sets():
    gym = pytest.importorskip("reasoning_gym")
    pytest.importorskip("math_verify")
    asked, theirs = [], []
    datasets = numeric_datasets(gym)
    assert len(datasets) >= 24
    for name, entries in datasets.items():
        draw = random.Random(name)
        for dataset, entry in entries:
            answer = str(entry["answer"]).strip()
            gold = read_gold(answer)
            if gold.kind != "number":
                continue
            value = gold.quantity.number.value
            perturbed = (
                str(float(value * 2 + 1))
                if "e" in answer
                else str(value + draw.choice((1, -1, 10)) * max(1, abs(value) // 5))
            )
            for said in (answer, perturbed):
                asked.append((name, answer, said))
                theirs.append(dataset.score_answer(said, entry) >= 0.99)
    grader = MathGrader(workers=1)
    try:
        ours = grader.grade([gold for _, gold, _ in asked], [f"So the answer is {said}." for _, _, said in asked])
    finally:
        grader.close()
    assert [a for a, v, t in zip(asked, ours, theirs, strict=True) if v.right != t] == []
