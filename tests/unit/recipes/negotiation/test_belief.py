"""The hidden tactic: what a dialogue tells of it, the best that can be made of that, and the state that holds it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frown.recipes.negotiation import belief, optimum, partner, play, scenarios
from frown.recipes.negotiation.emotions import cards, places
from frown.recipes.negotiation.game import (
    OPEN,
    Dialogues,
    Rules,
    exchange,
    open_dialogues,
    stall_counts,
    their_concession,
    up_to,
    utility,
)
from frown.recipes.negotiation.partner import DRAWS, LEVELS, STEPS, TACTICS
from frown.recipes.negotiation.state import encode, response_statistics

RULES = Rules()
AT = places(cards("ekman7"))
KINDS = [partner.reply_model(tactic, AT) for tactic in TACTICS]
EVEN = np.full(4, 0.25)


def toy(emotions=2, kinds=2, seed=0):
    rng = np.random.default_rng(seed)
    return [
        partner.ReplyModel(
            rng.dirichlet(np.ones(DRAWS + 1), (LEVELS, emotions)), rng.uniform(0, 0.3, (LEVELS, emotions))
        )
        for _ in range(kinds)
    ]


# ---- beliefs


def test_bayes_rule_by_hand():
    after = belief.update(np.array([[0.5, 0.5], [0.9, 0.1], [0.3, 0.7]]), np.array([[0.2, 0.6], [0.1, 0.9], [0, 0]]))
    assert after.tolist() == [pytest.approx([0.25, 0.75]), pytest.approx([0.5, 0.5]), [0.3, 0.7]]


def test_the_belief_of_a_dialogue_by_hand():
    """Joy moves them two steps, then anger none, then sadness (now stuck) one; after the end nothing counts."""
    dialogues = open_dialogues(np.array([0.0]), np.array([100.0]))
    for emotion, at in ((3, 90.0), (0, 90.0), (4, 85.0)):
        dialogues = exchange(dialogues, np.array([emotion]), np.array([0.0]), np.array([at]), np.array([False]), RULES)
    chance = np.array([
        0.25
        * np.prod([(1 - k.leave[s, a]) * k.steps[s, a, n] for s, a, n in ((0, 3, 2), (0, 0, 0), (1, 4, 1))])
        for k in KINDS
    ])  # fmt: skip
    found = belief.posterior(belief.likelihoods(KINDS), EVEN, dialogues)
    assert found[0] == pytest.approx(chance / chance.sum())
    over = exchange(
        replace(dialogues, status=np.array([2])), np.array([1]), *(np.array([9.0]),) * 2, np.array([False]), RULES
    )
    assert np.array_equal(belief.posterior(belief.likelihoods(KINDS), EVEN, over), found)


def test_beliefs_are_calibrated():
    """Of dialogues in which a kind is believed to p, a share of p are with it."""
    where = play.world(scenarios.synthetic().scenarios, TACTICS, AT, RULES)
    dialogues = up_to(play.play(play.uniform(7), where, 0, 40).dialogues, 8)
    believed = belief.posterior(belief.likelihoods(KINDS), EVEN, dialogues)[dialogues.status == OPEN]
    true = np.eye(4)[np.repeat(np.arange(100) % 4, 40)][dialogues.status == OPEN]
    # Dialogues that have ended are left out, of all kinds by chances that the belief knows but for deals.
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 1.0)):
        at = (believed >= low) & (believed < high)
        assert at.sum() > 200 and true[at].mean() == pytest.approx(believed[at].mean(), abs=0.05)
    assert believed.max() > 0.9


# ---- interpolation


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5).filter(lambda b: sum(b) > 0.1), st.integers(1, 9))
def test_a_belief_is_the_mixture_of_its_corners(parts, resolution):
    chances = np.array([parts]) / sum(parts)
    index, weight = belief.interpolation(chances, resolution)
    corners = belief.grid(len(parts), resolution)[index[0]] / resolution
    assert weight.min() >= 0 and weight.sum() == pytest.approx(1.0)
    assert weight[0] @ corners == pytest.approx(chances[0], abs=1e-7)
    near = np.abs(corners[weight[0] > 1e-6] - chances).max()
    assert near <= 1.0 / resolution + 1e-6


def test_the_grid_holds_every_way_to_share():
    assert belief.grid(3, 2).tolist() == [[0, 0, 2], [0, 1, 1], [0, 2, 0], [1, 0, 1], [1, 1, 0], [2, 0, 0]]
    assert belief.grid(1, 5).tolist() == [[5]]
    points = belief.grid(4, 6)
    index, weight = belief.interpolation(points / 6, 6)
    assert np.array_equal(index[np.arange(len(points)), weight.argmax(axis=1)], np.arange(len(points)))


# ---- the optimum that is not told


def walked(kinds, ours, meet, choose, weights, t=0, k=0, s=0, seen=()):
    """The value of a policy of histories, walking every branch: chances of kinds and history so far in `weights`."""
    if t == len(ours):
        return 0.0
    a, total = choose(seen), 0.0
    for n in range(DRAWS + 1):
        to, stuck, deal = (int(x) for x in optimum.after(np.array(k), np.array(s), n, int(ours[t]), meet))
        then = [w * (1 - kind.leave[s, a]) * kind.steps[s, a, n] for w, kind in zip(weights, kinds, strict=True)]
        more = (kinds, ours, meet, choose, then, t + 1, to, stuck, (*seen, n))
        total += sum(then) * to / STEPS if deal else walked(*more)
    return total


def best(kinds, ours, meet, weights, t=0, k=0, s=0):
    """The best policy of histories by walking every branch and taking the best emotion at each."""
    if t == len(ours):
        return 0.0
    values = []
    for a in range(kinds[0].leave.shape[1]):
        values.append(0.0)
        for n in range(DRAWS + 1):
            to, stuck, deal = (int(x) for x in optimum.after(np.array(k), np.array(s), n, int(ours[t]), meet))
            then = [w * (1 - kind.leave[s, a]) * kind.steps[s, a, n] for w, kind in zip(weights, kinds, strict=True)]
            values[-1] += sum(then) * to / STEPS if deal else best(kinds, ours, meet, then, t + 1, to, stuck)
    return max(values)


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_what_enumerating_every_policy_finds(seed):
    """Two exchanges: the first emotion and one for each reply, all 32 policies; four exchanges by walking."""
    kinds, prior = toy(seed=seed), np.array([0.5, 0.5])
    short, meet = np.array([16, 17]), 1
    found = []
    for first, *then in product(range(2), repeat=1 + DRAWS + 1):
        found.append(walked(kinds, short, meet, lambda seen, a=first, b=then: b[seen[0]] if seen else a, prior))
    assert best(kinds, short, meet, prior) == pytest.approx(max(found), abs=1e-12)
    assert belief.solve(kinds, short, meet, 64).start(prior) == pytest.approx(max(found), abs=1e-4)
    long = np.array([13, 14, 15, 16])
    exact = best(kinds, long, meet, prior)
    bounds = [belief.solve(kinds, long, meet, resolution).start(prior) for resolution in (2, 16, 128)]
    assert bounds[0] >= bounds[1] >= bounds[2] >= exact - 1e-12
    assert bounds[2] == pytest.approx(exact, abs=1e-4)


def test_one_kind_alone_is_the_optimum_that_is_told():
    ours = partner.our_offers(15)
    told = optimum.solve(KINDS[2], ours, 1)
    assert belief.solve(KINDS[2:3], ours, 1, 3).start(np.ones(1)) == pytest.approx(told.start, abs=1e-12)
    twins = belief.solve([KINDS[2]] * 3, ours, 1, 4)
    assert twins.start(np.array([0.2, 0.3, 0.5])) == pytest.approx(told.start, abs=1e-12)
    looked = twins.q(2, np.array([4]), np.array([1]), np.array([[0.2, 0.3, 0.5]]))
    assert looked[0] == pytest.approx(told.q[2, 4, 1], abs=1e-12)


@pytest.mark.slow
def test_what_is_played_lies_under_the_bound_and_near_it():
    where = play.world(scenarios.synthetic().scenarios, TACTICS, AT, RULES)
    earned = utility(play.play(play.belief_optimal(where, 20), where, 5, 20).dialogues)
    bound = belief.solve(KINDS, partner.our_offers(15), 1, 12).start(EVEN)
    error = earned.std() / np.sqrt(len(earned))
    assert bound - 0.02 - 4 * error < earned.mean() < bound + 4 * error
    fixed = play.exact(where, np.eye(7)[play.best_fixed(where)]).mean()
    assert fixed + 0.1 < earned.mean() < play.exact(where).mean() - 0.02  # to be told is worth something


# ---- the state that remembers


def test_answers_by_hand():
    """Sadness, they move by .1; joy, they stay; joy again (stuck), they move by .05; then it is over."""
    dialogues = open_dialogues(np.array([0.0, 0.0]), np.array([100.0, 100.0]))
    for emotion, at in ((4, 90.0), (3, 90.0), (3, 85.0)):
        dialogues = exchange(dialogues, np.full(2, emotion), np.zeros(2), np.full(2, at), np.zeros(2, bool), RULES)
    sad, glad = AT[4], AT[3]
    moving = [2, 0.1, *(sad + glad), *(0.1 * sad)]
    stuck = [1, 0.05, *glad, *(0.05 * glad)]
    assert response_statistics(dialogues, AT, RULES)[0] == pytest.approx(np.array([*moving, *stuck]) / 15)
    assert not response_statistics(up_to(dialogues, 0), AT, RULES).any()
    over = exchange(
        replace(dialogues, status=np.ones(2, int)), np.ones(2, int), *(np.zeros(2),) * 2, np.zeros(2, bool), RULES
    )
    assert np.array_equal(response_statistics(over, AT, RULES), response_statistics(dialogues, AT, RULES))


def test_history_is_the_vad_state_and_the_answers_for_any_taxonomy():
    for taxonomy in ("ekman7", "goemotions28"):
        at = places(cards(taxonomy))
        where = play.world(scenarios.synthetic().scenarios, TACTICS, at, RULES)
        dialogues = up_to(play.play(play.uniform(len(at)), where, 0).dialogues, 5)
        found = encode(dialogues, at, "history", RULES)
        assert found.shape == (100, 27) and np.array_equal(found[:, :11], encode(dialogues, at, "vad", RULES))


@pytest.mark.slow
@given(st.integers(0, 1000), st.integers(0, 15))
def test_dialogues_do_not_know_of_each_other_and_order_within_a_level_does_not_matter(seed, t):
    rng = np.random.default_rng(seed)
    where = play.world(scenarios.synthetic().scenarios[:6], TACTICS, AT, RULES)
    dialogues = up_to(play.play(play.uniform(7), where, seed).dialogues, t)
    order = rng.permutation(6)
    mixed = Dialogues(*(getattr(dialogues, f)[order] for f in ("ours", "theirs", "shown", "status", "lasted")))
    assert np.array_equal(encode(mixed, AT, "history", RULES), encode(dialogues, AT, "history", RULES)[order])
    # The sums once more, exchange by exchange.
    moves, level = np.diff(their_concession(dialogues), axis=1), stall_counts(dialogues)
    by_hand = np.zeros((6, 2, 8))
    for i in range(6):
        for j in rng.permutation(t):
            if dialogues.shown[i, j] >= 0:
                x, y = AT[dialogues.shown[i, j]], moves[i, j]
                by_hand[i, int(level[i, j] > 0)] += [1, y, *x, *(x * y)]
    assert response_statistics(dialogues, AT, RULES) == pytest.approx(by_hand.reshape(6, 16) / 15, abs=1e-12)


def test_what_it_holds_tells_partners_apart():
    """A linear reading of it separates four hidden tactics that the state without a memory cannot."""
    from sklearn.linear_model import LogisticRegression

    where = play.world(scenarios.synthetic().scenarios, TACTICS, AT, RULES)
    learnt, tested = (up_to(play.play(play.uniform(7), where, seed, 20).dialogues, 8) for seed in (0, 1))
    kind = np.repeat(np.arange(100) % 4, 20)
    right = {}
    for encoding in ("vad", "history"):
        x, new = (encode(dialogues, AT, encoding, RULES)[dialogues.status == OPEN] for dialogues in (learnt, tested))
        varies = np.ptp(x, axis=0) > 0
        scale = x[:, varies].std(axis=0)
        reader = LogisticRegression(max_iter=200).fit(x[:, varies] / scale, kind[learnt.status == OPEN])
        right[encoding] = reader.score(new[:, varies] / scale, kind[tested.status == OPEN])
    exact = belief.posterior(belief.likelihoods(KINDS), EVEN, tested).argmax(axis=1)
    most = (exact == kind)[tested.status == OPEN].mean()
    assert right["vad"] < 0.45 and most - 0.06 < right["history"] < most + 0.02
