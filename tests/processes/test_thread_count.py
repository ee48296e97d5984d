"""That the number of threads decided on is the one that a new process has."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SETTLED = """
import json, os
from unittest import mock
from frown.runtime import threads
threads.wait_asleep()
import torch
with (mock.patch.object(threads, "TINY", 0 if {large} else 10**9),
      mock.patch.object(threads, "own_cores", lambda: frozenset(range(6))),
      mock.patch.object(threads, "cpu_quota", lambda: None),
      mock.patch.object(threads, "busy_cores", lambda cores: {busy})):
    said = threads.settle(torch.nn.Linear(2, 2))
print(json.dumps([said.number, torch.get_num_threads(), os.environ["OMP_WAIT_POLICY"]]))
"""


@pytest.mark.parametrize(
    ("large", "busy", "env", "expected"),
    [
        (True, 1.0, {}, [5, 5, "PASSIVE"]),
        (True, 6.0, {}, [1, 1, "PASSIVE"]),
        (False, 0.0, {}, [1, 1, "PASSIVE"]),
        (False, 6.0, {"OMP_NUM_THREADS": "3", "OMP_WAIT_POLICY": "ACTIVE"}, [3, 3, "ACTIVE"]),
    ],
)
def test_the_count_is_really_set(large, busy, env, expected):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "MKL_"))}
    found = subprocess.run(
        [sys.executable, "-c", SETTLED.format(large=large, busy=busy)],
        capture_output=True, text=True, check=True, env={**clean, **env},
    )  # fmt: skip
    assert json.loads(found.stdout) == expected


def test_the_command_line_lets_waiting_threads_sleep_before_torch_is_there():
    """OpenMP itself says which policy it read; torch must not be imported earlier than it is set."""
    code = (
        "import sys, frown.cli.app\nassert 'torch' not in sys.modules\n"
        "try: frown.cli.app.main(['--version'])\nexcept SystemExit: pass\nimport torch"
    )
    clean = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, env={**clean, "OMP_DISPLAY_ENV": "true"},
    )  # fmt: skip
    if "OMP_WAIT_POLICY" not in found.stderr:
        pytest.skip("this torch has another OpenMP library")
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in found.stderr
