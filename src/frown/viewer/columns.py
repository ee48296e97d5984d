"""One file of rollouts as columns: what a list, a filter and an order need of each, and no token lists."""

from __future__ import annotations

from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from frown.affect.quadrants import QUADRANTS, Quadrant, quadrant_codes
from frown.evals.fate import DOUBT
from frown.store.rollouts import RolloutFile
from frown.types import Label
from frown.viewer.sources import Run, Source

LABELS: tuple[str, ...] = get_args(Label)
GRAVITY: tuple[Quadrant, ...] = ("confident-wrong", "doubt-wrong", "doubt-right", "confident-right", "unknown")
"""Quadrants in the order of the list: the sure mistakes first, which nobody would look for."""
_READ = (
    *("task", "question", "group", "policy_step", "score", "stop", "length", "step_doubt", "step_right"),
    *("spans.list.element.label", "arm", "seed", "split", "step"),
)

Codes = NDArray[np.int32]
Reals = NDArray[np.float32]


class FileColumns(NamedTuple):
    """The N rollouts of one file: its runs, splits and tasks, which of them each row is of [N], and the other columns
    of `frown.viewer.index.Index` [N], with `by_steps`: whether its quadrants are those of judged steps."""

    runs: list[Run]
    run: Codes
    splits: list[str]
    split: Codes
    tasks: list[str]
    questions: list[str]
    task: Codes
    columns: dict[str, Any]


def read_columns(source: Source, number: int) -> FileColumns:
    """Read file `number` of an index. Raises FrownError for a file that cannot be read."""
    with RolloutFile(source.path, dictionaries=("task", "question")) as file:
        table, n = file.table(_READ), len(file)
    score = filled(_whole(table["score"]), np.nan).astype(np.float32)
    runs, run = _runs(table, source.run)
    splits, split = _texts(table["split"], source.split)
    tasks, questions, task = _tasks(table)
    stop, cut = _texts(table["stop"])
    step = _codes(table["policy_step"]) if source.step is None else np.full(n, source.step, np.int32)
    return FileColumns(
        runs,
        run,
        splits,
        split,
        tasks,
        questions,
        task,
        {
            "file": np.full(n, number, np.int32),
            "row": np.arange(n, dtype=np.int32),
            "step": _codes(table["step"], step),
            "group": _codes(table["group"]),
            "score": score,
            "length": _codes(table["length"]),
            "labels": _labels(table),
            "cut": np.array([s == "length" for s in stop], np.int32)[cut],
            **_quadrants(table, score),
        },
    )


def filled(array: Any, otherwise: float) -> NDArray[Any]:
    """An arrow array of numbers or flags as numpy, with a value for null.

    Through the DLPack protocol: arrow's own conversion would import pandas, a third of a second.
    """
    import pyarrow as pa

    def plain(a: Any) -> NDArray[Any]:
        return (
            np.from_dlpack(a.cast(pa.uint8()) if pa.types.is_boolean(a.type) else a)
            if len(a)
            else np.zeros(0, np.int64)
        )

    if not array.null_count:
        return plain(array)
    known = plain(array.drop_null())
    out = np.full(len(array), otherwise, known.dtype if len(known) else np.asarray(otherwise).dtype)
    out[plain(array.is_valid()).astype(np.bool_)] = known
    return out


def _whole(column: Any) -> Any:
    """A column in one piece."""
    return column.combine_chunks()


def _codes(column: Any, otherwise: int | Codes = -1) -> Codes:
    """[N] whole numbers, with a value for null."""
    array = _whole(column)
    known = filled(array.is_valid(), False).astype(np.bool_)
    return np.where(known, filled(array, -1), otherwise).astype(np.int32)


def _texts(column: Any, otherwise: str = "") -> tuple[list[str], Codes]:
    """The distinct texts of a column, and which of them each row has. Text that is no UTF-8 is read with U+FFFD."""
    import pyarrow as pa

    coded = _whole(column.cast(pa.dictionary(pa.int32(), pa.binary())))
    values = [(v or b"").decode("utf-8", "replace") for v in coded.dictionary.to_pylist()]
    used, codes = np.unique(filled(coded.indices, len(values)).astype(np.int32), return_inverse=True)
    return [[*values, otherwise][u] for u in used.tolist()], codes.reshape(-1).astype(np.int32)


