"""Which rollouts there are: one row a rollout of what a list, a filter and an order need, and no token lists.

Everything comes from the Parquet files, column by column; columns that a file lacks are unknown, not an error.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from frown.affect.quadrants import QUADRANTS, Quadrant, quadrant_codes
from frown.errors import FrownError
from frown.evals.fate import DOUBT
from frown.types import Label

LABELS: tuple[str, ...] = get_args(Label)
GRAVITY: tuple[Quadrant, ...] = ("confident-wrong", "doubt-wrong", "doubt-right", "confident-right", "unknown")
"""Quadrants in the order of the list: the sure mistakes first, which nobody would look for."""
_FILE = re.compile(r"step=(\d+)(?:-(\w+))?\.parquet")
_SCALARS = ("task", "question", "group", "policy_step", "score", "stop", "length")
_OWN = ("arm", "seed", "split", "step")
"""Columns of an export: where its rollouts are from."""
_LISTS = ("step_doubt", "step_right", "spans.list.element.label", "steps")
_SNIPPET = 160
"""Characters of a question that the list knows."""

Codes = NDArray[np.int32]
Reals = NDArray[np.float32]


class Run(NamedTuple):
    """One run: the arm and seed it is of; outside of a comparison its name, and None."""

    arm: str
    seed: int | None

    @property
    def key(self) -> str:
        """What links and columns call it."""
        return self.arm if self.seed is None else f"{self.arm}/seed{self.seed}"


class RolloutFile(NamedTuple):
    """One Parquet file of rollouts, and what its name says of them: `step` None where it does not tell.

    `split` is "train" or an evaluation's. Columns `arm`, `seed`, `split` and `step` of the file have the last word.
    """

    run: Run
    split: str
    step: int | None
    path: Path


@dataclass(frozen=True, eq=False)
class Index:
    """N rollouts of some runs. Arrays are [N]; -1 is unknown in whole numbers, NaN in others."""

    name: str
    runs: tuple[Run, ...]
    files: tuple[RolloutFile, ...]
    tasks: tuple[str, ...]
    questions: tuple[str, ...]
    """Of each task the first characters of its question."""
    splits: tuple[str, ...]
    run: Codes
    split: Codes
    file: Codes
    row: Codes
    """Of the file."""
    step: Codes
    """Training step of the policy that answered."""
    task: Codes
    group: Codes
    score: Reals
    """In [0, 1]; NaN where it was not scored."""
    length: Codes
    """Tokens."""
    doubt: Reals
    """Nats: the largest surprisal of a sampled token in any step."""
    quadrant: Codes
    """Position in `GRAVITY`: of its steps the gravest, or of the answer where no step was judged; unknown where scores
    are graded."""
    quadrants: Codes
    """Bits of `GRAVITY`: those that any step, or the answer, is in."""
    sure: Reals
    """Nats: the smallest doubt among the wrong steps; the smaller, the surer the mistake."""
    labels: Codes
    """Bits of `LABELS`: those that any span has."""
    cut: Codes
    """1 where the answer was cut at the token limit."""
    unread: tuple[str, ...] = ()
    """Files that could not be read, and why."""
    order: Codes = field(init=False)
    """The rollouts from the gravest on."""

    def __post_init__(self) -> None:
        wrong = self.quadrant <= 1
        severity = np.where(self.quadrant == 0, self.sure, -self.doubt)
        keys = (self.row, self.file, np.where(np.isnan(severity), np.inf, severity), ~wrong, self.quadrant)
        object.__setattr__(self, "order", np.lexsort(keys).astype(np.int32))

    def __len__(self) -> int:
        return len(self.file)

    @property
    def graded(self) -> bool:
        """Whether scores are grades, of which none says right or wrong."""
        return is_graded(self.score)

    def key(self, i: int) -> str:
        """The permanent name of a rollout: run, split, step and row."""
        return f"{self.runs[self.run[i]].key}:{self.splits[self.split[i]]}:{self.step[i]}:{self.row[i]}"

    def place(self, i: int) -> tuple[Path, int]:
        """The file that holds a rollout, and its row there."""
        return self.files[self.file[i]].path, int(self.row[i])

    def same_task(self, i: int) -> NDArray[np.int64]:
        """Positions of all rollouts of the task of rollout `i`, itself included."""
        return np.flatnonzero(self.task == self.task[i])


def find(path: Path) -> tuple[RolloutFile, ...]:
    """The files of rollouts below a path: of a comparison, of a run directory, or one Parquet file alone.

    Raises FrownError where there is none.
    """
    if path.is_file():
        name = _FILE.fullmatch(path.name)
        split, step = (name[2] or "train", int(name[1])) if name else ("train", None)
        return (RolloutFile(Run(path.stem, None), split, step, path),)
    if not path.is_dir():
        raise FrownError(f"{path} is not there; give a run, a comparison or a file of rollouts")
    folders = sorted((path / "runs").glob("*/seed*"), key=_by_arm_and_seed) or [path]
    files: list[RolloutFile] = []
    for folder in folders:
        run = Run(path.name, None) if folder == path else Run(folder.parent.name, _seed(folder))
        for file in (f for part in ("rollouts", "answers") for f in sorted((folder / part).glob("step=*.parquet"))):
            if name := _FILE.fullmatch(file.name):
                files.append(RolloutFile(run, name[2] or "train", int(name[1]), file))
    if not files:
        raise FrownError(f"{path} holds no rollouts; they are written with keep_rollouts=true, by `frown import`, too")
    return tuple(files)


def _seed(folder: Path) -> int | None:
    digits = folder.name.removeprefix("seed")
    return int(digits) if digits.isdecimal() else None


def _by_arm_and_seed(folder: Path) -> tuple[str, int, str]:
    return folder.parent.name, _seed(folder) or 0, folder.name


def read_index(path: Path) -> Index:
    """The index of everything below a path. Files that cannot be read are named in `unread`.

    Raises FrownError where nothing can be read.
    """
    files = find(path)
    runs: dict[Run, int] = {}
    splits: dict[str, int] = {}
    parts: list[_Part] = []
    unread: list[str] = []
    with ThreadPoolExecutor() as pool:  # arrow reads without Python's lock
        for part in pool.map(_attempt, files, range(len(files))):
            (unread if isinstance(part, str) else parts).append(part)  # type: ignore[arg-type]
    if not parts:
        raise FrownError(f"{path}: no file of rollouts can be read; {unread[0]}")
    tasks: dict[str, int] = {}
    questions: list[str] = []
    codes, of_run, of_split = [], [], []
    for part in parts:
        of_run.append(np.array([runs.setdefault(r, len(runs)) for r in part.runs], np.int32)[part.run])
        of_split.append(np.array([splits.setdefault(s, len(splits)) for s in part.splits], np.int32)[part.split])
        for task, question in zip(part.tasks, part.questions, strict=True):
            if task not in tasks:
                tasks[task] = len(tasks)
                questions.append(question[:_SNIPPET])
        codes.append(np.array([tasks[t] for t in part.tasks], np.int32)[part.task])
    joined = {name: np.concatenate([p.columns[name] for p in parts]) for name in parts[0].columns}
    by_steps = joined.pop("by_steps")
    if is_graded(joined["score"]):  # a grade is not right or wrong: what stood by it stands nowhere
        joined["quadrant"][~by_steps] = GRAVITY.index("unknown")
        joined["quadrants"][~by_steps] = 1 << GRAVITY.index("unknown")
        joined["sure"][~by_steps] = np.nan
    return Index(
        path.name or str(path.resolve().name),
        tuple(runs),
        files,
        tuple(tasks),
        tuple(questions),
        tuple(splits),
        np.concatenate(of_run),
        np.concatenate(of_split),
        task=np.concatenate(codes),
        unread=tuple(unread),
        **joined,
    )


def is_graded(score: Reals) -> bool:
    """Whether any score lies between 0 and 1: then none of them says right or wrong."""
    return bool(((score > 0) & (score < 1)).any())


class _Part(NamedTuple):
    """One file: its runs, splits and tasks, which of them each row is of, all other columns of `Index`, and `by_steps`:
    whether its quadrants are those of judged steps."""

    runs: list[Run]
    run: Codes
    splits: list[str]
    split: Codes
    tasks: list[str]
    questions: list[str]
    task: Codes
    columns: dict[str, Any]


def _attempt(file: RolloutFile, number: int) -> _Part | str:
    """What a file holds, or why it cannot be read."""
    try:
        return _read(file, number)
    except (OSError, ValueError, KeyError) as error:
        return f"{file.path.name}: {str(error).splitlines()[0]}"


def _read(file: RolloutFile, number: int) -> _Part:
    import pyarrow as pa
    import pyarrow.parquet as pq

    footer = pq.read_metadata(file.path)
    held = set(footer.schema.to_arrow_schema().names)
    with pq.ParquetFile(file.path, metadata=footer, read_dictionary=sorted(held & {"task", "question"})) as source:
        if not held & {"text", "tokens"}:
            raise ValueError("no rollouts: it has neither a column `text` nor `tokens`")
        wanted = [c for c in (*_SCALARS, *_OWN, *_LISTS) if c.partition(".")[0] in held]
        if "length" in held or "steps" not in held:
            wanted = [c for c in wanted if c != "steps"]
        table = source.read(columns=wanted).combine_chunks()
        n = footer.num_rows

    def whole(name: str, otherwise: int = -1) -> Codes:
        if name not in held:
            return np.full(n, otherwise, np.int32)
        return filled(table[name].combine_chunks(), otherwise).astype(np.int32)

    def texts(name: str) -> tuple[list[str], Codes]:
        """The distinct values, and which of them each row has."""
        if name not in held or not n:
            return [""], np.zeros(n, np.int32)
        column = table[name].cast(pa.dictionary(pa.int32(), pa.binary())).chunk(0)
        values = [(v or b"").decode("utf-8", "replace") for v in column.dictionary.to_pylist()]
        return [*values, ""], filled(column.indices, len(values)).astype(np.int32)

    tasks, task = texts("task")
    questions, question = texts("question")
    if "task" not in held:  # then what is asked tells tasks apart
        tasks, task = questions, question
    first = np.zeros(len(tasks), np.int32)
    first[task[::-1]] = np.arange(n, dtype=np.int32)[::-1]
    score = np.full(n, np.nan, np.float32)
    if "score" in held:
        score = filled(table["score"].combine_chunks(), np.nan).astype(np.float32)
    steps = _steps(table, held, n, score)
    used = np.zeros(len(tasks), bool)
    used[task] = True
    keep = np.flatnonzero(used)
    place = np.zeros(len(tasks), np.int32)
    place[keep] = np.arange(len(keep))
    stop, cut = texts("stop")
    runs, run = [file.run], np.zeros(n, np.int32)
    if "arm" in held:
        arms, arm = texts("arm")
        pairs, run = np.unique(np.stack([arm, whole("seed")], 1), axis=0, return_inverse=True)
        runs, run = [Run(arms[a], int(s) if s >= 0 else None) for a, s in pairs], run.reshape(-1).astype(np.int32)
    splits, split = texts("split") if "split" in held else ([file.split], np.zeros(n, np.int32))
    used_splits, split = np.unique(split, return_inverse=True)
    return _Part(
        runs,
        run,
        [splits[s] for s in used_splits],
        split.reshape(-1).astype(np.int32),
        [tasks[i] for i in keep],
        [questions[question[first[i]]] for i in keep],
        place[task],
        {
            "file": np.full(n, number, np.int32),
            "row": np.arange(n, dtype=np.int32),
            "step": np.full(n, file.step, np.int32)
            if file.step is not None
            else whole("step" if "step" in held else "policy_step", 0),
            "group": whole("group"),
            "score": score,
            "length": whole("length") if "length" in held else _length(table, held, n),
            "labels": _labels(table, held, n),
            "cut": (np.array([s == "length" for s in stop])[cut]).astype(np.int32),
            **steps,
        },
    )


def _length(table: Any, held: set[str], n: int) -> Codes:
    """Tokens, as far as the written-out steps reach; -1 where there are none."""
    if "steps" not in held:
        return np.full(n, -1, np.int32)
    ends = [-1 if not steps else steps[-1][-1] for steps in table["steps"].to_pylist()]
    return np.array(ends, np.int32)


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


def _ragged(column: Any) -> tuple[Any, NDArray[np.int64]]:
    """The values of a list column end to end, and how many each row has; null and empty rows have none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array = column.chunk(0) if column.num_chunks else pa.array([], column.type)
    return array.flatten(), filled(pc.list_value_length(array), 0)


