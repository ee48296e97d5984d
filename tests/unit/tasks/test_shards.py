"""Folders and patterns: which files are meant, in which order, and what is said where that is not clear."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from frown.config import TaskConfig
from frown.errors import FrownError
from frown.tasks.load import load_environment
from frown.tasks.rows import read_rows


def put(path: Path, *numbers: int) -> Path:
    """A file whose rows have these numbers, of the kind that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"question": f"{n} + 1 = ?", "answer": str(n + 1)} for n in numbers]
    lines = "".join(json.dumps(r) + "\n" for r in rows).encode()
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        path.write_bytes(lines)
    return path


def numbers(source: Path | str) -> list[int]:
    return [int(r.values["answer"]) - 1 for r in read_rows(Path(source))]


def test_a_downloaded_folder_is_one_data_set(tmp_path):
    put(tmp_path / "data" / "train-00001-of-00002.parquet", *range(20, 40))
    put(tmp_path / "data" / "train-00000-of-00002.parquet", *range(20))
    (tmp_path / "README.md").write_text("a data set")
    (tmp_path / ".gitattributes").write_text("*.parquet filter=lfs")
    put(tmp_path / ".cache" / "huggingface" / "download" / "test-00000-of-00001.parquet", 99)
    (tmp_path / "dataset_infos.json").write_text("{}")
    for source in (tmp_path, tmp_path / "data", f"{tmp_path}@train", tmp_path / "data" / "train-*.parquet"):
        assert numbers(source) == list(range(40))
    rows = read_rows(tmp_path)
    assert rows[20].place == f"data {tmp_path}/data/train-00001-of-00002.parquet, row 1"
    env = load_environment(TaskConfig(kind="exact", data=tmp_path))
    assert len(env.train) + sum(map(len, env.tests.values())) == 40
    assert {t.data["file"] for t in env.train} == {f"train-0000{i}-of-00002.parquet" for i in (0, 1)}


@pytest.mark.parametrize(
    "names",
    [
        ["part-2.jsonl", "part-10.jsonl"],
        ["train-00000-of-00002.jsonl.gz", "train-00001-of-00002.jsonl.gz"],
        ["train-00000-of-00002-0a1b2c3d4e5f6a7b.parquet", "train-00001-of-00002-ffffffffffffffff.parquet"],
        ["train/0000.parquet", "train/0001.parquet"],
        ["default/train/0000.parquet", "default/train/0001.parquet"],
        ["train_1.jsonl", "train_2.jsonl"],
        ["00000-of-00002.json", "00001-of-00002.json"],
        ["train-00001-of-00002.parquet", "train-00002-of-00002.parquet"],
        ["a.jsonl", "b.jsonl.gz"],
    ],
)
def test_shards_are_read_in_their_order_whatever_their_form(tmp_path, names):
    for i, name in reversed(list(enumerate(names))):
        put(tmp_path / name, 2 * i, 2 * i + 1)
    assert numbers(tmp_path) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"),
        ("train.jsonl", "test.jsonl"),
        ("gsm8k_train.jsonl", "gsm8k_test.jsonl"),
        ("train/0000.parquet", "test/0000.parquet"),
        ("main/train-00000-of-00001.parquet", "main/test-00000-of-00001.parquet"),
        ("train.jsonl.gz", "test.jsonl.gz"),
        ("train.parquet", "test.jsonl"),
    ],
)
def test_one_of_several_splits_is_asked_for_by_name(tmp_path, train, test):
    put(tmp_path / train, 1, 2)
    put(tmp_path / test, 3)
    assert (numbers(f"{tmp_path}@train"), numbers(f"{tmp_path}@test")) == ([1, 2], [3])
    for wrong in (str(tmp_path), f"{tmp_path}@dev"):
        with pytest.raises(FrownError) as error:
            read_rows(Path(wrong))
        assert f"give one of its splits, {tmp_path}@test, {tmp_path}@train" in str(error.value)


def test_a_split_of_any_name_before_the_number_of_the_shard(tmp_path):
    put(tmp_path / "train_sft-00000-of-00001.parquet", 1)
    put(tmp_path / "train_gen-00000-of-00001.parquet", 2)
    assert numbers(f"{tmp_path}@train_sft") == [1]
    with pytest.raises(FrownError, match="@train_gen, .*@train_sft"):
        read_rows(tmp_path)