def _runs(table: Any, otherwise: Run) -> tuple[list[Run], Codes]:
    """The distinct runs, and which of them each row is of."""
    arms, arm = _texts(table["arm"])
    known = filled(_whole(table["arm"]).is_valid(), False).astype(np.int64)
    pairs, run = np.unique(np.stack([known, arm, _codes(table["seed"])], 1), axis=0, return_inverse=True)
    runs = [Run(arms[a], int(s) if s >= 0 else None) if there else otherwise for there, a, s in pairs.tolist()]
    return runs, run.reshape(-1).astype(np.int32)


def _tasks(table: Any) -> tuple[list[str], list[str], Codes]:
    """The distinct tasks, the question of each where it is first asked, and which of them each row is of."""
    tasks, task = _texts(table["task"])
    questions, question = _texts(table["question"])
    _, first = np.unique(task, return_index=True)
    return tasks, [questions[q] for q in question[first]], task


def _ragged(column: Any) -> tuple[Any, NDArray[np.int64]]:
    """The values of a list column end to end, and how many each row has; null and empty rows have none."""
    import pyarrow.compute as pc

    array = _whole(column)
    return array.flatten(), filled(pc.list_value_length(array), 0)


def _quadrants(table: Any, score: Reals) -> dict[str, Any]:
    """The columns `doubt`, `quadrant`, `quadrants`, `sure` and `by_steps`."""
    n = len(score)
    values, counts = _ragged(table["step_doubt"])
    doubt = filled(values, np.nan).astype(np.float32)
    owner = np.repeat(np.arange(n), counts)
    most = np.full(n, -np.inf, np.float32)
    np.maximum.at(most, owner, np.nan_to_num(doubt, nan=-np.inf))
    most[np.isinf(most)] = np.nan

    answer = np.where(np.isnan(score), 2, (score >= 1.0).astype(np.int64))
    right = np.full(len(doubt), 2, np.int64)
    flat, known = _ragged(table["step_right"])
    judged = (known == counts) & (counts > 0)
    flags = filled(flat, False).astype(np.int64)
    right[judged[owner]] = flags[np.repeat(judged, known)]
    codes = _gravity(quadrant_codes(doubt > DOUBT, right))
    bits = np.zeros(n, np.int32)
    np.bitwise_or.at(bits, owner[judged[owner]], 1 << codes[judged[owner]])
    whole = _gravity(quadrant_codes(np.nan_to_num(most, nan=0.0) > DOUBT, np.where(np.isnan(most), 2, answer)))
    bits = np.where(judged, bits, 1 << whole).astype(np.int32)

    wrong = right == 0
    sure = np.full(n, np.inf, np.float32)
    np.minimum.at(sure, owner[wrong], doubt[wrong])
    sure = np.where(np.isinf(sure), np.where(answer == 0, most, np.nan), sure).astype(np.float32)
    lowest = np.argmax((bits[:, None] >> np.arange(len(GRAVITY))) & 1, axis=1) if n else np.zeros(0)
    return {"doubt": most, "quadrant": lowest.astype(np.int32), "quadrants": bits, "sure": sure, "by_steps": judged}


_TO_GRAVITY = np.array([GRAVITY.index(q) for q in QUADRANTS], np.int32)


def _gravity(codes: NDArray[np.int8]) -> Codes:
    """Positions in `QUADRANTS` as positions in `GRAVITY`."""
    positions: Codes = _TO_GRAVITY[codes]
    return positions


def _labels(table: Any) -> Codes:
    """[N] bits of `LABELS`: those that any span has."""
    import pyarrow.compute as pc

    spans, counts = _ragged(table["spans"])
    owner = np.repeat(np.arange(len(counts)), counts)
    names = pc.struct_field(spans, "label").dictionary_encode()
    known = [LABELS.index(v) if v in LABELS else -1 for v in names.dictionary.to_pylist()]
    codes = np.array([*known, -1])[filled(names.indices, len(known))]
    bits = np.zeros(len(counts), np.int32)
    np.bitwise_or.at(bits, owner[codes >= 0], 1 << codes[codes >= 0])
    return bits