def _steps(table: Any, held: set[str], n: int, score: Reals) -> dict[str, Any]:
    """The columns `doubt`, `quadrant`, `quadrants`, `sure` and `by_steps`."""
    values, counts = _ragged(table["step_doubt"]) if "step_doubt" in held else (None, np.zeros(n, np.int64))
    doubt = np.zeros(0, np.float32) if values is None else filled(values, np.nan).astype(np.float32)
    owner = np.repeat(np.arange(n), counts)
    most = np.full(n, -np.inf, np.float32)
    np.maximum.at(most, owner, np.nan_to_num(doubt, nan=-np.inf))
    most[np.isinf(most)] = np.nan

    answer = np.where(np.isnan(score), 2, (score >= 1.0).astype(np.int64))
    right = np.full(len(doubt), 2, np.int64)
    judged = np.zeros(n, bool)
    if "step_right" in held:
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
    found: Codes = _TO_GRAVITY[codes]
    return found


def _labels(table: Any, held: set[str], n: int) -> Codes:
    bits = np.zeros(n, np.int32)
    if "spans" not in held:
        return bits
    import pyarrow.compute as pc

    flat, counts = _ragged(table["spans"])
    owner = np.repeat(np.arange(n), counts)
    names = pc.struct_field(flat, "label").dictionary_encode()
    known = [LABELS.index(v) if v in LABELS else -1 for v in names.dictionary.to_pylist()]
    codes = np.array([*known, -1])[filled(names.indices, len(known))]
    np.bitwise_or.at(bits, owner[codes >= 0], 1 << codes[codes >= 0])
    return bits
