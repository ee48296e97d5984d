"""The same rows from every kind of source, and one line for every mistake in one."""

from __future__ import annotations

import datetime
import json
import shutil
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frown.config import TaskConfig
from frown.errors import FrownError
from frown.tasks.data import read_tasks
from frown.tasks.load import load_environment
from frown.tasks.rows import read_rows

ROWS = [{"question": f"{i} + 1 = ?", "answer": str(i + 1), "solution": 'one, "two"\nthree'} for i in range(12)]


def datasets():
    return pytest.importorskip("datasets")


def sources(folder: Path) -> dict[str, Path]:
    """The rows in every form that needs no further package."""
    import csv

    (folder / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    (folder / "rows.json").write_text(json.dumps(ROWS))
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "rows.parquet")
    for ending, separator in (("csv", ","), ("tsv", "\t")):
        with (folder / f"rows.{ending}").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(ROWS[0]), delimiter=separator)
            writer.writeheader()
            writer.writerows(ROWS)
    return {ending: folder / f"rows.{ending}" for ending in ("jsonl", "json", "parquet", "csv", "tsv")}


@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet", "csv", "tsv"])
def test_every_kind_of_file_gives_the_same_tasks(tmp_path, ending):
    found = sources(tmp_path)
    assert [r.values for r in read_rows(found[ending])] == ROWS
    assert [r.number for r in read_rows(found[ending])] == list(range(1, 13))
    columns = {"question": "question", "answer": "answer", "solution": "solution"}
    ids = [(t.id, t.solution) for t in read_tasks(found[ending], columns)[0]]
    assert ids == [(t.id, t.solution) for t in read_tasks(found["jsonl"], columns)[0]]
    environment = load_environment(TaskConfig(kind="exact", data=found[ending]))
    environment.close()
    assert len(environment.train) + sum(map(len, environment.tests.values())) == len(ROWS)


@given(st.lists(st.fixed_dictionaries({"a": st.text(), "b": st.text()}), min_size=1, max_size=5))
def test_whatever_text_parquet_holds_comes_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert [r.values for r in read_rows(path)] == rows


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("rows.json", b'{"question": "q"}', "is a JSON object, not a list of objects; JSON Lines end in .jsonl"),
        ("rows.json", b'[{"question": "q"}, 3]', "row 2 is a JSON number; each entry holds one object"),
        ("rows.json", b'{"a": 1}\n{"a": 2}\n', "is not JSON: Extra data"),
        ("rows.json", b"[]", "has no rows"),
        ("rows.csv", b"", "has no rows"),
        ("rows.csv", b"question,answer\n", "has no rows"),
        ("rows.csv", b"question,answer\nhow, many,3\n", "row 1 has 3 values under 2 headings"),
        ("rows.csv", b"answer,answer\n1,2\n", "two columns are called 'answer'"),
        ("rows.csv", b'question,answer\n"q,1\n', "is not CSV"),
        ("rows.csv", b"question,answer\n\xff,1\n", "line 2 is not UTF-8"),
        ("rows.parquet", b"PAR1 and no more", "is not Parquet"),
        ("rows.parquet", b"", "is not Parquet"),
        ("missing/rows.parquet", None, "does not exist; give a JSONL, JSON, Parquet or CSV file"),
        ("data/train.jsonl", None, "does not exist"),
        ("rows.csv", b'question,answer\n"one\ntwo",1\nq,2,3\n', "row 2 has 3 values under 2 headings (line 4)"),
        ("rows.csv", b"question,answer\nq,1\nq\n", "row 2 has 1 values under 2 headings (line 3)"),
        ("rows.csv", b'question,answer\nq,1\n"q,2\nq,3\n', "in the row that begins in line 3"),
        ("rows.csv", b'question,answer\nq,1\n"a" b,2\n', "in the row that begins in line 3"),
    ],
)
def test_a_broken_source_is_one_line(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FrownError) as error:
        read_rows(path)
    assert words in str(error.value) and "\n" not in str(error.value) and path.name in str(error.value)


