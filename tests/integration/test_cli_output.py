"""Where commands write, and what they say of errors underneath: --out and --verbose."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import threading

import pytest

from frown.cli.app import main
from frown.cli.output import print_json
from look_runs import comparison
from tiny import byte_model

FROWN = [sys.executable, "-m", "frown.cli.app"]
GRADE = ["--task", "choice", "--columns", "completion=out,answer=gold"]


@pytest.fixture
def answers(tmp_path):
    rows = [
        {"out": "<answer>A</answer>", "gold": "A"},
        {"out": None, "gold": "A"},
        {"out": "<answer>B</answer>", "gold": "A"},
    ]
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def scores(text: str) -> list[float | None]:
    return [json.loads(line)["score"] for line in text.splitlines()]


def mistake(capsys, *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert ended.value.code == 2 and out == "" and "Traceback" not in err
    assert len(err.strip().split("\n")) == 1 and err.startswith("frown: "), err
    return err.strip()


def frown(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*FROWN, *map(str, arguments)], text=True, capture_output=True, timeout=120, **options)


def test_grade_writes_through_a_link_and_says_what_was_left_out(answers, tmp_path, capsys):
    target, link = tmp_path / "target.jsonl", tmp_path / "link.jsonl"
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    main(["grade", str(answers), *GRADE, "--out", str(link)])
    assert link.is_symlink() and scores(target.read_text()) == [1.0, None, 0.0]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    out = capsys.readouterr().out
    assert "3 n, 1 right, 1 wrong, 1 unscored" in out
    assert (
        "1 of the unscored have nothing to be judged; the first:" in out and "line 2: the completion is missing" in out
    )


def test_grade_writes_into_a_pipe(answers, tmp_path, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    texts: list[str] = []
    reader = threading.Thread(target=lambda: texts.append(pipe.read_text()))
    reader.start()
    main(["grade", str(answers), *GRADE, "--out", str(pipe)])
    reader.join()
    assert scores(texts[0]) == [1.0, None, 0.0] and stat.S_ISFIFO(pipe.stat().st_mode)
    main(["grade", str(answers), *GRADE, "--out", os.devnull])
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode) and "3 n" in capsys.readouterr().out


def test_grade_writes_to_standard_output_and_nothing_else_does(answers):
    done = frown("grade", answers, *GRADE, "--out", "/dev/stdout", "--explain")
    assert scores(done.stdout) == [1.0, None, 0.0] and "3 n, 1 right" in done.stderr and done.returncode == 0
    shell = f"{' '.join(FROWN)} grade {answers} {' '.join(GRADE)} --out >(cat >&2; echo read >&2); sleep 1"
    if bash := shutil.which("bash"):
        done = subprocess.run([bash, "-c", shell], text=True, capture_output=True, timeout=120)
        assert scores(done.stderr.partition("read")[0]) == [1.0, None, 0.0] and "3 n" in done.stdout


def test_pages_and_rollouts_go_to_standard_output(tmp_path):
    run = comparison(tmp_path / "demo")
    done = frown("look", run, "--out", "/dev/stdout", "--most", "1")
    assert done.stdout.startswith("<!doctype html>") and done.stdout.rstrip().endswith("</html>")
    assert "1 of" in done.stderr
    with (tmp_path / "all.parquet").open("wb") as file:
        done = subprocess.run([*FROWN, "export", str(run), "--to", "parquet", "--out", "/dev/stdout"], stdout=file,
                              stderr=subprocess.PIPE, timeout=120)  # fmt: skip
    assert (tmp_path / "all.parquet").read_bytes()[-4:] == b"PAR1" and b"rollouts" in done.stderr


@pytest.mark.parametrize("place", ["folder", "absent/out", "file/out", "/dev/full", "loop"])
def test_a_place_that_cannot_be_written_is_one_line(place, answers, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    (tmp_path / "loop").symlink_to("loop")
    run = comparison(tmp_path / "demo")
    assert place.split("/")[-1] in mistake(capsys, "grade", answers, *GRADE, "--out", place)
    assert place in mistake(capsys, "look", run, "--out", place)
    assert place in mistake(capsys, "export", run, "--to", "parquet", "--out", place)
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("place", ["file", "file/run", "/dev/null", "dangling"])
def test_a_folder_that_cannot_be_made_is_one_line_before_anything_is_done(place, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("kept")
    (tmp_path / "dangling").symlink_to("nowhere/run")
    (tmp_path / "log.jsonl").write_text('{"choices": [{"text": "a"}]}\n')
    for command in (
        ["train", "--model", "lab:chains-0", "--task", "lab:chains"],
        ["compare", "--preset", "smoke"],
        ["eval", "lab:chains-0", "--task", "lab:chains"],
        ["import", "log.jsonl"],
        ["recipe", "negotiation", "select"],
        ["recipe", "empathy"],
    ):
        assert f"cannot write {place}: " in mistake(capsys, *command, "--out", place), command
    assert (tmp_path / "file").read_text() == "kept" and not (tmp_path / "nowhere").exists()


def test_what_is_read_is_not_written_over(answers, tmp_path, capsys):
    assert "is the file being read" in mistake(capsys, "grade", answers, *GRADE, "--out", answers)
    log = tmp_path / "log.jsonl"
    log.write_text('{"choices": [{"text": "a"}]}\n')
    assert "is the file being read" in mistake(capsys, "look", log, "--out", log)
    assert "is the file being read" in mistake(capsys, "export", log, "--to", "parquet", "--out", log)


def test_a_log_with_broken_parts_is_read_and_they_are_counted(tmp_path, capsys):
    top = [{"token": "a", "logprob": -0.1}, {"token": "b", "logprob": float("-inf")}]
    good = {"choices": [{"message": {"content": "a"}, "logprobs": {"content": [
        {"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": top}]}}]}  # fmt: skip
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(r) + "\n" for r in (good, {"error": {"message": "overloaded"}}, {"x": 1})))
    main(["read", str(log), "--json"])
    out, err = capsys.readouterr()
    assert json.loads(out)["left_out"] == {"alternatives": 1, "requests": 1, "rows": 1}
    assert json.loads(out)["rollouts"] == 1
    assert "left out: 1 request that failed; the first: line 2: overloaded" in err and err.count("\n") == 3
    main(["import", str(log), "--out", str(tmp_path / "run")])
    out, err = capsys.readouterr()
    assert "1 answers, 1 with logprobs, 1 unscored" in out and err.count("left out") == 3
    main(["look", str(log), "--text"])
    assert capsys.readouterr().err.count("left out") == 3


@pytest.mark.parametrize("place", ["before", "behind", "within"])
def test_verbose_gives_what_libraries_say_whole(place, tmp_path, capsys):
    folder = byte_model(tmp_path / "model", context=64)
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    capsys.readouterr()
    words = ["read", str(folder), "--prompt", "q", "--completion", "a"]
    line = mistake(capsys, *words)
    assert line.startswith("frown: cannot load model")
    words.insert({"before": 0, "behind": len(words), "within": 1}[place], "--verbose")
    with pytest.raises(SystemExit) as ended:
        main(words)
    err = capsys.readouterr().err
    assert ended.value.code == 2 and err.strip().split("\n")[-1] == line
    assert "Traceback" in err and err.count("\n") > 8


def test_verbose_shows_what_an_error_hid(tmp_path, capsys):
    """Errors that are raised `from None`, too; and without an error it changes nothing."""
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(SystemExit):
        main(["grade", str(bad), "--task", "exact", "--columns", "completion=a", "--verbose"])
    assert "pyarrow" in capsys.readouterr().err
    main(["methods", "--verbose"])
    one = capsys.readouterr()
    main(["methods"])
    assert capsys.readouterr() == one
    assert "--verbose" in help_of(capsys, "--help") and "--verbose" in help_of(capsys, "grade", "--help")


def help_of(capsys, *words: str) -> str:
    main(list(words))
    return str(capsys.readouterr().out)


def test_json_has_no_word_for_nan(capsys):
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json({"x": float("nan")})
