"""Conversations: the ids of a rollout, its mask, credit of turns, and what the trainer touches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from frown.affect.appraisal import appraise
from frown.affect.normalise import Normaliser
from frown.affect.reward import affect_reward
from frown.config import parse
from frown.dialogue.conversation import affect, as_rollout, as_turns
from frown.dialogue.credit import on_tokens, potential_changes, returns, turn_advantages
from frown.dialogue.environment import Conversations
from frown.dialogue.partner import PartnerTurn, Reply
from frown.dialogue.play import go_on, play
from frown.dialogue.scripted import ScriptedPartner
from frown.dialogue.session import PartnerSession
from frown.errors import FrownError
from frown.interchange import exports
from frown.losses.advantages import tail_advantages
from frown.methods import OPSA
from frown.methods.base import episode_rewards
from frown.policy.text import completion_text
from frown.practice import prompts as curriculum
from frown.practice import replay
from frown.runtime.processes import Ranks
from frown.store.record import RolloutRecord
from frown.training.evaluation import Cost, graded
from frown.training.record import answer_metrics
from frown.types import Message, TeacherView, Verdict, episodes
from frown.viewer.page import page
from learning import learner_of, parsed
from puppet import CHATML, FORGETS, PLAIN, TASK, TRIMS, Puppet, ids_of, merging_tokenizer
from tiny import CHAT, byte_model


@pytest.fixture(scope="module")
def tokenizer():
    return merging_tokenizer()


@pytest.mark.parametrize(
    "template", [CHAT, CHATML, PLAIN, TRIMS, FORGETS], ids="chat chatml plain trims forgets".split()
)
@pytest.mark.parametrize("ended", [True, False], ids=["eos", "cut"])
def test_a_conversation_has_the_templates_ids_token_for_token(tokenizer, template, ended):
    says, lines = ["Hi, cab.", "äöü 你好\nab", "b"], ["a", "no, baba\n ab", "never read"]
    puppet = Puppet(tokenizer, template, [ids_of(tokenizer, s, ended=ended) for s in says])
    [dialogue] = play(puppet, ScriptedPartner(lines), [TASK], 1, seed=0, temperature=1.0, turns=3)
    rollout = as_rollout(dialogue)
    sequence = np.concatenate([rollout.prompt_ids, rollout.ids])
    messages = dialogue.messages[:-1]  # without what was said to the last turn
    whole = tokenizer.apply_chat_template(list(messages), tokenize=False)
    own = tokenizer(whole, add_special_tokens=False)["input_ids"]
    # What ends the last turn is in the template's text, whether or not the policy wrote it.
    assert own[: len(sequence)] == sequence.tolist()
    assert completion_text(tokenizer, own[len(sequence) :]).replace("<|end|>", "").strip() == ""
    said = [rollout.ids[a:b] for a, b in rollout.steps]
    assert [s.tolist() for s in said] == [ids_of(tokenizer, s, ended=ended) for s in says]
    assert rollout.own.sum() == sum(map(len, said)) and all(rollout.own[a:b].all() for a, b in rollout.steps)
    assert "never read" not in completion_text(tokenizer, rollout.ids)


@pytest.mark.parametrize("template", [CHAT, CHATML, PLAIN], ids=["chat", "chatml", "plain"])
def test_sampled_ids_are_never_tokenised_again(tokenizer, template):
    a, b, ab = (tokenizer.convert_tokens_to_ids(t) for t in ("a", "b", "ab"))
    assert ids_of(tokenizer, "ab", ended=False) == [ab]
    odd = [a, b, a, b, tokenizer.eos_token_id]
    puppet = Puppet(tokenizer, template, [odd, odd])
    [dialogue] = play(puppet, ScriptedPartner(["ab", "ab"]), [TASK], 1, seed=0, temperature=1.0, turns=2)
    rollout = as_rollout(dialogue)
    assert [rollout.ids[s:e].tolist() for s, e in rollout.steps] == [odd, odd]
    assert ab in rollout.ids[~rollout.own]  # the partner's words are the tokenizer's own


def test_a_character_that_was_cut_in_the_middle_stays_as_it_was_sampled(tokenizer):
    half = ids_of(tokenizer, "你", ended=False)[:2]
    puppet = Puppet(tokenizer, CHAT, [half, ids_of(tokenizer, "x")])
    [dialogue] = play(puppet, ScriptedPartner(["y"] * 2), [TASK], 1, seed=0, temperature=1.0, turns=2)
    assert as_rollout(dialogue).ids[: len(half)].tolist() == half


@pytest.mark.parametrize("history", ["verbatim", "kept"])
def test_a_template_that_refuses_system_messages_is_spoken_to_from_turn_to_turn(tokenizer, history):
    """As one is whose first user turn holds the system text."""
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML
    told = (Message(role="system", content="Be brief."), Message(role="user", content="Hello?"))
    joined = (Message(role="user", content="Be brief.\n\nHello?"),)

    def played(messages):
        puppet = Puppet(tokenizer, refuses, [ids_of(tokenizer, "yes")] * 2)
        task = replace(TASK, messages=messages)
        [dialogue] = play(
            puppet, ScriptedPartner(["a", "b"]), [task], 1, seed=0, temperature=1.0, turns=2, history=history
        )
        r = as_rollout(dialogue)
        return r.prompt_ids.tolist(), r.ids.tolist(), len(r.steps)

    assert played(told) == played(joined) and played(told)[2] == 2


@pytest.mark.parametrize(
    ("template", "say"),
    [(FORGETS, "<think>hm</think>yes"), (TRIMS, " yes "), (CHAT.replace("m.content", "m.content | upper"), "yes")],
)
def test_a_template_that_rewrites_history_is_refused_and_can_be_played_turn_by_turn(tokenizer, template, say):
    says = [ids_of(tokenizer, say)] * 2
    with pytest.raises(FrownError, match="rewrites what was said before"):
        play(
            Puppet(tokenizer, template, says), ScriptedPartner(["a", "b"]), [TASK], 1, seed=0, temperature=1.0, turns=2
        )
    puppet = Puppet(tokenizer, template, says)
    partner = ScriptedPartner(["a", "b"])
    [dialogue] = play(puppet, partner, [TASK], 1, seed=0, temperature=1.0, turns=2, history="template")
    with pytest.raises(FrownError, match="turns one by one"):
        as_rollout(dialogue)
    turns = as_turns(dialogue)
    assert [t.ids.tolist() for t in turns] == says
    assert turns[1].prompt_ids.tolist() == puppet.prompt(dialogue.messages[:-2]).tolist()


@pytest.mark.parametrize(("template", "say"), [(FORGETS, "<think>hm</think>yes"), (TRIMS, " yes ")])
def test_what_a_template_would_rewrite_can_be_kept_as_it_was_sampled(tokenizer, template, say):
    says = [ids_of(tokenizer, say)] * 2
    heard: list[str] = []

    class Listening(ScriptedPartner):
        def reply(self, hearings: list[PartnerTurn]) -> list[Reply]:
            heard.extend(m["content"] for h in hearings for m in h.messages if m["role"] == "assistant")
            return super().reply(hearings)

    puppet = Puppet(tokenizer, template, says)
    [dialogue] = play(puppet, Listening(["a", "b"]), [TASK], 1, seed=0, temperature=1.0, turns=2, history="kept")
    rollout = as_rollout(dialogue)
    assert [rollout.ids[a:b].tolist() for a, b in rollout.steps] == says
    between = completion_text(tokenizer, rollout.ids[~rollout.own].tolist())
    # What the template writes between two turns that it does not rewrite.
    [plain] = play(
        *(Puppet(tokenizer, template, [ids_of(tokenizer, "ok")] * 2), ScriptedPartner(["a", "b"]), [TASK], 1),
        seed=0, temperature=1.0, turns=2,
    )  # fmt: skip
    other = as_rollout(plain)
    assert between == completion_text(tokenizer, other.ids[~other.own].tolist())
    assert not any("hm" in text for text in heard) and len(heard) == 3
    assert say in dialogue.messages[1]["content"]


REAL = (
    "qwen2_5", "qwen3", "qwen3_instruct_2507", "qwen3_6", "llama3_2", "gemma3", "phi3", "lfm2", "deepseekv3", "glm4moe",
    "gptoss", "nemotron_3_nano",
)  # fmt: skip
"""Chat templates of published models, as TRL ships them; half of them rewrite what was said."""


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("say", ["Hello.", "<think>\nhm\n</think>\n\nyes"], ids=["plain", "thinks"])
def test_conversations_behind_published_templates_can_be_kept(tokenizer, name, say):
    folder = Path(pytest.importorskip("trl").__file__).parent / "chat_templates"
    template = (folder / f"{name}.jinja").read_text(encoding="utf-8")
    puppet = Puppet(tokenizer, template, [ids_of(tokenizer, say, ended=False)] * 3)
    [dialogue] = play(
        puppet, ScriptedPartner(["a?", "b?", "c"]), [TASK], 1, seed=0, temperature=1.0, turns=3, history="kept"
    )
    rollout = as_rollout(dialogue)
    (_, first), (second, _), _ = rollout.steps
    between = completion_text(tokenizer, rollout.ids[first:second].tolist())
    follows = [*dialogue.messages[:1], {"role": "assistant", "content": "Fine"}, {"role": "user", "content": "a?"}]
    whole = tokenizer.apply_chat_template(follows, add_generation_prompt=True, tokenize=False)
    assert between == whole.partition("Fine")[2] and "a?" in between
    assert [completion_text(tokenizer, rollout.ids[a:b].tolist()) for a, b in rollout.steps] == [say] * 3


def test_a_rollout_holds_values_where_the_policy_spoke_and_none_elsewhere(tokenizer):
    puppet = Puppet(tokenizer, CHATML, [ids_of(tokenizer, "one"), ids_of(tokenizer, "two!")])
    [dialogue] = play(puppet, ScriptedPartner(["a", "b"]), [TASK], 1, seed=0, temperature=1.0, turns=2)
    r = as_rollout(dialogue)
    assert (np.isnan(r.signals["entropy"]) == ~r.own).all() and (r.logp[~r.own] == 0).all()
    (a, b), (c, d) = r.steps
    assert (r.logp[a:b] == -1).all() and (r.logp[c:d] == -2).all() and (b - a, d - c) == (4, 5)
    found = affect(dialogue)
    assert [len(f.step_doubt) for f in found] == [1, 1] and [f.step_doubt[0] for f in found] == [1.0, 2.0]
    with pytest.raises(ValueError, match="mask"):
        replace(r, sampled=r.own[:-1])


class Moody(ScriptedPartner):
    """Counts its turns in its state, ends at "stop", loses its voice at "lose"."""

    def __init__(self):
        super().__init__([])

    def reply(self, hearings: list[PartnerTurn]) -> list[Reply]:
        out = []
        for h in hearings:
            said, state = h.messages[-1]["content"], (h.state or 0) + 1
            assert h.turn + 1 == state
            out.append(Reply("go on", float(state), state, "enough" if said == "stop" else "",
                             "no key" if said == "lose" else ""))  # fmt: skip
        return out

    def verify(self, task, replies):
        return Verdict(min(1.0, len(replies) / 4))


@pytest.mark.parametrize(
    ("says", "room", "stop", "rewards"),
    [
        (["a", "stop"], 999, "partner", (1.0, 2.0)),
        (["a", "lose"], 999, "lost", (1.0, 2.0)),
        (["a", "b", "c"], 999, "turns", (1.0, 2.0, 3.0)),
        (["a", "b", "c"], 22, "context", (1.0, 2.0)),
    ],
)
def test_how_a_conversation_ends_and_what_its_turns_earned(tokenizer, says, room, stop, rewards):
    puppet = Puppet(tokenizer, CHAT, [ids_of(tokenizer, s) for s in says], room)
    [dialogue] = play(puppet, Moody(), [TASK], 1, seed=0, temperature=1.0, turns=3)
    assert (dialogue.stop, dialogue.rewards) == (stop, rewards)
    assert dialogue.verdict.scored == (stop != "lost")
    assert {"partner": "enough", "lost": "no key"}.get(stop, "") == dialogue.why


def test_futures_go_on_from_what_was_said_and_end_where_it_has_ended(tokenizer):
    """Each future holds the turns it starts from, as they were; no more than so many follow; what is over stays."""
    says = [ids_of(tokenizer, s) for s in ("a", "b", "stop")]
    [whole] = play(Puppet(tokenizer, CHAT, says), Moody(), [TASK], 1, seed=0, temperature=1.0, turns=8)
    assert (whole.stop, len(whole.turns)) == ("partner", 3)
    starts = [whole.turns[: t + 1] for t in range(3)]
    puppet = Puppet(tokenizer, CHAT, [ids_of(tokenizer, s) for s in ("c", "d", "e")])
    futures = go_on(puppet, Moody(), starts, 2, seed=1, temperature=1.0, ahead=2, turns=3)
    assert [len(f.turns) for f in futures] == [3, 3, 3, 3, 3, 3]
    assert [f.stop for f in futures] == ["turns"] * 4 + ["partner"] * 2 and puppet.turn == 2
    for start, pair in zip(starts, (futures[:2], futures[2:4], futures[4:]), strict=True):
        for future in pair:
            assert future.turns[: len(start)] == start and future.rewards == (1.0, 2.0, 3.0)
            rollout = as_rollout(future)  # one sequence: every turn was sampled behind all that was said before
            assert len(rollout.steps) == 3
    assert [t.said.text for t in futures[0].turns] == ["a", "c", "d"]


def test_a_future_is_that_of_the_conversation_itself(learner):
    """A greedy policy and a partner by rules: going on from any turn gives what was said in fact."""
    partner = ScriptedPartner(["yes", "no", "so"])
    [whole] = play(learner.policy, partner, [TASK], 1, seed=3, temperature=1e-4, turns=3)
    [again] = go_on(learner.policy, partner, [whole.turns[:1]], 1, seed=9, temperature=1e-4, ahead=9, turns=3)
    assert as_rollout(again).ids.tolist() == as_rollout(whole).ids.tolist()


# -- credit ------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=9))
def test_changes_of_a_potential_add_up_to_its_ends(potential):
    changes = potential_changes(potential)
    assert changes.sum() == pytest.approx(potential[-1] - potential[0], abs=1e-9)
    assert returns(changes) == pytest.approx(potential[-1] - np.asarray(potential[:-1]), abs=1e-9)


def test_turns_are_compared_with_the_same_turn_of_the_group():
    found = turn_advantages([[1, 4, 9], [3, 2], [7, 7]], [0, 0, 1], False)
    assert [a.tolist() for a in found] == [[-1, 1, 0], [1, -1], [0, 0]]


# -- the trainer ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learner(tmp_path_factory):
    folder = byte_model(tmp_path_factory.mktemp("model"))
    settings = {"model": {"path": str(folder), "device": "cpu"}, "sampling": {"max_new_tokens": 4},
                "method": {"type": "sdpo", "distillation": 0.5}, "loss": {"kl_anchor": 0.1}}  # fmt: skip
    learner = parsed(settings)
    torch.manual_seed(0)
    with torch.no_grad():  # away from the start, for the anchor to pull
        for p in learner.parameters:
            p.add_(0.05 * torch.randn_like(p))
    return learner


def test_no_gradient_comes_from_what_others_said(learner):
    """The gradient of a conversation is that of its turns trained one by one, whatever is written on other tokens."""
    dialogues = play(
        learner.policy, ScriptedPartner(["yes", "no", "so"]), [TASK] * 2, 2, seed=3, temperature=1.0, turns=3
    )
    rollouts = [as_rollout(d) for d in dialogues]
    assert any(not r.own.all() for r in rollouts)
    by_turn = [np.arange(1.0, 1 + len(r.steps)) for r in rollouts]

    def gradients(batch, views, advantages):
        learner.backward(batch, views, advantages, distillation=0.5)
        out = torch.cat([p.grad.flatten() for p in learner.parameters])
        learner.optimiser.zero_grad(set_to_none=True)
        return out

    def views(batch):
        return [TeacherView(i, np.concatenate([r.prompt_ids, r.prompt_ids]), np.ones(len(r.ids), np.float32))
                for i, r in enumerate(batch)]  # fmt: skip

    loud = [np.where(r.own, on_tokens(r, a), 1e6).astype(np.float32) for r, a in zip(rollouts, by_turn, strict=True)]
    turns = [t for d in dialogues for t in as_turns(d)]
    each = [np.full(len(t.ids), a, np.float32)
            for t, a in zip(turns, np.concatenate(by_turn), strict=True)]  # fmt: skip
    whole, parts = gradients(rollouts, [], loud), gradients(turns, [], each)
    assert whole.abs().max() > 0 and torch.allclose(whole, parts, atol=1e-6)
    quiet = [np.where(r.own, v, 0).astype(np.float32) for r, v in zip(rollouts, loud, strict=True)]
    taught = gradients(rollouts, views(rollouts), loud)
    muted = [replace(v, weight=v.weight * rollouts[v.rollout].own) for v in views(rollouts)]
    assert torch.equal(taught, gradients(rollouts, muted, quiet))
    assert not torch.allclose(taught, whole, atol=1e-6)


def test_what_ranks_tokens_ranks_the_policys_own(learner):
    """The tail, the reward for sureness and the doubt of a prompt are those of the turns laid end to end."""
    [r] = [
        as_rollout(d)
        for d in play(learner.policy, ScriptedPartner(["yes", "no"]), [TASK], 1, seed=3, temperature=1.0, turns=2)
    ]
    [found] = OPSA().credit([r], None, None)
    own = tail_advantages(r.logp[r.own], r.signals["entropy"][r.own])
    assert not found[~r.own].any() and np.allclose(found[r.own], own) and own.any()
    assert affect_reward([r], 1.0)[0] == pytest.approx(float(r.logp[r.own].mean()))
    assert curriculum._candidate([r]).doubt == pytest.approx(-float(r.logp[r.own].mean()))
    spans = appraise(r).spans
    assert all(r.own[s.start : s.end].all() for s in spans)
    sketches = Normaliser().update([r.signals]).sketches["entropy"]
    assert sum(sketch.total for place in sketches for sketch in place) == r.own.sum()


def test_the_distance_from_the_start_is_that_of_the_policys_own_tokens(learner):
    """None before training, though others speak; after it that of the turns one by one."""
    unmoved = learner_of(learner.config)

    def talks(who):
        return play(who.policy, ScriptedPartner(["yes", "no", "so"]), [TASK] * 2, 2, seed=3, temperature=1.0, turns=3)

    first = [as_rollout(d) for d in talks(unmoved)]
    assert any(not r.own.all() for r in first) and unmoved.kl_to_start(first) == pytest.approx(0.0, abs=1e-9)
    moved = talks(learner)
    turns = learner.kl_to_start([t for d in moved for t in as_turns(d)])
    assert learner.kl_to_start([as_rollout(d) for d in moved]) == pytest.approx(turns, rel=1e-3) and turns > 1e-4


def test_the_mask_outlives_a_checkpoint(learner, tmp_path):
    """A replayed conversation comes back with its mask, and another answer without one."""
    [r] = [
        as_rollout(d)
        for d in play(learner.policy, ScriptedPartner(["yes"]), [TASK], 1, seed=3, temperature=1.0, turns=2)
    ]
    view = TeacherView(0, r.prompt_ids, r.own.astype(np.float32))
    for rollout in (r, replace(r, sampled=None)):
        replay.write([replay.ReplayItem(replay.stripped(rollout), view, 1.0)], tmp_path / "kept.parquet")
        [back] = replay.read(tmp_path / "kept.parquet")
        assert np.array_equal(back.rollout.own, rollout.own) and (back.rollout.sampled is None) == (rollout is not r)


def test_an_export_has_the_policys_own_log_probabilities(learner):
    pytest.importorskip("inspect_ai", reason="inspect_ai is not installed")
    [r] = [
        as_rollout(d)
        for d in play(learner.policy, ScriptedPartner(["yes"]), [TASK], 1, seed=3, temperature=1.0, turns=2)
    ]
    record = RolloutRecord(r, tokens=tuple(str(i) for i in r.ids))
    assert [entry.token for entry in exports._logprobs(record).content] == [str(i) for i in r.ids[r.own]]
    unmasked = replace(record, rollout=replace(r, sampled=None))
    assert len(exports._logprobs(unmasked).content) == len(r.ids)


def talking(partner, **more):
    return Conversations(PartnerSession("talk", partner, [TASK] * 2, [TASK] * 2, turns=3), **more)


def test_conversations_are_one_process(learner):
    class Two:
        ranks = Ranks(0, 2)

    with pytest.raises(FrownError, match="conversations are trained in one process"):
        talking(ScriptedPartner([])).rollouts(Two(), [TASK], 1, seed=0, temperature=1.0)


def test_conversations_are_played_again_from_their_seed(learner):
    def ids(seed):
        held = play(learner.policy, ScriptedPartner(["yes"] * 3), [TASK], 3, seed=seed, temperature=1.0, turns=3)
        return [as_rollout(d).ids.tolist() for d in held]

    assert ids(1) == ids(1) != ids(2)


def heard_tokens(index, i):
    """How many tokens of a rollout others said, by its page."""
    return sum(b - a for a, b in page(index, i)["heard"])


@pytest.mark.slow
def test_conversations_are_trained_and_evaluated_by_the_loop(tmp_path, capsys):
    """Two steps of frown's own loop: partner's verdicts as scores, affect on every turn, everything kept and read."""
    from pyarrow.parquet import read_table

    from frown.config import RunConfig
    from frown.interchange.measures import measure
    from frown.report.html import write_report
    from frown.store.run_directory import RunDirectory
    from frown.training.run import train
    from frown.viewer.index import read_index

    class Counting(ScriptedPartner):
        def verify(self, task, replies):
            return Verdict(min(1.0, sum(len(r.text) for r in replies) / 9))

        def reply(self, hearings):
            return [Reply("go on", 0.5, over="enough" if "e" in h.messages[-1]["content"] else "") for h in hearings]

    settings = {
        "model": {"path": str(byte_model(tmp_path / "model")), "device": "cpu"},
        "sampling": {"prompts_per_step": 2, "responses_per_prompt": 4, "max_new_tokens": 12},
        "method": "grpo", "optimiser": {"steps": 2, "lr": 1e-3}, "keep_rollouts": True,
        "eval": {"prompts": 2, "samples": 2, "heldout_prompts": 0, "every": 2},
    }  # fmt: skip
    run = RunDirectory(tmp_path / "run")
    train(parse(RunConfig, settings, "test"), run.path, environment=talking(Counting([])))
    steps = [m for m in run.metrics() if m.get("rows")]
    assert len(steps) == 2 and all(0 < m["train_accuracy"] <= 1 and m["unscored"] == 0 for m in steps)
    assert all(np.isfinite(m["policy_entropy"]) and abs(m["mismatch"]) < 1e-4 for m in steps)
    write_report(tmp_path / "run")
    assert "talk" not in capsys.readouterr().err and (tmp_path / "run" / "report.html").stat().st_size > 1000
    index = read_index(tmp_path / "run")
    assert measure(index)["tokens"] == sum(int(index.length[i]) - heard_tokens(index, i) for i in range(len(index)))
    rows = read_table(tmp_path / "run" / "rollouts").to_pylist()
    assert len(rows) == 16 and any(len(row["steps"]) > 1 for row in rows)
    for row in rows:  # what the partner said has neither signal nor advantage
        own = np.zeros(len(row["ids"]), bool)
        for start, end in row["steps"]:
            own[start:end] = True
        assert row["sampled"] == own.tolist() and row["step_reward"] == [0.5] * len(row["steps"])
        assert (np.isnan(row["signal_entropy"]) == ~own).all() and not np.asarray(row["advantage"])[~own].any()
        assert all(own[s["start"] : s["end"]].all() for s in row["spans"])


def test_a_conversation_counts_once_whatever_its_turns(learner):
    """Turn by turn as in one rollout: one reward, one sample of an evaluation, one answer of the metrics."""
    lines = ["yes", "no", "so"]
    by_turns, whole = (talking(ScriptedPartner(lines, "e"), history=h) for h in ("template", "verbatim"))
    dialogues = whole.dialogues(learner.policy, [TASK] * 2, 3, seed=3, temperature=1.0)
    turns, joined = by_turns.as_rollouts(dialogues), whole.as_rollouts(dialogues)
    of_turns, of_joined = episodes(turns), episodes(joined)
    assert len(of_turns) == len(of_joined) == 6 < len(turns)
    assert [len(t) for t in of_turns] == [len(r.steps) for r in joined]
    scores = [np.array([r.verdict.score for r in rollouts]) for rollouts in (turns, joined)]
    np.testing.assert_allclose(
        episode_rewards(turns, of_turns, scores[0], 0.5), episode_rewards(joined, of_joined, scores[1], 0.5), rtol=1e-5
    )
    a, b = answer_metrics(turns), answer_metrics(joined)
    assert {k: v for k, v in a.items() if v is not None} == pytest.approx(
        {k: v for k, v in b.items() if v is not None}, rel=1e-5
    )
    one, other = (graded(r, ["a", "b"], step=0, split="test", cost=Cost()) for r in (turns, joined))
    assert one.score.shape == other.score.shape == (2, 3) and (one.tokens == other.tokens).all()
    np.testing.assert_allclose(one.mean_probability, other.mean_probability, rtol=1e-5)
    assert [len(s.surprisal) for s in one.steps.ravel()] == [len(s.surprisal) for s in other.steps.ravel()]
