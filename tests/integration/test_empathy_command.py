"""`frown recipe empathy train` and `eval`: any model with a person by rules, and with one behind a real endpoint."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from frown.cli.app import main
from frown.config import RunConfig, load, to_json
from frown.dialogue.statistics import keep_statistics
from frown.errors import FrownError
from frown.recipes.empathy import act_policy, experiment, talks
from frown.recipes.empathy.acts import ACTS, NEEDS
from frown.recipes.empathy.guards import consistency, need_met
from frown.recipes.empathy.language import base_model
from frown.recipes.empathy.presets import RLVER
from frown.recipes.empathy.profile import TOPICS, drawn, profiles
from frown.recipes.empathy.user import SOOTHABLE
from frown.recipes.empathy.wording import ENGLISH, LAB, named
from frown.store.run_directory import RunDirectory
from frown.viewer.index import read_index
from frown.viewer.page import page
from tiny import byte_model

KEY = "sk-frown-empathy-0123456789"


class Played(BaseHTTPRequestHandler):
    """Feels +5 at every turn and says thanks; the model's name says what goes wrong."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        how, feels = body["model"], "Reply with JSON alone" in body["messages"][0]["content"]
        asked_again = len(body["messages"]) > 2
        said = '{"change": 5}' if feels else f"Thank you. {self.headers['Authorization']}"
        if feels and (how == "prose" or (how == "clumsy" and not asked_again)):
            said = "It feels fine."
        status, text = 200, {"choices": [{"index": 0, "finish_reason": "stop",
                                          "message": {"role": "assistant", "content": said}}],
                             "usage": {"prompt_tokens": 10, "completion_tokens": 2}}  # fmt: skip
        if how == "broken":
            status, text = 400, {"error": {"message": f"no such thing, {self.headers['Authorization']}"}}
        raw = json.dumps(text).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


