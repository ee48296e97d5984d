"""`frown grade`: counts add up, the scored copy is whole, mistakes are one line."""

import gzip
import json

import pyarrow as pa
import pytest

from frown.errors import FrownError
from frown.inspect.grade import UNREADABLE, explanation_line, grade_file, parse_columns

ROWS = [
    {"id": 1, "out": "<answer>A</answer>", "gold": "A"},
    {"id": 2, "out": "<answer>B</answer>", "gold": "A"},
    {"id": 3, "out": "no idea\u2028at all", "gold": "C"},
    {"id": 4, "out": "<answer>B</answer>", "gold": "A and B"},
    {"id": 5, "out": "", "gold": "D", "score": "kept rows may have had a score"},
]
COLUMNS = {"completion": "out", "answer": "gold"}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in ROWS), encoding="utf-8")
    return path


def test_counts_add_up_and_the_copy_keeps_every_row(path, tmp_path):
    before = path.read_bytes()
    out = tmp_path / "scored.jsonl"
    grades = grade_file(path, task="choice", columns=COLUMNS, out=out)
    assert grades == {
        "n": 5, "right": 1, "wrong": 3, "unscored": 1, "flexibly_right": 1, "strictly_right": 1
    }  # fmt: skip
    assert grades["right"] + grades["wrong"] + grades["unscored"] == grades["n"]
    scored = [json.loads(line) for line in out.read_text().splitlines()]
    keys = ("score", "scored", "verdict", "extracted")
    assert [{k: r[k] for k in r if k not in keys} for r in scored] == [
        {k: r[k] for k in r if k != "score"} for r in ROWS
    ]
    assert [r["score"] for r in scored] == [1.0, 0.0, 0.0, None, 0.0]
    assert [r["scored"] for r in scored] == [True, True, True, False, True]
    assert [r["extracted"] for r in scored] == ["A", "B", None, None, None]
    assert "one letter" in scored[3]["verdict"]
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["rows.jsonl", "scored.jsonl"]
    assert grade_file(out, task="choice", columns=COLUMNS) == grades  # a scored copy can be graded again


@pytest.mark.slow
def test_math_is_graded(tmp_path):
    pytest.importorskip("math_verify")
    rows = [
        {"completion": "#### 1,000", "answer": 1000},
        {"completion": "\\boxed{x+1}", "answer": "$1+x$"},
        {"completion": "\\boxed{2}", "answer": "???"},
        {"completion": "", "answer": "2"},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    counts = {"n": 4, "right": 2, "wrong": 1, "unscored": 1, "flexibly_right": 2, "strictly_right": 2}
    assert grade_file(path, task="math") == counts


def test_both_accuracies_and_why_each_row_was_judged_so(tmp_path):
    rows = [
        {"completion": "So we end with 5 pears.", "answer": "5"},
        {"completion": "The answer is 5.", "answer": "5"},
        {"completion": "The answer is 5 or 6.", "answer": "5"},
        {"completion": "\\boxed{5}", "answer": "???"},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    explained: list = []
    flexible = grade_file(path, task="math", explain=explained.append)
    assert flexible == {"n": 4, "right": 2, "wrong": 1, "unscored": 1, "flexibly_right": 2, "strictly_right": 1}
    assert [(e["judged"], e["rule"], e["answer"], e["in_form"]) for e in explained] == [
        ("right", "last line", "5", False),
        ("right", "answer is", "5", True),
        ("wrong", "answer is", None, False),
        ("unscored", "none", None, False),
    ]
    assert explained[2]["stated"] == "5 or 6" and explained[2]["why"] == "more than one final answer"
    assert "line 3" in explanation_line(explained[2]) and "more than one" in explanation_line(explained[2])
    explained.clear()
    out = tmp_path / "out.jsonl"
    strict = grade_file(path, task="math", strict=True, explain=explained.append, out=out)
    assert strict == {"n": 4, "right": 1, "wrong": 2, "unscored": 1, "flexibly_right": 2, "strictly_right": 1}
    assert explained[0]["judged"] == "wrong" and "not in the form" in explained[0]["why"]
    assert [json.loads(line)["score"] for line in out.read_text().splitlines()] == [0.0, 1.0, 0.0, None]


def test_the_input_is_never_overwritten(path, tmp_path):
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    for out in (path, link, path.parent / "." / path.name):
        with pytest.raises(FrownError, match="is the file being read"):
            grade_file(path, task="choice", columns=COLUMNS, out=out)
    assert len(path.read_text().split("\n")) == 5


def test_a_failed_run_leaves_the_old_copy_alone(path, tmp_path):
    out = tmp_path / "scored.jsonl"
    out.write_text("old")
    path.write_text(path.read_text() + '\n{"out": ')
    with pytest.raises(FrownError, match="line 6 is not JSON"):
        grade_file(path, task="choice", columns=COLUMNS, out=out)
    assert out.read_text() == "old"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"out": None, "gold": "A"}, "the completion is missing"),
        ({"gold": "A"}, "the completion is missing"),
        ({"out": 3, "gold": "A"}, "column 'out' is number 3, not a string"),
        ({"out": float("nan"), "gold": "A"}, "column 'out' is number NaN, not a string"),
        ({"out": True, "gold": "A"}, "column 'out' is boolean true, not a string"),
        ({"out": ["A"], "gold": "A"}, "column 'out' is array"),
        ({"out": {"text": "A"}, "gold": "A"}, "column 'out' is object"),
        ({"out": "half \ud800", "gold": "A"}, "column 'out' holds half a surrogate pair"),
        ({"out": "A", "gold": None}, "the reference answer is missing"),
        ({"out": "A", "gold": float("nan")}, "column 'gold' is number NaN"),
        ({"out": None, "gold": None}, "the reference answer is missing"),
        ({}, "the reference answer is missing"),
    ],
)
def test_a_row_without_a_completion_or_a_reference_is_unscored(path, tmp_path, row, why):
    """One among many costs itself, and the scored copy keeps it."""
    path.write_text(path.read_text() + "\n" + json.dumps(row))
    explained: list = []
    out = tmp_path / "scored.jsonl"
    grades = grade_file(path, task="choice", columns=COLUMNS, out=out, explain=explained.append)
    assert (grades["n"], grades["right"], grades["wrong"], grades["unscored"]) == (6, 1, 3, 2)
    assert explained[5]["judged"] == "unscored" and explained[5]["rule"] == UNREADABLE
    assert explained[5]["why"].startswith(why)
    copy = json.loads(out.read_text().splitlines()[5])
    assert copy["score"] is None and copy["scored"] is False and copy["verdict"].startswith(why)


