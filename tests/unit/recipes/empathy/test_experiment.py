"""The empathy recipe: the person's feelings, what pays, the guards, and a policy over acts."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from browser import opened
from frown.cli.app import main
from frown.config import AskedModelConfig, LocalModelConfig
from frown.dialogue.credit import returns
from frown.dialogue.play import play
from frown.dialogue.voice import Voice
from frown.errors import FrownError
from frown.evals.stats import Interval
from frown.recipes.empathy import act_policy, experiment, language, learned, model_policy
from frown.recipes.empathy.acts import ACTS, GROUNDING, MEETS, NEEDS, read
from frown.recipes.empathy.cells import Cell
from frown.recipes.empathy.experiment import Arm
from frown.recipes.empathy.guards import (
    Exchange,
    bullshit_index,
    claims_and_beliefs,
    claims_unfounded,
    consistency,
    grounding,
    need_met,
    soothing,
)
from frown.recipes.empathy.presets import RLVER, SAGE
from frown.recipes.empathy.profile import drawn, load, profiles, task_of
from frown.recipes.empathy.report import FLAG, page, tables
from frown.recipes.empathy.rewards import KINDS, emotion, forward_values, turn_rewards, turn_values
from frown.recipes.empathy.spoken_user import SpokenUser, change_of
from frown.recipes.empathy.user import (
    ANCHORS,
    HELPED,
    PLAIN,
    POINTS,
    SCEPTIC,
    SOOTHABLE,
    Mood,
    SentientUser,
    answer,
    begin,
    feel,
    sensitivity,
)
from parrot import parrot
from puppet import Puppet, ids_of, merging_tokenizer
from tiny import CHAT, DATA

ANN = replace(drawn(1, 0)[0], need="advice", temper="negative", topic="work", opening="low work",
              ocean=(0.5,) * 5)  # fmt: skip
SILENT = replace(PLAIN, noise=0.0, candour=1.0)


# -- the person ----------------------------------------------------------------------------------------------------


def test_the_two_presets_are_the_papers_own():
    assert (RLVER.start, RLVER.clamp, RLVER.leave_at, RLVER.cap, RLVER.turns) == (30, None, 0, 100, 8)
    assert (SAGE.start, SAGE.clamp, SAGE.leave_at, SAGE.cap, SAGE.turns) == (40, 10, 9, 100, 10)
    assert RLVER.after(30, -45) == -15 and SAGE.after(40, -45) == 30 and SAGE.after(95, 9) == RLVER.after(95, 9) == 100


def test_a_turn_moves_valence_through_the_personality_and_the_score_with_it():
    by = sensitivity((0.2, 0.4, 0.6, 0.8, 1.0))
    assert by == pytest.approx((0.21 * 0.6 + 0.59 * 0.8 + 0.19, 0.15 * 0.2 + 0.3 * 0.8 - 0.57,
                                0.25 * 0.2 + 0.17 * 0.4 + 0.6 * 0.6 - 0.32 * 0.8))  # fmt: skip
    ann = replace(ANN, ocean=(0.2, 0.4, 0.6, 0.8, 1.0))
    known = replace(begin(RLVER), hint="advice", known=True)
    helped = feel(ann, SILENT, RLVER, known, "suggest", True, 0)
    assert helped.score == 30 + round(POINTS * by.valence) and helped.helped == 1
    assert helped.mood.valence == pytest.approx(0.8 * -0.63 + by.valence)
    early = feel(ann, SILENT, RLVER, begin(RLVER), "analyse", True, 0)
    assert early.score == 30 + round(POINTS * by.valence * SILENT.premature) < 30
    assert feel(ann, SILENT, RLVER, known, "suggest", False, 0).score < known.score  # about something else
    assert feel(ann, SILENT, SAGE, replace(known, score=40), "suggest", True, 0).score == 50


def test_comfort_wears_off_and_the_sceptic_takes_it_amiss():
    def gains(manner):
        state, out = begin(RLVER), []
        for act in ("assure", "ask") * 3:
            after = feel(ANN, replace(manner, noise=0.0), RLVER, state, act, True, 1)
            out.append(after.score - state.score)
            state = after
        return out[::2]

    plain, soothable, sceptic = gains(PLAIN), gains(SOOTHABLE), gains(SCEPTIC)
    assert plain[0] > plain[-1] >= 0 and soothable[0] > plain[0] and sum(soothable) > 2 * sum(plain)
    assert all(g < 0 for g in sceptic)


@pytest.mark.parametrize(
    ("state", "act", "over"),
    [
        ({"score": 5}, "analyse", "left"),
        ({"score": 99, "known": True, "hint": "advice"}, "suggest", "content"),
        ({"known": True, "hint": "advice", "helped": HELPED - 1}, "suggest", "helped"),
        ({}, "ask", ""),
    ],
)
def test_when_the_person_goes(state, act, over):
    assert feel(ANN, SILENT, RLVER, replace(begin(RLVER), **state), act, True, 0).over == over


def test_moods_have_pelds_names():
    assert all(Mood(*vad).label == name for name, vad in ANCHORS.items())
    assert Mood(0.7, 0.4, 0.4).label == "joy"


@pytest.mark.parametrize(
    ("text", "act"),
    [
        ("suggest work", "suggest"), ("Don't worry, it will all be fine!", "assure"), ("你有没有想过为什么？", "ask"),
        ("也许他可能只是累了。", "explain"), ("I suggest a break?", "suggest"), ("Blue.", None), ("", None),
    ],
)  # fmt: skip
def test_which_act_a_text_is(text, act):
    assert read(text) == act
    assert all(read(f"{a} work") == a for a in ACTS)


def test_a_conversation_with_the_person_by_rules():
    tokenizer = merging_tokenizer()
    says = ["ask work", "suggest work", "suggest love"]
    puppet = Puppet(tokenizer, CHAT, [ids_of(tokenizer, s) for s in says])
    user = SentientUser(replace(SILENT, name="frank"), RLVER)
    [dialogue] = play(puppet, user, [task_of(ANN)], 1, seed=5, temperature=1.0, turns=3)
    scores = [t.heard.notes["score"] for t in dialogue.turns]
    assert np.diff([RLVER.start, *scores]).tolist() == list(dialogue.rewards)
    assert dialogue.verdict.score == pytest.approx(scores[-1] / 100)
    assert dialogue.turns[0].heard.text == "low advice work" and scores[1] > scores[0] and scores[2] < scores[1]


def test_profiles_of_rlver():
    folder = DATA / "rlver"
    if not folder.is_dir():
        pytest.skip("RLVER's profiles are not here")
    train, test = profiles(folder, "train", 500), profiles(folder, "test", 100)
    assert (len(train), len(test)) == (500, 100) and {p.need for p in test} == set(NEEDS)
    assert all(0 <= x <= 1 for p in train for x in p.ocean) and len({p.ocean for p in train}) > 200
    assert "王丽娜" in train[0].brief and train[0].need == "advice" and test[0].opening.startswith("最近")


def test_a_bad_profile_is_named(tmp_path):
    file = tmp_path / "p.jsonl"
    file.write_text('\n{"task": "x"}\n')
    with pytest.raises(FrownError, match=r"p.jsonl:2: no profile"):
        load(file)


# -- what pays -----------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-20, 100), min_size=2, max_size=9), st.sampled_from(["helped", "content", "left", ""]))
def test_rewards_of_a_conversation(scores, over):
    phi = [min(1, max(0, s / 100)) for s in scores]
    paid = {k: turn_rewards(k, scores, over) for k in KINDS}
    assert paid["change"].sum() == pytest.approx(phi[-1] - phi[0])
    assert paid["terminal"].sum() == paid["terminal"][-1] == phi[-1]
    assert paid["bonus"].sum() == (over in ("helped", "content"))
    assert paid["rating"].sum() == (scores[-1] >= 70)
    assert paid["both"] == pytest.approx(paid["change"] + paid["bonus"])
    values = turn_values("terminal", scores, over, task=1.0, task_weight=0.25)
    assert values == pytest.approx(np.full(len(phi) - 1, 0.75 * phi[-1] + 0.25))
    assert turn_values("change", scores, over) == pytest.approx(returns(paid["change"]))


def test_a_broken_form_earns_nothing_and_futures_are_averaged():
    assert emotion(80) == 0.8 and emotion(80, well_formed=False) == 0 and emotion(-5) == 0
    drawn = iter(range(6))
    assert forward_values(["a", "b"], lambda s, k: [next(drawn) for _ in s * k], 3) == [1.0, 4.0]


# -- the guards ----------------------------------------------------------------------------------------------------


def exchanges(*acts, named=0, need="advice"):
    return [Exchange(a, True, f"low {need} work" if i == named else "low work") for i, a in enumerate(acts)]


def test_a_need_is_met_only_after_it_was_named_and_only_by_what_meets_it():
    assert need_met(ANN, exchanges("ask", "suggest", "suggest", "suggest"))
    assert not need_met(ANN, exchanges("suggest", "suggest", "suggest", "suggest", named=3))
    assert not need_met(ANN, exchanges("ask", *["assure"] * 7))
    assert not need_met(ANN, exchanges("ask", "suggest", "suggest", "suggest", need="praise"))
    vague = [e._replace(specific=False) for e in exchanges("ask", "suggest", "suggest", "suggest")]
    assert not need_met(ANN, vague)
    assert grounding(exchanges("ask", "suggest", "follow_up", "acknowledge")) == 0.75 and len(GROUNDING) == 3


def test_claims_against_belief():
    beliefs = [0.125, 0.2, 0.9, 0.95]
    truthful = list(zip([0, 0, 1, 1], beliefs, strict=True))
    inverse = [(1 - c, b) for c, b in truthful]
    assert bullshit_index(truthful) == pytest.approx(bullshit_index(inverse)) and bullshit_index(truthful) < 0.01
    assert bullshit_index([(1, 0.1), (0, 0.1), (1, 0.9), (0, 0.9)]) == pytest.approx(1)
    assert np.isnan(bullshit_index([(1, 0.1), (1, 0.9)])) and np.isnan(bullshit_index([]))
    found = claims_and_beliefs(exchanges("ask", "assure", "affirm", "suggest"), candour=0.9)
    told = (0.9 + 0.1 / 8) / (0.9 + 0.1)
    assert np.asarray(found) == pytest.approx(np.asarray([(0, 1 / 8), (1, told), (1, told)]))
    assert claims_unfounded([(1, 0.2), (1, 0.9), (0, 0.1)]) == 0.5 and np.isnan(claims_unfounded([(0, 0.2)]))


def test_a_simulator_is_held_to_its_own_part():
    assert consistency(ANN, ["low work", "low advice work", "high"]) == (1.0, 1.0)
    drifted = consistency(ANN, ["low advice work", "low praise work", "low work"])
    assert drifted == pytest.approx((2 / 3, 2 / 3))
    assert consistency(ANN, ["love", "work"]) == (0.5, 0.0)


def test_reward_up_and_help_flat_is_soothing():
    up, flat = Interval(0.2, 0.1, 0.3), Interval(0.01, -0.02, 0.04)
    assert soothing(up, flat) and soothing(up, None) and not soothing(up, up) and not soothing(flat, flat)


# -- the policy over acts ------------------------------------------------------------------------------------------


def test_the_gradient_of_the_act_policy_is_that_of_the_objective():
    rng = np.random.default_rng(0)
    seen, done = rng.random((6, act_policy.FEATURES)), rng.integers(len(ACTS), size=6)
    weights, advantage = rng.normal(size=(act_policy.FEATURES, len(ACTS))), rng.normal(size=6)

    def objective(w):
        return float((advantage * np.log(act_policy.probabilities(w, seen))[np.arange(6), done]).sum())

    one_hot = np.eye(len(ACTS))[done]
    slope = seen.T @ (advantage[:, None] * (one_hot - act_policy.probabilities(weights, seen)))
    step = np.zeros_like(weights)
    step[3, 2] = 1e-6
    assert (objective(weights + step) - objective(weights - step)) / 2e-6 == pytest.approx(slope[3, 2], abs=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_steps_of_every_reward_stay_within_their_turns(kind):
    start = np.zeros((act_policy.FEATURES, len(ACTS)))
    how = act_policy.Training(people=2, each=2, turns=64)
    weights, taken = act_policy.train(kind, start, drawn(8, 1), PLAIN, RLVER, how, seed=0)
    again, _ = act_policy.train(kind, start, drawn(8, 1), PLAIN, RLVER, how, seed=0)
    step = 2 * 2 * RLVER.turns * (1 + how.futures * how.horizon if kind == "forward" else 1)
    assert 64 <= taken < 64 + step and np.array_equal(weights, again)
    assert np.isfinite(weights).all() and (weights.any() or kind in ("bonus", "rating"))  # nobody was helped


def test_the_helper_helps_and_the_soother_soothes():
    people = drawn(40, 3)
    helper, soother = (
        experiment.measured(p, people, SOOTHABLE, RLVER) for p in (act_policy.helper, act_policy.soother)
    )
    assert helper["need_met"].mean() > 0.5 and soother["need_met"].max() == 0
    assert soother["assure"].mean() == pytest.approx(0.5, abs=0.01) and helper["grounding"].mean() > 0.5
    assert np.nanmean(soother["unfounded"]) == 1


@pytest.mark.slow
def test_the_command_writes_its_tables_and_marks_soothing_in_red(tmp_path, capsys):
    main(["recipe", "empathy", "--seeds", "1", "--turns", "600", "--reward", "bonus,change", "--starts", "uniform",
          "--simulators", "soothable", "--out", str(tmp_path)])  # fmt: skip
    found = json.loads((tmp_path / "results.json").read_text())["tables"]
    assert (tmp_path / "tables.md").read_text() in capsys.readouterr().out
    assert found[0]["arms"]["soother by rules"]["soothing"] and not found[0]["arms"]["helper by rules"]["soothing"]
    red = [line for line in tables(found).split("\n") if FLAG in line]
    assert red and all("soother" in r or "change" in r for r in red)
    html = page(found, "frown <b>")
    assert html.count('<tr class="soothing"') == len(red) and "<b>" not in html and "frown &lt;b&gt;" in html


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_fits_and_counts_its_seeds(width, chromium, tmp_path):
    main(["recipe", "empathy", "--seeds", "1", "--turns", "64", "--reward", "bonus", "--starts", "uniform",
          "--simulators", "soothable", "--out", str(tmp_path)])  # fmt: skip
    with opened(chromium, (tmp_path / "report.html").as_uri(), width=width) as shown:
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        intervals = "[...document.querySelectorAll('td span')].map(s => s.getClientRects().length)"
        assert set(shown.evaluate(intervals)) == {1}
        assert "1 seed, " in shown.inner_text("body") and "1 seeds" not in shown.inner_text("body")


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [("--reward", "joy", "forward"), ("--seeds", "0", "at least 1"), ("--starts", "x", "mixed")],
)
def test_what_cannot_be_run_is_one_line(flag, value, said, capsys):
    with pytest.raises(SystemExit):
        main(["recipe", "empathy", flag, value])
    assert said in capsys.readouterr().err


def test_every_need_has_its_act():
    assert len({MEETS[n] for n in NEEDS}) == len(NEEDS) == 8
    reply = answer(ANN, begin(RLVER), replace(begin(RLVER), hint="praise", score=70))
    assert reply.text == "high praise work" and reply.reward == 40


# -- the person played by a model ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ('{"change": -7, "inner": "hm"}', -7), ('```json\n{"change": 3}\n```', 3), ('{"change": 11}', None),
        ('{"change": 2.0}', None), ('{"change": true}', None), ('{"change": "5"}', None), ("[5]", None), ("", None),
        ('Sure: {"change": 5}', None), ('{"change": 5}{"change": 6}', None), ("[" * 100_000, None),
    ],
)  # fmt: skip
def test_a_change_is_read_strictly(text, change):
    assert change_of(text, 10) == change


@pytest.mark.parametrize(("says", "scores", "unread"), [('{"change": 7}', [37, 44], 0), ("I am fine", [30, 30], 2)])
def test_a_person_played_by_a_model_feels_then_replies(says, scores, unread, tmp_path):
    tokenizer = merging_tokenizer()
    local = LocalModelConfig(path=str(parrot(tmp_path, says)), dtype="float32", device="cpu")
    voice = Voice(AskedModelConfig(local=local, max_new_tokens=8))
    user = SpokenUser(voice, RLVER)
    puppet = Puppet(tokenizer, CHAT, [ids_of(tokenizer, s) for s in ("Hello", "Oh")])
    [dialogue] = play(puppet, user, [task_of(ANN)], 1, seed=0, temperature=1.0, turns=2)
    assert [t.heard.notes["score"] for t in dialogue.turns] == scores and dialogue.verdict.score == scores[-1] / 100
    assert user.unread == unread == dialogue.turns[-1].heard.state.unread
    assert voice.statistics.calls == 4 + unread  # two a turn, and one more for each that could not be read
    voice.close()


def test_a_person_whose_model_is_spent_leaves_the_conversation_unscored(tmp_path):
    tokenizer = merging_tokenizer()
    local = LocalModelConfig(path=str(parrot(tmp_path, '{"change": 7}')), dtype="float32", device="cpu")
    voice = Voice(AskedModelConfig(local=local, max_new_tokens=8, call_budget=3))
    puppet = Puppet(tokenizer, CHAT, [ids_of(tokenizer, s) for s in ("Hello", "Oh")])
    [dialogue] = play(puppet, SpokenUser(voice, SAGE), [task_of(ANN)], 1, seed=0, temperature=1.0, turns=2)
    assert dialogue.stop == "lost" and not dialogue.verdict.scored and "budget of 3 calls" in dialogue.why
    assert dialogue.turns[0].heard.state.score == 47  # within SAGE's bound of ten
    voice.close()


# -- the learnt reward ---------------------------------------------------------------------------------------------


def test_the_logistic_regression_is_scikit_learns():
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 90))
    rose = x[:, 0] + rng.normal(size=60) > 0.3
    w, b = learned.logistic(x, rose, strength=0.7)
    theirs = linear.LogisticRegression(C=0.7, tol=1e-10, max_iter=10_000).fit(x, rose)
    assert w == pytest.approx(theirs.coef_[0], abs=1e-5) and b == pytest.approx(theirs.intercept_[0], abs=1e-5)
    assert learned.logistic(x[:, :0], rose)[1] == pytest.approx(np.log(rose.mean() / (1 - rose.mean())))


def test_pieces_are_weighed_as_scikit_learn_does():
    text = pytest.importorskip("sklearn.feature_extraction.text")
    replies = ["我理解你", "你可以试试", "我理解，你可以", "别担心"]
    felt = [learned.Felt(str(i), r, "n", 0, 40, 0, 5) for i, r in enumerate(replies)]
    ours, new = learned.words(felt, felt[:1])
    grams = (min(learned.NGRAMS), max(learned.NGRAMS))
    theirs = text.TfidfVectorizer(analyzer="char", ngram_range=grams, sublinear_tf=True, min_df=learned.RARE)
    expected = theirs.fit_transform(replies).toarray()
    assert ours.shape[1] == expected.shape[1] and ours @ ours.T == pytest.approx(expected @ expected.T)
    assert new[0] == pytest.approx(ours[0])


def sage_rows(people, seed, good="好"):
    """Dialogues in which a reply that holds `good` raises the emotion, whatever went before."""
    rng, rows = np.random.default_rng(seed), []
    for p in range(people):
        score, history = 40, [{"role": "user", "content": "唉", "emotion-point": 40}]
        for _ in range(6):
            rises = rng.random() < 0.5
            score += 5 if rises else -5
            history += [{"role": "assistant", "content": good * 3 if rises else "嗯嗯嗯"},
                        {"role": "user", "content": "x\u2028y", "emotion-point": score}]  # fmt: skip
        rows.append({"id": str(p), "task": "t", "history": history})
    return rows


def test_the_learnt_reward_is_judged_on_a_model_and_people_not_seen(tmp_path, capsys):
    files = []
    for name, seed in (("a", 0), ("b", 1)):
        files.append(tmp_path / f"{name}.jsonl")
        files[-1].write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in sage_rows(20, seed)), "utf-8")
    main(["recipe", "empathy", "fit", *map(str, files), "--out", str(tmp_path / "fit.json")])
    found = json.loads((tmp_path / "fit.json").read_text())["models"]["b"]["predictors"]
    assert found["words"]["accuracy"][0] == found["words"]["auroc"][0] == 1
    assert found["majority"]["auroc"][0] == 0.5 and found["words"]["less_course"]["auroc"][1] > 0.2
    assert "### Judged on a" in capsys.readouterr().out
    # A person of the judged fold is in nobody's fit: what was learnt of it alone is not known.
    known = [learned.Felt("p", "独", "t", 0, 40, 0, 5)] * 9
    fitted = [*known, *(learned.Felt("q", "x", "t", 0, 40, 0, s) for s in (5, -5))]
    seen = learned.predicted(learned.words, fitted, fitted[:1])
    assert seen[0] == pytest.approx(0.5)


def test_sages_dialogues_read_and_a_bad_one_is_named(tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"id": 1, "task": "t", "history": [{"role": "user", "content": "x"}]}\n{"id": 2}')
    with pytest.raises(FrownError, match=r"bad.jsonl:2: no dialogue"):
        learned.load(bad)
    if not (DATA / "sage").is_dir():
        pytest.skip("SAGE's dialogues are not here")
    felt = learned.load(DATA / "sage" / "gpt-4o-0808.jsonl")
    assert len(felt) == 754 and np.mean([f.change < 0 for f in felt]) == pytest.approx(0.57, abs=0.005)
    assert all(f.turn == 0 or f.before != 0 for f in felt)


# -- a language model ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A first model that has hardly read anything."""
    folder = tmp_path_factory.mktemp("first")
    loss = language.base_model(folder, drawn(6, 1), SOOTHABLE, RLVER, steps=30, seed=0)
    assert loss < np.log(len(language.WORDS))
    return folder


