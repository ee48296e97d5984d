"""One rollout as the viewer shows it: plain data that JSON can hold, read from one row group of its file.

All texts are as they were found. Whoever draws them escapes them; whoever writes them into a page does, too.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from frown.affect.quadrants import QUADRANTS, quadrant_codes
from frown.affect.spikes import runs
from frown.evals.fate import DOUBT
from frown.viewer.index import Index
from frown.viewer.scales import in_order

_TOKEN_COLUMNS = ("log_ratio", "teacher_entropy", "divergence", "advantage", "weight")
"""Columns other than `signal_NAME` with a number a token."""
_ONE_READER = Lock()
"""An open Parquet file is read by one thread at a time; two at once may end the process."""
BROKEN = "�"


def page(index: Index, i: int) -> dict[str, Any]:
    """Rollout `i` of an index, with T tokens.

    Returns: `key`, its permanent name; `tokens`, T texts; `fragments`, [first, last + 1, text] of tokens that only
    together write a text; `signals`, name -> packed float32[T] (NaN: none there), in the order they are offered;
    `steps`, each with its tokens, doubt, verdict, quadrant and what it earned; `heard`, of a conversation the stretches
    that others said (its steps are the policy's turns), else None; `spans`, `feedback`, `prompt`, `teacher_prompt`, and
    what the list knows too. A column that the file lacks is None or empty.
    """
    row = read_row(*index.place(i))
    tokens = row.get("tokens") or ([row["text"]] if row.get("text") else [])
    signals = token_values(row, len(tokens))
    return {
        "key": index.key(i),
        **{name: row.get(name) for name in ("task", "question", "prompt", "teacher_prompt", "text", "verdict")},
        **{name: row.get(name) for name in ("answer", "well_formed", "stop", "temperature", "group", "source")},
        "score": _number(row.get("score")),
        "tokens": tokens,
        "token_ids": row.get("ids") if len(row.get("ids") or ()) == len(tokens) else None,
        "fragments": fragments(tokens, row.get("text") or ""),
        "signals": {name: packed(signals[name]) for name in in_order(set(signals))},
        "steps": steps(row),
        "heard": heard(row, len(tokens)),
        "spans": [span | {"evidence": _evidence(span.get("evidence"))} for span in row.get("spans") or ()],
        "feedback": row.get("feedback") or [],
        "unread": row.get("unread") or [],
    }


def read_row(path: Path, row: int, columns: Sequence[str] | None = None) -> dict[str, Any]:
    """One row of a Parquet file; only the row group that it lies in is read."""
    with _ONE_READER:
        source = _opened(path, path.stat().st_mtime_ns)
        start = 0
        for group in range(source.metadata.num_row_groups):
            size = source.metadata.row_group(group).num_rows
            if row < start + size:
                break
            start += size
        else:
            raise IndexError(f"{path} has {start} rows; there is no row {row}")
        table = source.read_row_group(group, columns=None if columns is None else list(columns)).slice(row - start, 1)
    return {name: _value(table[name].chunk(0)) for name in table.column_names}


@lru_cache(maxsize=64)
def _opened(path: Path, _changed: int) -> Any:
    """An open file: its footer is read once."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(path, memory_map=True)


def _value(array: Any) -> Any:
    """The only value of an arrow array. Text that is no UTF-8 is read with U+FFFD in its place."""
    try:
        return array.to_pylist()[0]
    except UnicodeDecodeError:
        return _decoded(array.cast(_as_bytes(array.type)).to_pylist()[0])


def _as_bytes(kind: Any) -> Any:
    """The same arrow type with bytes for text."""
    import pyarrow as pa

    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.binary()
    if pa.types.is_list(kind):
        return pa.list_(_as_bytes(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(f.name, _as_bytes(f.type)) for f in kind])
    return kind


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [_decoded(v) for v in value]
    if isinstance(value, dict):
        return {k: _decoded(v) for k, v in value.items()}
    return value


def token_values(row: dict[str, Any], length: int) -> dict[str, np.ndarray]:
    """Name -> float32[T]: every number a token that a row holds, NaN where it has none, which is so of all that others
    said in a conversation; all-NaN ones are left out."""
    held = {name.removeprefix("signal_"): row[name] for name in row if name.startswith("signal_")}
    held |= {name: row[name] for name in _TOKEN_COLUMNS if name in row}
    if "surprisal" not in held and row.get("logp"):
        held["surprisal"] = [None if v is None else -v for v in row["logp"]]
    found = {}
    others = heard(row, length) or []
    for name, values in held.items():
        array = np.array([np.nan if v is None else v for v in values or ()], np.float32)
        if len(array) != length:
            continue
        for a, b in others:
            array[a:b] = np.nan
        if not np.isnan(array).all():
            found[name] = array
    return found


def heard(row: dict[str, Any], length: int) -> list[tuple[int, int]] | None:
    """Of a conversation of T tokens, the stretches [start, end) that others said; None of any other answer."""
    sampled = row.get("sampled")
    if sampled is None or len(sampled) != length:
        return None
    return [(a, b) for a, b in runs(~np.asarray(sampled, np.bool_))]


def steps(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Each written-out step: `start`, `end` (tokens), `doubt` (nats), `right`, `quadrant` and `reward` (in the unit of
    whoever gave it), None where unknown."""
    ranges = row.get("steps") or []
    doubt = _of_length(row.get("step_doubt"), len(ranges))
    right = _of_length(row.get("step_right"), len(ranges))
    reward = _of_length(row.get("step_reward"), len(ranges))
    known = [2 if r is None else int(r) for r in right]
    codes = quadrant_codes([d is not None and d > DOUBT for d in doubt], np.array(known, np.int64))
    return [
        {"start": a, "end": b, "doubt": _number(d), "right": r, "quadrant": QUADRANTS[q], "reward": _number(e)}
        for (a, b), d, r, q, e in zip(ranges, doubt, right, codes, reward, strict=True)
    ]


def _of_length(values: list[Any] | None, length: int) -> list[Any]:
    return list(values) if values is not None and len(values) == length else [None] * length


def fragments(tokens: Sequence[str], text: str) -> list[tuple[int, int, str]]:
    """Runs of tokens that hold pieces of characters, each with the text that the run writes.

    A token that is part of a character reads as U+FFFD. What it writes with its neighbours is found in the whole
    text: up to where the next whole token goes on. Runs that cannot be placed,
    or whose bytes are no text, have "" for theirs.
    """
    found: list[tuple[int, int, str]] = []
    at, i = 0, 0
    while i < len(tokens):
        if BROKEN not in tokens[i]:
            at = at + len(tokens[i]) if text.startswith(tokens[i], at) else max(at, text.find(tokens[i], at))
            i += 1
            continue
        end = i
        while end < len(tokens) and BROKEN in tokens[end]:
            end += 1
        ahead = "".join(tokens[end : end + 4])
        stop = len(text) if end == len(tokens) else text.find(ahead.partition(BROKEN)[0] or ahead, at + 1)
        written = text[at:stop] if stop > at else ""
        found.append((i, end, written if len(written) <= 4 * (end - i) and BROKEN not in written else ""))
        at, i = max(at, stop), end
    return found


def packed(values: ArrayLike, kind: str = "<f4") -> str:
    """Numbers as base64 of their little-endian bytes: float32 (or int32 with "<i4"), exact, and quick to read."""
    return base64.b64encode(np.asarray(values).astype(kind).tobytes()).decode("ascii")


def as_json(data: Any) -> str:
    """JSON that may stand in a script element: ASCII, and nothing in it closes or opens a tag or a comment."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _evidence(text: str | None) -> dict[str, float]:
    """A span's evidence, kept as JSON; what cannot be read is no evidence."""
    try:
        held = json.loads(text or "{}")
    except ValueError:
        return {}
    return {str(k): v for k, v in held.items() if isinstance(v, (int, float))} if isinstance(held, dict) else {}