def test_what_is_not_clear_is_asked(tmp_path):
    for name in ("main", "socratic"):
        put(tmp_path / "subsets" / name / "train-00000-of-00001.parquet", 1)
    with pytest.raises(FrownError, match=r"several data sets: main, socratic; give one, .*/subsets/socratic"):
        read_rows(tmp_path / "subsets")
    assert numbers(tmp_path / "subsets" / "main") == [1]
    assert numbers(tmp_path / "subsets" / "**" / "*.parquet") == [1, 1]
    put(tmp_path / "kinds" / "rows.jsonl", 1)
    put(tmp_path / "kinds" / "rows.parquet", 1)
    with pytest.raises(FrownError, match="holds JSONL and Parquet files; say which by a pattern"):
        read_rows(tmp_path / "kinds")
    put(tmp_path / "mixed" / "train.jsonl", 1)
    put(tmp_path / "mixed" / "extra.jsonl", 2)
    with pytest.raises(FrownError, match=r"mixed@train, a pattern for the 1 files whose names say none \(extra"):
        read_rows(tmp_path / "mixed")
    put(tmp_path / "twice" / "rows.jsonl", 1)
    put(tmp_path / "twice" / "rows.jsonl.gz", 1)
    with pytest.raises(FrownError, match=r"the same as rows\.jsonl and as rows\.jsonl\.gz; leave one"):
        read_rows(tmp_path / "twice")
    put(tmp_path / "none" / "rows.jsonl", 1)
    with pytest.raises(FrownError, match="has no splits; leave out @train"):
        read_rows(Path(f"{tmp_path}/none@train"))


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (["train-00000-of-00002.parquet"], "train-00001-of-00002 is missing; download"),
        (["train-00001-of-00002.parquet"], "train-00000-of-00002 is missing"),
        (["train-00003-of-00009.jsonl"], "train-00000-of-00009 and 7 more of its shards are missing"),
        (["train-00000-of-99999999999.jsonl"], "train-00001-of-99999999999 and 99999999997 more"),
        (["train-00000-of-00001.jsonl", "train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl"], "of 1 and 2"),
    ],
)
def test_missing_shards_are_an_error(tmp_path, there, words):
    for name in there:
        put(tmp_path / "data" / name, 1)
    for source in (tmp_path, tmp_path / "data", tmp_path / "data" / "train-*"):
        with pytest.raises(FrownError, match=words) as error:
            read_rows(source)
        assert "\n" not in str(error.value) and "train" in str(error.value)
    assert numbers(tmp_path / "data" / there[0]) == [1]  # named by itself it is what was asked for


def test_the_other_split_may_be_incomplete(tmp_path):
    put(tmp_path / "train-00000-of-00001.parquet", 1)
    put(tmp_path / "test-00000-of-00002.parquet", 2)
    assert numbers(f"{tmp_path}@train") == numbers(tmp_path / "train-*.parquet") == [1]
    with pytest.raises(FrownError, match="test-00001-of-00002 is missing"):
        read_rows(Path(f"{tmp_path}@test"))


def test_patterns(tmp_path):
    for i in range(3):
        put(tmp_path / f"rows-{i}.jsonl", i)
    assert numbers(tmp_path / "rows-[01].jsonl") == [0, 1]
    assert numbers(tmp_path / "rows-?.jsonl") == [0, 1, 2]
    with pytest.raises(FrownError, match=r"nothing-\*.jsonl: no file matches this pattern"):
        read_rows(tmp_path / "nothing-*.jsonl")
    put(tmp_path / "odd[1].jsonl", 7)
    assert numbers(tmp_path / "odd[1].jsonl") == [7]  # a file of this very name


def test_an_empty_shard_is_no_error_and_an_empty_folder_is(tmp_path):
    put(tmp_path / "a" / "train-00000-of-00002.jsonl", 1)
    put(tmp_path / "a" / "train-00001-of-00002.jsonl")
    assert numbers(tmp_path / "a") == [1]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "README.md").write_text("nothing")
    with pytest.raises(FrownError, match="without data files"):
        read_rows(tmp_path / "b")
