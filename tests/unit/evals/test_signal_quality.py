"""AUROC, average precision and top-1 hits of signals, against scikit-learn and against copied rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from frown.evals.ranking import auroc, average_precision, top1
from frown.evals.signal_quality import (
    Units,
    answer_units,
    doubtfulness,
    prevalence,
    quality,
    signal_quality,
    step_units,
)
from frown.evals.stats import draws
from frown.types import Rollout, Signals, Step, Task, Verdict


def table(seed=0, prompts=8, k=3, steps=4, values=5):
    """[N, m] arrays with ties, unknown units, a prompt without wrong units and one without known ones."""
    rng = np.random.default_rng(seed)
    shape = (prompts, k * steps)
    wrong = rng.choice([0.0, 1.0, np.nan], p=[0.6, 0.3, 0.1], size=shape)
    wrong[0] = 0.0
    wrong[1] = np.nan
    value = rng.integers(0, values, shape) + np.nan_to_num(wrong)
    sequence = np.arange(prompts)[:, None] * k + np.repeat(np.arange(k), steps)[None]
    position = np.broadcast_to(np.tile(np.arange(steps), k), shape)
    return value, wrong, sequence.astype(float), position.astype(float)


def strata(value, wrong, within):
    """Flat known (value, wrong) of each stratum that has both kinds."""
    known = np.isfinite(wrong)
    for g in np.unique(within[known]):
        at = known & (within == g)
        yield value[at], wrong[at]


def pooled_auroc(value, wrong, within):
    """scikit-learn's AUROC of each stratum, by its number of pairs."""
    found = [
        (roc_auc_score(w, v), w.sum() * (1 - w).sum()) for v, w in strata(value, wrong, within) if 0 < w.mean() < 1
    ]
    return np.average([a for a, _ in found], weights=[n for _, n in found])


def pooled_ap(value, wrong, within):
    found = [(average_precision_score(w, v), w.sum()) for v, w in strata(value, wrong, within) if w.any()]
    return np.average([a for a, _ in found], weights=[n for _, n in found])


@pytest.mark.slow
@pytest.mark.parametrize("values", [3, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_points_are_scikit_learns(seed, values):
    value, wrong, sequence, position = table(seed, values=values)
    for within in (np.zeros_like(wrong), position, sequence):
        assert auroc(value, wrong, within) == pytest.approx(pooled_auroc(value, wrong, within), abs=1e-12)
        assert average_precision(value, wrong, within) == pytest.approx(pooled_ap(value, wrong, within), abs=1e-12)
    known = np.isfinite(wrong)
    assert prevalence(wrong) == pytest.approx(wrong[known].mean())


@pytest.mark.slow
def test_a_resample_is_what_copying_prompts_gives():
    """A prompt drawn twice brings two copies of its answers: each compares within itself alone."""
    value, wrong, sequence, position = table(5, values=4)
    pooled = np.zeros_like(wrong)
    for counts in np.random.default_rng(1).multinomial(8, np.full(8, 1 / 8), size=20):
        rows = np.repeat(np.arange(8), counts)
        v, x, p = value[rows], wrong[rows], position[rows]
        own = sequence[rows] + 1000.0 * np.arange(len(rows))[:, None]
        w = counts[None].astype(float)
        for within, mine in ((pooled, pooled[rows]), (position, p)):
            assert auroc(value, wrong, within, w)[0] == pytest.approx(pooled_auroc(v, x, mine), abs=1e-12)
            assert average_precision(value, wrong, within, w)[0] == pytest.approx(pooled_ap(v, x, mine), abs=1e-12)
        assert auroc(value, wrong, sequence, w, own=True)[0] == pytest.approx(pooled_auroc(v, x, own), abs=1e-12)
        assert average_precision(value, wrong, sequence, w)[0] == pytest.approx(pooled_ap(v, x, own), abs=1e-12)
        assert top1(value, wrong, sequence, w)[0] == pytest.approx(naive_top1(v, x, own), abs=1e-12)


def naive_top1(value, wrong, sequence):
    hits = []
    for v, w in strata(value, wrong, sequence):
        if w.any():
            hits.append(w[v == v.max()].mean())
    return np.mean(hits)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 5, 10_000]))
def test_top1_auroc_of_the_opposite_and_ranks_alone(seed, values):
    value, wrong, sequence, _ = table(seed, values=values)
    pooled = np.zeros_like(wrong)
    assert top1(value, wrong, sequence) == pytest.approx(naive_top1(value, wrong, sequence))
    assert auroc(-value, wrong, pooled) == pytest.approx(1 - auroc(value, wrong, pooled))
    assert auroc(np.exp(value / 1e4), wrong, sequence) == pytest.approx(auroc(value, wrong, sequence))
    assert auroc(np.zeros_like(value), wrong, pooled) == pytest.approx(0.5)


def test_what_cannot_be_estimated_is_nan_and_not_a_number():
    none = np.full((3, 2), np.nan)
    one = np.ones((3, 2))
    for f in (auroc, average_precision, top1):
        assert np.isnan(f(one, none, one))
        assert f(one, none, one, np.ones((4, 3))).shape == (4,)
    assert np.isnan(auroc(one, one, one)) and average_precision(one, one, one) == 1.0
    assert np.isnan(average_precision(one, one * 0, one))


