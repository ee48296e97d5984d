"""How the speaker learns: gradients against autograd, what is chosen, the KL bound, adapters, and the command."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from frown.config import LoraConfig
from frown.errors import FrownError
from frown.losses.preference import dpo_loss, judge_policy_loss
from frown.recipes.negotiation import (
    expression,
    language,
    scenarios,
    selection,
    speaker_model,
    speaker_scores,
    speech,
    teach,
)
from frown.recipes.negotiation.emotions import cards
from frown.recipes.negotiation.expression import PLAYED_WITH
from frown.recipes.negotiation.game import Rules
from tiny import byte_model

pytestmark = pytest.mark.slow

EMOTIONS = cards("ekman7")
TABLE = scenarios.varied()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return byte_model(tmp_path_factory.mktemp("bytes"), context=1024)


@pytest.fixture(scope="module")
def learner(folder):
    return speaker_model.make_learner(str(folder), LoraConfig(rank=4), 1e-2, 20, 0, max_new_tokens=6)


def turns(count=6, seed=0):
    known = language.moments(TABLE.scenarios, EMOTIONS, count, seed)
    return known, speech.mixed(known, seed)


def told(learner, count=6, seed=0):
    return speaker_model.encode_lines(learner.policy, *turns(count, seed))


# ---- one step


def plain_logp(model, lines):
    """Answers' log-probabilities by transformers alone, padded: [N, T], and the mask."""
    rows = []
    for line in lines:
        ids = torch.tensor([*line.prompt, *line.answer])[None]
        logits = model(input_ids=ids).logits[0, len(line.prompt) - 1 : -1]
        rows.append(logits.log_softmax(-1).gather(1, torch.from_numpy(line.answer)[:, None])[:, 0])
    return speaker_model.pad(rows)


def jpo_objective(logp, mask, which):
    advantage = torch.tensor([1.5, -0.7, 0.3, -2.0, 0.0, 1.0], dtype=logp.dtype)[list(which)]
    return judge_policy_loss(logp, logp.detach() - 0.1 * mask, mask, advantage, kl=0.5, negative=0.5)


def dpo_objective(logp, mask, which):
    now = (logp * mask).sum(dim=1)
    return dpo_loss(now[:3], now[3:], now.detach()[:3] - 0.1, now.detach()[3:] + 0.2, 0.5)


@pytest.mark.parametrize("objective", [jpo_objective, dpo_objective])
def test_a_step_has_the_gradient_that_autograd_finds(folder, learner, objective, monkeypatch):
    """The learner's packed, tokenwise pass against plain autograd through the padded whole."""
    lines = told(learner)
    monkeypatch.setattr(learner, "step", lambda lr_factor: 0.0)
    learner.optimiser.zero_grad(set_to_none=True)
    value = speaker_model.objective_step(learner, lines, range(6), objective)
    found = [p.grad.clone() for p in learner.parameters]
    learner.optimiser.zero_grad(set_to_none=True)
    logp, mask = plain_logp(learner.policy.model, lines)
    loss = objective(logp.double(), mask.double(), range(6))
    loss.backward()
    assert value == pytest.approx(loss.item(), rel=1e-5)
    largest = max(float(p.grad.abs().max()) for p in learner.parameters)
    assert largest > 0
    for p, g in zip(learner.parameters, found, strict=True):
        assert torch.allclose(g, p.grad, atol=1e-4 * largest)
    learner.optimiser.zero_grad(set_to_none=True)


def test_a_snapshot_is_given_back_and_its_distance_is_zero(learner):
    start, (known, texts) = speaker_model.copy_weights(learner), turns(8)
    assert (
        np.abs(
            speaker_model.kl_distance(learner, start, speaker_model.sample_utterances(learner.policy, known, 0))
        ).max()
        < 1e-6
    )
    for _ in range(3):
        speaker_model.supervised_step(learner, speaker_model.encode_lines(learner.policy, known, texts))
    moved = speaker_model.copy_weights(learner)
    away = speaker_model.kl_distance(learner, start, speaker_model.sample_utterances(learner.policy, known, 0))
    assert away.shape == (8,) and away.mean() > 1e-4 and (away >= 0).all()
    assert all(torch.equal(a, b) for a, b in zip(speaker_model.copy_weights(learner), moved, strict=True))
    speaker_model.load_weights(learner, start)
    assert (
        np.abs(
            speaker_model.kl_distance(learner, start, speaker_model.sample_utterances(learner.policy, known, 0))
        ).max()
        < 1e-6
    )


