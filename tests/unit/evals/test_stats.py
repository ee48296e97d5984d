"""The bootstrap against scipy, against brute force, and against the truth (coverage)."""

from functools import partial

import numpy as np
import pytest

from frown.evals import calibration, stats
from frown.evals.accuracy import avg_at_k
from frown.evals.weights import mean_of_prompts
from growth import growth


def test_one_seed_agrees_with_scipy():
    from scipy.stats import bootstrap

    x = np.random.default_rng(0).beta(2, 1, size=60)
    ours = stats.interval(mean_of_prompts, x[None], using=stats.draws(1, 60, resamples=20_000))
    theirs = bootstrap(
        (x,),
        np.mean,
        n_resamples=20_000,
        method="percentile",
        confidence_level=1 - 2 * stats.tail(60),
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert ours.mean == pytest.approx(x.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.003)
    assert ours.high == pytest.approx(theirs.high, abs=0.003)


def test_crossed_resampling_is_what_copying_rows_and_columns_gives():
    rng = np.random.default_rng(0)
    conf, right = rng.random((3, 20, 4)), rng.integers(0, 2, (3, 20, 4)).astype(float)
    using = stats.draws(3, 20, resamples=200, seed=5)
    fast = stats.interval(calibration.ece, conf, right, using=using)
    slow = []
    for counts, seeds in zip(using.prompts.astype(int), using.seeds, strict=True):
        rows = np.repeat(np.arange(20), counts)
        slow.append(np.mean([calibration.ece(conf[s][rows], right[s][rows]) for s in seeds]))
    np.testing.assert_allclose(
        (fast.low, fast.high), np.quantile(slow, [stats.tail(20), 1 - stats.tail(20)]), atol=1e-12
    )
    assert fast.mean == pytest.approx(np.mean([calibration.ece(conf[s], right[s]) for s in range(3)]))


def test_draws_are_seeded_and_share_prompts_between_numbers_of_seeds():
    a, b, c = stats.draws(3, 10, 50), stats.draws(3, 10, 50), stats.draws(2, 10, 50)
    assert np.array_equal(a.prompts, b.prompts) and np.array_equal(a.seeds, b.seeds)
    assert np.array_equal(a.prompts, c.prompts)
    assert (a.prompts.sum(axis=1) == 10).all() and set(np.unique(a.seeds)) == {0, 1, 2}
    assert not np.array_equal(a.prompts, stats.draws(3, 10, 50, seed=1).prompts)


def test_a_constant_difference_has_an_interval_without_width():
    """Prompts and seeds are drawn alike in both arms, so what they share cancels."""
    theirs = np.random.default_rng(0).random((3, 30, 12)) * 0.8
    using = stats.draws(3, 30)
    gap = stats.difference(avg_at_k, (theirs + 0.1,), (theirs,), using=using)
    assert (gap.low, gap.high) == (pytest.approx(0.1), pytest.approx(0.1))
    assert gap.excludes_zero
    none = stats.difference(avg_at_k, (theirs,), (theirs,), using=using)
    assert (none.mean, none.low, none.high) == (0.0, 0.0, 0.0) and not none.excludes_zero


def test_pairing_wants_the_same_seeds_and_prompts():
    a, b = np.zeros((3, 5, 2)), np.zeros((2, 5, 2))
    with pytest.raises(ValueError, match="share seeds"):
        stats.difference(avg_at_k, (a,), (b,), using=stats.draws(3, 5))
    with pytest.raises(ValueError, match="draws are for"):
        stats.interval(avg_at_k, b, using=stats.draws(3, 5))


def test_what_cannot_be_estimated_has_no_interval():
    conf = np.random.default_rng(0).random((2, 10, 3))
    right = np.ones((2, 10, 3))
    using = stats.draws(2, 10)
    assert stats.interval(calibration.auroc, conf, right, using=using) is None
    right[:, 0, 0] = 0.0  # one wrong answer in one prompt: a third of the resamples do not have it
    assert np.isfinite(calibration.auroc(conf[0], right[0]))
    assert stats.interval(calibration.auroc, conf, right, using=using) is None


def test_infinite_figures_stay_at_the_edge():
    kept = stats.percentile(np.inf, np.array([1.0] * 50 + [np.inf] * 50), 60)
    assert (kept.low, kept.high) == (1.0, np.inf)
    resampled = np.random.default_rng(0).random(1000)
    plain = stats.percentile(0.5, resampled, 1)
    np.testing.assert_allclose((plain.low, plain.high), np.quantile(resampled, [0.025, 0.975]))


def coverage(make, truth, seeds, prompts, rounds, statistic=mean_of_prompts):
    hits = 0
    for i in range(rounds):
        found = stats.interval(statistic, make(i), using=stats.draws(seeds, prompts, resamples=400, seed=i))
        hits += found.low <= truth <= found.high
    return hits / rounds


@pytest.mark.slow
def test_coverage_over_prompts_is_near_95_percent():
    def make(i):
        return np.random.default_rng([1, i]).beta(4, 1, size=(1, 60))

    assert 0.91 <= coverage(make, 0.8, 1, 60, 600) <= 0.98


@pytest.mark.slow
def test_coverage_with_three_seeds_has_the_documented_limit():
    """Small seed effects: near nominal. Large seed effects: too narrow, as the docstring of stats says."""

    def make(seed_sd, i):
        rng = np.random.default_rng([2, i])
        return rng.normal(0, seed_sd, (3, 1)) + rng.normal(0, 0.3, (1, 60)) + rng.normal(0, 0.1, (3, 60))

    small = coverage(partial(make, 0.02), 0.0, 3, 60, 400)
    large = coverage(partial(make, 0.3), 0.0, 3, 60, 400)
    assert 0.90 <= small <= 0.99
    assert 0.60 <= large <= 0.90


@pytest.mark.parametrize("statistic", [calibration.ece, calibration.ece_equal_mass, calibration.auroc])
def test_a_figure_is_worked_out_for_all_resamples_at_once(statistic):
    """Once a seed; and a thousand resamples are far less work than a thousand times one."""
    rng = np.random.default_rng(0)
    conf, right = rng.random((3, 60, 12)), rng.integers(0, 2, (3, 60, 12)).astype(float)
    using, calls = stats.draws(3, 60), []

    def counted(*arrays, **weights):
        calls.append(len(arrays))
        return statistic(*arrays, **weights)

    assert stats.interval(counted, conf, right, using=using) is not None
    assert len(calls) == 2 * 3  # the figure itself, and its resamples
    assert any(growth(lambda n: statistic(conf[0], right[0], weights=using.prompts[:n]), 1, 1000) < 300
               for _ in range(3))  # fmt: skip
