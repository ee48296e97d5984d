"""A method and a recipe of another package: installed, listed, and run like frown's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from frown.store.run_directory import RunDirectory

METHOD = '''
"""Tiny: half the usual share of self-distillation.

    loss = d / 2 * D(student, teacher)
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from frown import Teaching


class Tiny(Teaching):
    """Half of OPSD."""

    type: Literal["tinymethod"] = "tinymethod"
    summary: ClassVar[str] = "half of opsd"
    settings: ClassVar[Mapping[str, Any]] = {"sampling": {"responses_per_prompt": 3}}

    feedback: tuple[str, ...] = ("reference",)
    halves: int = 1
    """How often the share is halved."""

    @property
    def share(self) -> float:
        return self.distillation / 2**self.halves
'''
RECIPE = """
from cyclopts import App

app = App(name="tinyrecipe", help="A recipe of another package.")


@app.command
def greet(name: str) -> None:
    print(f"hello {name}")
"""
ENTRY_POINTS = """
[frown.methods]
tinymethod = tinypackage.method:Tiny

[frown.recipes]
tinyrecipe = tinypackage.recipe:app
broken = tinypackage.absent:app
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder of packages as `pip install --target` leaves it, without the network that pip's build needs."""
    target = tmp_path_factory.mktemp("packages")
    package, metadata = target / "tinypackage", target / "tinypackage-0.1.dist-info"
    package.mkdir()
    metadata.mkdir()
    (package / "__init__.py").touch()
    (package / "method.py").write_text(METHOD)
    (package / "recipe.py").write_text(RECIPE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tinypackage\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    return target


def frown(installed: Path, *words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), *sys.path]), "COLUMNS": "100"}
    return subprocess.run(
        [sys.executable, "-m", "frown", *map(str, words)], capture_output=True, text=True, check=False, env=environment
    )


def test_a_method_of_another_package_is_listed_explained_and_trained_with(installed, tmp_path):
    listed = frown(installed, "methods")
    assert "tinymethod  (from the package tinypackage)\n    half of opsd" in listed.stdout, listed.stderr
    assert "grpo\n" in listed.stdout
    methods = {m["name"]: m for m in json.loads(frown(installed, "methods", "--json").stdout)}
    assert not methods["tinymethod"]["builtin"] and methods["sdpo"]["builtin"]
    explained = frown(installed, "methods", "tinymethod").stdout
    assert "loss = d / 2 * D(student, teacher)" in explained and "method.halves = 1" in explained
    assert "sampling.responses_per_prompt=3" in explained

    small = ("sampling.prompts_per_step=2", "sampling.max_new_tokens=24", "eval.prompts=2", "eval.samples=2")
    out = tmp_path / "run"
    done = frown(installed, "train", "--method", "tinymethod", "--out", out, *small, "optimiser.steps=1")
    assert done.returncode == 0, done.stderr
    config = json.loads((out / "config.json").read_text())
    assert config["method"]["type"] == "tinymethod" and config["method"]["halves"] == 1
    assert config["sampling"]["responses_per_prompt"] == 3
    [step] = [m for m in RunDirectory(out).metrics() if "loss" in m]
    assert step["loss"] > 0

    wrong = frown(installed, "train", "--method", "tinymethod", "method.halvess=2")
    assert wrong.returncode == 2 and "did you mean 'method.halves'?" in wrong.stderr


def test_a_recipe_of_another_package_is_a_command_and_a_broken_one_stops_no_other(installed):
    assert frown(installed, "recipe", "tinyrecipe", "greet", "you").stdout == "hello you\n"
    overview = frown(installed, "recipe", "--help").stdout
    assert "A recipe of another package." in overview and "broken" in overview
    broken = frown(installed, "recipe", "broken", "anything")
    assert broken.returncode == 2 and "recipe broken cannot be imported" in broken.stderr
    assert "Traceback" not in broken.stderr
