"""Token values to step values."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from frown.signals.steps import step_peaks
from frown.types import Step


def test_by_hand() -> None:
    values = np.array([0.5, 2.0, 0.25, 0.25, 4.0, 1.0], dtype=np.float32)
    assert step_peaks(values, (Step(0, 2), Step(2, 5), Step(5, 6))) == [2.0, 4.0, 1.0]


def test_nothing_to_aggregate_is_nan_and_nothing_is_nothing() -> None:
    peaks = step_peaks(np.array([1.0, np.nan, 3.0]), [Step(0, 1), Step(1, 1), Step(1, 3)])
    assert peaks[0] == 1.0 and np.isnan(peaks[1:]).all()
    assert step_peaks(np.ones(3), []) == []


@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=30),
    st.lists(st.integers(0, 30), max_size=5),
)
def test_the_peak_of_steps_that_tile_the_text_is_that_of_the_text(values: list[float], cuts: list[int]) -> None:
    x = np.array(values, dtype=np.float32)
    bounds = sorted({0, len(x), *(c for c in cuts if c < len(x))})
    peaks = step_peaks(x, [Step(a, b) for a, b in zip(bounds, bounds[1:], strict=False)])
    assert max(peaks) == x.max() and all(p in x for p in peaks)
