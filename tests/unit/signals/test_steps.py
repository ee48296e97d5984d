"""Token values to step values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frown.affect.appraisal import step_peaks
from frown.signals.steps import step_table, step_values
from frown.types import Signals, Step

VALUES = np.array([0.5, 2.0, 0.25, 0.25, 4.0, 1.0], dtype=np.float32)
STEPS = (Step(0, 2), Step(2, 5), Step(5, 6))


@pytest.mark.parametrize(("how", "expected"), [("max", [2, 4, 1]), ("mean", [1.25, 1.5, 1]), ("sum", [2.5, 4.5, 1])])
def test_by_hand(how: str, expected: list[float]) -> None:
    found = step_values(VALUES, STEPS, how)  # type: ignore[arg-type]
    assert found.dtype == np.float64
    assert found.tolist() == expected


def test_peaks_are_those_that_the_appraisal_takes() -> None:
    assert step_values(VALUES, STEPS).tolist() == list(step_peaks(VALUES, STEPS))


def test_nothing_to_aggregate_is_nan_and_nothing_is_nothing() -> None:
    found = step_values(np.array([1.0, np.nan, 3.0]), [Step(0, 1), Step(1, 1), Step(1, 3)])
    assert found[0] == 1.0 and np.isnan(found[1:]).all()
    assert step_values(VALUES, []).shape == (0,)


def test_a_table_has_every_signal_in_three_ways() -> None:
    table = step_table(Signals({"surprisal": VALUES, "margin": -VALUES}), STEPS)
    assert set(table) == {f"{n}_{h}" for n in ("surprisal", "margin") for h in ("max", "mean", "sum")}
    assert table["surprisal_sum"].tolist() == [2.5, 4.5, 1.0]
    assert table["margin_max"].tolist() == [-0.5, -0.25, -1.0]


@given(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=30),
    st.lists(st.integers(0, 30), max_size=5),
)
def test_steps_that_tile_the_text_add_up_to_the_whole(values: list[float], cuts: list[int]) -> None:
    x = np.array(values, dtype=np.float32)
    bounds = sorted({0, len(x), *(c for c in cuts if c < len(x))})
    steps = [Step(a, b) for a, b in zip(bounds, bounds[1:], strict=False)]
    wide = x.astype(np.float64)
    assert step_values(x, steps, "max").max() == wide.max()
    np.testing.assert_allclose(step_values(x, steps, "sum").sum(), wide.sum(), rtol=1e-9, atol=1e-9)
    lengths = np.array([b - a for a, b in steps])
    np.testing.assert_allclose(step_values(x, steps, "mean") * lengths, step_values(x, steps, "sum"), atol=1e-9)
    assert (step_values(x, steps, "max") >= step_values(x, steps, "mean") - 1e-9).all()