def test_the_distance_is_the_divergence(learner):
    """On average over many samples of one token it is KL(model || snapshot), computed here over the vocabulary."""
    start, (known, _) = speaker_model.copy_weights(learner), turns(1)
    for p in learner.parameters:
        p.data.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    ids = torch.from_numpy(learner.policy.prompt(speech.messages(known[0])))[None]
    with torch.no_grad():
        now = learner.policy.model(input_ids=ids).logits[0, -1].double().log_softmax(-1)
        with speaker_model.temporary_weights(learner, start):
            before = learner.policy.model(input_ids=ids).logits[0, -1].double().log_softmax(-1)
    exact = float((now.exp() * (now - before)).sum())
    first = learner.policy.sample([_task(known[0])], 4000, seed=1, temperature=1.0)
    d = np.array([float(before[r.ids[0]]) - r.logp[0] for r in first])
    found = np.expm1(d) - d
    assert exact > 1e-3 and found.mean() == pytest.approx(exact, abs=4 * float(found.std()) / 4000**0.5)
    speaker_model.load_weights(learner, start)


def _task(moment):
    from frown.types import Task

    return Task("one", speech.messages(moment), "")


# ---- what is learnt from


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 10)), min_size=1, max_size=40))
def test_advantages_are_z_scores_of_each_scenario(rows):
    groups, scores = (np.array(c) for c in zip(*rows, strict=True))
    found = teach.group_advantages(groups, scores)
    for g in set(groups.tolist()):
        mine = scores[groups == g].astype(float)
        flat = len(mine) < teach.LEAST_IN_GROUP or mine.min() == mine.max()
        expected = np.zeros(len(mine)) if flat else (mine - mine.mean()) / mine.std(ddof=1)
        assert np.allclose(found[groups == g], expected)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 10)), min_size=1, max_size=40),
    st.integers(1, 6),
    st.integers(0, 3),
)
def test_pairs_are_of_one_scenario_and_the_better_is_better(rows, most, gap):
    groups, scores = (np.array(c) for c in zip(*rows, strict=True))
    if all(np.ptp(scores[groups == g]) < max(gap, 1) for g in set(groups.tolist())):
        with pytest.raises(FrownError, match="no two turns of one scenario were judged"):
            teach.preference_pairs(groups, scores, most, gap, np.random.default_rng(0))
        return
    pairs = teach.preference_pairs(groups, scores, most, gap, np.random.default_rng(0))
    used = [i for pair in pairs for i in pair]
    assert len(used) == len(set(used))
    assert all(groups[a] == groups[b] and scores[a] - scores[b] >= max(gap, 1) for a, b in pairs)
    for g in set(groups.tolist()):
        mine = scores[groups == g]
        count = sum(groups[a] == g for a, _ in pairs)
        assert count <= most and (count > 0 or mine.max() - mine.min() < max(gap, 1))


def test_the_best_turns_are_those_of_good_steps_in_good_dialogues():
    rewards, returns = np.array([0.0, 0.0, 0.5, 0.0, 0.9]), np.array([2.0, 0.2, 0.5, 0.0, 0.9])
    assert teach.best_turns(rewards, returns, 0.4).tolist() == [4, 0]
    assert teach.best_turns(rewards, returns, 0.01).tolist() == [4]


# ---- trainings


def test_preferred_lines_become_likelier_within_the_bound(folder):
    known, _ = turns(12)
    good, bad = ["I am glad."] * 6, ["You are a fool."] * 6
    groups, scores = np.arange(12) % 2, np.array([9.0] * 6 + [2.0] * 6)
    how = teach.TeachConfig(batch_size=4, epochs=4, check_every=2, kl_bound=100.0, clip=10.0)
    for kind in ("jpo", "dpo"):
        learner = speaker_model.make_learner(str(folder), LoraConfig(rank=4), 5e-3, 12, 0, max_new_tokens=6)
        lines = speaker_model.encode_lines(learner.policy, known, good + bad)
        before = [float(x.mean()) for x in speaker_model.log_probabilities(learner.policy, lines)]
        if kind == "jpo":
            taught = teach.jpo(learner, lines, teach.group_advantages(groups, scores), how, known, 0)
        else:
            pairs = teach.preference_pairs(groups, scores, 15, 0.5, np.random.default_rng(0))
            taught = teach.dpo(learner, lines, pairs, how, known, 0)
        after = [float(x.mean()) for x in speaker_model.log_probabilities(learner.policy, lines)]
        gain = np.array(after) - np.array(before)
        assert not taught.stopped and gain[:6].mean() > gain[6:].mean() + 0.05, kind


