"""Prompts and answers that are lists of messages: kept as they are, or one line that says what is wrong."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frown.config import TaskConfig
from frown.errors import FrownError
from frown.tasks.data import read_tasks, share
from frown.tasks.load import load_environment

SYSTEM = {"role": "system", "content": "be brief"}
USER = {"role": "user", "content": "1 + 1 = ?"}
REPLY = {"role": "assistant", "content": "Of apples?"}
MORE = {"role": "user", "content": "Yes."}
ANSWER = {"role": "assistant", "content": "2"}
COLUMNS = {"question": "prompt", "answer": "answer"}


def tasks_of(tmp_path, *rows, columns=COLUMNS, **how):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return read_tasks(path, columns, **how)


@pytest.mark.parametrize(
    "prompt", [[USER], [SYSTEM, USER], [USER, REPLY, MORE], [SYSTEM, USER, REPLY, MORE], [REPLY, USER], [USER, MORE]]
)
def test_a_conversation_is_kept(tmp_path, prompt):
    [task], _ = tasks_of(tmp_path, {"prompt": prompt, "answer": "2"})
    assert list(task.messages) == prompt and task.question == prompt[-1]["content"] and task.answer == "2"
    pq.write_table(pa.Table.from_pylist([{"prompt": prompt, "answer": "2"}]), tmp_path / "rows.parquet")
    assert [t.id for t in read_tasks(tmp_path / "rows.parquet", COLUMNS)[0]] == [task.id]


@pytest.mark.parametrize(
    ("prompt", "messages"),
    [
        ([{"role": "user", "content": [{"type": "text", "text": "1 + "}, {"type": "text", "text": "1"}]}], ["1 + 1"]),
        ([{"role": "user", "content": [{"type": "input_text", "text": "1"}]}], ["1"]),
        ([{"role": "user", "content": ["1 ", "2"]}], ["1 2"]),
        ([{"role": "developer", "content": "s"}, USER], ["s", USER["content"]]),
        ([{"from": "system", "value": "s"}, {"from": "human", "value": "q"}], ["s", "q"]),
        ([{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}, {"from": "human", "value": "c"}], [*"abc"]),
        ([{**USER, "name": None, "tool_calls": None}], [USER["content"]]),
        ([{"role": "system", "content": ""}, USER], ["", USER["content"]]),
        (json.dumps([SYSTEM, USER]), ["be brief", USER["content"]]),
    ],
)
def test_other_forms_of_messages(tmp_path, prompt, messages):
    [task], _ = tasks_of(tmp_path, {"prompt": prompt, "answer": "2"})
    assert [m["content"] for m in task.messages] == messages
    assert {m["role"] for m in task.messages} <= {"system", "user", "assistant"} and task.messages[-1]["role"] == "user"
    assert all(set(m) == {"role", "content"} for m in task.messages)


@pytest.mark.parametrize("text", ["[1, 2]", "[", "[]", '["a"]', '[{"a": 1}]', "[0, 1) or [0, 1]?"])
def test_a_text_with_brackets_stays_a_text(tmp_path, text):
    [task], _ = tasks_of(tmp_path, {"prompt": text, "answer": "2"})
    assert task.messages == ({"role": "user", "content": text},)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ([], "is an empty list of messages"),
        ([SYSTEM], "has no user message"),
        ([USER, ANSWER], "ends with the assistant's turn"),
        ([USER, SYSTEM, MORE], "message 2 is a system message; only the first"),
        ([{"role": "tool", "content": "x"}, USER], "message 1 has the role 'tool', not system, user or assistant"),
        ([{"role": "User", "content": "x"}], "message 1 has the role 'User'"),
        ([{"role": 3, "content": "x"}], "message 1 has the role '3'"),
        ([{"content": "x"}], "message 1 has no role; its keys are content"),
        ([{}], "message 1 has no role; its keys are none"),
        ([{"role": "user"}], "message 1 .user.: its content is null"),
        ([{"role": "user", "content": None}], "content is null, not text"),
        ([{"role": "user", "content": 3}], "content is number, not text"),
        ([{"role": "user", "content": "  "}], "message 1 .user. is empty"),
        ([USER, {"role": "assistant", "content": ""}, MORE], "message 2 .assistant. is empty"),
        ([USER, {"role": "assistant", "content": None, "tool_calls": [{"id": 1}]}, MORE], "message 2 .* calls a tool"),
        ([{"role": "user", "content": []}], "message 1 .user. is empty"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
            "part of type 'image_url'; only text",
        ),
        ([{"role": "user", "content": [3]}], "part of type 'number'"),
        (["1 + 1"], "message 1 is a JSON string, not an object with role and content"),
        ([USER, None], "message 2 is a JSON null"),
        ([{"role": "user", "content": "\ud800"}], "half a surrogate"),
        (USER, "column 'prompt' is object"),
    ],
)
def test_what_is_no_prompt_is_one_line_with_file_and_row(tmp_path, prompt, words):
    good = {"prompt": [USER], "answer": "2"}
    with pytest.raises(FrownError, match=words) as error:
        tasks_of(tmp_path, good, {"prompt": prompt, "answer": "2"})
    line = str(error.value)
    assert "rows.jsonl, line 2" in line and "'prompt'" in line and "\n" not in line and 'bad_rows = "skip"' in line
    tasks, report = tasks_of(tmp_path, good, {"prompt": prompt, "answer": "2"}, skip=True)
    assert (len(tasks), report.bad, report.rows, report.duplicates) == (1, 1, 2, 0)


def test_the_last_turn_is_the_answer_where_one_column_is_both(tmp_path):
    columns = {"question": "messages", "answer": "messages"}
    [task], _ = tasks_of(tmp_path, {"messages": [SYSTEM, USER, REPLY, MORE, ANSWER]}, columns=columns)
    assert list(task.messages) == [SYSTEM, USER, REPLY, MORE] and task.answer == "2"
    for messages, words in (
        ([SYSTEM, USER], "does not end with the assistant's turn"),
        ([ANSWER], "has no user message"),
        ([USER, REPLY, ANSWER], "ends with the assistant's turn"),
    ):
        with pytest.raises(FrownError, match=words):
            tasks_of(tmp_path, {"messages": messages}, columns=columns)


def test_a_completion_of_trl_is_an_answer(tmp_path):
    columns = {"question": "prompt", "answer": "completion"}
    row = {"prompt": [USER], "completion": [ANSWER]}
    assert tasks_of(tmp_path, row, columns=columns)[0][0].answer == "2"
    with_solution = tasks_of(tmp_path, row, columns=columns | {"solution": "completion"})[0][0]
    assert with_solution.solution == "2"
    with pytest.raises(FrownError, match="messages of user, assistant; an answer is one message of the assistant"):
        tasks_of(tmp_path, row | {"completion": [USER, ANSWER]}, columns=columns)
    plain = {"prompt": "1 + 1 = ?", "completion": "2"}
    assert tasks_of(tmp_path, plain, columns=columns)[0][0].messages == (USER,)


def test_a_system_column_goes_before_messages_that_have_none(tmp_path):
    columns = COLUMNS | {"system": "s"}
    [task], _ = tasks_of(tmp_path, {"prompt": [USER], "answer": "2", "s": "be brief"}, columns=columns)
    assert list(task.messages) == [SYSTEM, USER]
    with pytest.raises(FrownError, match="has a system message, and column 's' another"):
        tasks_of(tmp_path, {"prompt": [SYSTEM, USER], "answer": "2", "s": "other"}, columns=columns)


def test_conversations_that_end_alike_are_different_questions(tmp_path):
    train = [{"prompt": [{"role": "user", "content": f"{i} + 1 = ?"}, REPLY, MORE], "answer": i + 1} for i in range(40)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(r) + "\n" for r in train))
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(r) + "\n" for r in train[:5]))
    config = TaskConfig(
        kind="exact", data=tmp_path / "train.jsonl", test_data=tmp_path / "test.jsonl", columns={"question": "prompt"}
    )
    env = load_environment(config)
    assert env.reports[0].in_test == 5 and len(env.train) + len(env.tests["dev"]) == 35
    assert len({share(0, t) for t in env.train}) == len(env.train)
    env.close()
