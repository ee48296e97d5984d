"""The schema of rollout files: whatever is written is read again, and other files are refused by one line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frown.errors import FrownError
from frown.store.record import Origin, RolloutRecord, TeacherReading, Unknown
from frown.store.rollouts import ROW_GROUP, VERSION, RolloutFile, read_rollouts, schema, write_rollouts
from frown.types import Appraisal, Feedback, Kind, Label, Part, Rollout, Signals, Span, Step, Task, Verdict

TEXT = st.text(max_size=12)
REAL = st.floats()
NUMBER = st.integers(-(2**63), 2**63 - 1)
PLACE = st.integers(0, 999)
NAME = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def tuples(values, most=4):
    return st.lists(values, max_size=most).map(tuple)


def floats(n):
    return st.lists(st.floats(width=32), min_size=n, max_size=n).map(lambda v: np.array(v, np.float32))


def ints(n):
    return st.lists(NUMBER, min_size=n, max_size=n).map(lambda v: np.array(v, np.int64))


LENGTH = st.integers(0, 5)
MESSAGES = tuples(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": TEXT}), most=3
)
TASKS = st.builds(
    Task, TEXT, MESSAGES, TEXT, st.none() | TEXT, st.dictionaries(TEXT, JSON, max_size=3), st.none() | tuples(PLACE)
)
VERDICT_PARTS = {
    "message": TEXT,
    "answer": st.none() | TEXT,
    "well_formed": st.booleans(),
    "rule": TEXT,
    "stated": TEXT,
    "step_right": st.none() | tuples(st.booleans()),
    "step_state": st.none() | tuples(TEXT),
}
VERDICTS = st.builds(Verdict, score=st.floats(0, 1), **VERDICT_PARTS) | st.builds(
    Verdict, score=st.just(np.nan), scored=st.just(False), **VERDICT_PARTS
)
UNIT = st.floats(0, 1)
SPANS = st.builds(
    lambda start, length, **rest: Span(start, start + length, **rest),
    PLACE, st.integers(1, 9), label=st.sampled_from(get_args(Label)), intensity=UNIT,
    evidence=st.dictionaries(TEXT, REAL, min_size=1, max_size=2), step=st.none() | PLACE,
    valence=REAL, arousal=REAL, dominance=REAL,
)  # fmt: skip
APPRAISALS = st.builds(Appraisal, tuples(SPANS, 2), tuples(REAL), tuples(TEXT, 2))
PARTS = st.builds(Part, st.sampled_from(get_args(Kind)), TEXT, st.none() | tuples(PLACE), st.booleans(), st.booleans())
FEEDBACK = st.builds(Feedback, tuples(PARTS, 2))


@st.composite
def signals(draw):
    n = draw(LENGTH)
    return Signals(draw(st.dictionaries(NAME, floats(n), max_size=2)), draw(TEXT))


@st.composite
def rollouts(draw):
    n = draw(LENGTH)
    return Rollout(
        task=draw(TASKS), group=draw(NUMBER), prompt_ids=draw(LENGTH.flatmap(ints)), ids=draw(ints(n)),
        logp=draw(floats(n)), temperature=draw(REAL), stop=draw(st.sampled_from(["eos", "length"])), text=draw(TEXT),
        steps=draw(tuples(st.builds(Step, PLACE, PLACE))), signals=draw(st.none() | signals()),
        verdict=draw(st.none() | VERDICTS), policy_step=draw(NUMBER), alternative=draw(st.none() | ints(n)),
        sampled=draw(st.none() | st.lists(st.booleans(), min_size=n, max_size=n).map(lambda v: np.array(v, np.bool_))),
        earned=draw(st.none() | tuples(REAL)), episode=draw(st.none() | NUMBER),
    )  # fmt: skip


@st.composite
def records(draw):
    rollout = draw(rollouts())
    n = len(rollout.ids)
    some = st.none() | floats(n)
    reading = st.builds(TeacherReading, LENGTH.flatmap(ints), floats(n), st.none() | TEXT, some, some, some,
                        st.none() | REAL)  # fmt: skip
    origin = st.builds(Origin, TEXT, st.none() | NUMBER, TEXT, NUMBER)
    return RolloutRecord(
        rollout, draw(APPRAISALS), draw(FEEDBACK), draw(st.none() | TEXT), draw(st.none() | tuples(TEXT)), draw(some),
        draw(st.none() | reading), draw(st.none() | origin),
    )  # fmt: skip


def differences(a, b, where="record"):
    """The fields in which two values differ, arrays by their bytes' type and values, NaN equal to NaN."""
    if dataclasses.is_dataclass(a):
        if type(a) is not type(b):
            return [where]
        names = [f.name for f in dataclasses.fields(a)]
        return [d for n in names for d in differences(getattr(a, n), getattr(b, n), f"{where}.{n}")]
    if isinstance(a, np.ndarray):
        same = isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape
        return [] if same and np.array_equal(a, b, equal_nan=a.dtype.kind == "f") else [where]
    if isinstance(a, dict):
        if not isinstance(b, dict) or a.keys() != b.keys():
            return [where]
        return [d for k in a for d in differences(a[k], b[k], f"{where}[{k!r}]")]
    if isinstance(a, list | tuple):
        if type(a) is not type(b) or len(a) != len(b):
            return [where]
        return [d for i, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{where}[{i}]")]
    if isinstance(a, float) and a != a:
        return [] if isinstance(b, float) and b != b else [where]
    return [] if type(a) is type(b) and a == b else [where]


def rollout(**more):
    task = Task("t", ({"role": "user", "content": "1+1?"},), "2")
    usual = {"group": 0, "prompt_ids": np.arange(3), "ids": np.arange(2), "logp": np.array([-1, -2], np.float32)}
    return Rollout(task, **usual | {"temperature": 1.0, "stop": "eos", "text": "2"} | more)


@pytest.mark.slow
@settings(max_examples=60)
@given(st.lists(records(), max_size=3))
def test_whatever_is_written_is_read_again(tmp_path_factory, written):
    file = tmp_path_factory.mktemp("rollouts") / "step=000001.parquet"
    write_rollouts(file, written)
    with read_rollouts(file) as read:
        assert len(read) == len(written)
        assert [d for a, b in zip(written, read, strict=True) for d in differences(a, b)] == []
        assert [d for i, a in enumerate(written) for d in differences(a, read[i])] == []


def test_the_comparison_knows_every_field_and_sees_a_difference():
    """So that a field added to a noun is drawn here, and a changed one is noticed."""
    a = RolloutRecord(rollout(signals=Signals({"entropy": np.array([np.nan, 1], np.float32)})))
    assert differences(a, a) == []
    changed = dataclasses.replace(a, rollout=dataclasses.replace(a.rollout, logp=np.array([-1, -3], np.float32)))
    assert differences(a, changed) == ["record.rollout.logp"]
    drawn = {
        Task: "id messages answer solution data expert_steps",
        Rollout: "task group prompt_ids ids logp temperature stop text steps signals verdict policy_step alternative "
        "sampled earned episode",
        Verdict: "score scored message answer well_formed rule stated step_right step_state",
        Span: "start end label intensity evidence step valence arousal dominance",
        Appraisal: "spans step_doubt unread",
        RolloutRecord: "rollout appraisal feedback prompt tokens advantage teacher origin unknown",
    }
    for noun, names in drawn.items():
        assert {f.name for f in dataclasses.fields(noun)} == set(names.split()), f"{noun.__name__}: draw it above"


@pytest.mark.parametrize(
    "unknown", [{"ids"}, {"logp", "temperature"}, set(get_args(Unknown))], ids=lambda names: "+".join(sorted(names))
)
def test_what_a_log_does_not_say_stays_unknown(tmp_path, unknown):
    bare = {"ids", "logp"} <= unknown
    n = 0 if bare else 2
    stand_ins = {
        "prompt_ids": np.zeros(0, np.int64),
        "ids": np.full(n, -1),
        "logp": np.full(n, np.nan, np.float32),
        "temperature": np.nan,
    }
    said = RolloutRecord(rollout(**{k: v for k, v in stand_ins.items() if k in unknown}), unknown=frozenset(unknown))
    write_rollouts(tmp_path / "x.parquet", [said])
    with read_rollouts(tmp_path / "x.parquet") as file:
        assert differences(said, file[0]) == [] and file[0].length == (None if bare else 2)
        assert [file.values(0, [name])[name] is None for name in get_args(Unknown)] == [
            name in unknown for name in get_args(Unknown)
        ]


def test_what_json_cannot_hold_is_kept_as_it_reads(tmp_path):
    data = {"who": Origin("a", 1, "train", 2), "n": np.int64(3), "of": (1, {"x": {2}}), 5: "five"}
    odd = RolloutRecord(rollout(), prompt="p")
    odd = dataclasses.replace(odd, rollout=dataclasses.replace(odd.rollout, task=Task("t", (), "2", data=data)))
    write_rollouts(tmp_path / "x.parquet", [odd])
    assert read_rollouts(tmp_path / "x.parquet")[0].rollout.task.data == {
        "who": {"arm": "a", "seed": 1, "split": "train", "step": 2}, "n": 3, "of": [1, {"x": "{2}"}], "5": "five",
    }  # fmt: skip


def test_one_rollout_among_many_opens_alone(tmp_path, monkeypatch):
    many = [RolloutRecord(rollout(group=k)) for k in range(3 * ROW_GROUP + 5)]
    write_rollouts(tmp_path / "x.parquet", many)
    file = read_rollouts(tmp_path / "x.parquet")
    read = []

    class Standing:
        def __getattr__(self, name):
            return getattr(source, name)

        def read_row_group(self, group, columns=None):
            read.append(group)
            return source.read_row_group(group, columns=columns)

    source = file._source
    monkeypatch.setattr(file, "_source", Standing())
    for k in (0, ROW_GROUP - 1, ROW_GROUP, 3 * ROW_GROUP + 4, -1):
        assert file[k].rollout.group == k % len(many)
    assert read == [0, 0, 1, 3, 3]
    assert [r.rollout.group for r in file[2:5]] == [2, 3, 4]
    with pytest.raises(IndexError, match="no rollout 197"):
        file[197]


def rewritten(path, metadata, drop=()):
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(list(drop)).replace_schema_metadata(metadata), path)
    return path


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({"frown.rollouts": str(VERSION + 1)}, f"version {VERSION + 1}, this frown reads {VERSION}; read it with"),
        ({}, "from before their files had a version"),
        (None, "from before their files had a version"),
    ],
)
def test_another_version_is_refused_by_a_line_that_says_what_to_do(tmp_path, metadata, why):
    write_rollouts(tmp_path / "x.parquet", [RolloutRecord(rollout())])
    rewritten(tmp_path / "x.parquet", metadata)
    with pytest.raises(FrownError, match=why) as caught:
        read_rollouts(tmp_path / "x.parquet")
    assert "\n" not in str(caught.value) and "x.parquet" in str(caught.value) and "run again" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PAR1 and no more", b"{}"])
def test_what_is_no_parquet_is_one_line(tmp_path, content):
    (tmp_path / "x.parquet").write_bytes(content)
    for file in (tmp_path / "x.parquet", tmp_path / "nowhere.parquet"):
        with pytest.raises(FrownError, match="cannot be read as Parquet") as caught:
            RolloutFile(file)
        assert "\n" not in str(caught.value)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "y.parquet")
    with pytest.raises(FrownError, match="holds no rollouts of frown"):
        RolloutFile(tmp_path / "y.parquet")


def test_every_column_is_in_the_documentation():
    columns = (
        (Path(__file__).parents[3] / "docs" / "look.md").read_text(encoding="utf-8").partition("## The columns")[2]
    )
    assert [name for name in schema().names if f"`{name}`" not in columns] == []
