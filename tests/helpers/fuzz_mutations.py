"""Mutations of inputs: of bytes, of JSON-like values, of arrow tables, of folders. All draws are from `rng`."""

from __future__ import annotations

import bz2
import copy
import gzip
import json
import lzma
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa

TOKENS = (
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\xc3",
    b"\r\n",
    b"\n",
    b"\r",
    b"\x0b",
    b"\xe2\x80\xa8",
    b'"',
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"[" * 3000,
    b'{"a":' * 2000,
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"9" * 5000,
    b"null",
    b"true",
    b"=",
    b"#",
    b"[[x]]",
    b'"""',
    b"data: ",
    b"PAR1",
    b"GGUF",
    b"\x1f\x8b",
    b"<html>",
    b"PK\x03\x04",
    b"version https://git-lfs.github.com/spec/",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",
)
"""What is put into bytes: marks of formats, text that is none, numbers that are too large."""
SCALARS: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    0.5,
    -0.0,
    1e308,
    1e-320,
    float("nan"),
    float("inf"),
    float("-inf"),
    2**31,
    2**63,
    -(2**63),
    2**64,
    10**400,
    -9999,
    "",
    " ",
    "\n",
    "a\nb",
    "\x00",
    "\ud800",
    "\udfff",
    "NaN",
    "-1",
    "1e5",
    "null",
    "None",
    "true",
    "[]",
    "{}",
    "\u2028",
    "\ufeff",
    "😀",
    "a" * 5000,
    "../..",
    "~nobody",
    "/",
    "user",
    "assistant",
    "step=1",
    "2026-01-01",
    "%s",
    "{x}",
    "<b>",
    "__deep__",
)
"""What is put in the place of a value."""


def pick(rng: Random, values: Sequence[Any]) -> Any:
    return values[rng.randrange(len(values))]


# -- bytes ---------------------------------------------------------------------------------------------------------


def of_bytes(rng: Random, raw: bytes, others: Sequence[bytes] = ()) -> bytes:
    """One to four mutations of bytes; `others`: of which pieces may be put in."""
    for _ in range(pick(rng, (1, 1, 1, 2, 4))):
        raw = _one_of_bytes(rng, raw, others)
    return raw


def _one_of_bytes(rng: Random, raw: bytes, others: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(raw) + 1)
    end = min(len(raw), at + pick(rng, (1, 2, 8, 64, 1024)))
    kind = rng.randrange(11)
    if kind == 0 and at < len(raw):
        return raw[:at] + bytes([raw[at] ^ (1 << rng.randrange(8))]) + raw[at + 1 :]
    if kind == 1:
        return raw[:at] + rng.randbytes(end - at) + raw[end:]
    if kind == 2:
        return raw[:at]
    if kind == 3:
        return raw[:at] + raw[end:]
    if kind == 4:
        return raw[:end] + raw[at:end] * pick(rng, (1, 2, 50)) + raw[end:]
    if kind == 5 and others:
        other = pick(rng, others)
        start = rng.randrange(len(other) + 1)
        return raw[:at] + other[start : start + pick(rng, (8, 256, 1 << 20))] + raw[end:]
    if kind == 6:
        return raw[:at] + bytes(end - at) + raw[end:]
    if kind == 7:
        size = pick(rng, (1, 2, 4, 8))
        number = pick(rng, (0, 1, 127, 255, 2**15, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1))
        return raw[:at] + number.to_bytes(8, "little")[:size] + raw[at + size :]
    if kind == 8:
        return _recoded(rng, raw)
    if kind == 9:
        return raw[at:]
    return raw[:at] + pick(rng, TOKENS) + raw[pick(rng, (at, end)) :]


def _recoded(rng: Random, raw: bytes) -> bytes:
    """The same text in another encoding, or with other line ends."""
    text = raw.decode("utf-8", "replace")
    kind = rng.randrange(6)
    if kind < 4:
        return text.encode(("utf-16", "utf-32", "utf-8-sig", "cp1252")[kind], "replace")
    return text.replace("\n", "\r\n" if kind == 4 else "\r").encode()


