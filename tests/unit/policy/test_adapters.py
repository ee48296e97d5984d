"""Adapters of others are merged to what peft makes of them, or refused by name; own ones go where they are asked."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from families import family_model
from frown.config import ModelConfig
from frown.errors import FrownError
from frown.policy import load as models

pytestmark = pytest.mark.slow

peft = pytest.importorskip("peft")

IDS = torch.tensor([[1, 2, 3, 50, 100, 7]])
KINDS = {
    "attention": {"target_modules": ["q_proj"]},
    "head": {"target_modules": ["q_proj", "lm_head"]},
    "embedding": {"target_modules": ["embed_tokens"]},
    "both": {"target_modules": ["embed_tokens", "lm_head", "v_proj"]},
    "saved embedding": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    "saved head": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "saved both": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]},
    "saved as one": {"modules_to_save": ["embed_tokens"], "target_modules": ["q_proj"], "ensure_weight_tying": True},
    "some tokens": {"target_modules": ["q_proj"], "trainable_token_indices": [1, 50]},
    "norm": {"target_modules": ["q_proj"], "modules_to_save": ["norm"]},
    "directions": {"target_modules": ["q_proj", "lm_head"], "use_dora": True},
    "biases": {"target_modules": ["q_proj"], "bias": "all"},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    root = tmp_path_factory.mktemp("bases")
    return {name: family_model(name, root / name) for name in ("llama", "llama-tied", "qwen2", "gemma2")}


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model(input_ids=IDS).logits


def trained(base, folder, settings, added: int = 0) -> torch.Tensor:
    """Adapters as another program saves them; returns the logits that they had there."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    torch.manual_seed(0)
    if added:
        spare = model.get_input_embeddings().weight.shape[0] - len(tokenizer)
        tokenizer.add_tokens([f"<new{i}>" for i in range(spare + added)])
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    if isinstance(settings, dict):
        settings = peft.LoraConfig(task_type="CAUSAL_LM", r=4, **settings)
    adapted = peft.get_peft_model(model, settings)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape))
    adapted.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return logits(adapted)


def refusal(folder, **changes) -> str:
    with pytest.raises(FrownError) as error:
        models.load(ModelConfig(path=str(folder), **changes))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["llama", "llama-tied", "qwen2", "gemma2"])
def test_what_is_merged_is_what_was_trained_and_stays_so_when_it_is_saved(family, kind, base, tmp_path):
    expected = trained(base[family], tmp_path / "adapters", KINDS[kind])
    loaded = models.load(ModelConfig(path=str(tmp_path / "adapters")))
    torch.testing.assert_close(logits(loaded.model), expected, rtol=1e-4, atol=1e-5)
    loaded.model.save_pretrained(tmp_path / "whole")
    loaded.tokenizer.save_pretrained(tmp_path / "whole")
    whole = models.load(ModelConfig(path=str(tmp_path / "whole"))).model
    torch.testing.assert_close(logits(whole), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["attention", "head", "embedding", "saved both", "some tokens"])
@pytest.mark.parametrize("family", ["llama", "llama-tied", "gemma2"])
def test_added_tokens_come_with_their_rows_or_are_refused(family, kind, base, tmp_path):
    expected = trained(base[family], tmp_path, KINDS[kind], added=3)
    if family == "llama" and kind in ("head", "embedding"):  # peft saves the rows of the one that has an adapter
        line = refusal(tmp_path)
        assert "the rows of the added ones are not among them" in line
        assert ("embedding" if kind == "head" else "head") in line.partition("not among them")[2]
        return
    loaded = models.load(ModelConfig(path=str(tmp_path)))
    torch.testing.assert_close(logits(loaded.model), expected, rtol=1e-4, atol=1e-5)
    assert loaded.model.config.vocab_size == len(loaded.tokenizer) == expected.shape[-1] and not loaded.notes


def test_tokens_without_rows_are_named_or_refused_where_conversations_need_them(base, tmp_path):
    trained(base["llama"], tmp_path, KINDS["attention"])
    loaded = models.load(ModelConfig(path=str(tmp_path)))
    loaded.tokenizer.add_tokens([f"<new{i}>" for i in range(20)])
    loaded.tokenizer.save_pretrained(tmp_path)
    [note] = models.load(ModelConfig(path=str(tmp_path))).notes
    assert "tokens that the model has no embedding of" in note
    loaded.tokenizer.chat_template = "<new19>" + loaded.tokenizer.chat_template
    loaded.tokenizer.save_pretrained(tmp_path)
    assert "its conversations need them" in refusal(tmp_path)


