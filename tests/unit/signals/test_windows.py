"""Windows and trajectories against loops written from the papers' definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frown.signals import windows

trajectory = st.lists(st.floats(0, 6, width=32), min_size=1, max_size=40).map(lambda x: np.array(x, dtype=np.float32))


def window_means(x: np.ndarray, w: int) -> list[float]:
    """As DeepConf's released helper takes them, without its rounding."""
    if len(x) < w:
        return [float(np.mean(x, dtype=np.float64))]
    return [float(np.mean(x[i : i + w], dtype=np.float64)) for i in range(len(x) - w + 1)]


@given(trajectory, st.integers(1, 50))
def test_deepconf(x: np.ndarray, w: int) -> None:
    means = window_means(x, w)
    np.testing.assert_allclose(windows.window_confidence(x, w), means, atol=1e-9)
    np.testing.assert_allclose(windows.lowest_window(x, w), min(means), atol=1e-9)
    bottom = sorted(means)[: max(1, int(0.1 * len(means)))]
    np.testing.assert_allclose(windows.bottom_windows(x, w), np.mean(bottom), atol=1e-9)
    np.testing.assert_allclose(windows.tail_confidence(x, w), x[-w:].mean(dtype=np.float64), atol=1e-9)
    assert windows.lowest_window(x, w) <= windows.bottom_windows(x, w) + 1e-9
    np.testing.assert_allclose(windows.bottom_windows(x, w, 1.0), np.mean(means), atol=1e-9)


def test_deepconf_by_hand() -> None:
    x = np.array([4.0, 4, 1, 1, 4, 4])
    assert windows.window_confidence(x, 2).tolist() == [4, 2.5, 1, 2.5, 4]
    assert windows.lowest_window(x, 2) == 1.0
    assert windows.bottom_windows(x, 2, 0.6) == 2.0  # of 1, 2.5 and 2.5
    assert windows.tail_confidence(x, 3) == 3.0


def slow_edis(h: np.ndarray, w: int, b: float, r: float) -> tuple[list[int], list[int], float]:
    """Equations 5 to 7, token by token."""
    h = h.astype(np.float64)
    burst = [t + w for t in range(len(h) - w) if h[t + w] - h[t] > b]
    rebound = [t for t in range(1, len(h)) if h[t] - min(h[:t]) > r]
    return burst, rebound, 0.5 * (len(burst) + len(rebound)) * (1 + float(np.var(h)))


@given(trajectory, st.integers(1, 12))
def test_edis(h: np.ndarray, w: int) -> None:
    burst, rebound, score = slow_edis(h, w, windows.BURST_NATS, windows.REBOUND_NATS)
    assert np.flatnonzero(windows.bursts(h, w)).tolist() == burst
    assert np.flatnonzero(windows.rebounds(h)).tolist() == rebound
    np.testing.assert_allclose(windows.edis(h, w), score, rtol=1e-12)
    assert windows.bursts(h, w).shape == windows.rebounds(h).shape == h.shape


def test_edis_by_hand() -> None:
    h = np.array([0.0, 2.0, 0.0, 0.0, 2.0])
    assert windows.bursts(h, 1).tolist() == [False, True, False, False, True]
    assert windows.rebounds(h).tolist() == [False, True, False, False, True]
    np.testing.assert_allclose(windows.edis(h, 1), 2.0 * (1 + 0.96))


@given(trajectory, st.integers(1, 6), st.floats(0, 3, width=32))
def test_edis_does_not_see_a_constant_or_a_fall(h: np.ndarray, w: int, shift: float) -> None:
    assert windows.edis(np.sort(h)[::-1], w) == 0.0
    wide = h.astype(np.float64)
    # A step of the count on the threshold itself may tip by rounding: ask only away from it.
    gaps = np.concatenate([wide[w:] - wide[:-w], (wide - np.minimum.accumulate(wide))])
    if (np.abs(gaps - windows.BURST_NATS) > 1e-6).all() and (np.abs(gaps - windows.REBOUND_NATS) > 1e-6).all():
        np.testing.assert_allclose(windows.edis(wide + shift, w), windows.edis(wide, w), rtol=1e-6)


def test_no_tokens_and_no_window() -> None:
    none = np.zeros(0, dtype=np.float32)
    assert windows.window_confidence(none, 4).shape == (0,)
    assert windows.bursts(none, 2).shape == windows.rebounds(none).shape == (0,)
    for value in (
        windows.lowest_window(none, 4),
        windows.bottom_windows(none, 4),
        windows.tail_confidence(none, 4),
        windows.edis(none, 4),
    ):
        assert np.isnan(value)
    for broken in (windows.window_confidence, windows.tail_confidence, windows.bursts, windows.edis):
        with pytest.raises(ValueError, match="at least 1"):
            broken(np.ones(3), 0)
    with pytest.raises(ValueError, match="share"):
        windows.bottom_windows(np.ones(3), 2, 0.0)