@pytest.fixture(scope="module")
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Played)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(byte_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("FROWN_TEST_KEY", KEY)


def spoken(url, how, *more):
    pytest.importorskip("openai", reason='needs pip install "frown[critics]"')
    settings = {"base_url": url, "model": how, "key_variable": "FROWN_TEST_KEY", "backoff": 0.01, "timeout": 300.0,
                "deadline": 300.0, "retries": 1, "breaker_after": 2}  # fmt: skip
    return ["--person", "spoken", *(f"person.endpoint.{k}={json.dumps(v)}" for k, v in settings.items()), *more]


def evaluated(folder, model, *more):
    main(["recipe", "empathy", "eval", *more, "--model", model, "model.device=cpu", "sampling.max_new_tokens=4",
          "eval.prompts=2", "eval.samples=2", "--out", str(folder)])  # fmt: skip
    return json.loads((folder / "results.json").read_text())


def holds_key(*folders):
    return [f for folder in folders for f in folder.rglob("*") if f.is_file() and KEY.encode() in f.read_bytes()]


# -- an endpoint ---------------------------------------------------------------------------------------------------


def test_a_person_behind_an_endpoint_is_asked_twice_a_turn_and_paid_once(tmp_path, url, model, capsys):
    given = spoken(url, "well", f"person.cache={tmp_path / 'cache'}")
    found = evaluated(tmp_path / "a", model, *given)
    asked = found["statistics"]
    assert found["measures"]["emotion"][0] == pytest.approx((30 + 5 * RLVER.turns) / 100)
    assert found["ends"] == {"turns": 4} and found["lost"] == {} and set(found["measures"]) == set(talks.BY_MODEL)
    assert asked["asked"] == 2 * 4 * RLVER.turns == asked["answered"] + asked["cached"] and asked["lost"] == {}
    assert f"asked {asked['asked']}, answered {asked['answered']}" in capsys.readouterr().out
    again = evaluated(tmp_path / "b", model, *given)["statistics"]
    assert (again["answered"], again["cached"], again["calls"]) == (0, asked["asked"], 0)
    assert not holds_key(tmp_path)
    shown = page(read_index(tmp_path / "a"), 0)
    assert len(shown["steps"]) == RLVER.turns and [s["reward"] for s in shown["steps"]] == [5.0] * RLVER.turns
    assert "Thank you." in "".join(shown["tokens"][slice(*shown["heard"][0])])


@pytest.mark.parametrize(("how", "emotion", "unread"), [("clumsy", 0.7, 0), ("prose", 0.3, 32)])
def test_feelings_that_cannot_be_read_are_asked_for_once_more(tmp_path, url, model, how, emotion, unread):
    found = evaluated(tmp_path, model, *spoken(url, how))
    assert found["measures"]["emotion"][0] == pytest.approx(emotion)
    assert found["statistics"]["unread_feelings"] == unread and found["statistics"]["reasked"] > 0


@pytest.mark.parametrize("how", ["broken", "dead", "spent"])
def test_what_the_endpoint_does_not_answer_costs_its_conversation_alone(tmp_path, url, model, how, capsys):
    given = spoken("http://127.0.0.1:9/v1" if how == "dead" else url, "well" if how == "spent" else how)
    with pytest.raises(SystemExit) as end:
        evaluated(tmp_path, model, *given, *(["person.call_budget=30"] if how == "spent" else []))
    found = json.loads((tmp_path / "results.json").read_text())
    assert end.value.code == 2
    assert sum(found["lost"].values()) == found["conversations"] == found["ends"]["lost"] == 4
    assert found["measures"]["emotion"] is None and sum(found["statistics"]["lost"].values()) > 0
    said = capsys.readouterr()
    assert "answered in none of 4 conversations" in said.err and KEY not in said.err
    assert "4 lost" in said.out and "not defined" in said.out and KEY not in said.out and not holds_key(tmp_path)


def test_a_model_that_knows_none_of_the_words_is_refused(tmp_path, capsys):
    base_model(tmp_path / "model", profiles(None, "train", 4), SOOTHABLE, RLVER, 1, 0)
    for command in ("train", "eval"):
        with pytest.raises(SystemExit):
            main(["recipe", "empathy", command, "--model", str(tmp_path / "model"), "model.device=cpu", "--out",
                  str(tmp_path / command)])  # fmt: skip
        assert "use --wording lab" in capsys.readouterr().err


def test_training_with_nobody_to_talk_to_stops_at_once_and_says_why(tmp_path, model, capsys):
    out = tmp_path / "run"
    with pytest.raises(SystemExit):
        main(["recipe", "empathy", "train", "--model", model, *spoken("http://127.0.0.1:9/v1", "train"),
              "model.device=cpu", "sampling.max_new_tokens=4", "eval.prompts=2", "eval.samples=1",
              "--out", str(out)])  # fmt: skip
    said = capsys.readouterr().err
    assert "the partner answered in none of 2 conversations" in said and KEY not in said
    assert json.loads((out / "status.json").read_text())["status"] == "failed"
    assert json.loads((out / "partner.json").read_text())[0]["lost"]


def test_training_against_an_endpoint_keeps_statistics_and_no_key(tmp_path, url, model, capsys):
    out = tmp_path / "run"
    more = ["model.device=cpu", "sampling.max_new_tokens=4", "sampling.prompts_per_step=1", "optimiser.steps=1",
            "sampling.responses_per_prompt=2", "eval.prompts=2", "eval.samples=1"]  # fmt: skip
    main(["recipe", "empathy", "train", "--model", model, *spoken(url, "train"), *more, "--out", str(out)])
    said = capsys.readouterr()
    assert "reward 0.700 before, 0.700 after" in said.out and "the person's model: asked" in said.err
    [kept] = json.loads((out / "partner.json").read_text())
    assert kept["asked"] == 2 * RLVER.turns * (2 + 2 + 2) and kept["lost"] == {}
    config = json.loads((out / "config.json").read_text())
    assert config["task"]["kind"] == "conversation"
    assert config["conversation"]["partner"]["model"]["endpoint"]["base_url"] == url
    assert not holds_key(tmp_path)
    main(["recipe", "empathy", "train", "--model", model, *spoken(url, "train"), *more, "--out", str(out), "--resume"])
    assert len(json.loads((out / "partner.json").read_text())) == 1  # it was finished: nobody was asked
    rows = pq.read_table(out / "rollouts").to_pylist()
    assert len(rows) == 2 and all(not all(r["sampled"]) and r["step_reward"] == [5.0] * RLVER.turns for r in rows)
    with pytest.raises(FrownError, match="holds a run"):
        talks.evaluate(talks.settings("plain", [], model, {}), out)


@pytest.mark.parametrize("broken", [b"[", b'{"asked": 1}', b"\xff"])
def test_what_is_kept_of_earlier_attempts_hides_no_error(broken, tmp_path):
    """A file that cannot be read is a warning, for it is read as a run ends, maybe by an error."""
    statistics = {"asked": 3, "answered": 3, "cached": 0, "lost": {}, "calls": 3, "tokens": 9, "unread_feelings": 0}
    warned: list[str] = []
    (tmp_path / "partner.json").write_bytes(broken)
    for _ in range(2):
        keep_statistics(SimpleNamespace(statistics=statistics), tmp_path, warned.append)
    assert len(warned) == 1 and "partner.json cannot be read" in warned[0]
    assert json.loads((tmp_path / "partner.json").read_text()) == [statistics] * 2


# -- a person by rules ---------------------------------------------------------------------------------------------


def test_any_model_is_trained_with_a_person_by_rules_and_the_run_goes_on(tmp_path, model):
    """A run directory like any other; a finished one is left alone, and another person is another run."""

    def trained(folder, steps, *more):
        main(["recipe", "empathy", "train", "--model", model, "--person", "soothable", "model.device=cpu", *more,
              "sampling.max_new_tokens=6", "sampling.prompts_per_step=2", "sampling.responses_per_prompt=2",
              f"optimiser.steps={steps}", "eval.every=1", "eval.prompts=2", "eval.samples=1", "--out",
              str(folder)])  # fmt: skip
        return [(m["step"], m["train_accuracy"]) for m in RunDirectory(folder).metrics() if "train_accuracy" in m]

    whole = trained(tmp_path / "whole", 2)
    assert [step for step, _ in whole] == [1, 2] and trained(tmp_path / "whole", 2, "--resume") == whole
    index = read_index(tmp_path / "whole")
    shown = page(index, 0)
    assert "I feel awful." in "".join(shown["tokens"]) and shown["heard"]
    with pytest.raises(SystemExit):  # the person is part of the run
        main(["recipe", "empathy", "train", "--model", model, "--person", "plain", "model.device=cpu", "--resume",
              "--out", str(tmp_path / "whole")])  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        ["--person", "soothable", "--wording", "lab", "--task-weight", "0.25", "optimiser.steps=2", "seed=3"],
        ["--preset", "sage", "--profiles", "some 'folder'", "sampling.responses_per_prompt=16", "eval.samples=1"],
        ["--person", "spoken", "person.endpoint.base_url=http://h/v1", "person.endpoint.model=m", "person.cache=c d",
         "--history", "kept", "model.lora.rank=4"],
    ],
)  # fmt: skip
def test_the_settings_kept_with_a_run_are_the_same_run(given, tmp_path, model):
    """So the command in its report, `frown train --config`, makes it again."""
    person, flags, overrides = "plain", {}, []
    names = {"--wording": "partner.wording", "--task-weight": "partner.task_weight", "--preset": "partner.preset",
             "--profiles": "partner.profiles", "--history": "history"}  # fmt: skip
    words = iter(given)
    for word in words:
        if word == "--person":
            person = next(words)
        elif word in names:
            value = next(words)
            flags[names[word]] = float(value) if word == "--task-weight" else value
        else:
            overrides.append(word)
    made = talks.settings(person, overrides, model, flags)
    (tmp_path / "config.json").write_text(to_json(made))
    assert to_json(load(RunConfig, tmp_path / "config.json")) == to_json(made)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--person", "spoken"], "person.endpoint.base_url"),
        (["--person", "somebody"], "there are plain"),
        (["--person", "plain", "person.endpoint.model=x"], "by rules"),
        (["method=sdpo"], "trained by its reward alone"),
        (["eval.prompts=101"], "100 people"),
        (["--task-weight", "1.5"], "task_weight"),
        (["--person", "spoken", "--task-weight", "0.5", "person.local.path=x"], "by rules"),
        (["--person", "spoken", "person.endpoint.modl=x"], "endpoint"),
        ([], "give a model: --model FOLDER"),
        (["task.kind=empathy:plain"], "leave out task.kind: "),
        (["task.columns.question=q"], "leave out task.columns.question: "),
        (["feedback.leak=none"], "leave out feedback.leak: "),
        (["critic.kind=calculator"], "leave out critic.kind: "),
    ],
)
def test_what_does_not_go_together_is_one_line(given, said, model, capsys):
    with pytest.raises(SystemExit):
        main(["recipe", "empathy", "train", *(["--model", model] if given else []), *given])
    err = capsys.readouterr().err
    assert said in err.replace("\n", " ") and "Traceback" not in err


