"""Every row is measured against the context before the first step: refused by line, or left out and counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from frown.cli.app import main
from frown.config import RunConfig, load, parse
from frown.errors import FrownError
from frown.inspect.evaluate import evaluate
from frown.inspect.probe import probe
from frown.plan import plan
from frown.policy.text import prompt_ids, prompt_lengths
from frown.store.run_directory import RunDirectory
from frown.tasks.load import load_environment
from frown.training.context import Room, demonstrable, fitting, long_solutions, measured_by
from frown.training.run import train
from tiny import byte_model

CONTEXT, ANSWER = 512, 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return byte_model(tmp_path_factory.mktemp("model"), context=CONTEXT)


def rows(path: Path, long: dict[int, int] | None = None, solution: int = 4) -> Path:
    """40 rows; `long`: the number of letters in the question of some, by their line."""
    lines = []
    for i in range(1, 41):
        question = f"{i} + 1 = ?" + " " + "x" * (long or {}).get(i, 0)
        lines.append(json.dumps({"question": question, "answer": str(i + 1), "work": "w" * solution}) + "\n")
    path.write_text("".join(lines))
    return path


def settings(folder, data: Path, **task) -> RunConfig:
    values = {
        "model": {"path": str(folder)},
        "task": {"kind": "exact", "data": str(data), **task},
        "sampling": {"prompts_per_step": 2, "responses_per_prompt": 2, "max_new_tokens": ANSWER},
        "method": {"type": "sdpo", "feedback": ["outcome"]},
        "optimiser": {"steps": 1},
        "eval": {"every": 1, "prompts": 2, "samples": 2},
    }
    return parse(RunConfig, values, "test")


def fitted(config: RunConfig):
    tokenizer, room = measured_by(config.model.path, config.sampling.max_new_tokens)
    return fitting(load_environment(config.task), tokenizer, room)


@pytest.mark.parametrize("line", [1, 7, 18, 23, 40])  # whatever split they fall into
def test_a_row_that_is_too_long_is_refused_by_its_line(folder, tmp_path, line):
    data = rows(tmp_path / "rows.jsonl", {line: 600})
    with pytest.raises(FrownError) as error:
        fitted(settings(folder, data))
    message = str(error.value)
    assert f"data {data}, line {line}: a prompt of " in message and "\n" not in message
    assert f"an answer of {ANSWER}" in message and f"context of {CONTEXT}" in message
    assert 'task.bad_rows = "skip"' in message
    kept = fitted(settings(folder, data, bad_rows="skip"))
    assert sum(map(len, kept.splits.values())) == 39
    assert not any("x" in t.question for tasks in kept.splits.values() for t in tasks)
    [note] = kept.notes
    assert "too long for the model are left out (1 of " in note and f"line {line}" in note


def test_the_first_of_several_is_named_and_the_others_counted(folder, tmp_path):
    data = rows(tmp_path / "rows.jsonl", {30: 600, 12: 700, 35: 600})
    with pytest.raises(FrownError, match=r"line 12: .*\(2 more rows like it\)"):
        fitted(settings(folder, data))


def test_the_rows_that_are_kept_stay_in_their_splits(folder, tmp_path):
    whole = load_environment(settings(folder, rows(tmp_path / "a.jsonl")).task)
    kept = fitted(settings(folder, rows(tmp_path / "b.jsonl", {9: 600, 33: 600}), bad_rows="skip"))
    for split, tasks in kept.splits.items():
        assert {t.answer for t in tasks} == {t.answer for t in whole.splits[split]} - {"10", "34"}


def test_room_for_an_answer_to_the_token(folder, tmp_path):
    config = settings(folder, rows(tmp_path / "rows.jsonl"))
    tokenizer, room = measured_by(str(folder), ANSWER)
    tasks = [t for each in load_environment(config.task).splits.values() for t in each]
    longest = max(len(prompt_ids(tokenizer, t.messages)) for t in tasks)
    assert room == Room(CONTEXT, ANSWER) and Room(None, 9).fits(10**9)
    fitting(load_environment(config.task), tokenizer, Room(longest + ANSWER, ANSWER))
    fitting(load_environment(config.task), tokenizer, Room(None, ANSWER))
    with pytest.raises(FrownError, match=f"context of {longest + ANSWER - 1}"):
        fitting(load_environment(config.task), tokenizer, Room(longest + ANSWER - 1, ANSWER))


def test_where_a_whole_split_is_too_long_that_is_an_error(folder, tmp_path):
    data, test = rows(tmp_path / "rows.jsonl"), rows(tmp_path / "test.jsonl", dict.fromkeys(range(1, 41), 600))
    with pytest.raises(FrownError, match="no row of the test split is left; the first: .*test.jsonl, line 1:"):
        fitted(settings(folder, data, test_data=str(test), bad_rows="skip"))


def test_lengths_of_many_are_those_of_one(folder):
    tokenizer, _ = measured_by(str(folder), ANSWER)
    conversations = [
        [{"role": "user", "content": "a" * n}] + n % 2 * [{"role": "assistant", "content": "é"}] for n in range(30)
    ]
    expected = [len(prompt_ids(tokenizer, c)) for c in conversations]
    assert prompt_lengths(tokenizer, conversations) == expected
    plain = tokenizer.chat_template
    try:
        tokenizer.chat_template = (
            "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + plain
        )
        system = [[{"role": "system", "content": "s"}, *c] for c in conversations]
        mixed = [*system, *conversations]
        assert prompt_lengths(tokenizer, mixed) == [len(prompt_ids(tokenizer, c)) for c in mixed]
        tokenizer.chat_template = (
            "{% if messages[-1].role != 'user' %}{{ raise_exception('ends with another') }}{% endif %}" + plain
        )
        lengths = prompt_lengths(tokenizer, conversations)
        assert [isinstance(n, FrownError) for n in lengths] == [n % 2 == 1 for n in range(30)]
        assert lengths[::2] == expected[::2] and "ends with another" in str(lengths[1])
    finally:
        tokenizer.chat_template = plain


def test_a_row_that_the_template_refuses_is_named(folder, tmp_path):
    data = tmp_path / "rows.jsonl"
    prompts = [[{"role": "user", "content": f"{i}"}] for i in range(40)]
    prompts[20] = [{"role": "assistant", "content": "me first"}, *prompts[20]]
    data.write_text("".join(json.dumps({"prompt": p, "answer": i}) + "\n" for i, p in enumerate(prompts)))
    config = settings(folder, data, columns={"question": "prompt"})
    tokenizer, room = measured_by(str(folder), ANSWER)
    tokenizer.chat_template = (
        "{% if messages[0].role == 'assistant' %}{{ raise_exception('user must begin') }}{% endif %}"
        + tokenizer.chat_template
    )
    with pytest.raises(FrownError, match="line 21: the model's chat template failed: user must begin"):
        fitting(load_environment(config.task), tokenizer, room)


def test_a_run_is_refused_before_it_begins_and_so_is_its_plan(folder, tmp_path, capsys):
    data = rows(tmp_path / "rows.jsonl", dict.fromkeys(range(31, 41), 600))  # not all in one split
    config = settings(folder, data)
    for refused in (lambda: train(config, tmp_path / "run"), lambda: plan.make(config), lambda: probe(config)):
        with pytest.raises(FrownError, match=rf"{data}, line 3\d: a prompt of"):
            refused()
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    words = ["--model", str(folder), "--task", "exact", "--data", str(data), f"sampling.max_new_tokens={ANSWER}"]
    with pytest.raises(SystemExit):
        main(["train", "--plan", *words])
    assert "line 31" in capsys.readouterr().err


@pytest.mark.slow
def test_a_plan_measures_every_row_and_says_what_is_left_out(folder, tmp_path):
    data = rows(tmp_path / "rows.jsonl", {33: 600} | dict.fromkeys(range(1, 31), 300))
    made = plan.make(settings(folder, data, bad_rows="skip"))
    assert any("left out" in line and "line 33" in line for line in made.warnings)
    tokenizer, _ = measured_by(str(folder), ANSWER)
    train = fitted(settings(folder, data, bad_rows="skip")).train
    assert made.lengths.measured and made.lengths.prompt == max(len(prompt_ids(tokenizer, t.messages)) for t in train)


@pytest.mark.slow
def test_a_run_skips_and_counts(folder, tmp_path):
    data = rows(tmp_path / "rows.jsonl", {2: 600, 33: 600})
    with data.open("a") as file:
        file.write('{"question": "q", "answer": null}\n')
    warnings: list[str] = []
    train(settings(folder, data, bad_rows="skip"), tmp_path / "run", warnings.append)
    notes = [m["note"] for m in RunDirectory(tmp_path / "run").metrics() if "note" in m]
    for lines in (warnings, notes):
        assert any("1 of 41 rows are bad and left out" in line and "line 41" in line for line in lines)
        assert any("too long for the model are left out" in line and "line 2:" in line for line in lines)
    assert RunDirectory(tmp_path / "run").status[0] == "finished"


@pytest.mark.slow
def test_solutions_that_no_teacher_can_be_shown_are_counted(folder, tmp_path):
    data = rows(tmp_path / "rows.jsonl", solution=600)
    columns = {"solution": "work"}
    values = {"method.type": "opsd", "method.feedback": "['reference']"}
    config = settings(folder, data, columns=columns)
    tokenizer, room = measured_by(str(folder), ANSWER)
    assert long_solutions(config, fitted(config), tokenizer, room) is None  # nobody is shown one
    config = load(RunConfig, None, [f"{k}={v}" for k, v in values.items()], config)
    environment = fitted(config)
    assert f"{len(environment.train)} of {len(environment.train)} training rows" in long_solutions(
        config, environment, tokenizer, room
    )
    cut = load(RunConfig, None, ["feedback.max_tokens=50"], config)
    assert long_solutions(cut, environment, tokenizer, room) is None
    warnings: list[str] = []
    train(config, tmp_path / "run", warnings.append)
    assert any("worked solution the teacher's prompt leaves no room" in line for line in warnings)
    assert sum("step 1: teacher's prompts that leave no room" in line for line in warnings) == 1
    [step] = [m for m in RunDirectory(tmp_path / "run").metrics() if "views_too_long" in m]
    assert step["views_too_long"] == 4 and step["views"] == 0


def test_supervised_training_leaves_out_rows_without_a_solution_that_fits(folder, tmp_path):
    data = rows(tmp_path / "rows.jsonl", solution=10)
    lines = [json.loads(line) for line in data.read_text().splitlines()]
    for line in lines[:25]:
        line["work"] = None if line["answer"] < "2" else "w" * 600
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    environment = fitted(settings(folder, data, columns={"solution": "work"}))
    tokenizer, room = measured_by(str(folder), ANSWER)
    kept = demonstrable(environment, tokenizer, room)
    assert 0 < len(kept.train) < len(environment.train) and kept.tests == environment.tests
    assert {t.solution for t in kept.train} == {"w" * 10}
    assert f"{len(environment.train) - len(kept.train)} of {len(environment.train)} training rows" in kept.notes[-1]
    none = fitted(settings(folder, rows(tmp_path / "none.jsonl")))  # no column is named
    with pytest.raises(FrownError, match="no training row has a worked solution"):
        demonstrable(none, tokenizer, room)


def test_an_evaluation_asks_no_model_what_one_cannot_answer(folder, tmp_path):
    data = rows(tmp_path / "rows.jsonl", {5: 600})
    words = ["task.kind=exact", f"task.test_data={data}", f"max_new_tokens={ANSWER}", "prompts=40", "samples=1"]
    with pytest.raises(FrownError, match="line 5: a prompt of"):
        evaluate(str(folder), tmp_path / "refused", overrides=words, command="test")
    lines: list[str] = []
    summary = evaluate(
        str(folder), tmp_path / "eval", overrides=[*words, "task.bad_rows=skip"], command="test", say=lines.append
    )
    assert any("1 of 40 of test" in line for line in lines) and "39 prompts" in summary["compared"]
