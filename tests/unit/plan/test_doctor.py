"""`frown doctor` says what is here, and never raises whatever is broken."""

from __future__ import annotations

import builtins
import importlib.metadata as metadata
import json
import shutil
from pathlib import Path

import pytest

import frown
from frown.cli.app import main
from frown.plan import doctor
from frown.report.doctor import doctor_lines


def test_everything_here_is_found(capsys):
    main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["packages"]["torch"] == metadata.version("torch")
    assert found["extras"]["math"]["state"] == "installed" and found["extras"]["math"]["mend"] is None
    assert set(found["models"].values()) == {"whole"} and "chains-0" in found["models"]
    assert found["devices"][-1]["kind"] == "cpu" and found["devices"][-1]["bytes"] > 1 << 30
    assert found["threads"]["torch"] >= 1
    main(["doctor"])
    told = capsys.readouterr().out
    assert "extra math: installed" in told and "embedded model chains-0: whole" in told


def test_a_missing_and_a_wrong_package_come_with_the_line_that_mends_them(monkeypatch):
    true = metadata.version

    def version(name: str) -> str:
        if name == "peft":
            raise metadata.PackageNotFoundError(name)
        return "0.1" if name == "reasoning-gym" else true(name)

    monkeypatch.setattr(metadata, "version", version)
    found = doctor.examine()
    assert found["extras"]["lora"] == {
        "state": "missing",
        "missing": ["peft"],
        "wrong": {},
        "mend": 'pip install "frown[lora]"',
    }
    assert found["extras"]["gym"]["state"] == "wrong version"
    lines = "\n".join(doctor_lines(found))
    assert 'extra lora: missing (peft); pip install "frown[lora]"' in lines
    assert "reasoning-gym 0.1, needs" in lines


def test_it_never_raises(monkeypatch):
    real = builtins.__import__

    def no_torch(name, *args, **kwargs):
        if name.split(".")[0] in ("torch", "packaging", "safetensors"):
            raise OSError(f"{name}: libgomp.so.1: cannot open shared object file")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_torch)
    found = doctor.examine()
    for part in ("devices", "threads", "extras", "models"):
        assert "libgomp" in found[part]["error"]
    assert any("cannot be told" in line for line in doctor_lines(found))


@pytest.mark.parametrize("broken", ["config.json", "model.safetensors"])
def test_an_embedded_model_that_is_not_whole_is_named(tmp_path, broken):
    folder = tmp_path / "chains-0"
    shutil.copytree(Path(frown.__file__).parent / "lab" / "models" / "chains-0", folder)
    assert doctor._state_of(folder) == "whole"
    if broken == "config.json":
        (folder / broken).unlink()
    else:
        (folder / broken).write_bytes((folder / broken).read_bytes()[:-100])
    assert doctor._state_of(folder).startswith(broken)