def test_a_task_is_mixed_into_the_reward_by_weight(tmp_path, model):
    """With weight 1 the score is the share of turns on topic, and so it is 1 for a model that names no topic at all."""
    main(["recipe", "empathy", "train", "--model", model, "--task-weight", "1",
          "model.device=cpu", "sampling.max_new_tokens=2",
          "sampling.prompts_per_step=1", "sampling.responses_per_prompt=2", "optimiser.steps=1", "eval.prompts=2",
          "eval.samples=1", "--out", str(tmp_path / "run")])  # fmt: skip
    rows = pq.read_table(tmp_path / "run" / "rollouts").to_pylist()
    assert [r["score"] for r in rows] == [1.0, 1.0] and all(sum(r["step_reward"]) < 70 for r in rows)


def test_two_models_are_compared_by_person_and_the_soothing_one_is_marked(tmp_path, model, capsys):
    """A model against itself differs by nothing; and one that only soothes is marked, one that helps is not."""
    found = evaluated(tmp_path, model, "--against", model)
    capsys.readouterr()
    assert all(v is None or v == [0.0, 0.0, 0.0] for v in found["less"].values()) and found["soothing"] is False
    assert found["against"]["measures"] == found["measures"] and (tmp_path / "against" / "answers").is_dir()

    people = drawn(20, 2)
    alone, helped, soothed = (
        experiment.measured(p, people, SOOTHABLE, RLVER)
        for p in (act_policy.learnt(np.zeros((act_policy.FEATURES, len(ACTS)))), act_policy.helper, act_policy.soother)
    )
    measures = list(talks.BY_RULES)
    assert talks._less(soothed, alone, measures)["soothing"] and not talks._less(helped, alone, measures)["soothing"]
    shown = talks.table({**found, "soothing": True})
    assert "reward up, help flat" in shown and "less the other" in shown


@pytest.mark.parametrize("wording", [LAB, ENGLISH], ids=["lab", "english"])
def test_the_guards_read_what_the_person_says_in_every_wording(wording):
    """Every need and topic is named by its own sentence and by no other, so no line contradicts its profile."""
    for person in drawn(200, 5):
        lines = [
            wording.line(person, level, told) for level in ("low", "middle", "high") for told in (None, person.need)
        ]
        for line in [wording.opening(person), *lines]:
            assert named(line) & set(TOPICS) == {person.topic}
        assert [named(line) & set(NEEDS) for line in lines] == [set(), {person.need}] * 3
        assert consistency(person, lines) == (1.0, 1.0)
    assert {p.need for p in drawn(200, 5)} == set(NEEDS) and {p.topic for p in drawn(200, 5)} == set(TOPICS)


def test_what_keeps_to_the_topic_in_free_text():
    person = next(p for p in drawn(50, 5) if p.topic == "love")
    assert ENGLISH.specific(person, "That sounds hard.") and ENGLISH.specific(person, "Love is work.")
    assert not ENGLISH.specific(person, "And how is your family?")
    assert not LAB.specific(person, "love work")
    assert not need_met(person, [])
