"""Rows of data from wherever they stand: files of JSONL, JSON, Parquet or CSV, compressed or not, folders of shards,
patterns, what `datasets` saved, or a hub name.

A mistake is one error line with file, row and mend. Rows are counted from 1; in JSONL the number is the line's.
"""

from __future__ import annotations

import csv
import glob
import io
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from frown.errors import FrownError, first_line
from frown.tasks.columns import kind_of, names_within, refuse_half_characters, value_of
from frown.tasks.contents import COMPRESSED, decoded, kind_ending, read_bytes
from frown.tasks.published import is_saved, rows_of_hub, rows_of_saved
from frown.tasks.shards import KINDS, files_of_folder, files_of_pattern

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(:[\w.-]+)?(@[\w.\-\[\]:%+]+)?")


class SourceRow(NamedTuple):
    """One row and where it stands."""

    place: str
    """For error lines: "data FILE, line 3"."""
    number: int
    values: dict[str, Any]
    file: str
    """Name of the file, or of what was given instead of one."""


OnBadRow = Callable[[FrownError], None]
"""Hears of a row that is no row: a line that is no JSON object, values that do not go with the heading."""


def _refuse(error: FrownError) -> None:
    raise error


def read_rows(source: Path, on_bad_row: OnBadRow = _refuse) -> list[SourceRow]:
    """The rows of a source; what it is shows in its name, and whether it is compressed in its first bytes.

    .json is a list of objects; .parquet, .csv and .tsv are what they say, the last two with a heading; any other file
    is JSONL, whose blank lines are skipped. A folder is one that `datasets` saved, or the shards of a data set
    (`frown.tasks.shards`); of several splits "FOLDER@split" takes one. A pattern (*, ?, [...]) is all files that match
    it. "org/name:config@split" is a data set of the hub, from its cache or downloaded. Raises FrownError for a source
    that is missing, unreadable or without rows, and for the first malformed row, unless `on_bad_row` takes it.
    """
    source, bad = _expanded(source), []

    def on_bad(error: FrownError) -> None:
        on_bad_row(error)
        bad.append(error)

    rows = _rows_of(source, on_bad)
    if not rows and not bad:
        raise FrownError(f"data {source} has no rows")
    return rows


def text_of(row: SourceRow, column: str, *, numbers: bool = False) -> str:
    """The text in a column of a row (`frown.tasks.columns.value_of`); with `numbers`, a number is taken as its decimal
    text.

    Raises FrownError for a missing column (naming those that are there) and for another type of value.
    """
    value = value_of(row.place, row.values, column)
    if numbers and isinstance(value, int | float | Decimal) and _is_finite(value):
        return format(Decimal(str(value)), "f")  # 1e+22 written out
    if not isinstance(value, str):
        wanted = "a string or a finite number" if numbers else "a string"
        shown = json.dumps(value, default=str)[:40]
        inner = ", ".join(f"{column}.{name}" for name in names_within(value)[:8])
        mend = f"; name what is in it: {inner}" if inner else ""
        raise FrownError(f"{row.place}: column {column!r} is {kind_of(value)} {shown}, not {wanted}{mend}")
    refuse_half_characters(f"{row.place}: column {column!r}", value)
    return value


def _is_finite(number: float | Decimal) -> bool:
    """Whether a number is finite and no flag; a whole number always is, and may be too large for a float."""
    return not isinstance(number, bool) and (isinstance(number, int) or math.isfinite(number))


def _expanded(source: Path) -> Path:
    try:
        return source.expanduser()
    except RuntimeError:  # ~nobody
        return source


def _rows_of(source: Path, on_bad_row: OnBadRow) -> list[SourceRow]:
    bare, split = _without_split(source)
    if _is_dir(source) or (split and _is_dir(bare)):
        folder = source if _is_dir(source) else bare
        chosen = None if folder is source else split
        if is_saved(folder):
            return _numbered(folder, rows_of_saved(folder, chosen))
        return _of_files(files_of_folder(folder, chosen), on_bad_row)
    is_hub_name = _HUB_NAME.fullmatch(source.as_posix()) and kind_ending(source) not in _ENDINGS
    if not _is_file(source) and is_hub_name:
        return _numbered(source, rows_of_hub(source.as_posix()))
    if not _is_file(source) and glob.has_magic(str(source)):
        return _of_files(files_of_pattern(source), on_bad_row)
    return _of_files([source], on_bad_row)


_ENDINGS = {*KINDS, *COMPRESSED, ".txt"}
"""A name like data/train.jsonl is a file that is missing, and no data set of the hub."""


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long, a folder that may not be entered: said when it is read
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _without_split(source: Path) -> tuple[Path, str]:
    name, _, split = source.name.partition("@")
    return source.with_name(name) if name else source, split


def _of_files(paths: list[Path], on_bad_row: OnBadRow) -> list[SourceRow]:
    readers = {".json": _from_json, ".parquet": _from_parquet, ".csv": _from_csv, ".tsv": _from_csv}
    rows = []
    for path in paths:
        raw = read_bytes(path)
        ending = ".parquet" if raw.startswith(b"PAR1") else kind_ending(path)
        rows += readers.get(ending, _from_jsonl)(path, raw, on_bad_row)
    return rows


