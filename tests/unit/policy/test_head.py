"""Which head a model has is found by asking the model."""

from types import SimpleNamespace

import pytest
import torch
import transformers

from frown.errors import FrownError
from frown.losses.head import LinearHead, OwnHead
from frown.policy.head import head_of, logits_of, why_slow

SMALL = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 1,
}


def tiny(name: str, **settings):
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config" if name != "Gemma3" else "Gemma3TextConfig")
    return getattr(transformers, f"{name}ForCausalLM")(config(**SMALL, **settings)).eval()


HEADS = [
    ("Qwen3", {"head_dim": 8}, (1.0, None)),
    ("Llama", {}, (1.0, None)),
    ("Olmo2", {}, (1.0, None)),
    ("Gemma3", {"head_dim": 8}, (1.0, None)),
    ("Gemma2", {"head_dim": 8, "final_logit_softcapping": 30.0}, (1.0, 30.0)),
    ("Cohere", {"logit_scale": 0.0625}, (0.0625, None)),
    ("Granite", {"logits_scaling": 8.0}, (0.125, None)),  # divides by it
    ("HyperCLOVAX", {"logits_scaling": 0.25}, (0.25, None)),  # multiplies by it
    ("Phi", {}, (1.0, None)),
]


@pytest.mark.parametrize(("name", "settings", "expected"), HEADS, ids=[h[0] for h in HEADS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_head_makes_the_models_own_logits(name: str, settings: dict, expected: tuple, dtype: torch.dtype) -> None:
    model = tiny(name, **settings).to(dtype)
    if name == "Phi":
        torch.nn.init.normal_(model.lm_head.bias)
    head = head_of(model)
    assert isinstance(head, LinearHead) and (head.scale, head.cap) == expected
    assert (head.bias is not None) == (name == "Phi")
    assert head.weight is model.get_output_embeddings().weight and why_slow(head, model) is None
    with torch.no_grad():
        out = model(torch.tensor([[3, 4, 5, 6]]), output_hidden_states=True, use_cache=False)
        hidden = out.hidden_states[-1][0]
        tolerance = 1e-5 if dtype == torch.float32 else 3e-2
        torch.testing.assert_close(head.logits(hidden.float()), out.logits[0].float(), rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(logits_of(model, hidden), out.logits[0])
    assert not model.get_output_embeddings()._forward_pre_hooks


def test_a_head_that_does_more_goes_the_plain_way_and_says_so() -> None:
    model = tiny("Llama")
    forward = model.forward

    def squared(*args, **kwargs):
        out = forward(*args, **kwargs)
        out.logits = out.logits + 0.1 * out.logits**2
        return out

    model.forward = squared
    head = head_of(model)
    assert isinstance(head, OwnHead) and head.parameters == (model.lm_head.weight,) and head.runs_layers
    assert "LlamaForCausalLM does more" in str(why_slow(head, model))
    hidden = torch.randn(3, 16)
    raw = hidden @ model.lm_head.weight.T
    torch.testing.assert_close(head.logits(hidden), raw + 0.1 * raw**2)


def test_an_adapter_on_the_head_is_differentiated_and_named() -> None:
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(
        tiny("Gemma2", head_dim=8, final_logit_softcapping=5.0, tie_word_embeddings=False),
        peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["lm_head"]),
    )
    torch.nn.init.normal_(model.base_model.model.lm_head.lora_B["default"].weight)
    head = head_of(model)
    assert isinstance(head, OwnHead) and len(head.parameters) == 2 and not head.runs_layers
    assert "leave lm_head out" in str(why_slow(head, model))
    with torch.no_grad():
        out = model(torch.tensor([[3, 4, 5]]), output_hidden_states=True, use_cache=False)
        torch.testing.assert_close(head.logits(out.hidden_states[-1][0]), out.logits[0])


def test_a_model_without_a_head_is_refused() -> None:
    with pytest.raises(FrownError, match="no output embedding"):
        head_of(SimpleNamespace(get_output_embeddings=lambda: None))
