"""Accuracy, calibration and convergence against closed forms, enumeration and scikit-learn."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frown.evals import accuracy, calibration, convergence
from frown.evals.weights import mean_of_samples

NAN = float("nan")


def random_samples(seed, n=9, k=5, unscored=0.1, ties=True):
    rng = np.random.default_rng(seed)
    conf = rng.integers(0, 7, size=(n, k)) / 6 if ties else rng.random((n, k))
    right = (rng.random((n, k)) < 0.2 + 0.6 * conf).astype(float)
    right[rng.random((n, k)) < unscored] = NAN
    return conf, right


# --- accuracy -----------------------------------------------------------------------------------------------


def test_avg_at_k_leaves_unscored_out_and_counts_each_prompt_once():
    score = np.array([[1, 1, 0, 0], [1, NAN, NAN, NAN], [NAN, NAN, NAN, NAN]])
    assert accuracy.avg_at_k(score) == pytest.approx((0.5 + 1.0) / 2)


def test_pass_at_j_is_the_share_of_subsets_with_a_right_answer():
    right = np.array([[1, 0, 0, 0, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 1, 0, 0, 0]], dtype=float)
    for j in range(1, 6):
        by_hand = [np.mean([max(subset) for subset in itertools.combinations(row, j)]) for row in right]
        np.testing.assert_allclose(accuracy.pass_of_prompts(right, j), by_hand, atol=1e-15)


def test_pass_at_j_leaves_out_prompts_with_too_few_scored_samples():
    right = np.array([[1, NAN, 0], [0, 0, 0]])
    assert np.isnan(accuracy.pass_of_prompts(right, 3)[0])
    assert accuracy.pass_at(right, j=3) == 0.0
    assert accuracy.pass_of_prompts(right, 2)[0] == 1.0
    with pytest.raises(ValueError, match="at least 1"):
        accuracy.pass_of_prompts(right, 0)


def test_pass_at_1_is_the_mean():
    _, right = random_samples(3, unscored=0.0)
    assert accuracy.pass_at(right, j=1) == pytest.approx(right.mean())


def codes_of(rows):
    answer = np.array(rows, dtype=object)
    return accuracy.answer_codes(answer, np.ones(answer.shape, dtype=bool))


def test_majority_vote_ties_and_missing_answers():
    codes = codes_of(
        [
            ["7", "7", "3", None],  # 7 wins, right
            ["1", "1", "2", "2"],  # tie, 2 is right: half
            [None, None, None, "4"],  # three without an answer do not outvote the one that has one
            [None, None, None, None],  # no answer at all: wrong
            ["5", "5", "5", "5"],  # unscored: left out
            ["5", "5", "5", "4"],  # an unscored sample does not vote
            [None, None, None, None],  # right in a form that nobody can read an answer from
        ]
    )
    right = np.array(
        [
            [1, 1, 0, 0],
            [0, 0, 1, 1],
            [0, 0, 0, 1],
            [0, 0, 0, 0],
            [NAN, NAN, NAN, NAN],
            [NAN, NAN, NAN, 1],
            [1, 1, 1, 1],
        ],
        dtype=float,
    )
    votes = accuracy.vote_of_prompts(codes, right)
    np.testing.assert_allclose(votes, [1.0, 0.5, 1.0, 0.0, NAN, 1.0, 0.0])


def test_answers_that_are_malformed_do_not_vote():
    answer = np.array([["7", "7", "3"]], dtype=object)
    codes = accuracy.answer_codes(answer, np.array([[False, False, True]]))
    assert codes.tolist() == [[-1, -1, 0]]


def test_right_answer_wrong_step_is_a_share_of_right_answers_with_known_steps():
    right = np.array([[1, 1, 1, 0, NAN, 1]])
    process = np.array([[1, 0, NAN, 0, 0, 1]])
    assert accuracy.right_answer_wrong_step(right, process) == pytest.approx(1 / 3)
    assert accuracy.process_accuracy(process) == pytest.approx(2 / 5)
    assert np.isnan(accuracy.right_answer_wrong_step(np.zeros((2, 2)), np.ones((2, 2))))


# --- calibration --------------------------------------------------------------------------------------------


def ece_oracle(conf, right, bins=10):
    """Loops and Python's own fractions of a bin, no vectorisation."""
    groups = {}
    pairs = [(c, r) for c, r in zip(conf.ravel(), right.ravel(), strict=True) if not np.isnan(r)]
    for c, r in pairs:
        groups.setdefault(next(b for b in range(bins) if b == bins - 1 or c * bins < b + 1), []).append((c, r))
    return sum(abs(sum(c - r for c, r in g)) for g in groups.values()) / len(pairs)


