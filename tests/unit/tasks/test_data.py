"""Reading data: every mistake is one line, nothing is dropped silently, splits are fixed and disjoint."""

import json
from pathlib import Path

import numpy as np
import pytest

from frown.config import TaskConfig
from frown.errors import FrownError
from frown.tasks.data import read_tasks, share, split_tasks, task_id
from frown.tasks.load import load_environment
from frown.tasks.rows import read_rows
from paths import SHARED

COLUMNS = {"question": "question", "answer": "answer"}


def shared_data() -> Path:
    return SHARED / "data"


def needs(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"the shared data set {path.parent.name} is not here")
    return path


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")
    return path


def sums(path: Path, n: int, start: int = 0) -> Path:
    return write(path, *({"question": f"{i} + 1 = ?", "answer": i + 1} for i in range(start, start + n)))


@pytest.mark.parametrize(
    ("content", "columns", "words"),
    [
        (b"", {}, ["has no rows"]),
        (b"\n  \n", {}, ["has no rows"]),
        (b'{"question": "q", "answer": "a"}\n{"question": \n', {}, ["line 2", "not JSON"]),
        (b"\n[1, 2]\n", {}, ["line 2", "array", "one object"]),
        (b'"q"\n', {}, ["line 1", "string"]),
        (b"null\n", {}, ["line 1", "null"]),
        (b'{"question": "q", "answr": "a"}\n', {}, ["line 1", "'answer'", "question, answr", "mean 'answr'"]),
        (b"{}\n", {}, ["'question'", "none"]),
        (b'{"q": "q", "answer": "a"}\n', {"question": "qq"}, ["'qq'", "did you mean 'q'"]),
        (b'{"question": "q", "answer": ["a"]}\n', {}, ["line 1", "'answer'", "array", "string or a finite"]),
        (b'{"question": "q", "answer": true}\n', {}, ["boolean true"]),
        (b'{"question": "q", "answer": null}\n', {}, ["'answer' is null"]),
        (b'{"question": "q", "answer": NaN}\n', {}, ["number NaN", "finite"]),
        (b'{"question": 3, "answer": "a"}\n', {}, ["'question' is number 3", "not a string"]),
        (b'{"question": " ", "answer": "a"}\n', {}, ["'question' is empty"]),
        (b'{"question": "q", "answer": ""}\n', {}, ["'answer' is empty"]),
        (b'{"question": "\\ud800", "answer": "a"}\n', {}, ["line 1", "surrogate"]),
        (b'{"question": "q", "answer": "a"}\n{"question": "\xff", "answer": "a"}\n', {}, ["line 2", "UTF-8"]),
        (b'{"question": "q", "answer": ' + b"9" * 5000 + b"}\n", {}, ["line 1", "not JSON"]),
        (b"[" * 100_000 + b"\n", {}, ["line 1", "not JSON"]),
        (b'{"question": "q", "answer": "a"}\n', {"anser": "answer"}, ["no field 'anser'", "mean 'answer'"]),
        (b'{"question": "q", "answer": "a"}\n', {"system": "sys"}, ["no column 'sys'"]),
        (b'{"question": "q", "answer": "a", "s": 1}\n', {"solution": "s"}, ["'s' is number 1"]),
    ],
)
def test_a_mistake_in_a_file_is_one_line(tmp_path, content, columns, words):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(FrownError) as error:
        read_tasks(path, columns)
    message = str(error.value)
    assert "\n" not in message and len(message) < 400
    for word in words:
        assert word in message


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FrownError, match=r"nowhere\.jsonl does not exist"):
        read_rows(tmp_path / "nowhere.jsonl")
    with pytest.raises(FrownError, match="cannot be read"):
        read_rows(tmp_path)


def test_rows_end_at_newlines_alone(tmp_path):
    row = {"question": "one\u2028two\x85three\u2029", "answer": "x"}
    path = write(tmp_path / "rows.jsonl", row, row | {"answer": "y"})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))  # byte-order mark, CRLF
    assert [r.values for r in read_rows(path)] == [row, row | {"answer": "y"}]


