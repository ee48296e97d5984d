"""What is practised next: worth, draws, and a learner kept between boredom and anxiety."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frown.practice.difficulty import Candidate, Difficulty, Flow, choose_prompts, follow, mood, worth

CANDIDATES = st.lists(
    st.builds(lambda n, r, d: Candidate(min(n, r), n, d), st.integers(0, 8), st.integers(0, 8), st.floats(0, 9)),
    max_size=8,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_learnable_doubt_is_neither_mastered_nor_hopeless():
    half, mastered, hopeless, calm = (
        Candidate(4, 8, 1.0),
        Candidate(8, 8, 1.0),
        Candidate(0, 8, 1.0),
        Candidate(4, 8, 0.1),
    )
    value = worth([half, mastered, hopeless, calm], "learnable")
    p = 0.5 / 9
    np.testing.assert_allclose(value, [0.5, np.sqrt(p * (1 - p)), np.sqrt(p * (1 - p)), 0.05])
    assert (value > 0).all()  # eight failures do not lose a prompt for ever
    assert Candidate(0, 0, 1.0).success == 0.5  # never tried: neither


@given(CANDIDATES, st.integers(0, 9), st.sampled_from(["uniform", "doubt", "learnable"]), st.integers(0, 99), st.data())
def test_a_choice_is_n_different_candidates(candidates, n, by, seed, data):
    draw = data.draw(st.sampled_from(["top", "weighted"]))
    chosen = choose_prompts(candidates, n, by, rng(seed), draw=draw)
    assert len(chosen) == len(set(chosen)) == min(n, len(candidates)) and chosen == sorted(chosen)
    value = worth(candidates, by)
    rest = sorted(set(range(len(candidates))) - set(chosen))
    if draw == "top":
        assert all(value[i] >= value[j] for i in chosen for j in rest)
    else:  # what is worth nothing comes last
        assert all(value[i] > 0 or value[j] == 0 for i in chosen for j in rest)


def test_uniform_and_ties_are_even():
    g, same = rng(), [Candidate(0, 0, 1.0)] * 4
    for by, draw in (("uniform", "top"), ("uniform", "weighted"), ("doubt", "top"), ("learnable", "weighted")):
        counts = np.bincount([choose_prompts(same, 1, by, g, draw=draw)[0] for _ in range(2000)], minlength=4)
        assert abs(counts - 500).max() < 5 * np.sqrt(2000 * 3 / 16), (by, draw)


def test_weighted_draws_follow_worth():
    g, pool = rng(), [Candidate(0, 0, d) for d in (1.0, 3.0)]
    share = np.mean([choose_prompts(pool, 1, "doubt", g, draw="weighted") == [1] for _ in range(3000)])
    assert share == pytest.approx(0.75, abs=5 * np.sqrt(0.75 * 0.25 / 3000))


def test_moods():
    flow = Flow()
    assert mood(Difficulty(3, success=0.2), flow) == "anxiety"
    assert mood(Difficulty(3, success=0.9, doubt=0.1), flow) == "boredom"
    assert mood(Difficulty(3, success=0.9, doubt=0.6), flow) == "flow"  # right, and not yet sure
    assert mood(Difficulty(3, success=0.5), flow) == "flow"


def test_difficulty_by_hand():
    flow = Flow(patience=2, rate=0.5, most=4)
    one = follow(Difficulty(3), 0.9, 0.0, flow)
    assert one == Difficulty(3, 0.9, 0.0, 1)  # the first batch replaces the guess, and patience holds
    assert follow(one, 0.8, 0.0, flow) == Difficulty(4)
    top = follow(follow(Difficulty(4), 1.0, 0.0, flow), 1.0, 0.0, flow)
    assert top.level == 4 and top.batches == 2  # never beyond the end
    assert follow(follow(Difficulty(3), 0.1, 0.9, flow), 0.1, 0.9, flow) == Difficulty(2)
    assert follow(one, float("nan"), 0.0, flow) == one


@pytest.mark.parametrize("skill", [2.3, 5.5, 8.1])
def test_a_learner_is_led_to_where_it_flows_and_stays_there(skill):
    g, flow, state, seen = rng(1), Flow(), Difficulty(1.0), []
    for _ in range(120):
        p = 1 / (1 + np.exp(1.5 * (state.level - skill)))  # a Rasch learner
        state = follow(state, g.binomial(64, p) / 64, 0.0, flow)
        seen.append(p)
    late = np.array(seen[40:])
    assert ((late > 0.1) & (late < 0.9)).all() and abs(late.mean() - 0.5) < 0.25


def test_bad_bands_are_refused():
    with pytest.raises(ValueError, match="low < high"):
        Flow(low=0.8, high=0.7)