def rollout(task, answer, steps=((0, 2), (2, 5)), right=(True, False), score=0.0, **signals):
    n = len(next(iter(signals.values())))
    verdict = Verdict(score, step_right=right) if right != "unscored" else Verdict.unscored("no idea")
    return Rollout(
        Task(task, (), ""), 0, np.arange(2), np.arange(n), np.zeros(n, np.float32), 1.0, "eos", answer,
        tuple(Step(*s) for s in steps), Signals({k: np.asarray(v, np.float32) for k, v in signals.items()}), verdict,
    )  # fmt: skip


def test_units_are_read_at_their_worst_token():
    rollouts = [
        rollout("a", "x", surprisal=[1, 3, 0, 2, 5, 9], margin=[0.9, 0.2, 0.5, 0.25, 1, 0.125]),
        rollout("b", "y", right="unscored", surprisal=[1] * 5, margin=[1] * 5),
        rollout("a", "z", right=(True,), surprisal=[1] * 5, margin=[1] * 5),  # a step too few verdicts
        rollout("a", "v", right=(True, True), score=1.0, surprisal=[0.5] * 5, margin=[0.5] * 5),
    ]
    steps = step_units(rollouts)
    assert steps.prompts == 2
    assert steps.prompt.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    assert steps.sequence.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert steps.position.tolist() == [0, 1] * 4
    np.testing.assert_array_equal(steps.wrong, [0, 1, *[np.nan] * 4, 0, 0])
    assert steps.unscored == 4
    np.testing.assert_allclose(steps.values["surprisal"][:2], [3, 5])
    np.testing.assert_allclose(steps.values["margin"][:2], [0.8, 0.75])
    answers = answer_units(rollouts)
    np.testing.assert_array_equal(answers.wrong, [1, np.nan, 1, 0])
    np.testing.assert_allclose(answers.values["surprisal"][0], 9)
    np.testing.assert_allclose(answers.values["margin"][0], 0.875)
    found = signal_quality(rollouts, draws(1, 2, 50))
    assert found["steps"]["units"] == 8 and found["steps"]["unscored"] == 4 and found["steps"]["wrong"] == 1
    assert found["answers"]["unscored"] == 1 and found["temperature"] == 1.0


def test_a_signal_of_unknown_direction_is_refused_and_known_ones_point_the_right_way():
    with pytest.raises(ValueError, match="whether a high 'luck' means doubt"):
        doubtfulness("luck", np.ones(3, np.float32))
    flat, peaked = np.full(10, 0.1), np.array([0.91, *[0.01] * 9])

    def read(p):
        h = -(p * np.log(p)).sum()
        top = np.sort(p)[::-1]
        return {
            "entropy": h,
            "effective_choices": np.exp(h),
            "top_probability": top[0],
            "margin": top[0] - top[1],
            "self_certainty": -np.log(10 * p).mean(),
            "surprisal": -np.log(p[0]),
        }

    for name in read(flat):
        unsure, sure = (doubtfulness(name, np.array([read(p)[name]])) for p in (flat, peaked))
        assert unsure > sure, name
    assert np.isnan(doubtfulness("entropy", np.zeros(0, np.float32)))


def test_intervals_of_a_signal_that_knows_and_of_one_that_does_not():
    rng = np.random.default_rng(4)
    m, prompts, k, steps = 100 * 4 * 5, 100, 4, 5
    wrong = (rng.random(m) < 0.25).astype(float)
    position = np.tile(np.arange(steps), prompts * k)
    units = Units(
        prompts,
        np.repeat(np.arange(prompts), k * steps),
        np.repeat(np.arange(prompts * k), steps),
        position,
        np.where(rng.random(m) < 0.02, np.nan, wrong),
        {"knows": wrong * 2 + rng.normal(size=m), "noise": rng.normal(size=m), "place": position + 0.0},
    )
    found = quality(units, draws(1, prompts, 200))
    auc = {name: found["signals"][name]["auroc"] for name in units.values}
    assert 0.88 < auc["knows"]["ci95"][0] < auc["knows"]["mean"] < auc["knows"]["ci95"][1] < 0.96
    assert auc["noise"]["ci95"][0] < 0.5 < auc["noise"]["ci95"][1]
    place = found["signals"]["place"]
    assert place["auroc_within_position"]["mean"] == 0.5
    ap = found["signals"]["noise"]["average_precision"]
    assert abs(ap["mean"] - found["prevalence"]["mean"]) < 0.04
    top = found["signals"]["noise"]["top1"]
    assert top["ci95"][0] < found["top1_chance"]["mean"] < top["ci95"][1]
    assert found["signals"]["knows"]["top1"]["ci95"][0] > found["top1_chance"]["ci95"][1]
    assert found["unscored"] == np.isnan(units.wrong).sum() > 0


def test_no_units_at_all():
    assert quality(step_units([]))["signals"] == {}
    bare = rollout("a", "x", steps=(), right=None, surprisal=[1, 2])
    found = signal_quality([bare, bare], draws(1, 1, 20))
    assert found["steps"]["units"] == 0 and found["answers"]["wrong"] == 2
    assert found["answers"]["signals"]["surprisal"]["auroc"] is None