def packed(name: str, raw: bytes) -> bytes:
    """Bytes, compressed."""
    plain: dict[str, Callable[[bytes], bytes]] = {
        "gz": lambda b: gzip.compress(b, mtime=0),
        "bz2": bz2.compress,
        "xz": lzma.compress,
    }
    if name in plain:
        return plain[name](raw)
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, {"zst": "zstd", "lz4": "lz4"}[name]) as stream:
        stream.write(raw)
    return sink.getvalue().to_pybytes()


# -- values --------------------------------------------------------------------------------------------------------


def of_value(rng: Random, value: Any) -> Any:
    """A copy of a JSON-like value with one to three mutations somewhere in it."""
    root = [copy.deepcopy(value)]
    for _ in range(pick(rng, (1, 1, 1, 2, 3))):
        _mutate_in_place(rng, root)
    return root[0]


def _mutate_in_place(rng: Random, root: list[Any]) -> None:
    places = list(_places(root))
    holder, key = pick(rng, places)
    value = holder[key]
    kind = rng.randrange(12)
    if kind == 0 and holder is not root:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[pick(rng, ("", "type", "\x00", "\ud800", "a.b", "content", f"{key} ", "x" * 300))] = holder.pop(key)
    elif kind == 2 and isinstance(holder, list) and holder is not root:
        holder[key:key] = [copy.deepcopy(value)] * pick(rng, (1, 2, 20))
    elif kind == 3:
        other, at = pick(rng, places)
        holder[key] = copy.deepcopy(other[at])
    elif kind == 4:
        holder[key] = pick(rng, ([value], {"a": value}, {"text": value}, [value, None], {"type": value}))
    elif kind == 5 and isinstance(value, dict | list):
        holder[key] = (
            type(value)()
            if rng.randrange(2)
            else next(iter(value.values() if isinstance(value, dict) else value), None)
        )
    elif kind == 6:
        holder[key] = json.dumps(value, default=str)
    elif kind == 7 and isinstance(value, int | float | str):
        holder[key] = str(value) if not isinstance(value, str) else _text(rng, value)
    elif kind == 8 and isinstance(value, int | float) and not isinstance(value, bool):
        holder[key] = pick(rng, (-value, value * 10**9, value + 1, value - 1, value * 0.5 if abs(value) < 1e300 else 0))
    elif kind == 9 and rng.randrange(4) == 0:
        holder[key] = nested(pick(rng, (20, 60)), pick(rng, ("list", "dict")))
    elif kind == 10 and isinstance(holder, dict):
        holder[pick(rng, ("type", "extra", "content", "error", "id", "delta", "choices", "0"))] = pick(rng, SCALARS)
    else:
        holder[key] = copy.deepcopy(pick(rng, SCALARS))


def _places(root: Any) -> Any:
    """Each value in a tree, as what holds it and its key there."""
    stack = [root]
    while stack:
        holder = stack.pop()
        for key in list(holder if isinstance(holder, dict) else range(len(holder))):
            yield holder, key
            if isinstance(holder[key], dict | list) and holder[key]:
                stack.append(holder[key])


def _text(rng: Random, text: str) -> str:
    at = rng.randrange(len(text) + 1)
    piece = pick(rng, ("\n", "\x00", '"', "'", ",", "\u2028", "\ud800", " ", "0", "\t", "\\"))
    return pick(rng, (text[:at] + piece + text[at:], text[:at], text.upper(), text + text, f" {text} "))