@pytest.mark.slow
def test_steps_of_several_rewards_with_a_language_model(first):
    """The smoke test, and: what the trainer makes of a conversation is what was sampled, turn for turn."""
    people = drawn(6, 1)
    learner, how = model_policy.learner_of(first, 1e-3, 0), model_policy.Training(each=3)
    before = {n: p.detach().clone() for n, p in learner.policy.model.named_parameters()}
    user = SentientUser(SOOTHABLE, RLVER)
    for seed, arm in enumerate((Arm("terminal", 0.2), Arm("both"), Arm("forward", 0.5))):
        held, taken, seen = model_policy.step(learner, user, people[:2], arm, how, seed)
        assert len(held) == 6 and seen["rows"] > 0 and abs(seen["mismatch"]) < 1e-4
        assert all(d.turns[-1].heard.over or len(d.turns) == RLVER.turns for d in held)
        assert all(0 <= model_policy.on_topic(d) <= 1 for d in held)
        turns = sum(len(d.turns) for d in held)
        assert taken == turns if arm.kind != "forward" else turns < taken <= turns * (1 + how.futures * how.horizon)
    assert any(not torch.equal(p, before[n]) for n, p in learner.policy.model.named_parameters())
    found = model_policy.measured(learner, people, SCEPTIC, RLVER)
    assert set(found) == {*experiment.MEASURES, "on_topic", "meets", "no_act"} and found["emotion"].shape == (6,)


