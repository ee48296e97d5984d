"""Implicit Q-Learning, off-policy estimates, the check before training, tournaments, and people's logs."""

from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from frown.errors import FrownError
from frown.recipes.negotiation import iql, logs, off_policy, play, scenarios, signal_check, tournament
from frown.recipes.negotiation.behaviour import behaviour_nats, fit_behaviour
from frown.recipes.negotiation.casino import ACTIONS, load_casino
from frown.recipes.negotiation.emotions import cards, places
from frown.recipes.negotiation.game import DEAL, Rules, our_concession, up_to, utility
from frown.recipes.negotiation.partner import TACTICS
from frown.recipes.negotiation.people import evaluate_people
from frown.recipes.negotiation.state import Encoding, encode
from paths import SHARED

pytestmark = pytest.mark.slow

RULES = Rules()
AT = places(cards("ekman7"))
TRAIN, TEST = scenarios.split(scenarios.synthetic())
CASINO = SHARED / "data" / "casino"


def where(rows=TEST, tactics=("victim",), **more) -> play.World:
    return play.world(rows, tactics, AT, RULES, **more)


def logged(world, seed=0, repeats=5, encoding="vad", reward="utility") -> logs.Logs:
    return logs.transitions(play.play(play.uniform(7), world, seed, repeats), AT, encoding, RULES, reward)


# ---- playing


@pytest.mark.parametrize("tactic", TACTICS)
def test_play_earns_what_dynamic_programming_says(tactic):
    world = where(TRAIN, (tactic,))
    for policy, exact in (
        (play.uniform(7), play.exact(world, np.full(7, 1 / 7))),
        (play.fixed(4, 7), play.exact(world, np.eye(7)[4])),
        (play.optimal(world, 20), play.exact(world)),
    ):
        earned = utility(play.play(policy, world, 3, 20).dialogues)
        assert abs(earned.mean() - exact.mean()) < 4 * earned.std() / np.sqrt(len(earned))


def test_the_same_seed_is_the_same_luck():
    a, b = (play.play(play.uniform(7), where(), 1, 2).dialogues for _ in range(2))
    assert np.array_equal(a.theirs, b.theirs) and np.array_equal(a.shown, b.shown)
    assert not np.array_equal(a.theirs, play.play(play.uniform(7), where(), 2, 2).dialogues.theirs)
    inert = where(inert=True)
    sad, glad = (play.play(play.fixed(e, 7), inert, 1, 2).dialogues for e in (4, 3))
    assert np.array_equal(sad.theirs, glad.theirs)  # an emotion that does nothing does nothing


def test_habits_are_chances():
    dialogues = play.play(play.uniform(7), where(), 0).dialogues
    for t in (0, 3):
        chance = play.habitual(AT)(up_to(dialogues, t))
        assert np.allclose(chance.sum(axis=1), 1.0) and chance.min() > 0


# ---- states and logs


def test_states_have_their_sizes_and_legacy_its_ten_numbers():
    dialogues = up_to(play.play(play.uniform(7), where(), 0).dialogues, 4)
    assert [encode(dialogues, AT, e, RULES).shape[1] for e in get_args(Encoding)] == [15, 11, 10, 27]
    s = encode(dialogues, AT, "legacy", RULES)[0]
    theirs, gap = dialogues.theirs[0], dialogues.ours[0, 0] - dialogues.theirs[0, 0]
    moves = np.diff(theirs) / gap
    assert s[0] == pytest.approx(moves[-1]) and s[5] == pytest.approx(moves[-3:].mean())
    assert s[1] == pytest.approx(abs(dialogues.ours[0, -1] - theirs[-1]) / abs(gap))
    assert s[2] == pytest.approx(4 / 15) and s[3] == pytest.approx(theirs[-1] / theirs[0])
    assert s[4] == pytest.approx(our_concession(dialogues)[0, -1]) and tuple(s[7:9]) == (0.5, pytest.approx(0.3))
    index = encode(dialogues, AT, "legacy", RULES)[:, 9]
    assert index == pytest.approx(np.maximum(dialogues.shown[:, -1], 0) / 6) and index.max() > 0


