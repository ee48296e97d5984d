"""Weights of tokens, quadrants of doubt and truth, and the reward that is off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from frown.affect.quadrants import QUADRANTS, answer_quadrant, doubtful_steps, step_quadrants, token_quadrants
from frown.affect.reward import affect_reward
from frown.affect.weight import by_quadrant, by_signal, by_teacher, combine, top_share
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
    "teacher": lambda v, c: by_teacher(v, c, 3.0),
    "share": lambda v, c: top_share(v, c, 0.2),
    "quadrant": lambda v, c: by_quadrant([np.asarray(x).astype(int) % 5 for x in v], c),
    "both": lambda v, c: combine([by_signal(v, c), by_teacher(v, c)], c),
}


@pytest.mark.parametrize("name", MAKERS)
@given(batch=batches())
def test_weights_have_mean_one_over_the_tokens_that_count_and_none_elsewhere(name, batch):
    values, counted = batch
    w = flat(MAKERS[name](values, counted), counted)
    assert not len(w) or w.mean() == pytest.approx(1.0, rel=1e-6)


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


@given(batches(50), st.floats(0, 40))
def test_teacher_weights_are_srpos_up_to_their_mean(batch, beta):
    values, counted = batch
    w = flat(by_teacher(values, counted, beta), counted)
    if not len(w):
        return
    h = np.concatenate(values).astype(np.float64)[np.concatenate(counted) != 0]
    raw = np.exp(-beta * (h - h.min()))
    np.testing.assert_allclose(w, raw / raw.mean(), rtol=1e-5, atol=1e-30)


def test_a_teacher_that_is_unsure_everywhere_still_teaches():
    (w,) = by_teacher([[2000.0, 2001.0]], [[1, 1]], beta=1.0)  # exp(-2000) is 0
    np.testing.assert_allclose(w, 2 * np.array([1, np.exp(-1)]) / (1 + np.exp(-1)), rtol=1e-6)


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
        by_teacher([[float("nan")]], [[1]])
    assert by_teacher([[float("nan"), 1.0]], [[0, 1]])[0].tolist() == [0, 1]
    with pytest.raises(ValueError, match="one value and one mark"):
        top_share([[1.0, 2.0]], [[1]])


# -- quadrants -----------------------------------------------------------------------------------------------------


def test_the_quadrants_of_steps_and_answers():
    doubt = doubtful_steps(Appraisal((), (0.1, 0.7, 3.0, 0.69)))
    assert doubt == (False, True, True, False)
    verdict = Verdict(0.0, step_right=(True, True, False, False))
    assert step_quadrants(doubt, verdict) == ("confident-right", "doubt-right", "doubt-wrong", "confident-wrong")
    assert step_quadrants(doubt, Verdict(0.0)) == ("unknown",) * 4
    assert step_quadrants(doubt, Verdict(1.0), whole=True)[:2] == ("confident-right", "doubt-right")
    assert step_quadrants(doubt, Verdict.unscored("timeout"), whole=True) == ("unknown",) * 4
    assert step_quadrants(doubt[:2], verdict) == ("unknown",) * 2  # verdicts on other steps say nothing of these
    assert answer_quadrant(True, verdict) == "doubt-wrong" and answer_quadrant(False, None) == "unknown"


@given(arrays(np.bool_, 9), st.sampled_from([None, Verdict(1.0), Verdict(0.0), Verdict.unscored("x")]), st.booleans())
def test_tokens_without_step_verdicts_are_unknown_unless_the_whole_answer_counts(doubtful, verdict, whole):
    codes = token_quadrants(doubtful, [Step(0, 4), Step(4, 8)], verdict, whole=whole)
    for flag, code in zip(doubtful, codes, strict=True):
        assert QUADRANTS[code] == (answer_quadrant(flag, verdict) if whole else "unknown")


@given(arrays(np.bool_, 9), st.tuples(st.booleans(), st.booleans()))
def test_tokens_take_the_verdict_on_their_step(doubtful, right):
    verdict, steps = Verdict(0.0, step_right=right), [Step(0, 4), Step(4, 8)]
    codes = token_quadrants(doubtful, steps, verdict)
    assert codes.dtype == np.int8 and QUADRANTS[codes[8]] == "unknown"
    for t in range(8):
        assert QUADRANTS[codes[t]] == step_quadrants([doubtful[t]], Verdict(0.0, step_right=(right[t // 4],)))[0]


# -- reward --------------------------------------------------------------------------------------------------------


def test_the_affect_reward_is_minus_mean_doubt_and_off_by_default():
    def one(*logp):
        ids = np.arange(len(logp))
        return Rollout(Task("t", (), ""), 0, ids, ids, np.array(logp, np.float32), 1.0, "eos", "")

    rollouts = [one(-1.0, -3.0), one(-0.5), one()]
    assert affect_reward(rollouts).tolist() == [0, 0, 0]
    np.testing.assert_allclose(affect_reward(rollouts, 0.5), [-1.0, -0.25, 0.0])
