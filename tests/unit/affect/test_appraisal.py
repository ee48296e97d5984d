"""Spikes, appraisal and aim."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from frown.affect.appraisal import appraise
from frown.affect.spikes import Detector, flags, runs, score
from frown.feedback.aim import aim, choose_rollouts, choose_steps
from frown.types import Rollout, Signals, Span, Step, Task

TASK = Task("t", ({"role": "user", "content": "q"},), "a")


def rollout(surprisal, steps=(), group=0, entropy=None) -> Rollout:
    s = np.asarray(surprisal, np.float32)
    e = s if entropy is None else np.asarray(entropy, np.float32)
    signals = Signals({"surprisal": s, "entropy": e})
    return Rollout(TASK, group, np.arange(2), np.arange(len(s)), -s, 1.0, "eos", "", tuple(steps), signals)


@given(arrays(np.float32, st.integers(0, 40), elements=st.floats(0, 5, width=32)), st.floats(0, 5))
def test_spikes_are_exactly_the_maximal_runs_above_the_threshold(values, threshold):
    inside = np.zeros(len(values), bool)
    detector = Detector("absolute", threshold)
    spans = runs(flags(score(values, detector), detector))
    for a, b in spans:
        assert b > a and not inside[a:b].any()
        inside[a:b] = True
    assert (inside == (values.astype(np.float64) > threshold)).all()
    assert all(after.start > span.end for span, after in zip(spans, spans[1:], strict=False))


def test_the_default_appraisal_flags_tokens_with_less_than_even_odds():
    p = np.array([0.9, 0.4, 0.1, 0.6, 0.51, 0.3])
    found = appraise(rollout(-np.log(p), [Step(0, 3), Step(3, 6)]))
    assert [(s.start, s.end, s.step, s.label) for s in found.spans] == [(1, 3, 0, "doubt"), (5, 6, 1, "doubt")]
    assert [s.intensity for s in found.spans] == pytest.approx([0.9, 0.7], abs=1e-6)  # one minus the least odds
    assert found.spans[0].evidence["surprisal"] == pytest.approx(-np.log(0.1), rel=1e-6)
    assert found.step_doubt == pytest.approx([-np.log(0.1), -np.log(0.3)], rel=1e-6)


def test_a_label_without_evidence_cannot_be_built():
    with pytest.raises(ValueError, match="needs the evidence"):
        Span(0, 1, "doubt", 0.5, {})


STEPS = [Step(0, 2), Step(2, 4), Step(4, 6)]


def test_aim_takes_the_most_doubtful_step_and_entropy_its_own():
    r = rollout([0, 1, 0, 3, 0, 2], STEPS, entropy=[5, 0, 1, 1, 1, 1])
    rng = np.random.default_rng(0)
    a = appraise(r)

    def asked(**config):
        return aim([r], [a], rng=rng, **config)[0]

    assert asked(how="surprisal") == (1,)
    assert asked(how="surprisal", steps=2) == (1, 2)
    assert asked(how="entropy") == (0,)
    assert asked(how="all") == (0, 1, 2)


def test_random_steps_are_even():
    rng = np.random.default_rng(0)
    counts = np.bincount([choose_steps("random", 3, {}, 1, rng)[0] for _ in range(3000)])
    assert abs(counts - 1000).max() < 5 * np.sqrt(3000 * 2 / 9)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(1, 30), st.integers(0, 99))
def test_rollouts_are_drawn_evenly_over_groups(sizes, most, seed):
    rollouts = [rollout([1, 2], [Step(0, 2)], group=g) for g, n in enumerate(sizes) for _ in range(n)]
    chosen = choose_rollouts(rollouts, most, np.random.default_rng(seed))
    assert len(chosen) == len(set(chosen)) == min(most, len(rollouts))
    taken = np.bincount([rollouts[i].group for i in chosen], minlength=len(sizes))
    for g, n in enumerate(sizes):  # nobody has two more than another who could have had one more
        assert all(taken[g] >= min(n, taken[h] - 1) for h in range(len(sizes)))


def test_a_budget_bounds_the_comments_and_answers_without_steps_get_none():
    rollouts = [rollout([1, 2], [Step(0, 2)], group=g) for g in range(5)] + [rollout([9.0], [], group=5)]
    asked = aim(rollouts, [appraise(r) for r in rollouts], "surprisal", np.random.default_rng(0), answers=3)
    assert sum(map(len, asked)) == 3 and asked[-1] == ()
