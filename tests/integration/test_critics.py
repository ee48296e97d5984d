"""Critics in a run: who is asked, what becomes of it, and that a critic that is down stops nothing."""

from __future__ import annotations

import json
import socket

import numpy as np
import pytest

from frown.config import RunConfig, parse
from frown.critics.load import open_critic
from frown.errors import FrownError
from frown.methods.base import Classroom
from frown.policy.policy import policy_of
from frown.policy.text import prompt_ids
from frown.store.run_directory import RunDirectory
from frown.tasks.load import load_environment
from frown.tasks.rollouts import judge
from frown.training.run import train
from frown.types import Rollout, Signals
from parrot import parrot
from tiny import byte_model, write_jsonl


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return byte_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "rows.jsonl"
    tests = [["assert double(2) == 4"], ["assert double(0) == 0", "assert double(5) == 10"]]
    return write_jsonl(
        file, [{"question": f"{i} + 2?", "answer": str(i + 2), "tests": tests[i % 2]} for i in range(12)]
    )


def settings(folder, rows, **critique) -> RunConfig:
    values = {
        "model": {"path": str(folder)},
        "task": {"kind": "exact", "data": str(rows), "columns": {"tests": "tests"}, "splitter": "lines"},
        "sampling": {"prompts_per_step": 2, "responses_per_prompt": 2, "max_new_tokens": 24},
        "method": {"type": "critique", "feedback": ["critique", "outcome"]},
        "critic": critique,
        "optimiser": {"steps": 2},
        "eval": {"every": 2, "prompts": 2, "samples": 2},
    }
    return parse(RunConfig, values, "test")


def told(config, texts):
    """What is told about answers that are written by hand."""
    policy, environment = policy_of(config), load_environment(config.task)
    tasks = sorted(environment.train_tasks(np.random.default_rng(0), 2), key=lambda t: -len(t.data["tests"]))
    rollouts = []
    for text in texts:
        ids = np.array([*policy.encode(text), policy.eos_ids[0]])
        zeros = np.zeros(len(ids), np.float32)
        prompt = prompt_ids(policy.tokenizer, tasks[0].messages)
        signals = Signals({"surprisal": zeros})
        rollouts.append(Rollout(tasks[0], 0, prompt, ids, zeros, 1.0, "eos", text, signals=signals))
    judged = judge(rollouts, environment, policy)
    with open_critic(config.critic, environment) as critic:
        room = Classroom(config, environment, policy, np.random.default_rng(0), critic)
        made = config.method.teach(judged, room)
    environment.close()
    return made


def test_a_calculator_comments_on_the_steps_of_free_text(folder, rows):
    made = told(settings(folder, rows, kind="calculator"), ["2 + 3 = 5\n5 * 4 = 21\nso 21", "no sums"])
    assert [(p.kind, p.steps) for p in made.feedback[0].parts] == [("critique", (0,)), ("critique", (1,))]
    assert made.feedback[0].parts[1].text == "5 * 4 is 20."
    assert [p.kind for p in made.feedback[1].parts] == ["outcome"]


def test_a_scribe_writes_from_a_calculators_verdicts(folder, rows):
    made = told(settings(folder, rows, kind="calculator", write="scribe"), ["2 + 3 = 5\n5 * 4 = 21\n21 + 1 = 22"])
    [part] = made.feedback[0].parts
    assert part.attempt and part.text == "2 + 3 = 5\n5 * 4 is 20."


def test_programs_are_run_only_when_that_is_asked_for(folder, rows):
    with pytest.raises(FrownError, match="no sandbox"):
        settings(folder, rows, kind="unsafe_subprocess")
    config = settings(folder, rows, kind="unsafe_subprocess", execution={"unsafe_subprocess": True})
    right, wrong = (f"def double(x):\n    return {e}" for e in ("2 * x", "x * x"))
    made = told(config, [right, wrong])
    assert "`double(5)` gives 25; expected is 10" in made.feedback[1].parts[0].text
    assert all(p.kind == "critique" for f in made.feedback for p in f.parts)


def test_a_local_model_criticises_in_a_run(folder, rows, tmp_path):
    said = {"steps": [{"step": 1, "reason": "no", "right": False, "correction": "It is 4."}]}
    model = {"local": {"path": str(parrot(tmp_path / "parrot", json.dumps(said))), "dtype": "float32"}}
    train(settings(folder, rows, kind="model", model=model), tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    seen = [m["critic"] for m in run.metrics() if "loss" in m]
    assert run.status == ("finished", "") and seen[-1]["asked"] > 0 and seen[-1]["calls"] > 0
    for each in seen:
        assert each["asked"] == each["answered"] + each["cached"] + sum(each["lost"].values())


def test_an_endpoint_that_is_down_costs_critiques_and_stops_nothing(folder, rows, tmp_path, monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setenv("FROWN_TEST_KEY", "sk-very-secret-0123456789")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    endpoint = {"base_url": url, "model": "m", "key_variable": "FROWN_TEST_KEY", "retries": 0, "deadline": 2.0}
    said = []
    train(settings(folder, rows, kind="model", model={"endpoint": endpoint}), tmp_path / "run", said.append)
    run = RunDirectory(tmp_path / "run")
    last = [m for m in run.metrics() if "loss" in m][-1]
    assert run.status == ("finished", "") and last["critiques_lost"] > 0 and last["views"] > 0  # told the outcome
    assert any("a critique was lost" in line for line in said)
    everything = b"".join(p.read_bytes() for p in run.path.rglob("*") if p.is_file())
    assert b"very-secret" not in everything and not any("very-secret" in line for line in said)


@pytest.mark.parametrize(
    ("critique", "says"),
    [
        ({"kind": "model"}, "goes with critic.model"),
        ({"kind": "calculator", "error_rate": 0.1}, "can err on purpose"),
        ({"kind": "calculater"}, "calculater"),
    ],
)
def test_nonsense_about_critics_is_one_line(folder, rows, critique, says):
    with pytest.raises(FrownError, match=says):
        settings(folder, rows, **critique)


def test_a_missing_key_is_said_before_anything_is_written(folder, rows, tmp_path, monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.delenv("FROWN_TEST_KEY", raising=False)
    model = {"endpoint": {"base_url": "http://127.0.0.1:9/v1", "model": "m", "key_variable": "FROWN_TEST_KEY"}}
    with pytest.raises(FrownError, match="FROWN_TEST_KEY"):
        train(settings(folder, rows, kind="model", model=model), tmp_path / "run")
    assert not (tmp_path / "run").exists()