def test_numbers_solutions_and_systems(tmp_path):
    path = write(
        tmp_path / "rows.jsonl",
        {"q": "a", "n": 42, "s": "work", "sys": "be kind"},
        {"q": "b", "n": 0.5, "s": None, "sys": None},
        {"q": "c", "n": 1e22, "s": None, "sys": None},
    )
    columns = {"question": "q", "answer": "n", "solution": "s", "system": "sys"}
    first, second, third = read_tasks(path, columns)[0]
    assert (first.answer, first.solution, first.question) == ("42", "work", "a")
    assert [m["role"] for m in first.messages] == ["system", "user"]
    assert (second.answer, second.solution, len(second.messages)) == ("0.5", None, 1)
    assert third.answer == "1" + 22 * "0"
    assert first.data == {"file": "rows.jsonl", "line": 1}


def test_ids_are_content_hashes_and_duplicates_are_counted(tmp_path):
    one, two = {"question": "q", "answer": "1"}, {"question": "q", "answer": "2"}
    tasks, report = read_tasks(write(tmp_path / "a.jsonl", one, two, one, one), COLUMNS)
    assert (report.rows, report.duplicates, len(tasks)) == (4, 2, 2)
    again = read_tasks(write(tmp_path / "b.jsonl", two | {"other": 1}, one), COLUMNS)[0]
    assert {t.id for t in again} == {t.id for t in tasks}
    assert len(tasks[0].id) == 16 and tasks[0].id == task_id(tasks[0].messages, "1") != tasks[1].id


def test_a_task_keeps_its_split_when_rows_are_added(tmp_path):
    few = read_tasks(sums(tmp_path / "a.jsonl", 300), COLUMNS)[0]
    many = read_tasks(sums(tmp_path / "b.jsonl", 600), COLUMNS)[0]
    kept, held = split_tasks(few, 7, 0.1)
    more_kept, more_held = split_tasks(many, 7, 0.1)
    assert {t.id for t in held} <= {t.id for t in more_held}
    assert {t.id for t in kept} <= {t.id for t in more_kept}
    assert len(kept) + len(held) == 300 and all(share(7, t) < 0.1 for t in held)
    assert 30 <= len(more_held) <= 90  # 60 expected, standard deviation 7.3
    assert {t.id for t in split_tasks(few, 8, 0.1)[1]} != {t.id for t in held}
    assert [len(side) for side in split_tasks(few[:2], 7, 0.0)] == [1, 1]


def test_one_file_is_split_in_three(tmp_path):
    config = TaskConfig(kind="exact", data=sums(tmp_path / "rows.jsonl", 200))
    env, again = load_environment(config, seed=3), load_environment(config, seed=3)
    train = env.train_tasks(np.random.default_rng(0), 1000)
    dev, test = env.test_tasks("dev", 1000), env.test_tasks("test", 1000)
    ids = [{t.id for t in part} for part in (train, dev, test)]
    assert sum(map(len, ids)) == len(set.union(*ids)) == 200
    assert again.test_tasks("test", 5) == test[:5] and again.test_tasks("dev", 1000) == dev
    assert {t.id for t in load_environment(config, seed=4).test_tasks("test", 1000)} != ids[2]
    with pytest.raises(FrownError, match=r"no split 'heldout', only dev, test; set eval\.heldout_prompts = 0"):
        env.test_tasks("heldout", 1)


def test_train_tasks_come_without_replacement(tmp_path):
    env = load_environment(TaskConfig(kind="exact", data=sums(tmp_path / "rows.jsonl", 50)))
    size = len(env.train)
    once = env.train_tasks(np.random.default_rng(1), size)
    assert len({t.id for t in once}) == size
    times = np.unique([t.id for t in env.train_tasks(np.random.default_rng(1), 2 * size + 3)], return_counts=True)[1]
    assert sorted(set(times)) == [2, 3] and sum(times == 3) == 3
    draw = [t.id for t in env.train_tasks(np.random.default_rng(5), 4)]
    assert draw == [t.id for t in env.train_tasks(np.random.default_rng(5), 4)]
    assert draw != [t.id for t in env.train_tasks(np.random.default_rng(6), 4)]


