"""Nested columns by dotted names; a column whose own name has a dot goes first."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frown.cli.options import TaskFlags
from frown.errors import FrownError
from frown.tasks.columns import value_of
from frown.tasks.data import read_tasks
from frown.tasks.rows import read_rows, text_of

VERL = {
    "data_source": "openai/gsm8k",
    "prompt": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "1 + 1 = ?"}],
    "ability": "math",
    "reward_model": {"style": "rule", "ground_truth": "2"},
    "extra_info": {"split": "train", "index": 0, "answer": "1 + 1 = 2\n#### 2"},
}
COLUMNS = {"question": "prompt", "answer": "reward_model.ground_truth", "solution": "extra_info.answer"}


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
def test_rows_of_verl(tmp_path, kind):
    path = tmp_path / f"train.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist([VERL]), path)
    else:
        path.write_text(json.dumps(VERL if kind == "jsonl" else [VERL]))
    [task], report = read_tasks(path, COLUMNS)
    assert task.messages == tuple(VERL["prompt"]) and task.question == "1 + 1 = ?"
    assert (task.answer, task.solution) == ("2", "1 + 1 = 2\n#### 2") and report.rows == 1


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [
        ({"a.b": 1, "a": {"b": 2}}, "a.b", 1),
        ({"a": {"b": 2}}, "a.b", 2),
        ({"a": {"b.c": 3, "b": {"c": 4}}}, "a.b.c", 3),
        ({"a.b": {"c": 5}, "a": {"b": {"c": 6}}}, "a.b.c", 5),
        ({"a.b": {"d": 5}, "a": {"b": {"c": 6}}}, "a.b.c", 6),
        ({"answers": {"text": ["x", "y"]}}, "answers.text.1", "y"),
        ({"choices": [{"message": {"content": "hi"}}]}, "choices.0.message.content", "hi"),
        ({"a": None}, "a.b", None),
        ({"a": {"b": None}}, "a.b", None),
        ({".": 1}, ".", 1),
    ],
)
def test_a_dotted_name(row, column, value):
    assert value_of("here", row, column) == value


@pytest.mark.parametrize("column", ["a.c", "a.b.c", "b", "a.", ".a", "a..b", "l.2", "l.x", "l.-1", "", "a.b."])
def test_a_name_that_is_not_there_is_answered_with_those_that_are(column):
    with pytest.raises(FrownError, match=r"row 1 has no column .*; columns there: a, a\.b, l") as error:
        value_of("row 1", {"a": {"b": "text"}, "l": [1, 2]}, column)
    assert "\n" not in str(error.value)


def test_a_misspelt_nested_name_is_answered_with_the_nearest(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(VERL))
    with pytest.raises(FrownError, match=r"mean 'reward_model\.ground_truth'") as error:
        read_tasks(path, COLUMNS | {"answer": "reward_model.groundtruth"})
    assert "bad_rows" not in str(error.value)  # the name is wrong, not the row


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("reward_model", "is object .*; name what is in it: reward_model.style, reward_model.ground_truth"),
        ("extra_info.list", r"is array .*; name what is in it: extra_info\.list\.0, extra_info\.list\.1"),
        ("extra_info.none", r"is array \[\], not a string or a finite number$"),
    ],
)
def test_an_object_or_a_list_is_no_answer_and_says_what_is_in_it(tmp_path, column, words):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(VERL | {"extra_info": {"list": ["1", "2"], "none": []}}))
    with pytest.raises(FrownError, match=words):
        text_of(read_rows(path)[0], column, numbers=True)


def test_the_flag_takes_dotted_names(tmp_path):
    words = TaskFlags(columns="question=prompt,answer=reward_model.ground_truth").overrides()
    assert words == ['task.columns.question="prompt"', 'task.columns.answer="reward_model.ground_truth"']


def test_a_csv_heading_with_dots(tmp_path):
    (tmp_path / "rows.csv").write_text("q,reward_model.ground_truth\n1 + 1,2\n")
    [task], _ = read_tasks(tmp_path / "rows.csv", {"question": "q", "answer": "reward_model.ground_truth"})
    assert task.answer == "2" and read_rows(tmp_path / "rows.csv")[0].number == 1
