"""Which steps are asked about: each name on a case made for it, and the budgets."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frown.affect.appraisal import appraise
from frown.errors import FrownError
from frown.feedback.aim import FREE, NAMES, aim, choose_rollouts, choose_steps, step_scores, within_budget
from frown.types import Rollout, Signals, Step, Task, Verdict

TASK = Task("t", ({"role": "user", "content": "q"},), "a")
STEPS = (Step(0, 2), Step(2, 4), Step(4, 6))


def rng(seed=0):
    return np.random.default_rng(seed)


def rollout(*, group=0, verdict=None, steps=STEPS, **signals) -> Rollout:
    values = {name: np.asarray(v, np.float32) for name, v in signals.items()}
    s = values["surprisal"]
    return Rollout(TASK, group, np.arange(2), np.arange(len(s)), -s, 1.0, "eos", "", steps, Signals(values), verdict)


def test_each_score_by_hand():
    s = np.array([0.0, 1.0, 0.0, 6.0, 0.2, 0.0])
    r = rollout(
        surprisal=s,
        entropy=[0, 0.9, 0, 0.4, 0.5, 0],
        varentropy=[0, 0.1, 0, 0.7, 0.2, 0],
        top_probability=[1, 0.5, 1, 0.98, 0.8, 1],
        margin=[1, 0.3, 1, 0.97, 0.65, 1],
        verdict=Verdict(0.0, step_right=(True, False, False)),
    )
    scores = step_scores(r, appraise(r))
    approx = pytest.approx
    assert scores["surprisal"] == approx([1, 6, 0.2])
    assert scores["entropy"] == approx([0.9, 0.4, 0.5]) and scores["varentropy"] == approx([0.1, 0.7, 0.2])
    assert scores["margin"] == approx([-0.3, -0.97, -0.65])
    assert scores["learnable"] == approx([0.2, 0.06, 0.03], abs=1e-6)
    assert scores["tempered"] == approx([np.exp(-1), 6 * np.exp(-6), 0.2 * np.exp(-0.2)], rel=1e-5)
    assert scores["oracle"] == scores["first_wrong"] == [0, 1, 1]
    best = {name: choose_steps(name, 3, scores, 1, rng()) for name in scores if name != "oracle"}
    # The unlucky draw at step 1 has the most doubt, and the least that a correction could lift.
    assert best == {
        "surprisal": (1,),
        "entropy": (0,),
        "varentropy": (1,),
        "margin": (0,),
        "learnable": (0,),
        "tempered": (0,),
        "first_wrong": (1,),
    }
    assert step_scores(r, appraise(r), "margin").keys() == {"margin"}


def test_a_name_without_its_signal_has_no_scores():
    r = rollout(surprisal=[1, 2, 3, 4, 5, 6])
    assert step_scores(r, appraise(r)).keys() == {"surprisal", "tempered"}


@pytest.mark.slow
@pytest.mark.parametrize("by", NAMES)
@settings(max_examples=40)
@given(st.integers(0, 7), st.integers(1, 8), st.integers(0, 99), st.data())
def test_every_name_keeps_to_the_budget_and_the_order(by, count, most, seed, data):
    row = data.draw(st.lists(st.sampled_from([0.0, 1.0, 2.0, float("nan")]), min_size=count, max_size=count))
    picked = choose_steps(by, count, {by: row}, most, rng(seed))
    assert list(picked) == sorted(set(picked)) and all(0 <= s < count for s in picked)
    positive = [i for i, x in enumerate(row) if x > 0]
    if by == "all":
        assert picked == tuple(range(count))
    elif by == "oracle":
        assert set(picked) <= set(positive) and len(picked) == min(most, len(positive))
    elif by == "first_wrong":
        assert list(picked) == positive[:1]
    else:  # the controls spend exactly what the aims spend
        assert len(picked) == min(most, count)
    if by == "expert_rule":
        assert len(set(picked) & set(positive)) == min(most, len(positive))
    if by not in (*FREE, "oracle", "first_wrong", "expert_rule"):  # nobody left out scored more
        out = [x for i, x in enumerate(row) if i not in picked]
        assert all(not (x > row[i]) for i in picked for x in out)


def test_positions():
    assert choose_steps("first", 5, {}, 2, rng()) == (0, 1) and choose_steps("last", 5, {}, 2, rng()) == (3, 4)


def test_equal_steps_of_a_rule_are_drawn_evenly():
    for by in ("oracle", "expert_rule"):
        drawn = Counter(choose_steps(by, 4, {by: [1, 0, 1, 1]}, 1, g)[0] for g in [rng()] for _ in range(3000))
        assert drawn.keys() == {0, 2, 3}
        assert all(abs(n - 1000) < 5 * np.sqrt(3000 * 2 / 9) for n in drawn.values())


def test_unknown_names_and_missing_scores_are_one_line():
    with pytest.raises(FrownError, match="no such way to aim"):
        choose_steps("douht", 3, {}, 1, rng())
    with pytest.raises(FrownError, match="no scores to aim by.*random"):
        choose_steps("disagreement", 3, {}, 1, rng())


def test_given_scores_aim_and_a_rollout_without_them_is_asked_nothing():
    rollouts = [rollout(surprisal=np.ones(6), group=g) for g in range(2)]
    appraisals = [appraise(r) for r in rollouts]
    scores = {"disagreement": [[0.0, 0.1, 0.9], None]}
    assert aim(rollouts, appraisals, "disagreement", rng(), scores=scores) == [(2,), ()]
    with pytest.raises(FrownError, match="disagreement of siblings"):
        aim(rollouts, appraisals, "disagreement", rng())
    with pytest.raises(FrownError, match="no verdicts on single steps"):
        aim(rollouts, appraisals, "oracle", rng())
    assert aim([rollout(surprisal=[1.0], steps=())], [appraisals[0]], "oracle", rng()) == [()]


def test_oracle_asks_exactly_the_wrong_steps():
    right = rollout(surprisal=np.ones(6), verdict=Verdict(1.0, step_right=(True, True, True)))
    wrong = rollout(surprisal=np.ones(6), verdict=Verdict(0.0, step_right=(False, True, False)))
    asked = aim([right, wrong], [appraise(right)] * 2, "oracle", rng(), steps=9)
    assert asked == [(), (0, 2)]


def test_whom_failed_and_highest_come_first_within_the_even_draw():
    def one(group, score, doubt):
        return rollout(surprisal=[doubt] * 6, group=group, verdict=Verdict(score))

    rollouts = [one(g, s, d) for g in range(4) for s, d in ((1.0, 3.0), (0.0, 1.0), (1.0, 2.0))]
    failed = choose_rollouts(rollouts, 4, rng(), whom="failed")
    assert sorted(failed) == [1, 4, 7, 10]
    best = [3.0, 1.0, 2.0] * 4
    assert sorted(choose_rollouts(rollouts, 4, rng(), whom="aim", best=best)) == [0, 3, 6, 9]
    assert choose_rollouts(rollouts, 99, rng(), whom="aim", best=best) == list(range(12))
    asked = aim(rollouts, [appraise(r) for r in rollouts], "surprisal", rng(), answers=4, whom="aim")
    assert [i for i, steps in enumerate(asked) if steps] == [0, 3, 6, 9]


@given(
    st.lists(st.integers(0, 4), max_size=8),
    st.floats(0, 30),
    st.integers(0, 99),
)
def test_a_budget_of_tokens_is_kept_dealt_in_rounds_and_what_is_left_out_is_counted(counts, budget, seed):
    asked = [tuple(range(n)) for n in counts]
    cost = [[1.0 + (i + s) % 3 for s in range(n)] for i, n in enumerate(counts)]
    kept, left_out = within_budget(asked, cost, budget, rng(seed))
    assert sum(cost[i][s] for i, k in enumerate(kept) for s in k) <= budget
    assert sum(map(len, kept)) + left_out == sum(counts)
    calls, _ = within_budget(asked, [[1.0] * n for n in counts], budget, rng(seed))
    assert sum(map(len, calls)) == min(int(budget), sum(counts))
    spent = [len(k) for k in calls]  # nobody has two more than another who could have had one more
    assert all(spent[j] >= min(counts[j], spent[i] - 1) for i in range(len(counts)) for j in range(len(counts)))
