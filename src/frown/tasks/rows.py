"""Rows of data from wherever they stand: JSONL, JSON, Parquet, CSV, a folder of `datasets`, or a hub name.

A mistake is one error line with file, row and mend. Rows are counted from 1; in JSONL the number is the line's.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from frown.errors import FrownError, first_line

SOURCES = "a JSONL, JSON, Parquet or CSV file, a folder saved by datasets, or a hub name (org/name:config@split)"

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(:[\w.-]+)?(@[\w.\-\[\]:%+]+)?")


class SourceRow(NamedTuple):
    """One row and where it stands."""

    place: str
    """For error lines: "data FILE, line 3"."""
    number: int
    values: dict[str, Any]


def read_rows(source: Path) -> list[SourceRow]:
    """The rows of a source; what it is shows in its name.

    .json is a list of objects; .parquet, .csv and .tsv are what they say, the last two with a heading and UTF-8; any
    other file is JSONL, whose blank lines are skipped. A folder is one that `datasets` saved; of several splits
    "FOLDER@split" takes one, by default "train". "org/name:config@split" is a data set of the hub, from its cache or
    downloaded. Raises FrownError for a source that is missing, unreadable or without rows, and for a row that is not an
    object.
    """
    kinds: dict[str, Callable[[Path], list[SourceRow]]]
    kinds = {".json": _from_json, ".parquet": _from_parquet, ".csv": _from_csv, ".tsv": _from_csv}
    bare, split = _without_split(source)
    if source.is_dir() or (split and bare.is_dir()):
        rows = _from_folder(source, None) if source.is_dir() else _from_folder(bare, split)
    elif not source.is_file() and _HUB_NAME.fullmatch(source.as_posix()) and source.suffix.lower() not in _ENDINGS:
        rows = _from_hub(source.as_posix())
    else:
        rows = kinds.get(source.suffix.lower(), read_jsonl)(source)
    return _filled(source, rows)


_ENDINGS = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv", ".txt")
"""A name like data/train.jsonl is a file that is missing, and no data set of the hub."""


def _without_split(source: Path) -> tuple[Path, str]:
    name, _, split = source.name.partition("@")
    return source.with_name(name) if name else source, split


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FrownError(f"data {path} does not exist; give {SOURCES}") from None
    except OSError as e:
        raise FrownError(f"data {path} cannot be read: {e.strerror or e}") from None


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = e.object.count(b"\n", 0, e.start) + 1
        raise FrownError(f"data {path}, line {line} is not UTF-8 text; save the file as UTF-8") from None


def _filled(source: Path, rows: list[SourceRow]) -> list[SourceRow]:
    if not rows:
        raise FrownError(f"data {source} has no rows")
    return rows


def read_jsonl(path: Path) -> list[SourceRow]:
    r"""The rows of a file of JSON lines, whatever it is called; blank lines are skipped.

    Lines end at "\n" alone: U+2028 and its like may stand inside a row.
    """
    rows = []
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            place = f"data {path}, line {number}"
            rows.append(_object(place, number, _parsed(place, line, "; each line holds one object"), "each line"))
    return _filled(path, rows)


def _from_json(path: Path) -> list[SourceRow]:
    rows = _parsed(f"data {path}", _text(path), "; JSON Lines end in .jsonl")
    if not isinstance(rows, list):
        raise FrownError(f"data {path} is a JSON {kind_of(rows)}, not a list of objects; JSON Lines end in .jsonl")
    return [_object(f"data {path}, row {n}", n, row, "each entry") for n, row in enumerate(rows, start=1)]


def _parsed(place: str, text: str, mend: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:  # ValueError: bad JSON, and integers too long to convert
        why = f"{e.msg} at character {e.pos + 1}" if isinstance(e, json.JSONDecodeError) else str(e)
        raise FrownError(f"{place} is not JSON: {why}{mend}") from None


def _object(place: str, number: int, row: Any, each: str) -> SourceRow:
    if not isinstance(row, dict):
        raise FrownError(f"{place} is a JSON {kind_of(row)}; {each} holds one object")
    return SourceRow(place, number, row)


def _from_csv(path: Path) -> list[SourceRow]:
    """Every value is text, and an empty one is empty, not missing. A row must have as many values as the heading."""
    tab = path.suffix.lower() == ".tsv"
    try:
        lines = list(csv.reader(io.StringIO(_text(path), newline=""), delimiter="\t" if tab else ",", strict=True))
    except csv.Error as e:
        raise FrownError(f"data {path} is not CSV: {e}") from None
    if not lines:
        return []
    heading, rows = lines[0], []
    if twice := {name for name in heading if heading.count(name) > 1}:
        raise FrownError(f"data {path}: two columns are called {min(twice)!r}; name each differently")
    for number, values in enumerate(lines[1:], start=1):
        if not values:
            continue
        if len(values) != len(heading):
            raise FrownError(
                f"data {path}, row {number} has {len(values)} values under {len(heading)} headings; put values that "
                "hold a separator in quotes"
            )
        rows.append(SourceRow(f"data {path}, row {number}", number, dict(zip(heading, values, strict=True))))
    return rows


def _from_parquet(path: Path) -> list[SourceRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(pa.BufferReader(_bytes(path))).to_pylist()
    except (pa.ArrowException, ValueError) as e:
        raise FrownError(f"data {path} is not Parquet: {first_line(e)}") from None
    return _numbered(str(path), rows)


def _from_folder(folder: Path, split: str | None) -> list[SourceRow]:
    if not any((folder / name).is_file() for name in ("state.json", "dataset_dict.json")):
        raise FrownError(f"data {folder} cannot be read: a folder that datasets' save_to_disk did not write")
    datasets = _datasets(str(folder))
    try:
        data = datasets.load_from_disk(str(folder))
    except Exception as e:  # whatever a broken folder makes datasets and pyarrow raise
        raise FrownError(f"data {folder} cannot be read: {first_line(e)}") from None
    return _of_split(str(folder), data, split)


def _from_hub(name: str) -> list[SourceRow]:
    repository, _, split = name.partition("@")
    repository, _, config = repository.partition(":")
    datasets = _datasets(name)
    datasets.disable_progress_bars()
    try:
        data = datasets.load_dataset(repository, config or None, split=split or None)
    except Exception as e:  # the hub's own errors, the network's, those of a broken cache
        from huggingface_hub import constants

        if constants.is_offline_mode():
            raise FrownError(
                f"data {name} is no file, and no whole data set {repository} is in the cache "
                f"{datasets.config.HF_DATASETS_CACHE} ({first_line(e)}); HF_HUB_OFFLINE is set, so nothing is "
                "downloaded: unset it, or give a file"
            ) from None
        raise FrownError(f"data {name} is no file, and cannot be had from the hub: {first_line(e)}") from None
    return _of_split(name, data, None)


def _of_split(name: str, data: Any, split: str | None) -> list[SourceRow]:
    if isinstance(data, dict):  # a DatasetDict
        wanted = split or ("train" if "train" in data else next(iter(data)) if len(data) == 1 else "")
        if wanted not in data:
            raise FrownError(f"data {name}: give one of its splits, {', '.join(f'{name}@{s}' for s in data)}")
        data = data[wanted]
    elif split is not None:
        raise FrownError(f"data {name} has no splits; leave out @{split}")
    return _numbered(name, data.to_list())


def _datasets(name: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise FrownError(f'data {name} needs the datasets package: pip install "frown[data]"') from None
    return datasets


def _numbered(name: str, rows: list[dict[str, Any]]) -> list[SourceRow]:
    return [SourceRow(f"data {name}, row {n}", n, row) for n, row in enumerate(rows, start=1)]


def kind_of(value: Any) -> str:
    """What a value is called in JSON; a type that JSON has not (a date, bytes) by its own name."""
    if value is None:
        return "null"
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), type(value).__name__)


def text_of(row: SourceRow, column: str, *, numbers: bool = False) -> str:
    """The text in a column of a row; with `numbers`, a number is taken as its decimal text.

    Raises FrownError for a missing column (naming those that are there) and for another type of value.
    """
    if column not in row.values:
        raise FrownError(f"{row.place} has no column {column!r}; {_columns(column, row.values)}")
    value = row.values[column]
    if numbers and isinstance(value, int | float | Decimal) and not isinstance(value, bool) and math.isfinite(value):
        return format(Decimal(str(value)), "f")  # 1e+22 written out
    if not isinstance(value, str):
        wanted = "a string or a finite number" if numbers else "a string"
        shown = json.dumps(value, default=str)[:40]
        raise FrownError(f"{row.place}: column {column!r} is {kind_of(value)} {shown}, not {wanted}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise FrownError(f"{row.place}: column {column!r} holds half a surrogate pair, which is not text") from None
    return value


def _columns(column: str, row: Mapping[str, Any]) -> str:
    there = ", ".join(map(str, row)) or "none"
    close = difflib.get_close_matches(column, list(row), n=1)
    return f"columns there: {there}" + (f"; did you mean {close[0]!r}?" if close else "")
