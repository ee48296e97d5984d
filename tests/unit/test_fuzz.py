"""Every reader of files takes mutated inputs: each is read, refused in one line, or what is lost of it is counted.

`python tests/helpers/fuzz.py` runs as many as wanted; here is a small share of the same cases.
"""

from __future__ import annotations

from collections import Counter

import pytest

from fuzz import cases
from fuzz_readers import READERS

pytestmark = pytest.mark.slow

FEW = {"run.look": 15, "run.report": 15, "run.resume": 25, "summary": 15, "completions": 25, "log": 40}
"""Cases of the dear readers; the others take `CASES`."""
CASES = 60


@pytest.mark.parametrize("name", READERS)
def test_mutated_inputs_are_read_or_refused_in_one_line_and_nothing_is_lost(name):
    outcomes = dict(cases(name, 0, range(FEW.get(name, CASES))))
    faults = {number: outcome for number, outcome in outcomes.items() if not outcome.ok}
    assert not faults, f"python tests/helpers/fuzz.py {name} --seed 0 --replay {next(iter(faults))}"
    counts = Counter(outcome.kind for outcome in outcomes.values())
    assert counts["read"] + counts["skipped"], "none of them was read: the seeds themselves are refused"
    assert len(counts) > 1, f"all of them were {next(iter(counts))}: nothing was mutated"


def test_a_fault_is_a_fault(tmp_path, monkeypatch):
    """The harness itself: an exception, rows that are gone and an error of two lines do not pass for outcomes."""
    from dataclasses import replace

    import fuzz
    from frown.errors import FrownError
    from fuzz_readers import Count, Input

    def outcome(read, **more):
        monkeypatch.setitem(fuzz.READERS, "x", replace(READERS["results"], read=read))
        return fuzz.outcome("x", Input(tmp_path, **more)).kind

    def raises(error):
        def read(case):
            raise error

        return read

    class TwoLines(FrownError):
        def __str__(self):
            return "a\nb"

    assert outcome(lambda case: Count(1)) == "read"
    assert outcome(lambda case: Count(1, 1)) == "skipped"
    assert outcome(raises(FrownError("x"))) == "refused"
    assert outcome(raises(TwoLines("x"))) == "no line"
    assert outcome(raises(KeyError("x"))) == "KeyError"
    assert outcome(raises(RecursionError("x"))) == "RecursionError"
    assert outcome(lambda case: Count(3, 1), rows=5) == "lost"
    assert outcome(lambda case: Count(3, 2), rows=5) == "skipped"
    assert outcome(lambda case: Count(1, 0, ["m1"]), intact=["m0", "m1"]) == "lost"


# -- what the fuzzing brought to light, each as small as it goes -----------------------------------------------------


def test_an_error_is_one_line_whatever_others_wrote_in_it():
    from frown.errors import FrownError

    assert str(FrownError("a\nb\x00\ud800")) == "a\\nb\\x00\\ud800"
    long = str(FrownError("x" * 10_000 + "; the mend"))
    assert len(long) < 2000 and long.endswith("; the mend")


def test_a_gguf_file_that_speaks_of_more_than_it_holds_comes_to_an_end(tmp_path):
    """The gguf package goes on through 2^63 values that are not there."""
    import struct

    from frown.config.defaults import parameters
    from frown.config.gguf_header import tensor_shapes

    file = tmp_path / "m.gguf"
    array = struct.pack("<IIQQ", 0x46554747, 3, 0, 1) + struct.pack("<Q1sIIQ", 1, b"a", 9, 4, 2**63)
    file.write_bytes(array)
    with pytest.raises(ValueError, match="ends within its header"):
        tensor_shapes(file)
    assert parameters(str(file)) is None


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("status.json", "{", "status.json is not JSON"),
        ("status.json", "[]", "is no object"),
        ("status.json", '{"status": "lost", "why": "", "seconds": 0}', "says nothing of a run"),
        ("metrics.jsonl", '{"step": 1}\n{"st\n', "metrics.jsonl, line 2"),
        ("metrics.jsonl", "[" * 5000 + "\n", "nested too deeply"),
        ("metrics.jsonl", "\ufeff\x00\n", "line 1"),
        ("environment.json", '{"threads": "many"}', "how many threads"),
        ("environment.json", None, "cannot be read"),
    ],
)
def test_a_damaged_file_of_a_run_is_named(tmp_path, name, text, named):
    from frown.errors import FrownError
    from frown.store.run_directory import RunDirectory

    if text is None:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text(text)
    run = RunDirectory(tmp_path)
    with pytest.raises(FrownError, match=named):
        [run.status, list(run.metrics()), run.threads]


@pytest.mark.parametrize("kind", ["other columns", "no Parquet", "a type"])
def test_parquet_that_holds_no_rollouts_or_samples_is_refused(tmp_path, kind):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from frown.errors import FrownError
    from frown.store.rollouts import read_rollouts, schema
    from frown.store.samples import read_samples
    from frown.viewer.index import read_index

    file = tmp_path / "step=000001.parquet"
    if kind == "other columns":
        pq.write_table(pa.table({"a": [1]}), file)
    elif kind == "no Parquet":
        file.write_bytes(b"PAR1 x")
    else:
        whole = schema()
        table = pa.Table.from_pylist([], whole)
        at = table.column_names.index("group")
        pq.write_table(table.set_column(at, "group", pa.array([], pa.string())), file)
    for read in (read_rollouts, read_samples, read_index):
        with pytest.raises(FrownError):
            read(file)


def test_a_bad_row_of_completions_costs_itself(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    from frown.interchange.omissions import Omissions
    from frown.interchange.trl import read_completions

    file = tmp_path / "completions.parquet"
    pq.write_table(pa.table({"step": ["1", "x"], "prompt": ["q", "q"], "completion": ["a", "b"]}), file)
    omissions = Omissions()
    assert [a.text for a in read_completions(file, omissions)] == ["a"] and omissions.counts == {"rows": 1}


def test_numbers_and_depths_that_no_program_can_hold(tmp_path):
    from frown.config import RunConfig, load
    from frown.errors import FrownError
    from frown.store.files import parse_json
    from frown.tasks.rows import SourceRow, text_of

    assert text_of(SourceRow("here", 1, {"answer": 10**400}, "f"), "answer", numbers=True) == "1" + "0" * 400
    for text in ("1" + "0" * 400, "[" * 100_000):
        with pytest.raises(ValueError):
            parse_json(text)
    for name in ("c.toml", "c.json"):
        (tmp_path / name).write_text("x = " * name.endswith("toml") + "[" * 100_000)
        with pytest.raises(FrownError, match="nested too deeply"):
            load(RunConfig, tmp_path / name)
    with pytest.raises(FrownError):
        load(RunConfig, None, ["seed=" + "[" * 100_000])
