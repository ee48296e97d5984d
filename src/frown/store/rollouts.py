"""Rollouts on the disk: the one schema in which they are written and read again.

A file is Parquet, a row a rollout, in groups of `ROW_GROUP` rows, so that one among many opens alone. Its schema
metadata names `VERSION`; a file of another version is refused by one line. What a row has no value for is null.

    task, question          the task's id and its last user turn
    task_messages, task_answer, task_solution, task_data, expert_steps      the rest of `Task`; messages, data as JSON
    group, episode, policy_step, text, stop, temperature, length      of `Rollout`; `length` is T, tokens of the answer
    prompt_ids, ids, logp, sampled, alternative               of `Rollout`, token by token; logp in nats
    steps, step_reward      `Rollout.steps` as [start, end) of tokens, and `Rollout.earned`
    verdict, score, answer, well_formed, rule, stated, step_right, step_state      `Verdict`; `verdict` is its message,
                            null where nobody judged; `score` is null where it could not be scored
    source, signal_NAME     `Signals`, float32[T] each; `source` is null without any
    spans, step_doubt, unread      `Appraisal`; a span's evidence as JSON
    feedback                `Feedback`: kind, text, steps, verdict and attempt of each part
    prompt, tokens          as text, what the student was shown, and the answer token by token
    advantage               of each token, for the policy gradient
    context_ids, teacher_prompt, weight, log_ratio, teacher_entropy, divergence, unresolved      `TeacherReading`;
                            `weight` is null where no teacher looked
    arm, seed, split, step  `Origin`, in a file that gathers rollouts of several runs
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Self, get_args

import numpy as np

from frown.errors import FrownError, first_line
from frown.store.files import write_whole
from frown.store.record import Origin, RolloutRecord, TeacherReading, Unknown
from frown.types import Appraisal, Feedback, Floats, Ints, Part, Rollout, Signals, Span, Step, Task, Verdict

VERSION = 2
"""Of the schema. It goes up whenever a column changes its meaning, comes or goes."""
ROW_GROUP = 64
"""Rollouts of a file that are read at a time, at most, so that one among many opens at once."""
SIGNAL = "signal_"
"""What the column of a signal begins with."""
_ORIGIN = tuple(f.name for f in fields(Origin))
_KEY = b"frown.rollouts"
"""Of the schema metadata, where the version stands."""


def write_rollouts(path: Path, records: Sequence[RolloutRecord]) -> None:
    """Write a file of rollouts, whole or not at all. Raises FrownError where the disk refuses it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    signals = [name for r in records if r.rollout.signals is not None for name in r.rollout.signals.values]
    table = pa.Table.from_pylist([_row(r) for r in records], schema=schema(signals))
    write_whole(path, lambda part: pq.write_table(table, part, compression="zstd", row_group_size=ROW_GROUP))


def gather_rollouts(origins: Mapping[Path, Sequence[Origin]], target: Path) -> None:
    """Write the rollouts of several files to one, each with its origin. Signals that some lack are null there.

    Files are read one after the other. Raises FrownError where one cannot be read, or the target not be written.
    """
    write_whole(target, lambda part: _gather(origins, part))


