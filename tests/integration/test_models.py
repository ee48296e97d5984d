"""Real architectures, each tiny and random: loaded, sampled, trained, saved, and loaded again without frown."""

from __future__ import annotations

import json
import math
import shutil
import warnings

import numpy as np
import pytest
import torch

from families import FAMILIES, family_model
from frown.config import ModelConfig, RunConfig, parse
from frown.errors import FrownError
from frown.policy import folder as folders
from frown.policy import load as models
from frown.policy.text import prompt_ids, without_system
from frown.store.run_directory import RunDirectory
from frown.training.run import train
from frown.types import Task, TeacherView
from learning import learner_of
from tiny import byte_model, gsm8k_rows, write_jsonl

LORA = {"rank": 2, "alpha": 4}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    rows = [row | {"sys": "Answer in one line."} for row in gsm8k_rows(12)]
    return write_jsonl(tmp_path_factory.mktemp("data") / "rows.jsonl", rows)


def settings(folder, rows=None, **changes) -> RunConfig:
    values = {
        "model": {"path": str(folder), **changes.pop("model", {})},
        "task": {"kind": "math", "data": str(rows), "columns": {"system": "sys"}} if rows else {"kind": "exact"},
        "sampling": {"prompts_per_step": 2, "responses_per_prompt": 2, "max_new_tokens": 12},
        "method": {"type": "sdpo", "feedback": ["outcome"]},
        "optimiser": {"steps": 2},
        "eval": {"every": 2, "prompts": 1, "samples": 2},
    }
    return parse(RunConfig, values | changes, "test")


def plain_logits(folder) -> torch.Tensor:
    """Of the saved folder, by transformers alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "How many?"}], add_generation_prompt=True, return_dict=False
    )
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_sampled_trained_saved_and_loaded_elsewhere(name, lora, rows, tmp_path):
    if lora:
        pytest.importorskip("peft")
    folder = family_model(name, tmp_path / "model")
    e = learner_of(settings(folder, model={"lora": lora}))
    assert models.plain(e.policy.model).config.tie_word_embeddings == FAMILIES[name].tied
    assert e.policy.tokenizer.convert_tokens_to_ids(FAMILIES[name].markers[0]) in e.policy.eos_ids
    task = Task("t", ({"role": "user", "content": "How many?"},), "")
    [r] = e.policy.sample([task], 1, seed=0, temperature=1.0)
    ids = torch.tensor(np.concatenate([r.prompt_ids, r.ids]))[None]
    with torch.no_grad():
        logp = e.policy.model(input_ids=ids).logits[0, len(r.prompt_ids) - 1 : -1].double().log_softmax(-1)
    np.testing.assert_allclose(r.logp, logp.gather(1, torch.tensor(r.ids)[:, None])[:, 0], atol=1e-4)

    train(settings(folder, rows, model={"lora": lora}), tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    assert run.status == ("finished", "")
    losses = [m for m in run.metrics() if "loss" in m]
    assert len(losses) == 2 and all(math.isfinite(m["loss"]) and m["grad_norm"] > 0 for m in losses)

    saved = run.path / "checkpoint"
    here = models.load(ModelConfig(path=str(saved))).model  # adapters come merged
    before, after = plain_logits(folder), plain_logits(saved)
    assert not torch.allclose(before, after)
    again = models.load(ModelConfig(path=str(saved)))
    prompt = prompt_ids(again.tokenizer, [{"role": "user", "content": "How many?"}])
    with torch.no_grad():
        torch.testing.assert_close(here(input_ids=torch.tensor(prompt)[None]).logits, after, atol=1e-5, rtol=1e-4)


def test_a_system_message_reaches_a_template_that_refuses_it(tmp_path):
    gemma = models.load(ModelConfig(path=str(family_model("gemma", tmp_path / "gemma")))).tokenizer
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    assert (
        gemma.decode(prompt_ids(gemma, asked))
        == "<bos><start_of_turn>user\nBe brief.\n\nWhy?<end_of_turn>\n<start_of_turn>model\n"
    )
    qwen = models.load(ModelConfig(path=str(family_model("qwen3", tmp_path / "qwen")))).tokenizer
    assert qwen.decode(prompt_ids(qwen, asked)) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )
    with pytest.raises(FrownError, match="chat template failed: Conversation roles must alternate"):
        prompt_ids(gemma, [*asked, {"role": "user", "content": "Why?"}])
    assert without_system(asked[1:]) == asked[1:] and without_system(asked[:1]) == asked[:1]


def test_checkpointing_gives_the_same_gradients_and_the_same_samples(tmp_path):
    folder = byte_model(tmp_path / "model", layers=3)
    found = []
    for on in (False, True):
        e = learner_of(settings(folder, model={"gradient_checkpointing": on}, teacher={"weights": "live"}))
        tasks = [Task(t, ({"role": "user", "content": t},), "") for t in ("Hi", "How many?")]
        rollouts = e.policy.sample(tasks, 2, seed=1, temperature=1.0)
        context = prompt_ids(e.policy.tokenizer, [{"role": "user", "content": "It is 42."}])
        views = [TeacherView(i, context, np.ones(len(r.ids), np.float32)) for i, r in enumerate(rollouts)]
        kept: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, kept=kept: kept.append(t.numel()) or t, lambda t: t):
            e.backward(rollouts, views, [np.zeros(len(r.ids)) for r in rollouts], distillation=1.0)
        assert not any(m.training for m in e.policy.model.modules())
        found.append(([r.text for r in rollouts], [p.grad for p in e.parameters], kept))
    (texts, gradients, all_kept), (same_texts, same_gradients, few_kept) = found
    assert texts == same_texts
    for a, b in zip(gradients, same_gradients, strict=True):
        torch.testing.assert_close(a, b)
    assert sum(few_kept) < 0.5 * sum(all_kept)


def test_checkpointing_of_a_model_without_such_layers_is_refused():
    with pytest.raises(FrownError, match="leave out model.gradient_checkpointing"):
        models._mark_for_recomputation(torch.nn.Linear(2, 2))


# -- where models come from ----------------------------------------------------------------------------------------


def hub_cache(root, folder, name="some-org/tiny-model", revision="main"):
    """The hub's cache as it is after a download."""
    sha = "0123456789abcdef0123456789abcdef01234567"
    place = root / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / sha)
    (place / "refs").mkdir(exist_ok=True)
    (place / "refs" / revision).write_text(sha)
    return place / "snapshots" / sha


