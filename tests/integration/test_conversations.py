"""`frown train` on conversations, from a file of settings: turn by turn, and with partners that packages add."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from frown.cli.app import main
from frown.store.run_directory import RunDirectory
from frown.types import Message
from puppet import FORGETS
from tiny import byte_model

SETTINGS = """
method = "grpo"
model = {{ path = {model}, device = "cpu" }}
task.kind = "conversation"
sampling = {{ prompts_per_step = 2, responses_per_prompt = 4, max_new_tokens = 12 }}
optimiser = {{ steps = 2, lr = 1e-3 }}
eval = {{ prompts = 2, samples = 2, every = 2 }}

[conversation]
turns = 3
{history}
partner = {{ {partner} }}
"""
SCRIPTED = 'type = "scripted", openings = ["Hello?", "Anybody?"], lines = ["go on", "and then?"], awaits = "e"'


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model whose template takes the thoughts out of earlier turns."""
    folder = byte_model(tmp_path_factory.mktemp("model"))
    (folder / "chat_template.jinja").write_text(FORGETS)
    return folder


def trained(tmp_path, model, partner, history=""):
    file = tmp_path / "conv.toml"
    file.write_text(SETTINGS.format(model=json.dumps(str(model)), partner=partner, history=history))
    main(["train", "--config", str(file), "--out", str(tmp_path / "run")])
    return tmp_path / "run"


def test_turn_by_turn_conversations_train_from_the_command_line(tmp_path, model):
    run = trained(tmp_path, model, SCRIPTED, 'history = "template"')
    steps = [m for m in RunDirectory(run).metrics() if "train_accuracy" in m]
    assert [m["step"] for m in steps] == [1, 2] and steps[-1]["train_rollouts"] == 16
    assert all(m["rows"] > 8 and m["grad_norm"] > 0 for m in steps)  # more rows than conversations
    before, after = (
        load_file(model / "model.safetensors"),
        load_file(max((run / "checkpoints").glob("*/model/model.safetensors"), key=lambda f: f.stat().st_mtime)),
    )
    assert any(not np.array_equal(before[name], after[name]) for name in before)
    rows = pq.read_table(min((run / "rollouts").iterdir())).to_pylist()  # of the first step
    assert len(rows) == 24 and all(len(r["steps"]) == 1 for r in rows)
    for group in range(2):  # four conversations of three turns; the turns of each share its advantage
        advantages = [{round(float(a), 6) for a in r["advantage"]} for r in rows if r["group"] == group]
        assert all(len(a) == 1 for a in advantages)
        whole = [set.union(*advantages[i : i + 3]) for i in range(0, 12, 3)]
        assert all(len(a) == 1 for a in whole) and abs(sum(a for (a,) in whole)) < 1e-5


def test_a_template_that_rewrites_turns_is_refused_unless_history_says_what_becomes_of_them(tmp_path, model, capsys):
    """A model of bytes writes no <think> by itself: the template that upper-cases rewrites whatever it says."""
    loud = FORGETS.replace("m.content.split('</think>')[-1]", "m.content | upper ~ '!'")
    (model / "chat_template.jinja").write_text(loud)
    try:
        with pytest.raises(SystemExit):
            trained(tmp_path, model, SCRIPTED)
        assert 'set conversation.history to "kept"' in capsys.readouterr().err.replace("\n", " ")
    finally:
        (model / "chat_template.jinja").write_text(FORGETS)


@pytest.mark.parametrize(
    ("partner", "said"),
    [
        ('type = "scriptd", openings = ["a"]', "did you mean 'scripted'"),
        ('type = "scripted", openings = ["a"], line = ["b"]', "did you mean 'conversation.partner.lines'"),
        ('type = "scripted", openings = ["a"], awaits = "("', "no regular expression"),
        ('openings = ["a"]', "give its type"),
        ('type = "model", openings = ["a"], brief = "b", model = {}', "needs either endpoint"),
    ],
)
def test_settings_of_a_partner_that_cannot_be_are_one_line(tmp_path, model, capsys, partner, said):
    with pytest.raises(SystemExit):
        trained(tmp_path, model, partner)
    err = capsys.readouterr().err
    assert said in err.replace("\n", " ") and "Traceback" not in err


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["task.kind=conversation"], "the section conversation go together"),
        (["task.kind=exact", 'conversation.partner={type="scripted", openings=["a"]}'], "is for task.kind"),
        (["task.kind=conversation", "method=sdpo", 'conversation.partner={type="scripted", openings=["a"]}'],
         "trained by its reward alone"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_conversations_is_one_line(tmp_path, model, capsys, settings, said):
    with pytest.raises(SystemExit):
        main(["train", "--model", str(model), "method=grpo", *settings, "--out", str(tmp_path / "run")])
    err = capsys.readouterr().err
    assert said in err.replace("\n", " ") and "Traceback" not in err


def test_a_person_is_a_partner_like_any_other(tmp_path, model):
    """The empathy recipe's person comes by an entry point."""
    run = trained(tmp_path, model, 'type = "person", manner = "soothable", preset = "sage"')
    rows = pq.read_table(run / "rollouts").to_pylist()
    assert len(rows) == 16 and all(len(r["steps"]) == 3 and not all(r["sampled"]) for r in rows)
    assert json.loads((run / "config.json").read_text())["conversation"]["partner"]["manner"] == "soothable"


def test_a_run_of_conversations_is_measured_by_frown_eval(tmp_path, model):
    run = trained(tmp_path, model, SCRIPTED, 'history = "template"')
    main(["eval", "--model", str(run), "prompts=2", "samples=2", "--out", str(tmp_path / "eval")])
    summary = json.loads((tmp_path / "eval" / "summary.json").read_text())
    assert summary["arms"]


def test_a_message_is_what_a_partner_opens_with():
    from frown.dialogue.session import opening

    assert opening("a", "Hi").messages == (Message(role="user", content="Hi"),)
