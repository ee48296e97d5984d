"""The command line as a person meets it: mistakes, Ctrl-C, and what is printed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from frown.cli.app import main
from frown.store.run_directory import RunDirectory
from tiny import byte_model, gsm8k_rows, write_jsonl
from warm import Process, completed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return byte_model(tmp_path_factory.mktemp("model"), context=256)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return write_jsonl(tmp_path_factory.mktemp("data") / "rows.jsonl", [
        {"question": f"What is {a} + {b}?", "answer": str(a + b)} for a in range(9) for b in range(9)
    ])  # fmt: skip


def mistake(capsys, *arguments: object) -> str:
    """The one line that a mistake is answered with."""
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert ended.value.code == 2, err
    assert out == "" and "Traceback" not in err
    lines = err.strip().split("\n")
    assert len(lines) == 1 and lines[0].startswith("frown: "), err
    return lines[0]


def train(folder, data, out, *more) -> list[object]:
    return ["train", "--model", folder, "--task", "math", "--data", data, "--out", out, *more]


SMALL = (
    "sampling.prompts_per_step=2",
    "sampling.responses_per_prompt=2",
    "sampling.max_new_tokens=8",
    "eval.prompts=2",
    "eval.samples=2",
)


def test_settings_that_are_wrong(capsys, folder, rows, tmp_path):
    out = tmp_path / "run"
    assert "did you mean 'optimiser.lr'?" in mistake(capsys, *train(folder, rows, out, "optimiser.lrr=1"))
    assert "greater than 0" in mistake(capsys, *train(folder, rows, out, "optimiser.lr=-1"))
    one = ("sampling.responses_per_prompt=1", "--method", "grpo")
    assert "gives GRPO no group" in mistake(capsys, *train(folder, rows, out, *one))
    assert "no config file" in mistake(capsys, "train", "--config", tmp_path / "none.toml")
    assert "no critic" in mistake(capsys, *train(folder, rows, out, "task.kind=exact", "--method", "critique"))
    assert "did you mean 'critique'?" in mistake(capsys, *train(folder, rows, out, "--method", "critic"))
    assert "It is the setting optimiser.lr=VALUE here." in mistake(capsys, "train", "--learning-rate", "1e-5")
    assert "did you mean" in mistake(capsys, "train", "--task", "mth", "--data", rows, "--model", folder)
    assert not out.exists()


def test_data_that_is_wrong(capsys, folder, tmp_path):
    def bad(text: str | None, *more) -> str:
        file = tmp_path / "data.jsonl"
        if text is not None:
            file.write_text(text)
        return mistake(capsys, *train(folder, file, tmp_path / "run", *more))

    good = '{"question": "1+1?", "answer": "2"}\n'
    assert "data.jsonl" in bad(None)
    assert "no rows" in bad("")
    assert "line 2" in bad(good + '{"question": \n')
    assert "answer" in bad('{"question": "1+1?", "anser": "2"}\n')
    assert "problem" in bad(good, "--columns", "question=problem")
    assert "columns" in bad(good, "--columns", "question")
    assert not (tmp_path / "run").exists()


def test_models_that_are_wrong(capsys, folder, rows, tmp_path):
    assert "does not exist" in mistake(capsys, *train(tmp_path / "none", rows, tmp_path / "run"))
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no config.json" in mistake(capsys, *train(empty, rows, tmp_path / "run"))
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, empty / name)
    assert "no weights" in mistake(capsys, *train(empty, rows, tmp_path / "run"))
    (empty / "model.safetensors").write_bytes(b"nonsense")
    assert "is cut or no safetensors file" in mistake(capsys, *train(empty, rows, tmp_path / "run"))
    no_template = tmp_path / "no_template"
    shutil.copytree(folder, no_template)
    (no_template / "chat_template.jinja").unlink()
    assert "no chat template" in mistake(capsys, *train(no_template, rows, tmp_path / "run"))
    assert "knows one lab family alone" in mistake(capsys, *train("lab:chains-0", rows, tmp_path / "run"))
    other = mistake(capsys, "train", "--model", "lab:chains-9", "--out", tmp_path / "run")
    assert "no bundled model 'chains-9'" in other and "chains-0" in other


def test_a_prompt_longer_than_the_context(capsys, folder, tmp_path):
    long = write_jsonl(tmp_path / "long.jsonl", [{"question": "x" * 300 + str(i), "answer": "1"} for i in range(90)])
    small = (*SMALL, "optimiser.lr=1e-3")
    assert "do not fit the model's context of 256" in mistake(capsys, *train(folder, long, tmp_path / "run", *small))
    assert not (tmp_path / "run" / "metrics.jsonl").exists()  # said before anything is trained


def test_commands_that_are_wrong(capsys, tmp_path):
    assert "--preset" in mistake(capsys, "compare")
    assert "demo" in mistake(capsys, "compare", "--preset", "dmeo")
    assert "workers" in mistake(capsys, "compare", "--preset", "smoke", "--workers", "0", "--out", tmp_path / "x")
    mistake(capsys, "tarin")
    mistake(capsys, "train", "--no-such-flag")
    mistake(capsys, "grade")
    assert "none.jsonl" in mistake(
        capsys, "grade", tmp_path / "none.jsonl", "--task", "math", "--columns", "completion=a,answer=b"
    )


def test_help_answers_for_every_command(capsys):
    from frown.cli.app import COMMANDS

    main(["--help"])
    overview = capsys.readouterr().out
    for name in (*COMMANDS, "recipe"):
        assert f" {name} " in overview
        main([name, "--help"])
        assert f"frown {name}" in capsys.readouterr().out


def test_commands_that_load_a_model_have_the_same_flags(capsys):
    for name in ("train", "probe", "eval", "compare"):
        main([name, "--help"])
        page = capsys.readouterr().out
        assert all(f"--{flag} " in page for flag in ("model", "task", "data", "columns", "out", "json")), name
        assert ("--method " in page) == (name in ("train", "probe"))


def test_config_lists_settings_and_answers_a_misspelt_one(capsys):
    main(["config", "optimiser.lr"])
    text = " ".join(capsys.readouterr().out.split())
    assert "by the model's size: 0.001 below 5 M parameters" in text and "number, above 0" in text
    main(["config", "teacher", "--json"])
    by_key = {s["key"]: s for s in json.loads(capsys.readouterr().out)}
    assert by_key["teacher.temperature"]["others"][0]["value"] == "0.5" and "teacher" in by_key
    main(["config", "--of", "eval", "max_new_tokens"])
    assert "max_new_tokens = 512" in capsys.readouterr().out
    assert "did you mean 'optimiser'?" in mistake(capsys, "config", "optimizer")
    assert "it is called 'optimiser.lr' here" in mistake(capsys, "config", "learning_rate")


def test_methods_are_listed_and_explained(capsys):
    main(["methods", "--json"])
    methods = {m["name"]: m for m in json.loads(capsys.readouterr().out)}
    assert {"grpo", "opsa", "sdpo", "opsd", "critique", "aimed"} <= set(methods)
    assert all(m[key] for m in methods.values() if m["builtin"] for key in ("summary", "paper", "cost", "result"))
    assert methods["aimed"]["settings"]["teacher"] == {"temperature": 0.5}
    main(["methods", "aimed"])
    text = capsys.readouterr().out
    assert "argmax over steps" in text and 'method.aim = "surprisal"' in text and "teacher.temperature=0.5" in text
    assert "did you mean 'aimed'?" in mistake(capsys, "methods", "amied")


def test_train_prints_what_was_reached_as_json(capsys, folder, rows, tmp_path):
    main([str(a) for a in train(folder, rows, tmp_path / "run", "--json", *SMALL, "optimiser.steps=1",
                                'method.feedback=["outcome"]', "method.type=sdpo")])  # fmt: skip
    assert json.loads(capsys.readouterr().out) == {"before": 0.0, "after": 0.0}


def test_grade_prints_counts_and_writes_a_scored_copy(capsys, tmp_path):
    gold = write_jsonl(tmp_path / "gold.jsonl", gsm8k_rows(12))
    main(["grade", str(gold), "--task", "math", "--columns", "completion=answer,answer=answer", "--json",
          "--out", str(tmp_path / "scored.jsonl")])  # fmt: skip
    assert json.loads(capsys.readouterr().out) == {
        "n": 12, "right": 12, "wrong": 0, "unscored": 0, "flexibly_right": 12, "strictly_right": 12
    }  # fmt: skip
    scored = [json.loads(line) for line in (tmp_path / "scored.jsonl").read_text().splitlines()]
    assert [r["score"] for r in scored] == [1.0] * 12


def wait_for(condition, process: Process | None = None) -> None:
    while not condition():
        assert process is None or process.poll() is None, "the process ended before"
        time.sleep(0.1)


def trained_steps(run: Path) -> int:
    return sum("loss" in m for m in RunDirectory(run).metrics())


def test_ctrl_c_leaves_a_readable_run_directory(folder, rows, tmp_path):
    out = tmp_path / "run"
    command = [*map(str, train(folder, rows, out, *SMALL, "optimiser.steps=100000",
                                       'method.feedback=["outcome"]', "method.type=sdpo", "eval.every=2"))]  # fmt: skip
    process = Process(*command)
    try:
        wait_for(lambda: trained_steps(out) >= 3, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 130 and "Traceback" not in err
    assert "stopped; what was reached is in the run directory" in err and "--resume" in err
    run = RunDirectory(out)
    assert run.status[0] == "interrupted"
    assert len(run.evals("test")) >= 1
    assert (out / "checkpoint" / "model.safetensors").is_file()


COMPARISON = """
baseline = "outcome"
seeds = [0, 1]
[base.model]
path = "{folder}"
[base.task]
kind = "math"
data = "{rows}"
[base.sampling]
prompts_per_step = 2
responses_per_prompt = 2
max_new_tokens = 8
[base.optimiser]
steps = {steps}
[base.eval]
every = 2
prompts = 3
samples = 2
[arms.outcome]
method = {{ type = "sdpo", feedback = ["outcome"] }}
[arms.grpo]
method = "grpo"
"""


def comparison(tmp_path: Path, folder: Path, rows: Path, steps: int) -> Path:
    file = tmp_path / "mine.toml"
    file.write_text(COMPARISON.format(folder=folder, rows=rows, steps=steps))
    return file


def test_compare_writes_summary_and_report_and_goes_on_where_it_was(folder, rows, tmp_path):
    file, out = comparison(tmp_path, folder, rows, 4), tmp_path / "cmp"
    command = ["compare", "--config", str(file), "--out", str(out), "--json"]
    first = completed(*command)
    assert first.returncode == 0, first.stderr
    summary = json.loads(first.stdout)
    assert summary == json.loads((out / "summary.json").read_text())
    assert set(summary["arms"]) == {"outcome", "grpo"}
    assert set(summary["arms"]["grpo"]["avg_at_k"]) >= {"mean", "ci95"}
    assert (out / "report.html").is_file()

    touched = (out / "runs" / "grpo" / "seed1" / "metrics.jsonl").stat().st_mtime_ns
    shutil.rmtree(out / "runs" / "outcome" / "seed0")
    again = completed(*command)
    assert (out / "runs" / "grpo" / "seed1" / "metrics.jsonl").stat().st_mtime_ns == touched

    def figures(text: str) -> dict:
        arms = json.loads(text)["arms"]
        return {n: (a["avg_at_k"], a["ece"], a["brier"], a["generated_tokens"]) for n, a in arms.items()}

    assert figures(again.stdout) == figures(first.stdout)  # a run made again is the same run


def test_workers_do_not_outlive_a_killed_comparison(folder, rows, tmp_path):
    file, out = comparison(tmp_path, folder, rows, 100_000), tmp_path / "cmp"
    command = ["compare", "--config", str(file), "--out", str(out), "--workers", "1"]
    process = Process(*command)
    wait_for(lambda: trained_steps(out / "runs" / "outcome" / "seed0") >= 1, process)
    process.kill()
    process.wait()
    wait_for(lambda: nobody_is_left(process.pid))


def nobody_is_left(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_smoke_preset(tmp_path):
    """The whole main job on the embedded lab: trained arms, a summary that holds together, a report."""
    command = ["compare", "--preset", "smoke", "--out", str(tmp_path / "smoke"), "--json"]
    done = completed(*command)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["failures"] == [] and set(summary["arms"]) == {"grpo", "sdpo", "aimed"}
    for arm in summary["arms"].values():
        low, high = arm["avg_at_k"]["ci95"]
        assert 0.1 < low <= arm["avg_at_k"]["mean"] <= high < 0.75
        assert arm["well_formed"]["mean"] > 0.6  # six steps from few answers may cost GRPO some of the form
        assert [point["step"] for point in arm["curve"]] == [0, 3, 6]
    assert summary["arms"]["aimed"]["comments"]["mean"] == pytest.approx(48, abs=2)  # 8 a step, fewer if malformed
    pairs = {(p["arm"], p["baseline"], p["metric"]) for p in summary["pairs"]}
    assert {("sdpo", "grpo", "avg_at_k"), ("aimed", "sdpo", "avg_at_k")} <= pairs
    assert "Avg@12" in (tmp_path / "smoke" / "report.html").read_text()


def test_ctrl_c_ends_every_worker_of_a_comparison(folder, rows, tmp_path):
    file, out = comparison(tmp_path, folder, rows, 100_000), tmp_path / "cmp"
    command = ["compare", "--config", str(file), "--out", str(out), "--workers", "2"]
    process = Process(*command)
    cells = [out / "runs" / arm / "seed0" for arm in ("outcome", "grpo")]
    try:
        wait_for(lambda: all(trained_steps(c) >= 2 for c in cells), process)
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does
        _, err = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 130 and "Traceback" not in err
    assert [RunDirectory(c).status[0] for c in cells] == ["interrupted", "interrupted"]
    assert all(json.loads(line) for c in cells for line in (c / "metrics.jsonl").read_text().splitlines())
    wait_for(lambda: nobody_is_left(process.pid))