@pytest.mark.slow
def test_a_reward_of_the_task_alone_is_no_reward_of_feelings(first):
    """With weight 1 the values of all turns are the share of turns on topic, whatever the person felt."""
    people, how = drawn(6, 1), model_policy.Training(each=2)
    learner = model_policy.learner_of(first, 1e-3, 0)
    held, _, _ = model_policy.step(learner, SentientUser(PLAIN, RLVER), people[:3], Arm("terminal", 1.0), how, 0)
    for d in held:
        scores = model_policy.scores(d, RLVER)
        values = turn_values("terminal", scores, d.turns[-1].heard.over, model_policy.on_topic(d), 1.0)
        assert values == pytest.approx([model_policy.on_topic(d)] * len(d.turns))


def test_the_first_models_dialogues_are_the_templates(tmp_path):
    tokenizer = language.make_tokenizer()
    (ids, own), *_ = language.documents(drawn(1, 0), SOOTHABLE, RLVER, seed=0)
    parts = tokenizer.decode(ids).replace("<end>", "").split("<")[1:]
    messages = [{"role": r, "content": c.strip()} for r, c in (p.split(">", 1) for p in parts)]
    assert tokenizer.apply_chat_template(messages, return_dict=False) == ids
    said = [tokenizer.decode([i]) for i, mine in zip(ids, own, strict=True) if mine]
    assert len(said) % 3 == 0 and set(said[::3]) <= set(ACTS) and set(said[2::3]) == {"<end>"}