def test_a_test_row_is_never_trained_on(tmp_path):
    train, test = sums(tmp_path / "train.jsonl", 40), sums(tmp_path / "test.jsonl", 20, start=30)
    env = load_environment(TaskConfig(kind="exact", data=train, test_data=test))
    tested = {t.question for t in env.test_tasks("test", 100)}
    assert len(tested) == 20
    assert not tested & {t.question for t in env.train + tuple(env.test_tasks("dev", 100))}
    assert [(r.rows, r.in_test) for r in env.reports] == [(40, 10), (20, 0)]


def test_test_data_alone_can_be_measured_but_not_trained_on(tmp_path):
    env = load_environment(TaskConfig(kind="exact", test_data=sums(tmp_path / "test.jsonl", 5)))
    assert len(env.test_tasks("test", 9)) == 5
    with pytest.raises(FrownError, match="no training tasks"):
        env.train_tasks(np.random.default_rng(0), 1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "maths"}, ["no task 'maths'", "did you mean 'math'"]),
        ({"kind": "lab:chain"}, ["did you mean 'lab:chains'"]),
        ({"kind": "math"}, ["needs task.data"]),
        ({"kind": "lab:chains", "data": "rows.jsonl"}, ["leave out data"]),
        ({"kind": "math", "data": "nowhere.jsonl"}, ["nowhere.jsonl does not exist"]),
    ],
)
def test_bad_settings_are_one_line(settings, words):
    with pytest.raises(FrownError) as error:
        load_environment(TaskConfig(**settings))
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("family", ["chains", "columns"])
def test_the_lab_is_loaded_by_name(family):
    env = load_environment(TaskConfig(kind=f"lab:{family}", steps=3))
    tasks = env.test_tasks("dev", 5)
    assert len(tasks) == 5 and len(env.steps(tasks[0].solution)) >= 3
    assert all(v.right for v in env.verify(tasks, [t.solution for t in tasks]))
    env.close()


def test_options_are_for_gyms_and_too_few_rows_are_refused(tmp_path):
    path = sums(tmp_path / "rows.jsonl", 2)
    with pytest.raises(FrownError, match="task.options are settings of a reasoning-gym data set"):
        load_environment(TaskConfig(kind="exact", data=path, options={"min_terms": 2}))
    with pytest.raises(FrownError, match="2 rows to train on"):
        load_environment(TaskConfig(kind="exact", data=path))


def rights(env, n):
    tasks = env.test_tasks("test", n)
    return [v.right for v in env.verify(tasks, [t.answer for t in tasks])]


def test_reference_answers_are_right_by_their_own_grader(tmp_path):
    rows = [{"question": f"{i} + 1 = ?", "answer": f"work\n#### {i + 1}"} for i in range(12)]
    env = load_environment(TaskConfig(kind="math", test_data=write(tmp_path / "good.jsonl", *rows)))
    assert rights(env, 12) == [True] * 12
    env.close()


def test_sciknoweval_loads_with_its_own_columns():
    folder = needs(shared_data() / "sciknoweval" / "physics_train.jsonl").parent
    config = TaskConfig(
        kind="choice",
        data=folder / "physics_train.jsonl",
        test_data=folder / "physics_test.jsonl",
        columns={"question": "prompt", "answer": "answer", "system": "system"},
    )
    env = load_environment(config)
    assert [r.rows for r in env.reports] == [720, 80]
    assert rights(env, 80) == [True] * 80
    assert env.test_tasks("test", 1)[0].messages[0]["role"] == "system"


def test_gsm8k_gives_answers_and_worked_solutions():
    path = needs(shared_data() / "gsm8k" / "test.jsonl")
    env = load_environment(TaskConfig(kind="math", test_data=path))
    task = next(t for t in env.test_tasks("test", 2000) if t.data["line"] == 3)
    assert task.answer == "70000"
    assert "<<" not in task.solution and task.solution.endswith("#### 70000")
    assert env.verify([task], [task.solution])[0].right
    env.close()