def nested(depth: int, kind: str) -> Any:
    """A value in `depth` lists or dictionaries."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind == "list" else {"a": value}
    return value


def json_text(rng: Random, value: Any) -> str:
    """A value as JSON in one of the ways that programs write it."""
    text = json.dumps(value, ensure_ascii=bool(rng.randrange(2)), default=str)
    return text.replace('"__deep__"', "[" * 5000 + "]" * 5000)


def json_file(rng: Random, raw: bytes) -> bytes:
    """A JSON file with a mutation of its value, or of its bytes."""
    try:
        value = json.loads(raw)
    except ValueError:  # mutated before
        return of_bytes(rng, raw)
    if rng.randrange(4) == 0:
        return of_bytes(rng, raw)
    return json_text(rng, of_value(rng, value)).encode("utf-8", "surrogatepass")


# -- tables --------------------------------------------------------------------------------------------------------


def of_table(rng: Random, table: pa.Table) -> pa.Table:
    """A table with one or two mutations: of cells, of columns, of its rows, of its metadata."""
    for _ in range(pick(rng, (1, 1, 2))):
        table = _one_of_table(rng, table)
    return table


def _one_of_table(rng: Random, table: pa.Table) -> pa.Table:
    kind = rng.randrange(10)
    if not table.num_columns:
        return table
    at = rng.randrange(table.num_columns)
    name = table.column_names[at]
    if kind == 0:
        return table.drop_columns([name]) if table.column_names.count(name) == 1 else table
    if kind == 1:
        names = list(table.column_names)
        names[at] = pick(rng, (f"{name} ", "", pick(rng, names), "x", name.upper()))
        return table.rename_columns(names)
    if kind == 2:
        return table.slice(0, pick(rng, (0, 1, max(0, table.num_rows - 1))))
    if kind == 3 and table.num_rows < 500:
        return pa.concat_tables([table, table.slice(0, pick(rng, (1, table.num_rows)))])
    if kind == 4:
        return table.replace_schema_metadata(_metadata(rng, table.schema.metadata or {}))
    if kind == 5:
        return _with_column(table, at, name, pa.nulls(table.num_rows, table.schema.field(at).type))
    cells = table.column(at).to_pylist()
    if kind == 6:
        cells = [str(v) if v is not None else None for v in cells]
    elif cells:
        cells = of_value(rng, cells) if kind == 7 else _other_cell(rng, cells)
    if not isinstance(cells, list):
        cells = [cells] * table.num_rows
    cells = (cells + [None] * table.num_rows)[: table.num_rows]
    return _with_column(table, at, name, _array(cells, table.schema.field(at).type))


def _other_cell(rng: Random, cells: list[Any]) -> list[Any]:
    at = rng.randrange(len(cells))
    return [*cells[:at], pick(rng, SCALARS) if rng.randrange(2) else of_value(rng, cells[at]), *cells[at + 1 :]]


def _array(cells: list[Any], kind: Any) -> Any:
    """Cells as an arrow array: of this type where they are of it, else of their own, else as text."""
    for made in (
        lambda: pa.array(cells, kind),
        lambda: pa.array(cells),
        lambda: pa.array([None if v is None else repr(v) for v in cells], pa.string()),
    ):
        try:
            return made()
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            continue
    return pa.nulls(len(cells))


def _with_column(table: pa.Table, at: int, name: str, array: Any) -> pa.Table:
    return table.set_column(at, pa.field(name, array.type), array)


def _metadata(rng: Random, metadata: dict[bytes, bytes]) -> dict[bytes, bytes]:
    changed = dict(metadata)
    if not changed or rng.randrange(4) == 0:
        return {}
    key = pick(rng, list(changed))
    if rng.randrange(2):
        changed[key] = of_bytes(rng, changed[key])
    else:
        changed[key] = json_file(rng, changed[key])
    return changed


# -- folders -------------------------------------------------------------------------------------------------------


def of_folder(rng: Random, folder: Path, mutate: Callable[[Random, Path], None]) -> Path:
    """Mutate one thing in a folder: a file by `mutate`, or what lies under its name. Returns which."""
    paths = sorted(p for p in folder.rglob("*") if not p.is_symlink())
    files = [p for p in paths if p.is_file()]
    kind = rng.randrange(16)
    path = pick(rng, files if kind < 13 else paths)
    if kind < 9:
        mutate(rng, path)
        return path
    if kind in (9, 10):
        raw = pick(rng, files).read_bytes() if kind == 9 else b""
        path.unlink()  # it may be a hard link to the seed's
        path.write_bytes(raw)
    elif kind == 11:
        path.rename(
            path.with_name(pick(rng, (f"{path.name}.bak", "x", f"step={path.name}", "step=9999999999.parquet")))
        )
    else:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        if kind == 13:
            path.mkdir()
        elif kind == 14:
            os.symlink(pick(rng, ("nowhere", path.name)), path)
        elif kind == 15:
            path.write_bytes(pick(rng, TOKENS))
    return path