def test_a_training_that_leaves_the_bound_keeps_the_last_weights_inside_it(folder):
    known, texts = turns(12)
    learner = speaker_model.make_learner(str(folder), LoraConfig(rank=4), 5e-2, 12, 0, max_new_tokens=6)
    start = speaker_model.copy_weights(learner)
    how = teach.TeachConfig(batch_size=4, epochs=8, check_every=1, kl_bound=1e-3, clip=10.0)
    lines = speaker_model.encode_lines(learner.policy, known, texts)
    taught = teach.jpo(learner, lines, np.linspace(-1.0, 1.0, 12), how, known, 0)
    assert taught.stopped and taught.steps < 24 and len(taught.losses) == taught.steps
    assert (
        speaker_model.kl_distance(learner, start, speaker_model.sample_utterances(learner.policy, known, 99)).mean()
        < 2e-3
    )


def test_a_good_turn_alone_teaches_where_negative_advantages_weigh_nothing(folder):
    known, texts = turns(4)
    learner = speaker_model.make_learner(str(folder), LoraConfig(rank=4), 1e-3, 1, 0, max_new_tokens=6)
    lines = speaker_model.encode_lines(learner.policy, known, texts)
    start = speaker_model.copy_weights(learner)
    how = teach.TeachConfig(batch_size=4, epochs=1, negative_factor=0.0)
    teach.jpo(learner, lines, np.array([-1.0, -1.0, -2.0, -0.5]), how, known, 0)
    assert all(torch.equal(a, b) for a, b in zip(start, speaker_model.copy_weights(learner), strict=True))


def test_scores_that_say_nothing_are_one_line(learner):
    lines = told(learner, 4)
    with pytest.raises(FrownError, match="nothing to prefer"):
        teach.jpo(learner, lines, np.zeros(4), teach.TeachConfig(), [], 0)


def test_what_was_cut_off_is_learnt_without_an_end_and_thoughts_are_not_heard(learner):
    known, _ = turns(16)
    said = speaker_model.sample_utterances(learner.policy, known, 0)
    assert "length" in {r.stop for r in said}
    for r in said:
        line = speaker_model.as_line(r)
        assert line.answer.tolist() == r.ids.tolist() and line.prompt.tolist() == r.prompt_ids.tolist()
        assert (line.answer[-1] == learner.policy.tokenizer.eos_token_id) == (r.stop == "eos")
    assert speaker_model.spoken_text(
        replace(said[0], text="<think>They want 90 days. I am furious.</think> I can do 30 days.")
    ) == ("I can do 30 days.")
    assert speaker_model.spoken_text(replace(said[0], text="<think>I was told to offer 90 days")) == ""


# ---- the lab's language


def test_a_word_is_a_token_and_every_turn_is_read_back():
    tokenizer = language.make_tokenizer(TABLE.scenarios, EMOTIONS)
    known, texts = turns(300, 1)
    for one, text in zip(known, texts, strict=True):
        ids = tokenizer.apply_chat_template(list(speech.messages(one)), add_generation_prompt=True, return_dict=False)
        answer = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in ids + answer and tokenizer.decode(answer) == text
    assert len(tokenizer) < 300


def test_moments_of_the_first_training_look_like_those_of_the_game():
    known = language.moments(TABLE.scenarios, EMOTIONS, 300, 2)
    for m in known:
        up = m.theirs[0] > m.ours[0]
        path = [m.ours[0], m.ours[-1], m.offer, m.theirs[-1], m.theirs[0]]
        assert path == sorted(path, reverse=not up)
    assert {m.card.name for m in known} == {c.name for c in EMOTIONS} and any(not m.own_text for m in known)
    assert {m.card for m in language.moments(TABLE.scenarios, None, 20, 2)} == {None}


# ---- the command


