"""A method and a recipe of another package: installed, listed, and run like frown's own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from frown.store.rollouts import read_rollouts
from frown.store.run_directory import RunDirectory
from paths import ROOT

PAGE = (ROOT / "docs" / "tutorials" / "method.md").read_text(encoding="utf-8")
METHOD, PROJECT = (
    re.search(f"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[1] for language in ("python", "toml")
)
"""The method and the package of the tutorial."""
RECIPE = """
from cyclopts import App

app = App(name="tinyrecipe", help="A recipe of another package.")


@app.command
def greet(name: str) -> None:
    print(f"hello {name}")
"""
ENTRY_POINTS = f"""
[frown.methods]
{chr(10).join(f"{k} = {v}" for k, v in tomllib.loads(PROJECT)["project"]["entry-points"]["frown.methods"].items())}

[frown.recipes]
tinyrecipe = laststep.recipe:app
broken = laststep.absent:app
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder of packages as `pip install --target` leaves it, without the network that pip's build needs."""
    target = tmp_path_factory.mktemp("packages")
    package, metadata = target / "laststep", target / "laststep-0.1.dist-info"
    package.mkdir()
    metadata.mkdir()
    (package / "__init__.py").touch()
    (package / "method.py").write_text(METHOD)
    (package / "recipe.py").write_text(RECIPE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: laststep\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    return target


def frown(installed: Path, *words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), *sys.path]), "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-m", "frown", *map(str, words)], capture_output=True, text=True, check=False, env=environment
    )


def test_the_method_of_the_tutorial_is_listed_explained_and_trained_with(installed, tmp_path):
    listed = frown(installed, "methods")
    assert "last_step  (from the package laststep)\n    the worked solution" in listed.stdout, listed.stderr
    assert "grpo\n" in listed.stdout
    methods = {m["name"]: m for m in json.loads(frown(installed, "methods", "--json").stdout)}
    assert not methods["last_step"]["builtin"] and methods["sdpo"]["builtin"]
    explained = frown(installed, "methods", "last_step").stdout
    assert "loss = sum over tokens t of the last step" in explained and "method.steps = 1" in explained
    assert "sampling.responses_per_prompt=3" in explained

    small = ("sampling.prompts_per_step=2", "sampling.max_new_tokens=24", "eval.prompts=2", "eval.samples=2")
    out = tmp_path / "run"
    done = frown(installed, "train", "--method", "last_step", "--out", out, *small, "optimiser.steps=1")
    assert done.returncode == 0, done.stderr
    config = json.loads((out / "config.json").read_text())
    assert config["method"]["type"] == "last_step" and config["method"]["steps"] == 1
    assert config["sampling"]["responses_per_prompt"] == 3
    [step] = [m for m in RunDirectory(out).metrics() if "loss" in m]
    assert step["loss"] > 0
    with read_rollouts(out / "rollouts" / "step=000001.parquet") as records:
        taught = [r for r in records if r.teacher is not None]
    assert taught and all(not r.rollout.verdict.right for r in taught)
    for r in taught:
        start, end = r.rollout.steps[-1]
        assert r.teacher.weight[start:end].all() and not r.teacher.weight[:start].any()

    wrong = frown(installed, "train", "--method", "last_step", "method.stepss=2")
    assert wrong.returncode == 2 and "did you mean 'method.steps'?" in wrong.stderr


def test_a_recipe_of_another_package_is_a_command_and_a_broken_one_stops_no_other(installed):
    assert frown(installed, "recipe", "tinyrecipe", "greet", "you").stdout == "hello you\n"
    overview = frown(installed, "recipe", "--help").stdout
    assert "A recipe of another package." in overview and "broken" in overview
    broken = frown(installed, "recipe", "broken", "anything")
    assert broken.returncode == 2 and "recipe broken cannot be imported" in broken.stderr
    assert "Traceback" not in broken.stderr