def changed(folder, **values) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_a_base_that_is_missing_or_another_is_named(base, tmp_path):
    trained(base["llama"], tmp_path / "a", KINDS["attention"])
    other = family_model("llama", tmp_path / "other", hidden=64)
    for named, words in {
        str(tmp_path / "gone"): "their base model cannot be loaded: model folder .*gone does not exist",
        str(tmp_path / "a"): "holds adapters of adapters",
        str(other): "do not fit their base model: size mismatch for .*lora_A",
        str(base["gemma2"].parent): "has no config.json",
        "": "names no base model",
    }.items():
        changed(tmp_path / "a", base_model_name_or_path=named)
        with pytest.raises(FrownError, match=words):
            models.load(ModelConfig(path=str(tmp_path / "a")))


def test_a_base_with_fewer_layers_is_refused(base, tmp_path):
    trained(base["llama"], tmp_path / "a", KINDS["attention"])
    changed(tmp_path / "a", base_model_name_or_path=str(family_model("llama", tmp_path / "one", layers=1)))
    assert "has no place for 2 tensors" in refusal(tmp_path / "a")


def test_the_revision_of_a_base_is_asked_for(base, tmp_path, monkeypatch):
    from frown.policy import folder

    asked: list[str] = []
    monkeypatch.setattr(folder, "snapshot", lambda name, weights: asked.append(name) or base["llama"])
    trained(base["llama"], tmp_path, KINDS["attention"])
    changed(tmp_path, base_model_name_or_path="org/base", revision="v2")
    models.load(ModelConfig(path=str(tmp_path)))
    assert set(asked) == {"org/base@v2"}


def test_adapters_that_are_not_whole_are_refused(base, tmp_path):
    from safetensors.torch import load_file, save_file

    trained(base["llama"], tmp_path, KINDS["attention"])
    file = tmp_path / "adapter_model.safetensors"
    tensors = load_file(file)
    first = sorted(tensors)[0]
    save_file({name: x for name, x in tensors.items() if name != first}, file, metadata={"format": "pt"})
    assert f"1 tensors that adapter_config.json asks for are missing, {first} among them" in refusal(tmp_path)
    data = file.read_bytes()
    file.write_bytes(data[:-20])
    assert "adapter_model.safetensors is cut" in refusal(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{")
    assert "adapter_config.json is not whole JSON" in refusal(tmp_path)


def test_kinds_that_change_no_weights_are_refused(base, tmp_path):
    settings = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    trained(base["llama"], tmp_path, settings)
    assert "of the kind PROMPT_TUNING, which cannot be merged" in refusal(tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        peft.IA3Config(
            task_type="CAUSAL_LM", target_modules=["q_proj", "down_proj"], feedforward_modules=["down_proj"]
        ),
        peft.LoHaConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"]),
        peft.VeraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"]),
    ],
    ids=["ia3", "loha", "vera"],
)
def test_other_kinds_that_change_weights_are_merged(base, settings, tmp_path):
    expected = trained(base["qwen2"], tmp_path, settings)
    loaded = models.load(ModelConfig(path=str(tmp_path))).model
    torch.testing.assert_close(logits(loaded), expected, rtol=1e-4, atol=1e-5)


# -- fresh ones ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (["nope"], "LlamaForCausalLM has no module nope; it has down_proj, embed_tokens, gate_proj"),
        (["q_proj", "query"], "has no module query"),
        (["proj"], "has no module proj"),
        (["self_attn"], "self_attn is a LlamaAttention, which gets no adapter"),
        (["q_proj", "input_layernorm"], "input_layernorm is a LlamaRMSNorm, which gets no adapter"),
        ([], "model.lora.targets is empty"),
    ],
)
def test_targets_that_are_no_layers_are_refused(base, targets, words):
    assert words in refusal(base["llama"], lora={"rank": 2, "targets": targets})


def test_a_rank_beyond_that_of_the_matrices_is_said(base):
    lora = {"rank": 32, "targets": ["q_proj", "k_proj"]}
    [note] = models.load(ModelConfig(path=str(base["llama"]), lora=lora)).notes
    assert "model.lora.rank = 32 is more than the full rank of some matrices (k_proj 16)" in note
    assert not models.load(ModelConfig(path=str(base["llama"]), lora=lora | {"rank": 16})).notes


def test_weights_that_differ_under_a_configuration_that_ties_them_stay_apart(base, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(base["llama-tied"], tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = torch.randn_like(tensors["model.embed_tokens.weight"])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    model = models.load(ModelConfig(path=str(folder))).model
    assert torch.equal(model.lm_head.weight, tensors["lm_head.weight"]) and not model.config.tie_word_embeddings
    model.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["tie_word_embeddings"] is False
    shutil.copy(folder / "tokenizer.json", tmp_path / "again")
    shutil.copy(folder / "tokenizer_config.json", tmp_path / "again")
    shutil.copy(folder / "chat_template.jinja", tmp_path / "again")
    torch.testing.assert_close(logits(models.load(ModelConfig(path=str(tmp_path / "again"))).model), logits(model))