def test_rows_of_which_none_can_be_graded_are_an_error(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"completion": null, "answer": "A"}\n' * 2)
    with pytest.raises(FrownError, match="line 1: the completion is missing; no row has"):
        grade_file(file, task="choice")


def packed(path, kind):
    """A file compressed, under the name that tools give it."""
    raw = path.read_bytes()
    if kind == ".gz":
        raw = gzip.compress(raw)
    elif kind == ".zst":
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(raw)
        raw = sink.getvalue().to_pybytes()
    path = path.with_name(path.name + kind)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("kind", [".gz", ".zst"])
def test_compressed_answers_are_read_as_they_are(path, kind):
    assert grade_file(packed(path, kind), task="choice", columns=COLUMNS)["n"] == 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"task": "choise"}, ["no task 'choise'", "did you mean 'choice'"]),
        ({"task": "choice", "columns": {"completions": "out"}}, ["no field 'completions'", "completion and answer"]),
        ({"task": "choice", "columns": {"completion": "output"}}, ["no column 'output'", "did you mean 'out'"]),
        ({"task": "choice"}, ["line 1 has no column 'completion'; columns there: id, out, gold"]),
    ],
)
def test_mistakes_are_one_line(path, options, words):
    with pytest.raises(FrownError) as error:
        grade_file(path, **options)
    for word in words:
        assert word in str(error.value)


def test_places_that_cannot_be_written(path, tmp_path):
    with pytest.raises(FrownError, match="is a folder"):
        grade_file(path, task="choice", columns=COLUMNS, out=tmp_path)
    with pytest.raises(FrownError, match="does not exist"):
        grade_file(path, task="choice", columns=COLUMNS, out=tmp_path / "absent" / "out.jsonl")
    with pytest.raises(FrownError, match="does not exist"):
        grade_file(tmp_path / "absent.jsonl", task="choice", columns=COLUMNS)


def test_columns_are_parsed():
    assert parse_columns("completion=out, answer = the gold") == {"completion": "out", "answer": "the gold"}
    assert parse_columns(" ") == {}
    assert parse_columns("answer=a=b") == {"answer": "a=b"}
    for text, words in [
        ("completion", "'completion' is not field=column"),
        ("a=", "'a='"),
        ("=b", "'=b'"),
        ("a=b,", "''"),
    ]:
        with pytest.raises(FrownError, match=words):
            parse_columns(text)
    with pytest.raises(FrownError, match="'a' is named twice"):
        parse_columns("a=b,a=c")
