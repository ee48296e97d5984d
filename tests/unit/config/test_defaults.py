"""Learning rate and answer length are chosen by what the model is, and a rate far from that is warned of."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from frown.config import RunConfig, defaults, parse


def settings(folder=None, **values) -> RunConfig:
    model = {"path": str(folder) if folder else "org/name"}
    return parse(RunConfig, {"task": {"kind": "exact", "data": "x"}, "model": model} | values, "test")


@pytest.mark.parametrize(("size", "lr"), [(0.3e6, 1e-3), (30e6, 1e-4), (135e6, 3e-6), (1.7e9, 1e-6), (7e9, 1e-6)])
def test_a_rate_fits_the_size_and_ten_times_off_is_warned_of(size, lr):
    scale = defaults.scale_of(int(size))
    assert scale.lr == lr
    for factor in (0.11, 1.0, 9.0):
        assert defaults.learning_rate_warning(factor * lr, int(size), lora=False) is None
    assert "far above" in defaults.learning_rate_warning(11 * lr, int(size), lora=False)
    assert "far below" in defaults.learning_rate_warning(lr / 11, int(size), lora=False)


def test_parameters_are_counted_in_the_headers_of_the_weights(tmp_path):
    save_file({"a": np.zeros((1000, 60), np.float16)}, tmp_path / "model-1.safetensors")
    save_file({"b": np.zeros(7, np.float32)}, tmp_path / "model-2.safetensors")
    assert defaults.parameters(str(tmp_path)) == 60_007
    config = settings(tmp_path)
    assert config.optimiser.lr == 1e-3 and config.sampling.max_new_tokens == 96
    assert "optimiser.lr = 0.001" in config.chosen
    assert settings(tmp_path, optimiser={"lr": 5e-5}).chosen == ("sampling.max_new_tokens = 96",)


def test_a_model_of_unknown_size_gets_what_fits_the_largest(tmp_path):
    assert defaults.parameters(str(tmp_path)) is None
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 99)
    assert defaults.parameters(str(tmp_path)) is None
    assert settings().optimiser.lr == 1e-6
    assert settings(model={"path": "org/name", "lora": {"rank": 4}}).optimiser.lr == 2e-5


def test_supervised_learning_takes_ten_times_the_rate_of_rl_and_never_more_than_a_thousandth():
    large, lab = defaults.SCALES[3], defaults.SCALES[0]
    assert defaults.usual_rate(large, lora=False, factor=10.0) == 1e-5
    assert defaults.usual_rate(large, lora=True, factor=10.0) == 5e-4
    assert defaults.usual_rate(lab, lora=False, factor=10.0) == lab.lr == 1e-3
    assert settings(method="sft").optimiser.lr == 1e-5
    assert defaults.learning_rate_warning(1e-4, 135_000_000, lora=False, factor=10.0) is None
    assert "far above" in defaults.learning_rate_warning(1e-4, 135_000_000, lora=False)