def _gather(origins: Mapping[Path, Sequence[Origin]], part: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    signals = dict.fromkeys(name for path in origins for name in pq.read_schema(path).names if name.startswith(SIGNAL))
    whole = schema([name.removeprefix(SIGNAL) for name in signals])
    with pq.ParquetWriter(part, whole, compression="zstd") as writer:
        for path, of in origins.items():
            with read_rollouts(path) as file:
                table = file.table(file.schema.names)
            named = pa.Table.from_pylist([asdict(origin) for origin in of], whole)
            columns = [
                named[f.name] if f.name in _ORIGIN
                else table[f.name] if f.name in table.column_names else pa.nulls(len(table), f.type)
                for f in whole
            ]  # fmt: skip
            writer.write_table(pa.Table.from_arrays(columns, schema=whole), row_group_size=ROW_GROUP)


def read_rollouts(path: Path) -> RolloutFile:
    """Open a file of rollouts: a sequence of records, of which no more is read than is asked for.

    Raises FrownError where it cannot be read, holds no rollouts, or holds those of another version.
    """
    return RolloutFile(path)


class RolloutFile(Sequence[RolloutRecord]):
    """The rollouts of a file, read row group by row group. Any number of threads may use it."""

    def __init__(self, path: Path, dictionaries: Sequence[str] = ()) -> None:
        """`dictionaries`: text columns of which `table` is to tell the distinct values apart."""
        import pyarrow.parquet as pq

        try:
            named = set(dictionaries) & set(pq.read_schema(path).names)
            self._source = pq.ParquetFile(path, memory_map=True, read_dictionary=sorted(named))
        except Exception as error:  # whatever a broken file makes pyarrow raise
            raise FrownError(f"{path} cannot be read as Parquet: {first_line(error)}") from None
        self.path = path
        self.schema = self._source.schema_arrow
        self._one_reader = Lock()  # two threads in one open file may end the process
        try:
            _check_version(self.schema, path)
            _check_columns(self.schema, path)
        except FrownError:
            self.close()
            raise
        groups = self._source.metadata
        self._ends = np.cumsum([groups.row_group(g).num_rows for g in range(groups.num_row_groups)], dtype=np.int64)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

    def __len__(self) -> int:
        return int(self._source.metadata.num_rows)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        return self._record(i, self.values(i))

    def __iter__(self) -> Iterator[RolloutRecord]:
        return (self._record(i, row) for i, row in enumerate(self.rows()))

    def _record(self, i: int, row: Mapping[str, Any]) -> RolloutRecord:
        try:
            return _record(row)
        except _BAD_ROW as error:
            why = first_line(error)
            raise FrownError(f"{self.path}: rollout {i} cannot be read: {why}; leave out the file") from None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """One reader at a time. What arrow says of a damaged file becomes a FrownError."""
        import pyarrow as pa

        with self._one_reader:
            try:
                yield
            except (pa.ArrowException, OSError, ValueError) as error:
                raise FrownError(f"{self.path} is damaged: {first_line(error)}; leave it out") from None

    def values(self, i: int, columns: Sequence[str] | None = None) -> dict[str, Any]:
        """Row `i` as plain data, all columns or some. Only the row group that it lies in is read."""
        at = i + len(self) if i < 0 else i
        if not 0 <= at < len(self):
            raise IndexError(f"{self.path} has {len(self)} rollouts; there is no rollout {i}")
        group = int(np.searchsorted(self._ends, at, side="right"))
        first = int(self._ends[group - 1]) if group else 0
        with self._reading():
            table = self._source.read_row_group(group, columns=None if columns is None else list(columns))
        return {name: _plain_values(column)[0] for name, column in _columns(table.slice(at - first, 1))}

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Every row as plain data, all columns or some, in order."""
        for group in range(len(self._ends)):
            with self._reading():
                table = self._source.read_row_group(group, columns=None if columns is None else list(columns))
            named = {name: _plain_values(column) for name, column in _columns(table)}
            for k in range(table.num_rows):
                yield {name: values[k] for name, values in named.items()}

    def table(self, columns: Sequence[str]) -> Any:
        """Some columns of all rows as one arrow table; "spans.list.element.label" is a part of a column."""
        with self._reading():
            return self._source.read(columns=list(columns)).combine_chunks()

    def batches(self, columns: Sequence[str], size: int) -> Iterator[Any]:
        """Some columns as arrow record batches of at most `size` rows. No other thread may read meanwhile."""
        with self._reading():
            yield from self._source.iter_batches(batch_size=size, columns=list(columns))


def question(task: Task) -> str:
    """The last user turn of a task; "" where there is none, as in another program's log."""
    return next((m["content"] for m in reversed(task.messages) if m["role"] == "user"), "")


def is_rollout_file(path: Path) -> bool:
    """Whether this is a file of rollouts of any version."""
    import pyarrow.parquet as pq

    try:
        return _KEY in (pq.read_schema(path).metadata or {})
    except (OSError, ValueError):
        return False


def schema(signals: Sequence[str] = ()) -> Any:
    """The arrow schema of a file whose rollouts have these signals, the same in every file of a run but for those."""
    import pyarrow as pa

    text, whole, real, double, flag = pa.string(), pa.int64(), pa.float32(), pa.float64(), pa.bool_()
    texts, wholes, reals, doubles, flags = (pa.list_(kind) for kind in (text, whole, real, double, flag))
    span = {"start": whole, "end": whole, "step": whole, "label": text, "intensity": double}
    span |= {"valence": double, "arousal": double, "dominance": double, "evidence": text}
    part = {"kind": text, "text": text, "steps": wholes, "verdict": flag, "attempt": flag}
    columns = {
        **{"task": text, "question": text},
        **{"task_messages": text, "task_answer": text, "task_solution": text, "task_data": text},
        **{"expert_steps": wholes, "episode": whole},
        **{"group": whole, "policy_step": whole, "text": text, "stop": text, "length": whole, "temperature": double},
        **{"prompt": text, "tokens": texts, "prompt_ids": wholes, "ids": wholes, "logp": reals},
        **{"sampled": flags, "alternative": wholes, "steps": pa.list_(wholes), "step_reward": doubles},
        **{"score": double, "verdict": text, "answer": text, "well_formed": flag, "rule": text, "stated": text},
        **{"step_right": flags, "step_state": texts},
        **{"spans": pa.list_(pa.struct(list(span.items()))), "step_doubt": doubles, "unread": texts},
        **{"feedback": pa.list_(pa.struct(list(part.items()))), "advantage": reals},
        **{"context_ids": wholes, "teacher_prompt": text, "weight": reals, "log_ratio": reals},
        **{"teacher_entropy": reals, "divergence": reals, "unresolved": double},
        **{"arm": text, "seed": whole, "split": text, "step": whole, "source": text},
        **{f"{SIGNAL}{name}": reals for name in signals},
    }
    return pa.schema(columns, metadata={_KEY: str(VERSION)})


def _check_version(columns: Any, path: Path) -> None:
    version = (columns.metadata or {}).get(_KEY)
    if version == str(VERSION).encode():
        return
    mend = "read it with the frown that wrote it (environment.json of its run names the version), or run again"
    if version is not None:
        theirs = version.decode("utf-8", "replace")
        raise FrownError(f"{path} holds rollouts of version {theirs}, this frown reads {VERSION}; {mend}")
    if {"task", "text", "logp"} <= set(columns.names):  # the columns before there was a version
        raise FrownError(f"{path} holds rollouts from before their files had a version, this frown reads version "
                         f"{VERSION}; {mend}")  # fmt: skip
    raise FrownError(f"{path} holds no rollouts of frown; give a run or a file of its rollouts")


def _check_columns(columns: Any, path: Path) -> None:
    """Raise FrownError where a column of the schema is missing, there twice, or of another type."""
    mend = "leave the file out, or run again"
    for wanted in schema([name.removeprefix(SIGNAL) for name in set(columns.names) if name.startswith(SIGNAL)]):
        kinds = [field.type for field in columns if field.name == wanted.name]
        if len(kinds) != 1:
            raise FrownError(f"{path} has {len(kinds) or 'no'} columns {wanted.name}; {mend}")
        kind = getattr(kinds[0], "value_type", kinds[0]) if str(kinds[0]).startswith("dictionary") else kinds[0]
        if kind != wanted.type:
            raise FrownError(f"{path}: its column {wanted.name} holds {kind}, not {wanted.type}; {mend}")


# -- a record as a row, and back -----------------------------------------------------------------------------------


def _row(record: RolloutRecord) -> dict[str, Any]:
    r, unknown = record.rollout, record.unknown
    return {
        "group": r.group,
        "episode": r.episode,
        "policy_step": r.policy_step,
        "text": r.text,
        "stop": r.stop,
        "length": record.length,
        "temperature": None if "temperature" in unknown else r.temperature,
        "prompt": record.prompt,
        "tokens": record.tokens,
        "prompt_ids": None if "prompt_ids" in unknown else r.prompt_ids,
        "ids": None if "ids" in unknown else r.ids,
        "logp": None if "logp" in unknown else r.logp,
        "sampled": r.sampled,
        "alternative": r.alternative,
        "steps": [list(step) for step in r.steps],
        "step_reward": r.earned,
        "advantage": record.advantage,
        **_task_row(r.task),
        **_verdict_row(r.verdict),
        **_signals_row(r.signals),
        **_appraisal_row(record.appraisal),
        "feedback": [part._asdict() for part in record.feedback.parts],
        **_teacher_row(record.teacher),
        **({} if record.origin is None else asdict(record.origin)),
    }


_BAD_ROW = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""What a row that is no rollout makes its nouns raise."""
_NEVER_NULL = (
    "task", "task_messages", "task_answer", "task_data", "group", "policy_step", "text", "stop", "steps", "spans",
    "step_doubt", "unread", "feedback",
)  # fmt: skip


def _record(row: Mapping[str, Any]) -> RolloutRecord:
    if null := [name for name in _NEVER_NULL if row[name] is None]:
        raise ValueError(f"{null[0]} is null")
    unknown = frozenset(name for name in get_args(Unknown) if row[name] is None)
    length = row["length"] or 0
    rollout = Rollout(
        task=_task(row),
        group=row["group"],
        prompt_ids=_ints(row["prompt_ids"] or ()),
        ids=_ints([-1] * length if row["ids"] is None else row["ids"]),
        logp=_floats([np.nan] * length if row["logp"] is None else row["logp"]),
        temperature=np.nan if row["temperature"] is None else row["temperature"],
        stop=row["stop"],
        text=row["text"],
        steps=tuple(Step(*step) for step in row["steps"]),
        signals=_signals(row),
        verdict=_verdict(row),
        policy_step=row["policy_step"],
        alternative=None if row["alternative"] is None else _ints(row["alternative"]),
        sampled=None if row["sampled"] is None else np.array(row["sampled"], np.bool_),
        earned=_optional_tuple(row["step_reward"]),
        episode=row["episode"],
    )
    return RolloutRecord(
        rollout=rollout,
        appraisal=_appraisal(row),
        feedback=Feedback(tuple(Part(**p | {"steps": _optional_tuple(p["steps"])}) for p in row["feedback"])),
        prompt=row["prompt"],
        tokens=_optional_tuple(row["tokens"]),
        advantage=_optional_floats(row["advantage"]),
        teacher=_teacher(row),
        origin=None if row["arm"] is None else Origin(row["arm"], row["seed"], row["split"], row["step"]),
        unknown=unknown,
    )


def _task_row(task: Task) -> dict[str, Any]:
    return {
        "task": task.id,
        "question": question(task),
        "task_messages": json.dumps(_plain(task.messages)),
        "task_answer": task.answer,
        "task_solution": task.solution,
        "task_data": json.dumps(_plain(task.data)),
        "expert_steps": task.expert_steps,
    }


def _task(row: Mapping[str, Any]) -> Task:
    messages, data = json.loads(row["task_messages"]), json.loads(row["task_data"])
    if not all(isinstance(m[name], str) for m in messages for name in ("role", "content")):
        raise ValueError("task_messages are no messages")
    if not isinstance(data, dict):
        raise ValueError("task_data is no object")
    return Task(
        id=row["task"],
        messages=tuple(messages),
        answer=row["task_answer"],
        solution=row["task_solution"],
        data=data,
        expert_steps=_optional_tuple(row["expert_steps"]),
    )


def _verdict_row(verdict: Verdict | None) -> dict[str, Any]:
    if verdict is None:
        return {}
    return {
        "score": verdict.score if verdict.scored else None,
        "verdict": verdict.message,
        "answer": verdict.answer,
        "well_formed": verdict.well_formed,
        "rule": verdict.rule,
        "stated": verdict.stated,
        "step_right": verdict.step_right,
        "step_state": verdict.step_state,
    }


def _verdict(row: Mapping[str, Any]) -> Verdict | None:
    if row["verdict"] is None:
        return None
    return Verdict(
        score=np.nan if row["score"] is None else row["score"],
        scored=row["score"] is not None,
        message=row["verdict"],
        answer=row["answer"],
        well_formed=row["well_formed"],
        rule=row["rule"],
        stated=row["stated"],
        step_right=_optional_tuple(row["step_right"]),
        step_state=_optional_tuple(row["step_state"]),
    )


def _signals_row(signals: Signals | None) -> dict[str, Any]:
    if signals is None:
        return {}
    return {"source": signals.source, **{f"{SIGNAL}{name}": values for name, values in signals.values.items()}}


def _signals(row: Mapping[str, Any]) -> Signals | None:
    if row["source"] is None:
        return None
    columns = {name: row[name] for name in row if name.startswith(SIGNAL)}
    values = {name.removeprefix(SIGNAL): _floats(v) for name, v in columns.items() if v is not None}
    return Signals(values, row["source"])


def _appraisal_row(appraisal: Appraisal) -> dict[str, Any]:
    spans = [{**vars(span), "evidence": json.dumps(_plain(span.evidence))} for span in appraisal.spans]
    return {"spans": spans, "step_doubt": appraisal.step_doubt, "unread": appraisal.unread}


def _appraisal(row: Mapping[str, Any]) -> Appraisal:
    spans = (Span(**span | {"evidence": json.loads(span["evidence"])}) for span in row["spans"])
    return Appraisal(tuple(spans), tuple(row["step_doubt"]), tuple(row["unread"]))


def _teacher_row(teacher: TeacherReading | None) -> dict[str, Any]:
    if teacher is None:
        return {}
    return {
        "context_ids": teacher.context_ids,
        "teacher_prompt": teacher.prompt,
        "weight": teacher.weight,
        "log_ratio": teacher.log_ratio,
        "teacher_entropy": teacher.entropy,
        "divergence": teacher.divergence,
        "unresolved": teacher.unresolved,
    }


def _teacher(row: Mapping[str, Any]) -> TeacherReading | None:
    if row["weight"] is None:
        return None
    return TeacherReading(
        context_ids=_ints(row["context_ids"]),
        weight=_floats(row["weight"]),
        prompt=row["teacher_prompt"],
        log_ratio=_optional_floats(row["log_ratio"]),
        entropy=_optional_floats(row["teacher_entropy"]),
        divergence=_optional_floats(row["divergence"]),
        unresolved=row["unresolved"],
    )


def _ints(values: Any) -> Ints:
    return np.array(values, np.int64)


def _floats(values: Any) -> Floats:
    return np.array(values, np.float32)


def _optional_floats(values: Any) -> Floats | None:
    return None if values is None else _floats(values)


def _optional_tuple(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: a dataclass by its fields, what is no data at all by its `repr`."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(vars(value))
    return repr(value)


# -- arrow columns as plain data -----------------------------------------------------------------------------------


def _columns(table: Any) -> Iterator[tuple[str, Any]]:
    return zip(table.column_names, table.combine_chunks().columns, strict=True)


def _plain_values(column: Any) -> list[Any]:
    """The values of an arrow column. Text that is no UTF-8 has U+FFFD in the place of what cannot be read."""
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [_decoded(value) for value in column.cast(_as_bytes(column.type)).to_pylist()]


def _as_bytes(kind: Any) -> Any:
    """The same arrow type with bytes for text."""
    import pyarrow as pa

    if pa.types.is_string(kind):
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
