"""Running quantiles: closed forms, an independent oracle, sharpening, round trips, bounded memory."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import percentileofscore

from frown.affect.normalise import Normaliser
from frown.errors import FrownError
from frown.types import Signals

ROW = arrays(np.float32, st.integers(0, 30), elements=st.floats(0, 8, width=32))


def signals(values) -> Signals:
    return Signals({"entropy": np.asarray(values, np.float32)})


def one(**changes) -> Normaliser:
    return Normaliser(**{"signals": ("entropy",), "edges": (0,), "at_least": 1, **changes})


@pytest.mark.slow
@given(st.lists(ROW, min_size=1, max_size=4), ROW)
def test_small_batches_give_exact_midranks(rows, asked):
    known = np.concatenate(rows).astype(np.float64)
    n = one(resolution=200).update([signals(r) for r in rows])
    got = n.quantile("entropy", asked)
    if not len(known):
        assert np.isnan(got).all()
        return
    expected = [percentileofscore(known, float(x), kind="mean") / 100 for x in asked]
    np.testing.assert_allclose(got, expected, atol=1e-12)


@given(st.integers(0, 1000), st.integers(1, 4), st.sampled_from([16, 64]))
def test_large_batches_are_off_by_half_a_place_of_the_resolution(seed, batches, resolution):
    rng = np.random.default_rng(seed)
    n, everything = one(resolution=resolution), []
    for _ in range(batches):
        x = rng.gamma(0.5, size=int(rng.integers(100, 400))).astype(np.float32)
        everything.append(x)
        n = n.update([signals(x)])
    known, asked = np.sort(np.concatenate(everything)), rng.gamma(0.5, size=50).astype(np.float32)
    exact = (np.searchsorted(known, asked, "left") + np.searchsorted(known, asked, "right")) / 2 / len(known)
    assert np.abs(n.quantile("entropy", asked) - exact).max() <= 0.5 / resolution + 1.0 / 100  # a value's own width


def test_a_threshold_goes_blind_when_the_policy_sharpens_and_a_quantile_does_not():
    rng, n, share = np.random.default_rng(0), Normaliser(signals=("entropy",)), []
    for step in range(60):
        sharpness = 1.0 / (1.0 + step)  # entropies fall to a sixtieth
        batch = [signals(rng.gamma(0.5, sharpness, size=60)) for _ in range(32)]
        n = n.update(batch)
        values = np.concatenate([s["entropy"] for s in batch])
        ranks = np.concatenate([n.quantile("entropy", s["entropy"]) for s in batch])
        share.append(((values > 0.6).mean(), (ranks > 0.8).mean()))
    (absolute, relative), (blind, seeing) = share[0], share[-1]
    assert absolute > 0.2 and blind < 0.005
    assert relative == pytest.approx(0.2, abs=0.02) and seeing == pytest.approx(0.2, abs=0.04)


def test_places_are_kept_apart():
    n = Normaliser(signals=("entropy",), edges=(0, 4), at_least=8).update([signals([0, 0, 0, 0, 9, 9, 9, 9])] * 2)
    np.testing.assert_allclose(n.quantile("entropy", [1, 1, 1, 1, 1, 1]), [1, 1, 1, 1, 0, 0])


def test_what_was_hardly_seen_has_no_quantile():
    n = Normaliser(signals=("entropy",), edges=(0, 4), at_least=9).update([signals([1] * 6)] * 3)
    got = n.quantile("entropy", [1, np.nan, 1, 1, 1, 1])
    assert np.isnan(got[[1, 4, 5]]).all() and (got[[0, 2, 3]] == 0.5).all()
    assert np.isnan(Normaliser().quantile("entropy", [1.0])).all()


def test_memory_is_bounded_and_old_batches_are_forgotten():
    n = one(memory=3, resolution=8)
    for level in range(10):
        n = n.update([signals(np.full(50, level))])
    (held,) = n.sketches["entropy"]
    assert [s.values[0] for s in held] == [7.0, 8.0, 9.0] and all(len(s.values) == 8 for s in held)
    assert n.quantile("entropy", [6.0, 8.0, 10.0]).tolist() == pytest.approx([0.0, 0.5, 1.0])


@pytest.mark.slow
@given(st.lists(st.lists(ROW, max_size=3), max_size=4), ROW)
def test_the_state_survives_json_exactly(batches, asked):
    n = Normaliser(memory=3, resolution=5, at_least=2, edges=(0, 3, 9))
    for batch in batches:
        n = n.update([signals(r) for r in batch])
    back = Normaliser.from_state(json.loads(json.dumps(n.state())))
    assert back == n
    np.testing.assert_array_equal(back.quantile("entropy", asked), n.quantile("entropy", asked))
    after = [x.update([signals([1.0, 2.0])]) for x in (n, back)]
    assert after[0] == after[1]


def test_update_leaves_the_old_one_alone_and_skips_what_is_not_finite():
    old = one()
    new = old.update([signals([1.0, np.nan, np.inf])])
    assert old == one() and new.sketches["entropy"][0][0].total == 1


def test_a_spoilt_state_is_one_line():
    state = one().update([signals([1.0])]).state()
    for spoilt in ({}, {**state, "edges": [0, 5]}, {**state, "sketches": {"entropy": 3}}):
        with pytest.raises(FrownError, match="running quantiles"):
            Normaliser.from_state(spoilt)
