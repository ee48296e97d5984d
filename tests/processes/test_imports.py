"""What an import brings along: heavy packages are imported where they are used, and not before."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PRINT_LOADED = """
import importlib, json, sys
for name in {modules!r}:
    importlib.import_module(name)
print(json.dumps(sorted(set({heavy!r}) & set(sys.modules))))
"""


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        (["frown"], ["torch", "transformers", "numpy", "pydantic", "pyarrow", "rich", "matplotlib", "frown.config"]),
        (["frown", "frown.cli.app", "frown.config"], ["torch", "transformers", "matplotlib", "trl", "frown.trl"]),
        (["frown.signals.token", "frown.inspect.read", "frown.report.reading"], ["torch"]),
        (["frown.report.html", "frown.report.table"], ["torch", "matplotlib", "jinja2", "pyarrow", "rich"]),
        (
            ["frown.tasks.load", "frown.tasks.gym", "frown.inspect.grade"],
            ["torch", "transformers", "sympy", "math_verify", "reasoning_gym", "matplotlib"],
        ),
        (["frown.lab.card", "frown.lab.environment", "frown.lab.build"], ["torch", "transformers"]),
        (
            ["frown.feedback.compose", "frown.critics.model.critic", "frown.critics.model.endpoint"],
            ["openai", "httpx2", "torch"],
        ),
        (["frown.training.loop", "frown.training.step"], ["frown.trl", "trl"]),
    ],
    ids=lambda names: names[0],
)
def test_heavy_packages_are_imported_where_they_are_used(modules, heavy):
    code = PRINT_LOADED.format(modules=modules, heavy=heavy)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize(
    "code",
    [
        "import frown; frown.load(frown.RunConfig, None, ['method=aimed']); frown.train, frown.compare, frown.evaluate",
        "from frown.cli.app import main; main(['--help']); main(['config']); main(['methods']); main(['train', '-h'])",
    ],
)
def test_torch_waits_until_something_is_computed(code):
    code += "\nimport sys; sys.exit(' '.join({'torch', 'transformers'} & set(sys.modules)) or 0)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