def test_transitions_are_the_dialogues_step_by_step(tmp_path):
    played = play.play(play.uniform(7), where(), 0, 3)
    found = logs.transitions(played, AT, "vad", RULES, "utility")
    assert len(found.actions) == played.dialogues.lasted.sum() and found.dones.sum() == found.episodes == 60
    assert np.allclose(found.returns(), utility(played.dialogues))
    assert np.allclose(found.chances, 1 / 7)
    follows = np.flatnonzero(~found.dones)
    assert np.array_equal(found.next_states[follows], found.states[follows + 1])
    logs.write_logs(found, tmp_path / "logs.npz")
    with np.load(tmp_path / "logs.npz", allow_pickle=False) as back:
        assert np.array_equal(back["rewards"], found.rewards)


def test_the_papers_reward_by_hand():
    dialogues = play.play(play.uniform(7), where(), 0, 3).dialogues
    r = logs.paper_rewards(dialogues, RULES)
    for i in range(5):
        last = dialogues.lasted[i] - 1
        theirs = (dialogues.theirs[i, 1] - dialogues.theirs[i, 0]) / dialogues.gap[i]
        ours = -(dialogues.ours[i, 1] - dialogues.ours[i, 0]) / dialogues.gap[i]
        assert r[i, 0] == pytest.approx((theirs - ours) + (last == 0) * (2 if dialogues.status[i] == DEAL else -2))
        assert abs(r[i, last]) > 1.0 and np.all(r[i, last + 1 :] == 0.0)


# ---- Implicit Q-Learning


def test_expectile_loss_in_closed_form():
    u = torch.tensor([2.0, -1.0], dtype=torch.float64)
    assert iql.expectile_loss(u, 0.7).item() == pytest.approx((0.7 * 4 + 0.3 * 1) / 2)
    assert iql.expectile_loss(u, 0.5).item() == pytest.approx(0.5 * (u**2).mean().item())


@pytest.mark.parametrize("tau", [0.5, 0.7, 0.9])
def test_its_minimum_is_the_expectile(tau):
    """The expectile e of x: tau E[(x - e)+] = (1 - tau) E[(e - x)+]."""
    x = np.random.default_rng(0).normal(size=200)
    best = minimize(lambda v: iql.expectile_loss(torch.tensor(x - v[0]), tau).item(), [0.0], tol=1e-12).x[0]
    above, below = np.maximum(x - best, 0).mean(), np.maximum(best - x, 0).mean()
    assert tau * above == pytest.approx((1 - tau) * below, rel=1e-4)


def test_policy_loss_and_dueling():
    u = torch.tensor([0.0, 1.0, 9.0], dtype=torch.float64, requires_grad=True)
    logp = torch.tensor([-1.0, -2.0, -3.0], dtype=torch.float64, requires_grad=True)
    loss = iql.policy_loss(u, logp, beta=3.0, cap=100.0)
    assert loss.item() == pytest.approx((1.0 + 2 * np.exp(3.0) + 3 * 100.0) / 3)
    loss.backward()
    assert u.grad is None and logp.grad[2].item() == pytest.approx(-100.0 / 3)
    q = iql.dueling(torch.tensor([[1.0]]), torch.tensor([[2.0, -1.0, -1.0]]))
    assert q.tolist() == [[3.0, 0.0, 0.0]] and q.mean().item() == 1.0


def test_a_bandit_is_learnt_and_training_is_deterministic():
    """One exchange, three actions, the second pays; the first two states differ in which."""
    rng = np.random.default_rng(0)
    s = rng.integers(0, 2, (600, 1)).astype(np.float32)
    a = rng.integers(0, 3, 600)
    r = (a == np.where(s[:, 0] > 0, 2, 1)).astype(float)
    n = np.arange(600)
    made = logs.Logs(s, a, r, s, np.ones(600, bool), n, np.zeros(600, int), np.full(600, 1 / 3))
    few = iql.IqlConfig(steps=150, hidden=16, batch_size=64, polyak=0.1)
    one, two = (iql.train(made, 3, few, seed=1) for _ in range(2))
    both = np.array([[0.0], [1.0]], dtype=np.float32)
    assert one.chances(both).argmax(axis=1).tolist() == [1, 2]
    assert np.array_equal(one.chances(both), two.chances(both))
    with pytest.raises(ValueError, match="nothing to learn"):
        iql.train(logs.Logs(s[:0], a[:0], r[:0], s[:0], np.ones(0, bool), n[:0], n[:0], r[:0]), 3, few)


