"""Detectors of spikes, and what makes a stretch of them a span."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import median_abs_deviation

from frown.affect.spikes import Detector, Shape, flags, form, hysteresis, robust_z, runs, score, snap
from frown.types import Step

# Multiples of 1/8: sums and products below are exact, so that invariances hold to the last bit of the ranking.
VALUES = arrays(np.float64, st.integers(1, 40), elements=st.integers(-80, 80).map(lambda i: i / 8))
MASK = arrays(np.bool_, st.integers(0, 40))


def find_spikes(values, detector, quantiles=None):
    return form(flags(score(values, detector, quantiles), detector), Shape())


@st.composite
def mask_and_steps(draw, tile=False):
    mask = draw(MASK)
    cuts = sorted(set(draw(st.lists(st.integers(0, len(mask)), max_size=8))) | ({0, len(mask)} if tile else set()))
    steps = [Step(a, b) for a, b in zip(cuts, cuts[1:], strict=False)]
    return mask, steps if tile else [s for s in steps if draw(st.booleans())]


def covered(spans, length):
    out = np.zeros(length, bool)
    for a, b in spans:
        out[a:b] = True
    return out


@given(VALUES, st.floats(0.125, 64), st.floats(-100, 100))
def test_robust_z_does_not_see_scale_or_shift(values, scale, shift):
    np.testing.assert_allclose(robust_z(values * scale + shift), robust_z(values), rtol=1e-6, atol=1e-6)


def test_robust_z_is_the_modified_z_score():
    x = np.random.default_rng(0).gamma(1.0, size=101)
    np.testing.assert_allclose(robust_z(x), 0.6745 * (x - np.median(x)) / median_abs_deviation(x), rtol=1e-12)
    # More than half equal: the mean absolute deviation takes the place of a MAD of 0.
    np.testing.assert_allclose(robust_z(np.array([0.0, 0, 0, 0, 5.0])), [0, 0, 0, 0, 5 / 1.253314], rtol=1e-12)
    assert (robust_z(np.full(4, 3.0)) == 0).all()


@pytest.mark.slow
@given(VALUES, st.floats(0.125, 64), st.sampled_from(["rolling_mad", "share"]))
def test_relative_detectors_do_not_see_scale(values, scale, kind):
    detector = Detector(kind, 0.75)
    np.testing.assert_allclose(score(values * scale, detector), score(values, detector), rtol=1e-6, atol=1e-6)


@given(VALUES, st.floats(-5, 5), st.floats(0, 5))
def test_hysteresis_holds_the_strict_spikes_and_stays_within_the_mild_ones(values, enter, slack):
    found = hysteresis(values, enter, enter - slack)
    assert found[values > enter].all()
    assert (values[found] > enter - slack).all()
    for a, b in runs(found):
        assert (values[a:b] > enter).any()
        # maximal: the neighbours had left
        assert (a == 0 or values[a - 1] <= enter - slack) and (b == len(values) or values[b] <= enter - slack)


def test_hysteresis_by_hand():
    x = np.array([0.0, 1.5, 2.5, 1.5, 0.5, 1.5, 0.0])
    assert find_spikes(x, Detector("absolute", 2.0, 1.0)) == [(1, 4)]  # (5, 6) never entered
    assert find_spikes(x, Detector("absolute", 2.0)) == [(2, 3)]
    assert find_spikes(-x, Detector("absolute", -2.0, -1.0, side="below")) == [(1, 4)]


@given(mask_and_steps(), st.integers(0, 4), st.integers(1, 4), st.booleans())
def test_spans_never_overlap_and_never_cross_the_border_of_a_step(case, gap, least, snapped):
    mask, steps = case
    spans = form(mask, Shape(least, gap, snapped), steps)
    assert all(b.start >= a.end for a, b in zip(spans, spans[1:], strict=False))
    for a, b in spans:
        assert b > a and (snapped or b - a >= least)
        assert all((s <= a and b <= e) or b <= s or e <= a for s, e in steps)
    if not snapped:  # what is not merged away lies further apart than the gap, or in another step
        for left, right in zip(spans, spans[1:], strict=False):
            apart = any(left.start < cut <= right.start for step in steps for cut in step)
            assert apart or least > 1 or right.start - left.end > gap


@given(mask_and_steps(), st.integers(0, 4))
def test_merging_keeps_every_spike_and_adds_gaps_alone(case, gap):
    mask, steps = case
    whole = covered(form(mask, Shape(1, gap), steps), len(mask))
    assert whole[mask].all()
    for a, b in runs(whole & ~mask):
        assert b - a <= gap


@given(mask_and_steps(tile=True))
def test_snapped_spans_are_whole_steps_and_exactly_those_touched(case):
    mask, steps = case
    spans = form(mask, Shape(snap=True), steps)
    assert spans == [s for s in steps if mask[s.start : s.end].any()]


def test_a_span_outside_of_all_steps_stays_as_it_is():
    assert snap([Step(1, 3), Step(7, 8)], [Step(0, 2), Step(2, 5)]) == [(0, 2), (2, 5), (7, 8)]


@pytest.mark.slow
@given(VALUES, st.floats(0.01, 0.99))
def test_a_share_flags_at_most_its_share_rounded_up_and_the_largest(values, share):
    found = flags(score(values, Detector("share", 1.0 - share)), Detector("share", 1.0 - share))
    assert found.sum() <= np.ceil(share * len(values) + 1e-9)
    assert not found.any() or found.all() or values[found].min() > values[~found].max()


def test_an_answer_without_differences_has_no_relative_spike():
    for detector in (Detector("share", 0.8), Detector("robust_z", 2.0), Detector("rolling_mad", 2.0)):
        assert find_spikes(np.full(20, 1.7), detector) == []


def test_a_planted_spike_is_found_by_every_detector():
    rng = np.random.default_rng(3)
    x = rng.uniform(0.0, 0.3, 60)
    x[40:43] = [2.0, 3.0, 2.5]
    quantiles = np.searchsorted(np.sort(x), x) / len(x)
    for detector in (
        Detector("absolute", 1.0),
        Detector("robust_z", 5.0),
        Detector("rolling_mad", 5.0),
        Detector("quantile", 0.945),
        Detector("share", 0.95),
    ):
        assert find_spikes(x, detector, quantiles=quantiles) == [(40, 43)], detector
        if detector.kind not in ("absolute", "quantile"):  # upside down, the low values are the remarkable ones
            assert find_spikes(-x, replace(detector, side="below")) == [(40, 43)], detector


def test_what_nobody_can_tell_is_no_spike():
    x = np.array([np.nan, 3.0, np.nan, 0.0, 0.1, 0.2])
    for kind in ("absolute", "robust_z", "share"):
        found = flags(score(x, Detector(kind, 0.9)), Detector(kind, 0.9))
        assert list(np.flatnonzero(found)) == [1], kind
    with pytest.raises(ValueError, match="running quantiles"):
        score(x, Detector("quantile", 0.9))
    with pytest.raises(ValueError, match="milder"):
        Detector("robust_z", 1.0, 2.0)
