"""A learner that was saved and loaded is the one that was in memory, whatever was trained, and so is its model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from families import FAMILIES, family_model
from frown.config import ModelConfig
from frown.inspect.harness import exported
from frown.learner.learner import Learner
from frown.learner.state import MODEL, load_learner, save_learner, tensors_of
from frown.policy import load as models
from learning import parsed

TARGETS = {
    "full": None,
    "attention": ["q_proj"],
    "linear": "all-linear",
    "head": ["lm_head"],
    "attention and head": ["q_proj", "lm_head"],
    "embedding": ["embed_tokens"],
    "embedding and head": ["embed_tokens", "lm_head", "down_proj"],
}
IDS = torch.tensor([[1, 2, 3, 50, 100, 7]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root, made = tmp_path_factory.mktemp("families"), {}

    def of(family: str) -> Path:
        if family not in made:
            made[family] = family_model(family, root / family)
        return made[family]

    return of


def learner(folder: Path, targets: list[str] | str | None, teacher: str) -> Learner:
    lora = None if targets is None else {"rank": 4, "targets": targets}
    return parsed(
        {
            "model": {"path": str(folder), "lora": lora},
            "sampling": {"max_new_tokens": 8},
            "task": {"kind": "exact"},
            "teacher": {"weights": teacher, "ema_rate": 0.25},
        }
    )


@torch.no_grad()
def log_probabilities(model) -> torch.Tensor:
    return model(input_ids=IDS).logits.log_softmax(-1)


def trained(e: Learner) -> None:
    """Two steps of the optimiser, large enough that the model is another one."""
    start = log_probabilities(e.policy.model)
    for _ in range(2):
        # A loss of the tokens' own log-probabilities, and of no zeros: factors of an adapter start at zero.
        out = e.policy.model(input_ids=IDS).logits.log_softmax(-1)
        out[:, :, 3::7].sum().backward()
        for group in e.optimiser.param_groups:
            group["lr"] = 0.05
        e.optimiser.step()
        e.optimiser.zero_grad(set_to_none=True)
        e.teacher.update()
        e.policy.steps_taken += 1
    assert (log_probabilities(e.policy.model) - start).abs().max() > 1e-2


CASES = [(family, targets, "ema") for family in ("llama", "qwen2", "qwen3-untied", "gemma2") for targets in TARGETS]
CASES += [("llama-tied", targets, teacher) for targets in TARGETS for teacher in ("frozen", "ema", "live")]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "targets", "teacher"), CASES)
def test_what_is_saved_is_what_was_in_memory(family, targets, teacher, folder, tmp_path):
    if TARGETS[targets] is not None:
        pytest.importorskip("peft")
    assert FAMILIES[family].tied == (family not in ("llama", "qwen3-untied"))
    e = learner(folder(family), TARGETS[targets], teacher)
    trained(e)
    expected = log_probabilities(e.policy.model)
    with e.teacher.model() as model:
        taught = log_probabilities(model)

    rest = save_learner(e, tensors_of(e), tmp_path)
    again = learner(folder(family), TARGETS[targets], teacher)
    load_learner(again, tmp_path, rest)
    assert torch.equal(log_probabilities(again.policy.model), expected)
    with again.teacher.model() as model:
        assert torch.equal(log_probabilities(model), taught)

    loaded = models.load(ModelConfig(path=str(tmp_path / MODEL))).model
    torch.testing.assert_close(log_probabilities(loaded), expected, rtol=1e-4, atol=1e-4)
    whole = exported(str(tmp_path / MODEL), tmp_path / "whole")
    loaded = models.load(ModelConfig(path=str(whole))).model
    torch.testing.assert_close(log_probabilities(loaded), expected, rtol=1e-4, atol=1e-4)


def test_a_resumed_learner_goes_on_as_the_one_that_was_not_stopped(folder, tmp_path):
    pytest.importorskip("peft")
    e = learner(folder("llama-tied"), ["q_proj", "lm_head"], "ema")
    trained(e)
    rest = save_learner(e, tensors_of(e), tmp_path)
    again = learner(folder("llama-tied"), ["q_proj", "lm_head"], "ema")
    load_learner(again, tmp_path, rest)
    trained(e), trained(again)
    assert torch.equal(log_probabilities(e.policy.model), log_probabilities(again.policy.model))