def test_two_steps_of_everything_from_the_command_line(tmp_path, capsys, monkeypatch):
    """Short dialogues; adapters load with peft alone and speak as the learner did."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from frown.cli.app import main

    monkeypatch.setattr(expression, "RULES", Rules(turns=12))
    small = ["base_steps=2", "dialogues=80", "repeats=1", "seeds=[0]", "max_new_tokens=5", "selector.steps=2"]
    arms = ["jpo, scores shuffled", "jpo", "dpo", "sft on random turns", "emotion-free"]
    taught = ["learning.sft_epochs=1", "learning.epochs=1", "learning.kl_bound=5", "learning.batch_size=256"]
    main(
        [
            "recipe",
            "negotiation",
            "express",
            "--out",
            str(tmp_path / "run"),
            *small,
            *taught,
            f"arms={json.dumps(arms)}",
        ]
    )
    printed = capsys.readouterr().out
    assert "no flaw" in printed and "Judged score of JPO less SFT" in printed
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert found["speakers"]["no flaw"]["score"]["mean"] == 10.0 and found["sweep"]["turns"] >= 80
    assert set(found["speakers"]) == {
        "no flaw",
        "first model",
        "sft",
        *arms[:-1],
        "sft, emotion-free",
        "jpo, emotion-free",
    }
    assert found["trainings"]["sft"][0]["steps"] >= 1
    assert {f"{n}, {arm}" for arm in ("jpo", "dpo") for n in PLAYED_WITH[arm]} < set(found["play"])

    run = tmp_path / "run" / "seed-0"
    tokenizer = AutoTokenizer.from_pretrained(run / "jpo")
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(run / "first"), run / "jpo").eval()
    known, texts = turns(3)
    merged = speaker_model.make_learner(str(run / "jpo"), None, 1e-3, 1, 0).policy
    lines = speaker_model.encode_lines(merged, known, texts)
    with torch.no_grad():
        theirs = plain_logp(plain, lines)[0].double()
        with plain.disable_adapter():
            first = plain_logp(plain, lines)[0].double()
    ours, _ = speaker_model.pad(speaker_model.log_probabilities(merged, lines))
    assert torch.allclose(theirs, ours, atol=1e-4) and (first - ours).abs().max() > 1e-3 and tokenizer.chat_template

    # What is done is not done again, and not mixed with other settings.
    monkeypatch.setattr(expression, "run_seed", lambda *_: pytest.fail("run again"))
    main(
        [
            "recipe",
            "negotiation",
            "express",
            "--out",
            str(tmp_path / "run"),
            *small,
            *taught,
            f"arms={json.dumps(arms)}",
        ]
    )
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == found
    capsys.readouterr()
    for other, why in ((["inert=true"], "is of other settings"), (["--model", str(run / "jpo")], "merge them first")):
        with pytest.raises(SystemExit):
            main(["recipe", "negotiation", "express", "--out", str(tmp_path / "run"), *small, *taught, *other])
        assert why in capsys.readouterr().err


def test_a_difference_whose_interval_holds_zero_is_said_to_be_none():
    shown, not_shown = {"mean": 0.2, "ci95": [0.1, 0.3], "p": 0.01}, {"mean": 0.1, "ci95": [-0.1, 0.3], "p": 0.4}
    found = {
        "config": {"learning": {"kl_bound": 0.1}},
        "speakers": {"jpo": {"distance": {"mean": 0.05, "ci95": [0.04, 0.06]}}},
        "gain_in_score_over": {"jpo": {"sft": not_shown}},
        "gain_in_utility_over": {"random, jpo": {"random, sft": shown, "random, first model": not_shown}},
    }
    none = ": no difference that these seeds could show"
    assert [line.endswith(f"{none}.") for line in speaker_scores.sentences(found)] == [True, False, True]
    assert selection.gap(shown) == "+0.200 [+0.100, +0.300]" and selection.gap(not_shown).endswith(none)


@pytest.mark.parametrize(
    ("arguments", "told_of"),
    [(["--model", "/nowhere/at-all"], "does not exist"), (["--scenario", "credit"], "data=DIR"),
     (["--scenario", "credit", "--data", "/nowhere"], "cannot read the scenarios"),
     (["--data", "/nowhere"], "give --scenario"), (["arms=[]"], "at least 1"), (["seeds=[0,0]"], "are different"),
     (['arms=["ppo"]'], "arms"), (["learning.kl_bound=0"], "greater than 0"), (["learning.epoch=1"], "did you mean")],
)  # fmt: skip
def test_mistakes_are_one_line(arguments, told_of, capsys, tmp_path):
    from frown.cli.app import main

    with pytest.raises(SystemExit):
        main(["recipe", "negotiation", "express", "--out", str(tmp_path / "x"), *arguments])
    error = capsys.readouterr().err.strip()
    assert told_of in error and "\n" not in error


def test_a_model_without_a_chat_template_is_one_line(tmp_path, capsys):
    from transformers import AutoTokenizer

    from frown.cli.app import main

    path = byte_model(tmp_path / "bare", layers=1)
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.chat_template = None
    for old in path.glob("chat_template*"):
        old.unlink()
    tokenizer.save_pretrained(path)
    with pytest.raises(SystemExit):
        main(["recipe", "negotiation", "express", "--out", str(tmp_path / "x"), "--model", str(path)])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "has no chat template" in error


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, capsys):
    from frown.cli.app import main

    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit):
        main(["recipe", "negotiation", "express", "--out", str(tmp_path / "file" / "x")])
    assert "cannot write" in capsys.readouterr().err