def _from_jsonl(path: Path, raw: bytes, on_bad_row: OnBadRow) -> list[SourceRow]:
    r"""Lines end at "\n" alone: U+2028 and its like may stand inside a row."""
    rows = []
    for number, line in enumerate(decoded(path, raw).split("\n"), start=1):
        if line.strip():
            place = f"data {path}, line {number}"
            try:
                value = _parsed(place, line, "; each line holds one object")
                rows.append(_object(path, place, number, value, "each line"))
            except FrownError as error:
                on_bad_row(error)
    return rows


def _from_json(path: Path, raw: bytes, on_bad_row: OnBadRow) -> list[SourceRow]:
    values = _parsed(f"data {path}", decoded(path, raw), "; JSON Lines end in .jsonl")
    if not isinstance(values, list):
        raise FrownError(f"data {path} is a JSON {kind_of(values)}, not a list of objects; JSON Lines end in .jsonl")
    rows = []
    for number, value in enumerate(values, start=1):
        try:
            rows.append(_object(path, f"data {path}, row {number}", number, value, "each entry"))
        except FrownError as error:
            on_bad_row(error)
    return rows


def _parsed(place: str, text: str, mend: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:  # ValueError: bad JSON, and integers too long to convert
        why = f"{e.msg} at character {e.pos + 1}" if isinstance(e, json.JSONDecodeError) else str(e)
        raise FrownError(f"{place} is not JSON: {why}{mend}") from None


def _object(path: Path, place: str, number: int, value: Any, each: str) -> SourceRow:
    if not isinstance(value, dict):
        raise FrownError(f"{place} is a JSON {kind_of(value)}; {each} holds one object")
    return SourceRow(place, number, value, path.name)


def _from_csv(path: Path, raw: bytes, on_bad_row: OnBadRow) -> list[SourceRow]:
    """Every value is text, and an empty one is empty, not missing. A row must have as many values as the heading.

    Values are separated by whatever separates the heading: comma, semicolon, tab or bar; Excel's line "sep=;" says it.
    """
    text = decoded(path, raw)
    said = re.match(r"sep=(.)\r?\n", text)
    usual = "\t" if kind_ending(path) == ".tsv" else ","
    separator = said[1] if said else _separator(text, usual)
    skipped = 1 if said else 0
    records = _records(path, text[said.end() :] if said else text, separator, skipped)
    heading = next((values for _, values in records if values), [])
    named = [name for name in heading if name]
    if twice := {name for name in named if named.count(name) > 1}:
        raise FrownError(f"data {path}: two columns are called {min(twice)!r}; name each differently")
    if len(heading) - len(named) > 1:
        heading = [name or f"unnamed {i}" for i, name in enumerate(heading, start=1)]
    rows, number = [], 0
    for line, values in records:
        if not values:
            continue
        number += 1
        if len(values) != len(heading):
            on_bad_row(
                FrownError(
                    f"data {path}, row {number} has {len(values)} values under {len(heading)} headings (line {line}); "
                    "put values that hold a separator in quotes"
                )
            )
            continue
        place = f"data {path}, row {number} (line {line})"
        rows.append(SourceRow(place, number, dict(zip(heading, values, strict=True)), path.name))
    return rows


def _records(path: Path, text: str, separator: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """The line in which each record begins, and its values; [] of an empty line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1 + skipped
        try:
            with _long_values():
                values = next(reader)
        except StopIteration:
            return
        except csv.Error as e:
            raise FrownError(f"data {path} is not CSV: {e}, in the row that begins in line {line}") from None
        yield line, values


def _separator(text: str, usual: str) -> str:
    """What separates most values in the heading; the usual one where nothing separates more."""
    beginning = text[: 1 << 20]

    def columns(separator: str) -> int:
        reader = csv.reader(io.StringIO(beginning, newline=""), delimiter=separator)
        with _long_values():
            return len(next((values for values in reader if values), []))

    return max((usual, *(s for s in ",;\t|" if s != usual)), key=columns)


@contextmanager
def _long_values() -> Iterator[None]:
    """Values of any length, where the csv module allows 128 KiB; its limit is the whole process's."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _from_parquet(path: Path, raw: bytes, on_bad_row: OnBadRow) -> list[SourceRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        values = pq.read_table(pa.BufferReader(raw)).to_pylist()
    except Exception as e:  # whatever a broken file makes pyarrow raise
        raise FrownError(f"data {path} is not Parquet: {first_line(e)}") from None
    return [SourceRow(f"data {path}, row {n}", n, row, path.name) for n, row in enumerate(values, start=1)]


def _numbered(source: Path, rows: list[dict[str, Any]]) -> list[SourceRow]:
    return [SourceRow(f"data {source}, row {n}", n, row, source.name) for n, row in enumerate(rows, start=1)]