@pytest.fixture(scope="module")
def trained():
    made = logged(where(TRAIN), repeats=20)
    return iql.train(made, 7, iql.IqlConfig(steps=500, hidden=32, batch_size=128, lr=2e-3, polyak=0.05)), made


def test_selection_beats_its_teacher_and_every_fixed_emotion(trained):
    """A short training; the whole one is in experiments/negotiation.py."""
    selector, _ = trained
    world = where()
    earned = utility(play.play(iql.greedy_policy(selector, AT, "vad", RULES), world, 99, 20).dialogues).mean()
    fixed = play.exact(world, np.eye(7)[play.best_fixed(where(TRAIN))]).mean()
    assert earned > fixed + 0.1 > play.exact(world, np.full(7, 1 / 7)).mean() + 0.1
    assert earned < play.exact(world).mean() + 0.02


def test_a_selector_is_saved_as_plain_tensors(trained, tmp_path):
    from safetensors.numpy import load_file

    iql.save(trained[0], tmp_path, {"taxonomy": "ekman7"})
    tensors = load_file(tmp_path / "selector.safetensors")
    assert tensors["mean"].shape == (11,) and json.loads((tmp_path / "selector.json").read_text())
    assert any(name.startswith("policy.") for name in tensors)


# ---- off-policy estimates


