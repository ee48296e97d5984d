"""A model compared with itself: how often is a difference shown that is not there?"""

from functools import cache

import numpy as np
import pytest
from scipy.stats import binom, t

from frown.evals import stats
from frown.evals.metrics import metrics
from frown.evals.samples import GradedSamples

pytestmark = pytest.mark.slow

ROUNDS = 400
SHAPES = [
    (prompts, k, hardness)
    for prompts, k in ((5, 12), (12, 4), (20, 1), (20, 12), (60, 4))
    for hardness in ("even", "easy", "hard", "mixed")
]
"""Few and many prompts, one sample and many, answers nearly all right and nearly all wrong."""


def answers(rng, prompts, k, hardness, shift=0.0):
    """What `k` samples of one model score; `hardness` and its own generator give each prompt's accuracy."""
    easy = {"even": 0.5, "easy": 0.97, "hard": 0.03}
    accuracy = np.random.default_rng(prompts).beta(0.5, 0.5, prompts) if hardness == "mixed" else easy[hardness]
    p = np.clip(np.broadcast_to(accuracy, prompts) + shift, 0, 1)
    return (rng.random((prompts, k)) < p[:, None]).astype(float)


def samples(rng, right):
    """Graded samples around what was right: confidence and answers that go with it, as models give them."""
    shape = right.shape
    return GradedSamples(
        step=0,
        split="test",
        task_ids=tuple(map(str, range(len(right)))),
        score=right,
        well_formed=np.ones(shape, bool),
        process_right=np.full(shape, np.nan),
        answer=np.where(right == 1, "7", rng.choice(["3", "4", "9"], shape)).astype(object),
        min_probability=np.clip(rng.beta(2, 2, shape) + 0.2 * right, 0, 1),
        mean_probability=np.ones(shape),
        tokens=np.ones(shape, int),
        entropy=rng.gamma(2, 0.2, shape),
        surprisal=np.ones(shape),
        truncated=np.zeros(shape, bool),
    )


@cache
def using(prompts, resamples=stats.RESAMPLES):
    return stats.draws(1, prompts, resamples)


def calls(name, prompts, k, hardness, rounds, shift=0.0, resamples=400):
    """How many of so many comparisons show a difference in the metric called `name`."""
    metric, found = metrics(k)[name], 0
    for i in range(rounds):
        rng = np.random.default_rng([prompts, k, *hardness.encode(), i])
        ours, theirs = (samples(rng, answers(rng, prompts, k, hardness, s)) for s in (shift, 0.0))
        one, other = (tuple(a[None] for a in metric.arrays(s)) for s in (ours, theirs))
        gap = stats.difference(metric.statistic, one, other, using=using(prompts, resamples))
        found += gap is not None and gap.shown
    return found


def test_of_a_hundred_comparisons_of_a_model_with_itself_at_most_five_show_a_difference():
    most = binom.ppf(0.999, ROUNDS, 0.05)  # 20 shapes: each may be unlucky once in a thousand
    found = {shape: calls("avg_at_k", *shape, ROUNDS) for shape in SHAPES}
    assert {shape: n / ROUNDS for shape, n in found.items() if n > most} == {}
    assert sum(found.values()) <= binom.ppf(0.99, ROUNDS * len(SHAPES), 0.05)


@pytest.mark.parametrize(
    "name", ["pass_at_k", "maj_at_k", "ece", "brier", "ece_min_probability", "auroc_min_probability", "entropy"]
)
def test_so_do_all_the_other_figures(name):
    rounds = 150
    for prompts, hardness in ((8, "even"), (20, "mixed")):
        assert calls(name, prompts, 4, hardness, rounds) <= binom.ppf(0.999, rounds, 0.05)


def test_a_difference_that_is_there_is_shown():
    assert calls("avg_at_k", 60, 12, "mixed", 50, shift=0.15) >= 48
    assert calls("avg_at_k", 12, 12, "even", 50, shift=0.3) >= 48


def test_the_chance_of_an_exchange_is_exact_where_all_can_be_counted():
    """Ten prompts that all gain as much: of 1024 exchanges two are as extreme."""
    theirs = np.random.default_rng(0).random((1, 10, 3)) / 2
    gap = stats.difference(metrics(3)["avg_at_k"].statistic, (theirs + 0.25,), (theirs,), using=using(10, 100_000))
    assert gap.p == pytest.approx(2 / 1024, abs=5e-4) and gap.shown
    alike = stats.difference(metrics(3)["avg_at_k"].statistic, (theirs,), (theirs,), using=using(10))
    assert alike.p == 1.0 and not alike.shown


def test_the_ends_of_an_interval_are_hesterbergs():
    from scipy.stats import norm

    for n in (2, 3, 4, 5, 8, 60, 301):
        assert stats.tail(n) == pytest.approx(norm.cdf(-np.sqrt(n / (n - 1)) * t.ppf(0.975, n - 1)), abs=1e-9)
    assert stats.tail(1) == pytest.approx(0.025) and stats.tail(100_000) == pytest.approx(0.025, abs=1e-5)
