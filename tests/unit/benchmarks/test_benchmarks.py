"""The benchmarks run, say what they should, and compare paths that do the same work. No timing decides a test."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("trl")

from benchmarks import __main__ as command
from benchmarks import growth, table
from benchmarks.loss_layer import (
    PATHS,
    against_exact,
    chunked,
    differences,
    full_logits,
    layer,
    ours,
)
from benchmarks.measures import MEASURES
from benchmarks.measuring import agree, in_fresh_process, interleaved, peak_mib, resident_mib

from pages import touch_64_mib

pytestmark = pytest.mark.slow


def test_the_paths_that_are_timed_do_the_same_work():
    at = layer(12, 301, 32)
    for peer in (full_logits, chunked):
        assert max(differences(at, ours, peer).values()) < 1e-5
    for path in (ours, full_logits, chunked):
        assert max(against_exact(at, path).values()) < 1e-5


def test_a_disagreement_is_found():
    at = layer(12, 301, 32)
    other = layer(12, 301, 32)._replace(teacher=at.teacher * 1.1)
    found = differences(at, ours, lambda same: full_logits(same._replace(teacher=other.teacher)))
    assert found["divergence"] > 1e-2
    assert found["gradient_of_hidden"] > 1e-2
    with pytest.raises(AssertionError, match="divergence differs"):
        agree(found, 1e-4)


def test_memory_is_that_of_the_work():
    """In a process of its own: where the high-water mark cannot be set back, earlier work would hide this one's."""
    assert resident_mib() > 1
    assert 60 <= in_fresh_process(peak_mib, touch_64_mib) <= 80


def test_turns_are_taken():
    order: list[str] = []
    seconds = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2, warm_up=1)
    assert sorted(order) == ["a"] * 3 + ["b"] * 3
    assert order[2:4] != order[4:6]
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}


def test_an_exponent_is_recovered():
    x = [1.0, 2.0, 4.0, 8.0, 16.0]
    assert growth.exponent(x, [3 * v**1.5 for v in x]) == pytest.approx(1.5)


def test_the_command_writes_measures_and_prints_a_table(tmp_path, capsys, monkeypatch):
    out = tmp_path / "bench.json"
    command.main(["affect_cost", "--quick", "--out", str(out)])
    results = json.loads(out.read_text())
    measure = results["measures"]["affect_cost"]
    assert {"ours", "peer", "ratio", "unit", "peer_name"} <= set(measure)
    assert measure["ratio"] == pytest.approx(measure["peer"] / measure["ours"])
    assert max(measure["agreement"].values()) < 1e-4
    assert {"torch", "trl", "processor", "cores"} <= set(results["environment"])
    assert "affect_cost" in capsys.readouterr().out
    command.main(["--markdown", str(out)])
    assert "| affect_cost |" in capsys.readouterr().out


def test_what_cannot_be_measured_says_why(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    from benchmarks.measures import take

    found = take("loss_time", True)
    assert found["skipped"].startswith("TRL is not installed")
    assert table.rows({"loss_time": found})[0][-1].startswith("skipped: TRL")


def test_every_measure_has_a_target():
    assert set(MEASURES) == set(table.TARGETS)
    assert set(PATHS) == {"ours", "full_logits", "products"}
