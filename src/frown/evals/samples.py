"""The graded samples of one evaluation, in memory and as a Parquet table with a row a sample."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frown.errors import FrownError

if TYPE_CHECKING:
    import pyarrow as pa

METADATA_KEY = b"frown.graded_samples"
SCHEMA = 1
_DTYPES: dict[str, Any] = {
    "score": np.float64,
    "well_formed": np.bool_,
    "process_right": np.float64,
    "answer": object,
    "min_probability": np.float64,
    "mean_probability": np.float64,
    "tokens": np.int64,
    "entropy": np.float64,
    "surprisal": np.float64,
    "truncated": np.bool_,
}
_UNIT = ("score", "process_right", "min_probability", "mean_probability")
_COSTS = ("train_rollouts", "train_tokens", "train_comments", "train_seconds")
_STEP_COLUMNS = ("step_surprisal", "step_right", "step_state")


@dataclass(frozen=True)
class StepRecord:
    """What is kept of the written-out steps of one answer, S of them."""

    surprisal: tuple[float, ...]
    """[S] nats: the largest -log p of a sampled token in the step."""
    right: tuple[bool, ...] | None = None
    """[S]: whether the step is right given the steps before it; None where nobody can tell."""
    state: tuple[str, ...] | None = None
    """[S]: the state the step starts from, where the environment knows states."""

    def __post_init__(self) -> None:
        if any(part is not None and len(part) != len(self.surprisal) for part in (self.right, self.state)):
            raise ValueError(f"each step has one surprisal, verdict and state, got {self}")


@dataclass(frozen=True, eq=False)
class GradedSamples:
    """N prompts with k graded samples each, drawn from the policy after `step` training steps.

    Arrays are [N, k]. NaN means unknown: an unscored answer has a NaN score, and nobody takes it for wrong.
    """

    step: int
    split: str
    """The set of tasks, for example "test" or "heldout"."""
    task_ids: tuple[str, ...]
    """[N]."""
    score: NDArray[np.float64]
    """In [0, 1]; NaN where the answer could not be scored."""
    well_formed: NDArray[np.bool_]
    process_right: NDArray[np.float64]
    """1 when every written-out step is right, 0 when one is wrong, NaN where nobody can tell."""
    answer: NDArray[np.object_]
    """Canonical final answers (str), None where there is none."""
    min_probability: NDArray[np.float64]
    """The policy's probability of the sampled token it was least sure of."""
    mean_probability: NDArray[np.float64]
    """exp of the mean log-probability of the sampled tokens."""
    tokens: NDArray[np.int64]
    entropy: NDArray[np.float64]
    """Mean over the tokens of the answer, in nats."""
    surprisal: NDArray[np.float64]
    """Mean over the tokens of the answer, in nats."""
    truncated: NDArray[np.bool_]
    steps: NDArray[np.object_] | None = None
    """`StepRecord` of each answer, None where it has no steps; None altogether where none was kept."""
    train_rollouts: int = 0
    """Training cost up to here: rollouts sampled."""
    train_tokens: int = 0
    """Tokens generated for training."""
    train_comments: int = 0
    """Critic's comments bought."""
    train_seconds: float = 0.0
    """Wall-clock seconds of training, evaluations not included."""

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            array = np.asarray(getattr(self, name), dtype=dtype)
            if array.ndim != 2 or array.shape != np.shape(self.score) or len(array) != len(self.task_ids):
                raise ValueError(
                    f"graded samples are [prompts, samples]: {name} is {array.shape}, "
                    f"score {np.shape(self.score)}, and there are {len(self.task_ids)} task ids"
                )
            object.__setattr__(self, name, array)
        if self.steps is not None and np.shape(self.steps) != np.shape(self.score):
            raise ValueError(f"steps are [prompts, samples]: {np.shape(self.steps)}, not {np.shape(self.score)}")
        for name in _UNIT:
            values = getattr(self, name)
            if np.any((values < 0.0) | (values > 1.0)):
                raise ValueError(f"{name} lies in [0, 1] or is NaN, got {values.min()} to {values.max()}")

    @property
    def prompts(self) -> int:
        """N."""
        return self.score.shape[0]

    @property
    def k(self) -> int:
        """Samples a prompt."""
        return self.score.shape[1]

    @property
    def scored(self) -> NDArray[np.bool_]:
        """[N, k]: whether the answer could be scored."""
        return np.isfinite(self.score)

    @property
    def right(self) -> NDArray[np.float64]:
        """[N, k]: 1 where the score is 1, 0 where it is less, NaN where it is unknown."""
        return np.where(self.scored, (self.score >= 1.0).astype(np.float64), np.nan)

    def to_table(self) -> pa.Table:
        """A pyarrow table with a row a sample, in order; unknown values are nulls, the rest is metadata."""
        import pyarrow as pa

        n, k = self.score.shape
        columns: dict[str, Any] = {
            "prompt": pa.array(np.repeat(np.arange(n, dtype=np.int32), k)),
            "sample": pa.array(np.tile(np.arange(k, dtype=np.int32), n)),
            "task_id": pa.array([t for t in self.task_ids for _ in range(k)], type=pa.string()),
        }
        for name, dtype in _DTYPES.items():
            flat = getattr(self, name).ravel()
            if dtype is object:
                columns[name] = pa.array(flat.tolist(), type=pa.string())
            else:
                columns[name] = pa.array(flat, from_pandas=dtype is np.float64)
        if self.steps is not None:
            for name, inner in zip(_STEP_COLUMNS, (pa.float32(), pa.bool_(), pa.string()), strict=True):
                part = name.removeprefix("step_")
                lists = [None if r is None else getattr(r, part) for r in self.steps.flat]
                columns[name] = pa.array(lists, type=pa.list_(inner))
        meta = {"schema": SCHEMA, "prompts": n, "k": k, "step": self.step, "split": self.split}
        meta |= {name: getattr(self, name) for name in _COSTS}
        return pa.table(columns).replace_schema_metadata({METADATA_KEY: json.dumps(meta).encode()})

    @classmethod
    def from_table(cls, table: pa.Table, name: str = "the table") -> GradedSamples:
        """The samples that `to_table` wrote, rows in any order. `name` is what errors call the table.

        Raises FrownError for a table without the metadata, with a column missing, or with rows lost.
        """
        raw = (table.schema.metadata or {}).get(METADATA_KEY)
        if raw is None:
            key = METADATA_KEY.decode()
            raise FrownError(f"{name} holds no graded samples (its schema metadata has no {key})")
        meta = json.loads(raw)
        if meta.get("schema") != SCHEMA:
            version = meta.get("schema")
            raise FrownError(f"{name} has schema {version!r}, this version reads {SCHEMA}; evaluate again")
        missing = {"prompt", "sample", "task_id", *_DTYPES} - set(table.column_names)
        if missing:
            raise FrownError(f"{name} lacks the columns {', '.join(sorted(missing))}; evaluate again")
        n, k = meta["prompts"], meta["k"]
        place = table["prompt"].to_numpy().astype(np.int64) * k + table["sample"].to_numpy()
        if len(place) != n * k or not np.array_equal(np.sort(place), np.arange(n * k)):
            raise FrownError(f"{name} lacks or doubles rows of its {n} x {k} samples; evaluate again")
        order = np.argsort(place)
        arrays: dict[str, Any] = {}
        for column, dtype in _DTYPES.items():
            flat = np.array(table[column].to_pylist(), dtype=dtype)[order]
            arrays[column] = flat.reshape(n, k)
        if set(_STEP_COLUMNS) <= set(table.column_names):
            parts = zip(*(table[c].to_pylist() for c in _STEP_COLUMNS), strict=True)
            records = np.empty(n * k, dtype=object)
            records[:] = [_record(*values) for values in parts]
            arrays["steps"] = records[order].reshape(n, k)
        ids = np.array(table["task_id"].to_pylist(), dtype=object)[order][::k]
        known = {f.name for f in fields(cls)}
        costs = {c: v for c, v in meta.items() if c in known}
        return cls(task_ids=tuple(ids), **arrays, **costs)


def _record(surprisal: list[float] | None, right: list[bool] | None, state: list[str] | None) -> StepRecord | None:
    if surprisal is None:
        return None
    return StepRecord(
        tuple(surprisal), None if right is None else tuple(right), None if state is None else tuple(state)
    )
