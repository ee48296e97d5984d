"""reasoning-gym: its own answers score 1, splits are disjoint, what fails is unscored."""

import sys

import numpy as np
import pytest

from frown.config import TaskConfig
from frown.errors import FrownError
from frown.tasks.gym import GymEnvironment
from frown.tasks.load import load_environment

pytest.importorskip("reasoning_gym")

pytestmark = pytest.mark.slow

NAMES = "chain_sum leg_counting basic_arithmetic gcd spell_backward number_sorting maze simple_equations".split()


@pytest.fixture
def environment(request):
    env = GymEnvironment(request.param, workers=1)
    yield env
    env.close()


@pytest.mark.parametrize("environment", NAMES, indirect=True)
def test_own_answers_score_one_and_others_do_not(environment):
    tasks = environment.test_tasks("test", 8)
    assert all(v.right for v in environment.verify(tasks, [t.answer for t in tasks]))
    tagged = environment.verify(tasks, [f"so\n<answer>{t.answer}</answer>" for t in tasks])
    assert all(v.right and v.well_formed for v in tagged)
    wrong = environment.verify(tasks, ["<answer>banana</answer>"] * 8)
    assert all(v.scored and v.score < 1.0 for v in wrong)
    (empty,) = environment.verify(tasks[:1], ["<think>hm</think>"])
    assert (empty.score, empty.message, empty.answer) == (0.0, "no answer found", None)


@pytest.mark.parametrize("environment", ["gcd"], indirect=True)
def test_splits_are_fixed_and_disjoint(environment):
    parts = [environment.test_tasks(split, 128) for split in ("dev", "test")]
    parts.append(environment.train_tasks(np.random.default_rng(0), 300))
    ids = [{t.id for t in part} for part in parts]
    assert all(ids) and not ids[0] & ids[2] and not ids[1] & ids[2]
    assert len(parts[2]) == 300 and len(ids[1]) == len(parts[1]) > 100
    again = GymEnvironment("gcd", workers=1)
    assert again.test_tasks("test", 9) == parts[1][:9]
    assert again.train_tasks(np.random.default_rng(0), 300) == parts[2]
    assert GymEnvironment("gcd", seed=1).test_tasks("test", 9) != parts[1][:9]
    with pytest.raises(FrownError, match="no split 'heldout', only dev, test"):
        environment.test_tasks("heldout", 1)


def test_options_reach_the_generator_and_the_scorer():
    env = load_environment(TaskConfig(kind="gym:chain_sum", options={"min_terms": 2, "max_terms": 2, "max_digits": 1}))
    task = env.test_tasks("test", 1)[0]
    assert len(task.answer) <= 2
    assert env.verify([task], [task.answer])[0].right
    env.close()


def test_too_few_problems_is_an_error():
    env = GymEnvironment("chain_sum", {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1})
    train = env.train_tasks(np.random.default_rng(0), 2000)  # there are few such sums, most of them test problems
    assert len(train) == 2000 and len({t.id for t in train}) < 100
    env._test_ids |= {t.id for t in train}
    with pytest.raises(FrownError, match="too few different problems"):
        env.train_tasks(np.random.default_rng(0), 500)


@pytest.mark.parametrize("environment", ["chain_sum"], indirect=True)
def test_a_scorer_that_raises_is_unscored(environment):
    good, bad = environment.test_tasks("test", 2)
    broken = type(bad)(bad.id, bad.messages, bad.answer, data={"entry": {"question": "?"}})  # no answer to score
    verdicts = environment.verify([good, broken], [good.answer, "5"])
    assert verdicts[0].right
    assert not verdicts[1].scored and "score_answer failed: KeyError" in verdicts[1].message


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("chain_sm", {}, ["no data set 'chain_sm'", "did you mean chain_sum"]),
        ("", {}, ["no data set ''"]),
        ("chain_sum", {"min_term": 3}, ["no option 'min_term'", "did you mean 'min_terms'"]),
        ("chain_sum", {"seed": 3}, ["no option 'seed'"]),
        ("chain_sum", {"min_terms": -3}, ["min_terms must be positive"]),
        ("chain_sum", {"min_terms": "two"}, ["cannot make problems"]),
    ],
)
def test_bad_names_and_options_are_one_line(name, options, words):
    with pytest.raises(FrownError) as error:
        GymEnvironment(name, options)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(FrownError, match=r'gym tasks need reasoning-gym: pip install "frown\[gym\]"'):
        GymEnvironment("chain_sum")
