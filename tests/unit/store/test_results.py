"""Results that files keep."""

from __future__ import annotations

import json

import pytest

from frown.errors import FrownError
from frown.store.results import load_or_make


def keep(file, settings, make=lambda: pytest.fail("made")):
    return load_or_make(file, settings, make, lambda result: {"turns": result}, lambda data: int(data["turns"]))


def test_a_result_is_made_once(tmp_path):
    file = tmp_path / "cells" / "cell.json"
    assert keep(file, {"seed": 0}, lambda: 9) == keep(file, {"seed": 0}) == 9


def test_other_settings_are_named(tmp_path):
    file = tmp_path / "cell.json"
    keep(file, {"seed": 0, "steps": (1, 2), "old": None}, lambda: 9)
    assert keep(file, {"seed": 0, "steps": [1, 2], "old": None}) == 9  # as JSON has it
    with pytest.raises(FrownError, match=r"cell.json is of other settings \(seed, steps\); choose another --out"):
        keep(file, {"seed": 1, "steps": [1], "old": None})


@pytest.mark.parametrize("settings", ["[]", "null", '"x"', "3"])
@pytest.mark.parametrize("result", ["{}", "[]", "null", '{"turns": "x"}', '{"turns": 9}'])
def test_a_file_of_something_else_is_one_line(settings, result, tmp_path):
    file = tmp_path / "cell.json"
    file.write_text(f'{{"settings": {settings}, "result": {result}}}')
    with pytest.raises(FrownError, match="cell.json cannot be read: .*; delete it"):
        keep(file, {"seed": 0})


@pytest.mark.parametrize("text", ["{", "", "3", "{}"])
def test_a_broken_file_is_one_line(text, tmp_path):
    file = tmp_path / "cell.json"
    file.write_text(text)
    with pytest.raises(FrownError, match="cell.json cannot be read: .*; delete it"):
        keep(file, {"seed": 0})


def test_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        load_or_make(tmp_path / "cell.json", {}, lambda: 0, lambda result: float("nan"), json.dumps)
    assert not list(tmp_path.iterdir())