def test_values_that_json_has_not_are_named_and_numbers_are_text(tmp_path):
    path = tmp_path / "rows.parquet"
    rows = [{"question": "q", "answer": Decimal("1.50"), "when": datetime.date(2026, 1, 1), "raw": b"x"}]
    pq.write_table(pa.Table.from_pylist(rows), path)
    [task], _ = read_tasks(path, {})
    assert task.answer == "1.50"
    for column, words in (("when", r"row 1: column 'when' is date"), ("raw", "column 'raw' is bytes")):
        with pytest.raises(FrownError, match=words):
            read_tasks(path, {"question": column})


def test_a_folder_of_datasets_and_its_splits(tmp_path):
    made = datasets().Dataset.from_list(ROWS)
    made.save_to_disk(tmp_path / "one")
    datasets().DatasetDict(train=made.select(range(5)), check=made.select(range(5, 12))).save_to_disk(tmp_path / "two")
    datasets().DatasetDict(a=made, b=made).save_to_disk(tmp_path / "three")
    assert [r.values for r in read_rows(tmp_path / "one")] == ROWS
    assert len(read_rows(tmp_path / "two")) == 5
    assert [r.values for r in read_rows(tmp_path / "two@check")] == ROWS[5:]
    with pytest.raises(FrownError, match=r"give one of its splits, .*three@a, .*three@b"):
        read_rows(tmp_path / "three")
    with pytest.raises(FrownError, match="give one of its splits"):
        read_rows(tmp_path / "two@chek")
    with pytest.raises(FrownError, match="has no splits; leave out @train"):
        read_rows(tmp_path / "one@train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FrownError, match="save_to_disk did not write"):
        read_rows(tmp_path / "empty")
    for broken in (tmp_path / "one").glob("*.arrow"):
        broken.write_bytes(b"no arrow")
    with pytest.raises(FrownError, match=r"one cannot be read"):
        read_rows(tmp_path / "one")


def test_a_data_set_of_the_hub_comes_from_the_cache(tmp_path, monkeypatch):
    package = datasets()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(package.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(package.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    package.load_dataset("json", data_files="rows.jsonl", cache_dir=str(tmp_path / "made"))
    [made] = (tmp_path / "made" / "json").glob("default-*")
    # as datasets leaves it behind after a download
    shutil.copytree(made, tmp_path / "cache" / "some-org___tiny_rows" / "default")
    for info in (tmp_path / "cache").rglob("dataset_info.json"):
        told = json.loads(info.read_text()) | {"dataset_name": "tiny_rows", "config_name": "default"}
        info.write_text(json.dumps(told))
    for arrow in (tmp_path / "cache").rglob("json-*.arrow"):
        arrow.rename(arrow.with_name(arrow.name.replace("json-", "tiny_rows-")))

    assert [r.values for r in read_rows(Path("some-org/tiny_rows"))] == ROWS
    assert len(read_rows(Path("some-org/tiny_rows:default@train[:3]"))) == 3
    assert read_tasks(Path("some-org/tiny_rows@train"), {})[1].rows == 12
    for name in ("some-org/none", "some-org/none:main@test"):
        with pytest.raises(FrownError, match="HF_HUB_OFFLINE is set") as error:
            read_rows(Path(name))
        assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["csv", "tsv"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv_as_programs_write_it(tmp_path, separator, ending, newline, mark):
    """The separator is that of the heading; values may hold it, quotes and newlines, in quotes."""
    import csv

    rows = [{"question": f'a{separator} "b"{newline}{i}, c; d', "answer": str(i), "note": ""} for i in range(3)]
    path = tmp_path / f"rows.{ending}"
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(mark)
        writer = csv.DictWriter(file, list(rows[0]), delimiter=separator, lineterminator=newline)
        writer.writeheader()
        writer.writerows(rows)
    assert [r.values for r in read_rows(path)] == rows
    assert [r.place for r in read_rows(path)] == [f"data {path}, row {i} (line {2 * i})" for i in (1, 2, 3)]


def test_csv_of_a_spreadsheet(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("sep=;\nquestion;answer;;\n1,5 + 1 = ?;2,5;;\n\n;;;\n")
    first, empty = read_rows(path)
    assert (first.values["question"], first.values["answer"]) == ("1,5 + 1 = ?", "2,5")
    assert first.place.endswith("row 1 (line 3)") and empty.place.endswith("row 2 (line 5)")
    tasks, report = read_tasks(path, {}, skip=True)
    assert len(tasks) == 1 and report.bad == 1 and "row 2 (line 5): column 'question' is empty" in report.first_bad


def test_csv_values_of_any_length(tmp_path):
    import csv

    limit = csv.field_size_limit()
    (tmp_path / "rows.csv").write_text(f"question,answer\n{'x' * 300_000},1\n")
    assert len(read_rows(tmp_path / "rows.csv")[0].values["question"]) == 300_000
    assert csv.field_size_limit() == limit


BAD = [
    (
        "rows.jsonl",
        '{"question": "q", "answer": "1"}\n{"question": "q2", "answer": null}\n',
        "line 2: column 'answer' is",
    ),
    (
        "rows.jsonl",
        '{"question": "q", "answer": "1"}\n{"question": null, "answer": "2"}\n',
        "line 2: column 'question'",
    ),
    ("rows.jsonl", '{"question": "q", "answer": "1"}\n{"question": "q2"}\n', "line 2 has no column 'answer'"),
    ("rows.jsonl", '{"question": "q", "answer": "1"}\n{"question": \n', "line 2 is not JSON"),
    ("rows.jsonl", '{"question": "q", "answer": "1"}\n[1]\n', "line 2 is a JSON array"),
    (
        "rows.jsonl",
        '{"question": null, "answer": "1"}\n{"question": "q", "answer": "1"}\n',
        "line 1: column 'question'",
    ),
    ("rows.json", '[{"question": "q", "answer": "1"}, null]', "row 2 is a JSON null"),
    ("rows.csv", "question,answer\nq,1\nq2,\n", "row 2 (line 3): column 'answer' is empty"),
    ("rows.csv", "question,answer\nq,1\nq2,1,2\n", "row 2 has 3 values"),
]


@pytest.mark.parametrize(("name", "content", "words"), BAD)
def test_a_bad_row_is_refused_by_name_or_left_out_and_counted(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(FrownError) as error:
        read_tasks(path, {})
    assert words in str(error.value) and name in str(error.value) and "\n" not in str(error.value)
    assert 'leave such rows out: task.bad_rows = "skip"' in str(error.value)
    [task], report = read_tasks(path, {}, skip=True)
    assert task.question == "q" and (report.rows, report.bad, report.duplicates) == (2, 1, 0)
    [note] = report.notes
    assert note.startswith(f"{path}: 1 of 2 rows are bad and left out") and words in note


def test_null_cells_of_parquet(tmp_path):
    path = tmp_path / "rows.parquet"
    rows = [{"question": "q", "answer": "1", "solution": None}, {"question": "q2", "answer": None, "solution": "s"}]
    pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(FrownError, match=r"row 2: column 'answer' is null .*bad_rows"):
        read_tasks(path, {"solution": "solution"})
    tasks, report = read_tasks(path, {"solution": "solution"}, skip=True)
    assert [t.solution for t in tasks] == [None] and report.bad == 1  # a null that is optional is none


def test_where_no_row_is_usable_that_is_an_error(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"q": "q", "answer": "1"}\n' * 3)
    with pytest.raises(FrownError, match=r"no usable row among 3; the first: .*line 1 has no column 'question'"):
        read_tasks(tmp_path / "rows.jsonl", {}, skip=True)
    (tmp_path / "rows.jsonl").write_text("no rows\nat all\n")
    with pytest.raises(FrownError, match="no usable row among 2"):
        read_tasks(tmp_path / "rows.jsonl", {}, skip=True)


def test_the_setting_is_for_data(tmp_path):
    with pytest.raises(FrownError, match="bad_rows is for rows of data"):
        load_environment(TaskConfig(kind="lab:chains", bad_rows="skip"))
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in ROWS) + '{"question": "q"}\n')
    with pytest.raises(FrownError, match="line 13 has no column 'answer'"):
        load_environment(TaskConfig(kind="exact", data=tmp_path / "rows.jsonl"))
    env = load_environment(TaskConfig(kind="exact", data=tmp_path / "rows.jsonl", bad_rows="skip"))
    assert any("1 of 13 rows are bad and left out" in note for note in env.notes)
    env.close()
