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