def toy(count, seed, actions=2):
    """Two exchanges, a state of one number; what is earned is the second action times the first plus noise."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, actions, (2, count))
    chance = np.where(first == 1, 0.5, 0.5)
    pay = 1.0 * first + 0.5 * second + rng.normal(0, 0.1, count)
    s = np.zeros((count, 2, 1), np.float32)
    s[:, 1, 0] = 1.0
    return logs.Logs(
        s.reshape(-1, 1),
        np.column_stack([first, second]).reshape(-1),
        np.column_stack([first * 1.0, pay - first]).reshape(-1),
        np.ones((2 * count, 1), np.float32),
        np.tile([False, True], count),
        np.repeat(np.arange(count), 2),
        np.tile([0, 1], count),
        np.repeat(chance, 2),
    )


def sure(states):
    return np.tile([0.1, 0.9], (len(states), 1))


def test_estimates_agree_with_the_truth_where_it_is_known():
    made = toy(400, 0)
    found = off_policy.estimate_policy(made, sure, off_policy.fit_q(toy(400, 1), sure))
    truth = 0.9 * 1.5
    for name in ("wis", "dr", "fqe"):
        e = found[name]
        assert e.value.mean == pytest.approx(truth, abs=0.05), name
        assert e.value.low < truth < e.value.high and e.gain.low > 0
    assert found["behaviour"].value.mean == pytest.approx(made.returns().mean())
    assert 50 < found["wis"].effective < 400 == found["fqe"].total


def test_weights_by_hand():
    """wis, its effective size, and dr with q = 0, which is importance sampling step by step."""
    made = toy(50, 3)
    none = np.zeros(2 * off_policy.features(made.states).shape[1])
    found = off_policy.estimate_policy(made, sure, none)
    a, r = made.actions.reshape(-1, 2), made.rewards.reshape(-1, 2)
    ratio = np.where(a == 1, 0.9, 0.1) / 0.5
    w = ratio.prod(axis=1)
    assert found["wis"].value.mean == pytest.approx((w * r.sum(axis=1)).sum() / w.sum())
    assert found["wis"].effective == pytest.approx(w.sum() ** 2 / (w**2).sum())
    assert found["dr"].value.mean == pytest.approx((ratio[:, 0] * r[:, 0] + w * r[:, 1]).mean())


def test_the_behaviour_itself_gains_nothing():
    made = toy(100, 5)
    same = lambda s: np.full((len(s), 2), 0.5)  # noqa: E731
    found = off_policy.estimate_policy(made, same, off_policy.fit_q(toy(100, 6), same))
    assert found["wis"].effective == pytest.approx(100) and found["wis"].gain.mean == pytest.approx(0.0)
    assert not found["dr"].gain.excludes_zero and not found["fqe"].gain.excludes_zero


def test_clusters_are_resampled_together():
    """Every dialogue twice: as one cluster of two the interval is that of the single ones, apart it is narrower."""
    one = toy(60, 7)
    order = np.concatenate([np.arange(120), np.arange(120)])
    fields = {f: getattr(one, f)[order] for f in logs.Logs.__dataclass_fields__}
    fields["episode_ids"] = np.concatenate([one.episode_ids, one.episode_ids + 60])
    double = logs.Logs(**fields)
    q = off_policy.fit_q(toy(60, 8), sure)
    single, together, apart = (
        off_policy.estimate_policy(x, sure, q, c)["dr"].value
        for x, c in ((one, None), (double, np.tile(np.arange(60), 2)), (double, None))
    )
    width = lambda i: i.high - i.low  # noqa: E731
    assert width(together) == pytest.approx(width(single)) and width(apart) < 0.85 * width(single)


# ---- the check before training


def test_the_check_finds_what_is_there():
    for tactic in TACTICS:
        found = signal_check.check_signal(play.play(play.uniform(7), where(TRAIN, (tactic,)), 0, 5).dialogues)
        assert "replies" in found.significant and found.verdict != "no signal here"
    mixed = play.play(play.fixed(3, 7), where(), 0).dialogues
    assert signal_check.check_signal(mixed).verdict == "no signal here"  # one emotion alone tells nothing


def test_the_check_cries_wolf_no_more_often_than_it_says():
    """40 inert logs at a level of .05: 6 and more false alarms would happen once in 70 such tests."""
    world = where(inert=True)
    alarms = sum(
        bool(signal_check.check_signal(play.play(play.uniform(7), world, s, 2).dialogues, s).significant)
        for s in range(40)
    )
    assert alarms <= 6


def test_strata_keep_a_confounder_from_passing_for_a_signal():
    rng = np.random.default_rng(0)
    strata = rng.integers(0, 2, 2000)
    groups = np.where(rng.random(2000) < 0.8, strata, 1 - strata)  # who is stuck shows another emotion
    values = strata + rng.normal(0, 1, 2000)
    assert signal_check.permutation_test(groups, values, np.zeros(2000, int), rng).p == 1 / (1 + signal_check.DEALS)
    assert signal_check.permutation_test(groups, values, strata, rng).p > 0.01


def test_emotions_are_dealt_within_strata():
    """A large noisy stratum that shows one emotion alone says nothing, and does not drown the one that speaks."""
    rng = np.random.default_rng(0)
    strata = np.repeat([0, 1], [1000, 60])
    groups = np.where(strata == 0, 0, np.arange(1060) % 2)
    values = np.where(strata == 0, rng.normal(0, 10, 1060), groups + rng.normal(0, 0.5, 1060))
    assert signal_check.permutation_test(groups, values, strata, rng).p == 1 / (1 + signal_check.DEALS)


def test_holm():
    assert signal_check.holm({"a": 0.01, "b": 0.04, "c": 0.03}) == ("a",)
    assert signal_check.holm({"a": 0.01, "b": 0.02, "c": 0.03}) == ("a", "b", "c")
    assert signal_check.holm({"a": 0.02, "b": 0.02, "c": 0.03}) == ()


# ---- tournaments


def test_bradley_terry_is_what_maximum_likelihood_says():
    rng = np.random.default_rng(0)
    won = rng.integers(1, 20, (5, 5)).astype(float)
    np.fill_diagonal(won, 0)

    def loss(s):
        s = np.append(s, -s.sum())
        return -sum(won[i, j] * -np.log1p(np.exp(s[j] - s[i])) for i in range(5) for j in range(5))

    other = minimize(loss, np.zeros(4), tol=1e-12).x
    assert np.allclose(tournament.bradley_terry(won)[:4], other, atol=1e-4)


def test_who_never_lost_has_no_finite_strength():
    won = np.array([[0, 4, 4], [0, 0, 3], [0, 1, 0]], dtype=float)
    s = tournament.bradley_terry(won)
    assert s[0] == np.inf and s[1] - s[2] == pytest.approx(np.log(3)) and s[1] + s[2] == pytest.approx(0.0)


def test_a_tournament_ranks_by_skill_and_equals_alike():
    world = where(TEST, ("victim",))
    names = [card.name for card in cards("ekman7")]
    players = {
        "knows": lambda t: play.optimal(world, 2)(t),
        "random": play.uniform(7),
        "cold": play.fixed(names.index("anger"), 7),
    }
    found = tournament.tournament(players, world, repeats=2)
    strength = {name: r.strength.mean for name, r in found.items()}
    assert strength["knows"] > strength["random"] > strength["cold"]
    assert sum(strength.values()) == pytest.approx(0.0, abs=1e-6)
    assert np.mean([r.points for r in found.values()]) == pytest.approx(0.5)
    twins = tournament.tournament({"a": play.uniform(7), "b": play.uniform(7)}, world, repeats=5)
    assert twins["a"].strength.low < 0 < twins["a"].strength.high


def test_both_sides_of_a_duel_share_the_gap():
    found = tournament.duel(play.uniform(7), play.fixed(3, 7), where(), 0, 5)
    total = found.mine + found.theirs
    assert np.all(np.isclose(total, 1.0) | (total == 0.0)) and (total > 0).any()


# ---- people


def dialogue(*messages, points=(20, 18)):
    who = ("mturk_agent_1", "mturk_agent_2")
    chat = [{"text": text, "task_data": {}, "id": who[speaker]} for speaker, text in messages]
    outcome = [{"points_scored": p, "satisfaction": "Slightly satisfied", "opponent_likeness": "x"} for p in points]
    info = {w: {"outcomes": o} for w, o in zip(who, outcome, strict=True)}
    return {"dialogue_id": 1, "chat_logs": chat, "participant_info": info}


def test_people_are_read_message_by_message(tmp_path):
    row = dialogue(
        (0, "Hello \U0001f642"), (1, "Hi"), (0, "I need water \u2639\ufe0f\U0001f642"), (1, "Submit-Deal"),
        (0, "Reject-Deal"), (1, "no \U0001f621"), (0, "Accept-Deal"),
    )  # fmt: skip
    path = tmp_path / "train.json"
    path.write_text(json.dumps([row, row]), encoding="utf-8")
    people = load_casino(path, "points")
    assert people.logs.actions.tolist()[:4] == [1, 1, 0, ACTIONS.index("anger")]
    assert people.logs.returns().tolist() == pytest.approx([20 / 36, 18 / 36] * 2)
    assert people.dialogues.tolist() == [0, 0, 1, 1] and people.mixed == 2
    assert np.all(people.logs.states[0] == 0.0)  # nothing was seen before the first word
    last = people.logs.states[3]  # before "no": both have written, a proposal was made and refused
    assert last[0] == pytest.approx(0.1) and last[7] == pytest.approx(0.2)
    assert tuple(last[-2:]) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert load_casino(path, "satisfaction").logs.returns()[0] == 0.75
    path.write_text("[{}]")
    with pytest.raises(FrownError, match="not a split of CaSiNo"):
        load_casino(path, "points")


def test_selection_is_judged_on_other_people(tmp_path):
    """Two steps of training: the habit of people gains nothing by its own weights; every policy has its estimates."""
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        rows = []
        for _ in range(12):
            words = [(i % 2, "ok " + str(rng.choice(["", "\U0001f642", "\u2639", "\U0001f62e"]))) for i in range(8)]
            rows.append(dialogue(*words, points=tuple(rng.integers(5, 30, 2).tolist())))
        (tmp_path / f"{name}.json").write_text(json.dumps(rows), encoding="utf-8")
    found = evaluate_people(tmp_path, "points", iql.IqlConfig(steps=2))
    assert found["people"] == {"train": 24, "test": 24} and sum(found["shown"].values()) == pytest.approx(1, abs=1e-5)
    habit = found["policies"]["people's habit"]["wis"]
    assert habit["gain"]["mean"] == 0.0 and habit["effective"] == pytest.approx(24)
    assert {"selection", "selection, sampled", "cautious, sampled", "never", "always joy"} < set(found["policies"])


def test_habits_are_fitted_as_scikit_learn_fits_them():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    s = rng.normal(size=(500, 3)).astype(np.float32)
    a = (s[:, 0] + rng.normal(size=500) > 0).astype(int) + (s[:, 1] > 1)
    n = np.arange(500)
    made = logs.Logs(s, a, s[:, 0].astype(float), s, np.ones(500, bool), n, n * 0, np.ones(500))
    habit = fit_behaviour(made, 3)
    x = (s - s.mean(axis=0)) / s.std(axis=0)
    theirs = LogisticRegression(C=0.5, tol=1e-10, max_iter=1000).fit(x, a).predict_proba(x)
    assert np.allclose(habit.chances(s), theirs, atol=2e-3)
    assert behaviour_nats(made, habit) < -np.log(np.bincount(a) / 500)[a].mean()


@pytest.mark.skipif(not CASINO.is_dir(), reason="CaSiNo is not here")
def test_casino():
    people = load_casino(CASINO / "test.json", "points")
    assert people.logs.episodes == 200 and set(np.unique(people.logs.actions)) <= set(range(5))
    assert 0.4 < people.logs.returns().mean() < 0.6
    assert 0.05 < (people.logs.actions > 0).mean() < 0.3


# ---- the command


def test_two_steps_of_the_whole_recipe_from_the_command_line(tmp_path, capsys):
    from frown.cli.app import main

    small = ["learning.steps=2", "dialogues=80", "held_out=40", "repeats=2", "seeds=[0,1]"]
    main(["recipe", "negotiation", "select", "--scenario", "synthetic", "--out", str(tmp_path / "run"), *small])
    printed = capsys.readouterr().out
    assert "optimum" in printed and "Selection less best fixed" in printed
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert found["arms"]["optimum"]["utility"]["mean"] > found["arms"]["behaviour"]["utility"]["mean"]
    assert len(found["off_policy"]) == 2 and found["config"]["learning"]["steps"] == 2
    assert {p.name for p in (tmp_path / "run").iterdir()} == {
        *("results.json", "logs.npz", "selector.safetensors", "selector.json"),
    }
    main(
        [
            "recipe",
            "negotiation",
            "select",
            "--json",
            "--out",
            str(tmp_path / "run"),
            *small,
            "taxonomy=izard10",
            "held_out=0",
        ]
    )
    assert "vanilla" not in json.loads(capsys.readouterr().out)["arms"]  # Izard has no neutral
    mixed = ['tactics=["victim","threat"]', "encoding=history", "held_out=0", "seeds=[0]"]
    main(["recipe", "negotiation", "select", "--out", str(tmp_path / "run"), *small, *mixed])
    assert "Of the optimum with the tactic hidden" in capsys.readouterr().out
    arms = json.loads((tmp_path / "run" / "results.json").read_text())["arms"]
    assert arms["best fixed"]["utility"]["mean"] < arms["optimum, tactic hidden"]["utility"]["mean"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["--scenario", "credit"], "data=DIR"), (["tactics=[]"], "at least 1"), (["learning.stepz=1"], "did you mean"),
     (["--scenario", "credit", "--data", "/nowhere"], "cannot read the scenarios"),
     (["--data", "/nowhere"], "give --scenario"), (["seeds=[0,0]"], "different whole numbers")],
)  # fmt: skip
def test_mistakes_are_one_line(arguments, told, capsys, tmp_path):
    from frown.cli.app import main

    with pytest.raises(SystemExit):
        main(["recipe", "negotiation", "select", "--out", str(tmp_path / "x"), *arguments])
    error = capsys.readouterr().err.strip()
    assert told in error and "\n" not in error and not (tmp_path / "x").exists()
