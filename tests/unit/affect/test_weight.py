"""Weights of tokens, quadrants of doubt and truth, and the reward that is off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from frown.affect.quadrants import QUADRANTS, doubtful_steps, quadrant_codes, token_quadrants
from frown.affect.reward import affect_reward
from frown.affect.weight import by_quadrant, by_signal, top_share
from frown.types import Appraisal, Rollout, Step, Task, Verdict


@st.composite
def batches(draw, highest=8):
    lengths = draw(st.lists(st.integers(0, 12), min_size=1, max_size=4))
    values = [draw(arrays(np.float32, n, elements=st.floats(0, highest, width=32))) for n in lengths]
    counted = [draw(arrays(np.float32, n, elements=st.sampled_from([0.0, 1.0]))) for n in lengths]
    return values, counted


def flat(weights, counted):
    w, c = np.concatenate(weights).astype(np.float64), np.concatenate(counted) != 0
    assert [len(x) for x in weights] == [len(x) for x in counted] and (w >= 0).all() and (w[~c] == 0).all()
    return w[c]


MAKERS = {
    "signal": lambda v, c: by_signal(v, c, 2.0),
    "share": lambda v, c: top_share(v, c, 0.2),
    "quadrant": lambda v, c: by_quadrant([np.asarray(x).astype(int) % 5 for x in v], c),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
@given(batch=batches())
def test_weights_have_mean_one_over_the_tokens_that_count_and_none_elsewhere(name, batch):
    values, counted = batch
    w = flat(MAKERS[name](values, counted), counted)
    assert not len(w) or w.mean() == pytest.approx(1.0, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
@given(batch=batches(), level=st.sampled_from([0.0, 0.5, 7.0]))
def test_equal_signals_give_ones(name, batch, level):
    values, counted = batch
    w = flat(MAKERS[name]([np.full_like(v, level) for v in values], counted), counted)
    np.testing.assert_allclose(w, 1.0, rtol=1e-6)


def test_student_weights_by_hand():
    (w,) = by_signal([[0.0, 3.0, 6.0, 9.0]], [[1, 1, 1, 0]], strength=1.0)
    np.testing.assert_allclose(w, [0.5, 1.0, 1.5, 0.0])  # (1 + x / mean) / 2
    (w,) = by_signal([[0.0, 1.0, 2.0, 9.0]], [[1, 1, 1, 0]], strength=0.0)
    np.testing.assert_allclose(w, [1, 1, 1, 0])


def test_the_top_share_is_taken_over_the_batch_and_ties_share():
    w = top_share([[5.0, 1.0, 1.0], [4.0, 1.0, 9.0, 1.0]], [[1, 1, 1], [1, 1, 0, 1]], 1 / 3)
    assert [x.tolist() for x in w] == [[3, 0, 0], [3, 0, 0, 0]]
    (w,) = top_share([[5.0, 1.0, 1.0, 0.0]], [[1, 1, 1, 1]], 0.5)
    np.testing.assert_allclose(w, [2, 1, 1, 0])


def test_quadrants_weigh_by_their_factors():
    codes = [[QUADRANTS.index(q) for q in ("confident-wrong", "doubt-right", "unknown", "confident-right")]]
    (w,) = by_quadrant(codes, [[1, 1, 1, 1]])
    np.testing.assert_allclose(w, np.array([2, 0.5, 1, 1]) / 1.125)
    (w,) = by_quadrant(codes, [[0, 1, 0, 0]], {"doubt-right": 0.0})
    assert w.tolist() == [0, 0, 0, 0]  # nothing to learn from: not spread over others


def test_bad_weights_are_refused():
    with pytest.raises(ValueError, match="0 or more"):
        by_signal([[-1.0]], [[1]])
    with pytest.raises(ValueError, match="finite"):
        by_signal([[float("nan")]], [[1]])
    assert by_signal([[float("nan"), 1.0]], [[0, 1]])[0].tolist() == [0, 1]
    with pytest.raises(ValueError, match="one value and one mark"):
        top_share([[1.0, 2.0]], [[1]])


# -- quadrants -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("doubtful", "right", "name"),
    [(True, 0, "doubt-wrong"), (True, 1, "doubt-right"), (False, 0, "confident-wrong"), (False, 1, "confident-right"),
     (True, 2, "unknown"), (False, 2, "unknown")],
)  # fmt: skip
def test_the_quadrant_of_doubt_and_truth(doubtful, right, name):
    assert QUADRANTS[quadrant_codes([doubtful], [right])[0]] == name


def test_a_step_is_doubtful_where_a_token_had_less_than_even_odds():
    assert doubtful_steps(Appraisal((), (0.1, 0.7, 3.0, 0.69))) == (False, True, True, False)


@given(arrays(np.bool_, 9), st.sampled_from([None, Verdict(1.0), Verdict(0.0), Verdict.unscored("x")]), st.booleans())
def test_tokens_without_step_verdicts_are_unknown_unless_the_whole_answer_counts(doubtful, verdict, whole):
    codes = token_quadrants(doubtful, [Step(0, 4), Step(4, 8)], verdict, whole=whole)
    known = whole and verdict is not None and verdict.scored
    assert (codes == quadrant_codes(doubtful, np.full(9, int(verdict.right) if known else 2))).all()


@given(arrays(np.bool_, 9), st.tuples(st.booleans(), st.booleans()))
def test_tokens_take_the_verdict_on_their_step(doubtful, right):
    verdict, steps = Verdict(0.0, step_right=right), [Step(0, 4), Step(4, 8)]
    codes = token_quadrants(doubtful, steps, verdict)
    assert codes.dtype == np.int8 and QUADRANTS[codes[8]] == "unknown"
    assert (codes[:8] == quadrant_codes(doubtful[:8], np.repeat(right, 4))).all()


def test_verdicts_on_other_steps_say_nothing_of_these():
    verdict = Verdict(0.0, step_right=(True, False))
    assert set(token_quadrants(np.ones(4), [Step(0, 4)], verdict)) == {QUADRANTS.index("unknown")}


# -- reward --------------------------------------------------------------------------------------------------------


def test_the_affect_reward_is_minus_mean_doubt_and_off_by_default():
    def one(*logp):
        ids = np.arange(len(logp))
        return Rollout(Task("t", (), ""), 0, ids, ids, np.array(logp, np.float32), 1.0, "eos", "")

    rollouts = [one(-1.0, -3.0), one(-0.5), one()]
    assert affect_reward(rollouts).tolist() == [0, 0, 0]
    np.testing.assert_allclose(affect_reward(rollouts, 0.5), [-1.0, -0.25, 0.0])
