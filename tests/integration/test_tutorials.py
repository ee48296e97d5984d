"""Each tutorial is one script of under 40 lines, taken from its page and run."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

from paths import ROOT
from tiny import byte_model, gsm8k_rows, write_jsonl

PAGES = ROOT / "docs" / "tutorials"
NAMES = ("data", "critic", "signal", "objective")


def script(name: str) -> str:
    [code] = re.findall(r"^```python\n(.*?)^```$", (PAGES / f"{name}.md").read_text(), re.DOTALL | re.MULTILINE)
    return str(code)


def test_every_page_is_here():
    assert {page.stem for page in PAGES.glob("*.md")} == {
        *NAMES,
        "method",
    }  # the last one is a package: tests/processes/test_entry_points.py


@pytest.mark.parametrize("name", NAMES)
def test_a_tutorial_runs_as_it_is_written(name, tmp_path, monkeypatch, capsys):
    code = script(name)
    assert "from frown" not in code  # the public face has all that a tutorial needs
    assert sum(bool(line.strip()) for line in code.splitlines()) < 40
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODEL", str(byte_model(tmp_path / "model")))
    monkeypatch.setenv("DATA", str(write_jsonl(tmp_path / "train.jsonl", gsm8k_rows(12))))
    Path("script.py").write_text(code)
    runpy.run_path("script.py", run_name="__main__")
    runs = list(Path("runs").iterdir())
    assert len(runs) == (2 if name in ("signal", "objective") else 1)
    for run in runs:
        assert json.loads((run / "status.json").read_text())["status"] == "finished"
    printed = capsys.readouterr().out
    if name == "objective":
        own, built_in = (json.loads(line[line.index("[") :]) for line in printed.splitlines() if "[" in line)
        assert own[0] != built_in[0]
    if name == "data":
        assert len(json.loads(printed.splitlines()[-1])) == 2  # accuracy before and after