@pytest.mark.parametrize("seed", range(6))
def test_against_scikit_learn_and_loops(seed):
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    conf, right = random_samples(seed, n=30, ties=seed % 2 == 0)
    keep = ~np.isnan(right)
    c, y = conf[keep], right[keep]
    assert calibration.brier(conf, right) == pytest.approx(brier_score_loss(y, c))
    assert calibration.auroc(conf, right) == pytest.approx(roc_auc_score(y, c))
    clipped = np.clip(c, calibration.NLL_FLOOR, 1 - calibration.NLL_FLOOR)
    assert calibration.nll(conf, right) == pytest.approx(log_loss(y, clipped))
    assert calibration.ece(conf, right) == pytest.approx(ece_oracle(conf, right))


def test_equal_mass_bins_against_numpy_split_without_ties():
    rng = np.random.default_rng(0)
    conf = rng.random((20, 6))
    right = (rng.random((20, 6)) < conf**2).astype(float)
    order = np.argsort(conf.ravel())
    gaps = (conf - right).ravel()[order]
    by_hand = sum(abs(part.sum()) for part in np.split(gaps, 10)) / 120
    assert calibration.ece_equal_mass(conf, right) == pytest.approx(by_hand)


def test_equal_mass_does_not_depend_on_the_order_of_ties():
    conf, right = random_samples(2, n=20, unscored=0.0)
    mixed = np.random.default_rng(1).permutation(20)
    assert calibration.ece_equal_mass(conf, right) == pytest.approx(
        calibration.ece_equal_mass(conf[mixed], right[mixed])
    )


def test_area_under_risk_coverage_against_loops_and_closed_forms():
    conf, right = random_samples(4, n=12, unscored=0.0, ties=False)
    order = np.argsort(-conf.ravel())
    wrong = 1 - right.ravel()[order]
    by_hand = np.mean([wrong[: i + 1].mean() for i in range(len(wrong))])
    assert calibration.aurc(conf, right) == pytest.approx(by_hand)
    # All confidences equal: whatever is kept, the risk is the error rate.
    assert calibration.aurc(np.full_like(conf, 0.5), right) == pytest.approx(wrong.mean())


def test_area_under_risk_coverage_of_ties_is_the_mean_over_their_orders():
    conf, wrong = np.array([0.9, 0.5, 0.5, 0.5]), np.array([0, 1, 0, 0])
    orders = [[0, *p] for p in itertools.permutations([1, 2, 3])]
    by_hand = np.mean([np.mean([wrong[o][: i + 1].mean() for i in range(4)]) for o in orders])
    assert calibration.aurc(conf[:, None], 1.0 - wrong[:, None]) == pytest.approx(by_hand)


