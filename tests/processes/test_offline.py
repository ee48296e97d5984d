"""A machine without a network."""

from __future__ import annotations

import subprocess
import sys

from tiny import gsm8k_rows, write_jsonl


def test_without_a_network_a_hub_name_is_one_line(tmp_path):
    """In a process of its own, as a person would see it."""
    write_jsonl(tmp_path / "rows.jsonl", gsm8k_rows(9))
    environment = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    words = ["--model", "some-org/none", "--task", "math", "--data", "rows.jsonl", "--out", "run"]
    found = subprocess.run(
        [sys.executable, "-m", "frown.cli.app", "train", *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment | {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
    )
    assert found.returncode == 2
    assert "HF_HUB_OFFLINE is set" in found.stderr and "Traceback" not in found.stderr
    assert not (tmp_path / "run").exists()
