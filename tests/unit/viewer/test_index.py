"""The index of rollouts: quadrants, order, columns that are not there, files that cannot be read."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from frown.affect.quadrants import QUADRANTS, quadrant_codes
from frown.errors import FrownError
from frown.store.record import RolloutRecord
from frown.store.rollouts import write_rollouts
from frown.types import Rollout, Task
from frown.viewer.columns import GRAVITY, LABELS
from frown.viewer.history import history
from frown.viewer.index import read_index
from frown.viewer.page import page
from frown.viewer.search import search
from frown.viewer.sources import find_sources
from look_runs import comparison, hostile, record


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return read_index(comparison(tmp_path_factory.mktemp("look") / "demo"))


def test_runs_and_files_of_a_comparison(index):
    assert [r.key for r in index.runs] == ["aimed/seed0", "grpo/seed0"]
    assert len(index.files) == 8 and len(index) == 2 * (2 * 4 + 2 * 3)
    assert set(index.splits) == {"train", "test"}
    assert index.tasks == ("t0", "t1", "t9")
    assert len({index.key(i) for i in range(len(index))}) == len(index)


def test_the_surest_mistake_comes_first(index):
    first = index.order[0]
    names = [GRAVITY[index.quadrant[i]] for i in index.order]
    assert names == sorted(names, key=GRAVITY.index)
    assert names[0] == "confident-wrong"
    wrong = [index.sure[i] for i in index.order if index.quadrant[i] == 0]
    assert wrong == sorted(wrong) and index.sure[first] == pytest.approx(0.2)


def test_quadrants_are_those_of_the_appraisal(index):
    """Against the scalar definition, one rollout after another."""
    for i in range(len(index)):
        shown = page(index, i)
        right = tuple(s["right"] for s in shown["steps"])
        doubtful = [s["doubt"] > np.log(2) for s in shown["steps"]]
        expected = {QUADRANTS[code] for code in quadrant_codes(doubtful, right)}
        assert {GRAVITY[b] for b in range(5) if index.quadrants[i] >> b & 1} == expected
        assert GRAVITY[index.quadrant[i]] == min(expected, key=GRAVITY.index)
        assert {s["quadrant"] for s in shown["steps"]} == expected


def test_an_answer_without_judged_steps_stands_as_a_whole(tmp_path):
    rows = [
        record("a", right=None, score=0.0),
        record("b", right=None, score=None),
        record("c", right=None, score=1.0, doubt=(0.1, 0.2)),
    ]
    write_rollouts(tmp_path / "step=000004.parquet", rows)
    found = read_index(tmp_path / "step=000004.parquet")
    assert [GRAVITY[q] for q in found.quadrant] == ["doubt-wrong", "unknown", "confident-right"]
    assert found.step.tolist() == [4, 4, 4]
    assert np.isnan(found.score[1])


def test_a_grade_is_neither_right_nor_wrong(tmp_path):
    """One score between 0 and 1, in whichever file, makes grades of all; steps that were judged keep their quadrant."""
    rows = [record("a", right=None, score=0.0), record("b", right=None, score=1.0), record("c", right=(False, True))]
    (tmp_path / "rollouts").mkdir()
    write_rollouts(tmp_path / "rollouts" / "step=000001.parquet", rows)
    assert not read_index(tmp_path).graded
    write_rollouts(tmp_path / "rollouts" / "step=000002.parquet", [record("a", right=None, score=0.46)])
    found = read_index(tmp_path)
    assert found.graded
    assert [GRAVITY[q] for q in found.quadrant] == ["unknown", "unknown", "confident-wrong", "unknown"]
    unknown = 1 << GRAVITY.index("unknown")
    assert found.quadrants[[0, 1, 3]].tolist() == [unknown] * 3 and found.quadrants[2] != unknown
    assert np.isnan(found.sure[[0, 1, 3]]).all() and found.sure[2] == np.float32(0.1)


def test_labels_are_bits(index):
    doubt = 1 << LABELS.index("doubt")
    assert set(index.labels.tolist()) == {0, doubt} or set(index.labels.tolist()) == {doubt}


def test_what_nobody_logged_is_unknown(tmp_path):
    """Two answers of another program of which the text alone is known."""
    nothing, unknown = np.zeros(0), frozenset({"ids", "logp", "prompt_ids", "temperature"})
    bare = [
        RolloutRecord(Rollout(Task(t, (), ""), 0, nothing, nothing, nothing, np.nan, "eos", "abcd"), unknown=unknown)
        for t in ("a", "b")
    ]
    write_rollouts(tmp_path / "bare.parquet", bare)
    found = read_index(tmp_path / "bare.parquet")
    assert len(found) == 2 and found.tasks == ("a", "b") and found.length.tolist() == [-1, -1]
    assert set(found.quadrant.tolist()) == {GRAVITY.index("unknown")} and np.isnan(found.score).all()
    shown = page(found, 1)
    assert shown["tokens"] == ["abcd"] and shown["signals"] == {} and shown["steps"] == []
    assert {shown[name] for name in ("question", "prompt", "token_ids", "temperature", "score")} == {"", None}


def test_an_empty_file_has_no_rollouts(tmp_path):
    (tmp_path / "rollouts").mkdir()
    write_rollouts(tmp_path / "rollouts" / "step=000001.parquet", [])
    write_rollouts(tmp_path / "rollouts" / "step=000002.parquet", [record()])
    found = read_index(tmp_path)
    assert len(found) == 1 and found.step.tolist() == [2] and page(found, 0)["task"] == "t0"


def test_files_of_another_version_are_named(tmp_path):
    (tmp_path / "rollouts").mkdir()
    files = [tmp_path / "rollouts" / f"step={step:06d}.parquet" for step in (1, 2)]
    for file in files:
        write_rollouts(file, [record()])
    pq.write_table(pq.read_table(files[0]).replace_schema_metadata({"frown.rollouts": "0"}), files[0])
    found = read_index(tmp_path)
    assert len(found) == 1 and len(found.unread) == 1 and "step=000001" in found.unread[0]
    assert "holds rollouts of version 0" in found.unread[0]
    with pytest.raises(FrownError, match="holds rollouts of version 0") as caught:
        read_index(files[0])
    assert "\n" not in str(caught.value)


def test_no_rollouts_is_one_line(tmp_path):
    with pytest.raises(FrownError, match="not there"):
        find_sources(tmp_path / "nowhere")
    with pytest.raises(FrownError, match="holds no rollouts"):
        find_sources(tmp_path)
    (tmp_path / "x.parquet").write_bytes(b"not a Parquet file")
    with pytest.raises(FrownError, match="can be read"):
        read_index(tmp_path / "x.parquet")


def test_hostile_files_are_read_or_named(tmp_path):
    found = read_index(hostile(tmp_path / "run"))
    assert len(found) == 7
    assert len(found.unread) == 1 and "step=000003" in found.unread[0]
    lone = page(found, 5)
    assert lone["tokens"] == ["\ufffd\ufffd\ufffd lone"] == [found.questions[found.task[5]]]
    assert page(found, 6)["text"] == "cut \ufffd"
    assert search(found, "LONE") == [5]


def test_search_reads_questions_answers_and_feedback(index):
    assert search(index, "") == []
    assert len(search(index, "WHAT IS T9")) == 12
    told = search(index, "look at <B>")
    assert {index.key(i) for i in told} == {f"{arm}/seed0:train:{s}:0" for arm in ("aimed", "grpo") for s in (1, 2)}
    assert search(index, "no such words .*") == []


def test_the_fate_of_a_doubt(index):
    i = next(i for i in range(len(index)) if index.key(i) == "aimed/seed0:test:0:0")
    found = history(index, i)
    assert found["all"] == 12 and len(found["answers"]) == 12
    first, second = found["fates"]
    # Its own other answers still doubt; at step 2 the first step is right and sure, the second sure and wrong.
    assert first == {
        "step": 0,
        "after": [{"step": 0, "counts": [0, 0, 0, 2, 0]}, {"step": 2, "counts": [2, 0, 0, 0, 0]}],
    }
    assert second["after"][1]["counts"] == [0, 0, 2, 0, 0]