def test_agreement_counts_scored_samples_with_the_same_answer():
    codes = codes_of([["7", "7", "3", None], ["1", "1", "1", "1"]])
    scored = np.array([[True] * 4, [True, True, True, False]])
    got = calibration.agreement(codes, scored)
    np.testing.assert_allclose(got, [[0.5, 0.5, 0.25, 0.0], [1.0, 1.0, 1.0, 0.0]])
    assert np.isnan(calibration.agreement(codes, np.zeros((2, 4), dtype=bool))).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_a_sample_half_right_ranks_nothing(weighted):
    conf, right = random_samples(3, n=20)
    half = np.random.default_rng(3).random(right.shape) < 0.3
    weights = [np.random.default_rng(4).integers(0, 3, (5, 20)).astype(float)] if weighted else []
    found = calibration.auroc(conf, np.where(half, 0.5, right), *weights)
    assert found == pytest.approx(calibration.auroc(conf, np.where(half, NAN, right), *weights))


def test_undefined_is_nan_not_a_number():
    empty = np.full((3, 2), NAN)
    conf = np.full((3, 2), 0.5)
    for f in (
        calibration.ece,
        calibration.ece_equal_mass,
        calibration.brier,
        calibration.nll,
        calibration.auroc,
        calibration.aurc,
    ):
        assert np.isnan(f(conf, empty))
    assert np.isnan(calibration.auroc(conf, np.ones((3, 2))))


STATISTICS = {
    "brier": calibration.brier,
    "nll": calibration.nll,
    "ece": calibration.ece,
    "ece_equal_mass": calibration.ece_equal_mass,
    "auroc": calibration.auroc,
    "aurc": calibration.aurc,
    "avg": lambda conf, right, weights=None: accuracy.avg_at_k(right, weights),
    "pass": lambda conf, right, weights=None: accuracy.pass_at(right, weights, j=2),
    "mean": lambda conf, right, weights=None: mean_of_samples(right, weights),
    "area": lambda conf, right, weights=None: convergence.area(right, weights, at=np.array([0, 1, 3, 4, 9])),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STATISTICS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_weights_mean_the_same_as_copied_rows(name, seed):
    """The heart of the bootstrap: a statistic under weights is the statistic of the resampled data."""
    conf, right = random_samples(seed)
    rng = np.random.default_rng(seed + 1)
    rows = rng.integers(0, len(conf), size=(4, len(conf)))
    weights = np.stack([np.bincount(r, minlength=len(conf)) for r in rows]).astype(float)
    fast = STATISTICS[name](conf, right, weights=weights)
    slow = [STATISTICS[name](conf[r], right[r]) for r in rows]
    np.testing.assert_allclose(fast, slow, atol=1e-12)


# --- convergence --------------------------------------------------------------------------------------------


def test_area_of_a_straight_line_and_of_uneven_steps():
    line = np.array([[0.2, 0.4, 0.8]])
    assert convergence.area(line, at=np.array([0, 10, 30])) == pytest.approx((0.3 * 10 + 0.6 * 20) / 30)
    assert np.isnan(convergence.area(line[:, :1], at=np.array([0])))


@pytest.mark.parametrize(
    ("curve", "threshold", "expected"),
    [
        ([0.2, 0.4, 0.8], 0.6, 20.0),
        ([0.2, 0.4, 0.8], 0.4, 10.0),
        ([0.7, 0.4, 0.8], 0.6, 0.0),
        ([0.2, 0.6, 0.3], 0.5, 7.5),
        ([0.2, 0.4, 0.8], 0.9, np.inf),
    ],
)
def test_crossing_interpolates_takes_the_first_and_is_censored(curve, threshold, expected):
    assert convergence.crossing(np.array(curve), np.array([0, 10, 30]), threshold) == pytest.approx(expected)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.floats(0.01, 0.99))
def test_a_curve_is_at_the_threshold_where_it_crosses(values, threshold):
    curve, at = np.array(values), np.arange(len(values)) * 5.0
    x = float(convergence.crossing(curve, at, threshold))
    if np.isinf(x):
        assert curve.max() < threshold
    elif x == 0:
        assert curve[0] >= threshold
    else:
        assert np.interp(x, at, curve) == pytest.approx(threshold, abs=1e-6)
        assert (curve[at < x - 1e-9] < threshold).all()