def test_a_hub_name_is_found_in_the_cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    cached = hub_cache(tmp_path / "cache", byte_model(tmp_path / "model"))
    assert folders.resolve("some-org/tiny-model") == cached
    assert folders.resolve("some-org/tiny-model@main") == cached
    assert models.load(ModelConfig(path="some-org/tiny-model")).tokenizer.chat_template
    for name in ("some-org/other", "some-org/tiny-model@v2"):
        with pytest.raises(FrownError, match=r"HF_HUB_OFFLINE is set") as error:
            folders.resolve(name)
        assert str(tmp_path / "cache") in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(FrownError, match=r"does not exist; give a Hugging Face folder, a hub name or lab:NAME"):
        folders.resolve("nowhere/at/all")


def test_adapters_of_a_hub_model_name_the_model_and_not_the_cache(tmp_path, monkeypatch):
    pytest.importorskip("peft")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub_cache(tmp_path / "cache", byte_model(tmp_path / "model"))
    e = learner_of(settings("some-org/tiny-model", model={"lora": LORA}))
    e.save(tmp_path / "saved")
    told = json.loads((tmp_path / "saved" / "adapter_config.json").read_text())
    assert told["base_model_name_or_path"] == "some-org/tiny-model"
    models.load(ModelConfig(path=str(tmp_path / "saved")))
    assert folders.described(str(tmp_path / "saved")) == folders.resolve("some-org/tiny-model")
    with pytest.raises(FrownError, match="leave out model.lora"):
        models.load(ModelConfig(path=str(tmp_path / "saved"), lora=LORA))
    told["base_model_name_or_path"] = "some-org/gone"
    (tmp_path / "saved" / "adapter_config.json").write_text(json.dumps(told))
    with pytest.raises(FrownError, match="their base model cannot be loaded: model some-org/gone"):
        models.load(ModelConfig(path=str(tmp_path / "saved")))


def test_adapters_are_made_and_loaded_without_a_warning_that_nobody_can_mend(tmp_path):
    """Where the warning is an error, and others are left to be seen."""
    pytest.importorskip("peft")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*is_gradient_checkpointing", FutureWarning)
        learner_of(settings(byte_model(tmp_path / "model"), model={"lora": LORA})).save(tmp_path / "saved")
        models.load(ModelConfig(path=str(tmp_path / "saved")))


def test_pickled_adapters_are_not_loaded(tmp_path):
    pytest.importorskip("peft")
    e = learner_of(settings(byte_model(tmp_path / "model"), model={"lora": LORA}))
    e.save(tmp_path / "saved")
    state = {"weights": torch.zeros(1)}
    torch.save(state, tmp_path / "saved" / "adapter_model.bin")
    (tmp_path / "saved" / "adapter_model.safetensors").rename(tmp_path / "saved" / "other.safetensors")
    with pytest.raises(FrownError, match=r"no adapter_model.safetensors"):
        models.load(ModelConfig(path=str(tmp_path / "saved")))
