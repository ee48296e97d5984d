"""A comparison in one call: workers run the cells, the summary says what differs, a second call goes on."""

from __future__ import annotations

import json

import frown
from frown.comparison.cells import Cell
from frown.comparison.workers import worker_count

SMALL = {
    "baseline": "grpo",
    "seeds": [0],
    "arms": {"grpo": {"method": "grpo"}, "aimed": {"method": "aimed", "sampling": {"responses_per_prompt": 2}}},
    "base": {
        "sampling": {"prompts_per_step": 2, "responses_per_prompt": 2, "max_new_tokens": 40},
        "optimiser": {"steps": 1},
        "eval": {"prompts": 2, "samples": 2},
    },
}


def test_a_comparison_in_python(tmp_path):
    config = frown.load(frown.CompareConfig, SMALL)
    watched = []
    summary = frown.compare(config, str(tmp_path / "cmp"), workers=1, watch=lambda: watched.append(1), command="x")
    assert summary == json.loads((tmp_path / "cmp" / "summary.json").read_text())
    assert set(summary["arms"]) == {"grpo", "aimed"} and summary["failures"] == [] and watched
    assert summary["environment"]["command"] == "x"
    watched.clear()
    again = frown.compare(config, tmp_path / "cmp", workers=1, watch=lambda: watched.append(1), command="x")
    assert again["arms"] == summary["arms"] and not watched  # all was done


def test_one_worker_where_runs_would_share_a_gpu(tmp_path, monkeypatch):
    config = frown.load(frown.CompareConfig, SMALL)
    monkeypatch.setattr("frown.comparison.workers.GPU", tmp_path)
    cell = Cell("grpo", 0, config.run("grpo", 0), tmp_path)
    assert worker_count([cell]) == 1
    on_cpu = Cell("grpo", 0, frown.load(frown.RunConfig, None, ["model.device=cpu"]), tmp_path)
    monkeypatch.setattr("frown.runtime.threads.own_cores", lambda: {0, 1, 2})
    monkeypatch.setattr("frown.runtime.threads.cpu_quota", lambda: None)
    assert worker_count([on_cpu]) == 3
