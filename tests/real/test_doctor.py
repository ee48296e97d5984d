"""`frown doctor --model` on a pretrained model."""

from __future__ import annotations

import json

from frown.cli.app import main
from frown.plan import model_doctor


def test_a_pretrained_model_is_as_training_needs_it(smollm2, capsys, monkeypatch):
    monkeypatch.setattr(model_doctor, "TIMED_TOKENS", 8)
    main(["doctor", "--model", str(smollm2), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["trainable"] and report["faults"] == []
    assert not [line for line in report["warnings"] if not line.startswith("a step takes up to ")]  # a slow machine
    assert report["architecture"] == "LlamaForCausalLM" and report["parameters"] == 134_515_008
    assert report["tied"] and report["context"] == 8192 and report["packing"] == "blocks"
    assert report["chat"]["closing"] == "<|im_end|>" and report["chat"]["ends"] == ["<|im_end|>"]
    assert report["speed"]["sampling"] > 0 and report["speed"]["learning"] > 0
    every, adapters = report["suggestions"]
    assert every["lr"] == 3e-6 and adapters["lr"] == 1e-4 and adapters["trained"] < every["trained"] / 10
