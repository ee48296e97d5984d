"""What siblings say about each other, against counting pair by pair, scipy, and our own calibration."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from frown.signals.group import sibling_disagreement, step_tokens
from frown.types import Rollout, Step, Task

NAN = float("nan")
answers_of = st.lists(st.sampled_from(["4", "5", "x", None]), min_size=1, max_size=12)
written = st.lists(st.lists(st.sampled_from("ab"), max_size=4), min_size=1, max_size=7)


def by_pairs(results, states):
    """The definition, sibling by sibling."""
    out = []
    for i, mine in enumerate(results):
        shares = []
        for j in range(len(mine)):
            there = [
                q for q in range(len(results))
                if q != i and len(results[q]) > j and states[i][j] is not None and states[q][j] == states[i][j]
            ]  # fmt: skip
            shares.append(np.mean([results[q][j] != mine[j] for q in there]) if there else NAN)
        out.append(np.array(shares, dtype=float))
    return out


def test_disagreement_by_hand() -> None:
    # All four start alike; b stands alone after it. The fourth stopped after one step.
    found = sibling_disagreement([["a", "c"], ["a", "d"], ["b", "c"], ["a"]])
    expected = [[1 / 3, 1.0], [1 / 3, 1.0], [1.0, NAN], [1 / 3]]
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(f, e)


def test_a_state_brings_together_siblings_that_went_different_ways() -> None:
    results = [["3+4=7", "7*2=14"], ["4+3=7", "7*2=15"], ["3+4=8", "8*2=16"]]
    apart = sibling_disagreement(results)
    assert all(np.isnan(a[1]) for a in apart)
    together = sibling_disagreement(results, states=[[3, 7], [3, 7], [3, 8]])
    assert [t[1] for t in together[:2]] == [1.0, 1.0] and np.isnan(together[2][1])


def test_the_same_state_at_another_step_is_another_place_and_an_unknown_state_is_none() -> None:
    found = sibling_disagreement([["a", "b"], ["c", "d"]], states=[[1, 2], [2, 1]])
    assert np.isnan(np.concatenate(found)).all()
    found = sibling_disagreement([["a"], ["b"], ["c"]], states=[[None], [None], [1]])
    assert np.isnan(np.concatenate(found)).all()


@given(written)
def test_disagreement_is_counted_as_by_pairs(results: list[list[str]]) -> None:
    states = [[tuple(w[:j]) for j in range(len(w))] for w in results]
    for f, e in zip(sibling_disagreement(results), by_pairs(results, states), strict=True):
        np.testing.assert_allclose(f, e)
        assert ((f >= 0) & (f <= 1) | np.isnan(f)).all()


@given(written, st.data())
def test_disagreement_with_states_is_counted_as_by_pairs(results: list[list[str]], data: st.DataObject) -> None:
    states = [[data.draw(st.sampled_from([0, 1, None])) for _ in w] for w in results]
    for f, e in zip(sibling_disagreement(results, states), by_pairs(results, states), strict=True):
        np.testing.assert_allclose(f, e)


def test_step_tokens_leave_out_the_end_of_sequence() -> None:
    def rollout(stop: str, ids: list[int]) -> Rollout:
        x = np.array(ids)
        task = Task("t", ({"role": "user", "content": "?"},), "1")
        steps = (Step(0, 2), Step(2, len(ids)))
        return Rollout(task, 0, x, x, np.zeros(len(ids), np.float32), 1.0, stop, "", steps)  # type: ignore[arg-type]

    assert step_tokens(rollout("eos", [5, 6, 7, 99])) == [(5, 6), (7,)]
    assert step_tokens(rollout("length", [5, 6, 7])) == [(5, 6), (7,)]
