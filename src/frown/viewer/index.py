"""Which rollouts there are: one row a rollout of what a list, a filter and an order need, and no token lists."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from frown.errors import FrownError, first_line
from frown.viewer.columns import GRAVITY, Codes, FileColumns, Reals, read_columns
from frown.viewer.sources import Run, Source, find_sources

_SNIPPET = 160
"""Characters of a question that the list knows."""


@dataclass(frozen=True, eq=False)
class Index:
    """N rollouts of some runs. Arrays are [N]; -1 is unknown in whole numbers, NaN in others."""

    name: str
    runs: tuple[Run, ...]
    files: tuple[Source, ...]
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


def read_index(path: Path) -> Index:
    """The index of everything below a path. Files that cannot be read are named in `unread`.

    Raises FrownError where nothing can be read.
    """
    files = find_sources(path)
    runs: dict[Run, int] = {}
    splits: dict[str, int] = {}
    parts: list[FileColumns] = []
    unread: list[str] = []
    with ThreadPoolExecutor() as pool:  # arrow reads without Python's lock
        for part in pool.map(_read, files, range(len(files))):
            if isinstance(part, str):
                unread.append(part)
            else:
                parts.append(part)
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


def _read(source: Source, number: int) -> FileColumns | str:
    """What a file holds, or why it cannot be read."""
    try:
        return read_columns(source, number)
    except (OSError, ValueError, FrownError) as error:
        return first_line(error)