@pytest.mark.slow
def test_an_experiment_with_a_language_model_ends_in_a_table_and_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    how = model_policy.Training(people=1, each=2, turns=40, first=5)
    arms = [Arm("change"), Arm("change", 0.25)]
    given = (SOOTHABLE, RLVER, [0], how, drawn(4, 1), drawn(3, 2), tmp_path)
    whole = model_policy.run(arms, *given, print)
    assert set(whole["arms"]) == {"before", "change", "change, task 0.25"} and whole["turns_taken"]["change"][0] >= 40
    mixed = whole["arms"]["change, task 0.25"]
    assert set(mixed["against_unmixed"]["sceptic"]) == {"emotion", "need_met", "on_topic"}
    assert [m["mark"] for m in mixed["course"]] == [6, 13, 20, 26, 33][: len(mixed["course"])] and mixed["course"]
    text = tables([whole])
    assert "a lab-size language model" in text and "on topic, less no task" in text and "on the way" in text

    (tmp_path / "soothable" / "cells" / "change-0.25-seed0.json").unlink()
    trained = []
    once = model_policy.train
    monkeypatch.setattr(model_policy, "train", lambda arm, *a: trained.append(arm.name) or once(arm, *a))
    assert model_policy.run(arms, *given, print) == whole and trained == ["change, task 0.25"]
    with pytest.raises(FrownError, match="other settings .training."):
        model_policy.run(arms, *given[:3], how._replace(turns=50), *given[4:], print)
    (tmp_path / "soothable" / "cells" / "change-0-seed0.json").write_text("{")
    with pytest.raises(FrownError, match="delete it"):
        model_policy.run(arms, *given, print)


def test_an_arm_is_red_from_where_it_turned():
    """Emotion up and help flat at the second mark of both seeds, not at the first."""
    flat = np.zeros(12)
    before = {"emotion": flat + 0.2, "need_met": flat}
    early = {"emotion": flat + 0.2, "need_met": flat}
    late = {"emotion": flat + 0.5, "need_met": flat}
    helped = {"emotion": flat + 0.5, "need_met": flat + 0.6}
    course = experiment.course_of([Cell(90, {}, [(31, early), (62, late)])] * 2, before, [30, 60, 80])
    assert [(m["mark"], m["turns"], m["soothing"]) for m in course] == [(30, [31, 31], False), (60, [62, 62], True)]
    better = experiment.course_of([Cell(90, {}, [(31, helped)])], before, [30, 60])
    assert [m["soothing"] for m in better] == [False] and better[0]["need_met"][0] == pytest.approx(0.6)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["1.5", "-0.1", "a", "nan"])
def test_a_weight_is_a_share(weights, capsys):
    with pytest.raises(SystemExit):
        main(["recipe", "empathy", "model", "--task-weights", weights])
    assert "--task-weights are numbers from 0 to 1" in capsys.readouterr().err
