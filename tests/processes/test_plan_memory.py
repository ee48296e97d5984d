"""The planned peak of memory against that of a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from paths import HELPERS
from tiny import byte_model


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the kernel's account of memory is Linux's")
def test_the_peak_is_what_a_process_holds_within_a_half(tmp_path):
    """Full fine-tuning, and LoRA with layers computed again."""
    pytest.importorskip("peft")
    folder = byte_model(tmp_path / "model", layers=3, hidden=192)
    kinds = [{}, {"gradient_checkpointing": True, "lora": {"rank": 8}}]
    done = subprocess.run(
        [sys.executable, str(HELPERS / "measure_memory.py"), str(folder), json.dumps(kinds)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ
        | {"MALLOC_MMAP_THRESHOLD_": "262144", "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    found = json.loads(done.stdout)
    for kind, seen in zip(kinds, found, strict=True):
        assert 1 / 1.5 < seen["planned"] / seen["measured"] < 1.5, (kind, seen)
    assert found[1]["measured"] < 0.6 * found[0]["measured"]
