"""Tiny random models of the common architectures, each with the markers and the chat template of its family."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

QWEN3 = (
    "{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + (m.content.split('</think>')[-1].lstrip('\\n')"
    " if m.role == 'assistant' else m.content) + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif %}"
    "{%- endif %}"
)
LLAMA = (
    "{{ bos_token }}{%- for m in messages %}"
    "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content | trim + '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "{{ '<start_of_turn>' + role + '\\n' + m['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
OLMO = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + ('\\n' if not loop.last else '') }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\\n<|assistant|>\\n' }}{% endif %}"
)


class Family(NamedTuple):
    """How a family writes conversations, and what its configuration has that others have not."""

    name: str
    """Of its classes in transformers, NAMEConfig and NAMEForCausalLM."""
    template: str
    markers: tuple[str, ...]
    """Special tokens; the first ends an answer, the last pads."""
    bos: str | None
    tied: bool
    config: dict[str, Any]


SLIDING = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 24}
QWEN_MARKERS = ("<|im_end|>", "<|im_start|>", "<|endoftext|>")
LLAMA_MARKERS = ("<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|begin_of_text|>", "<|finetune_pad|>")
GEMMA_MARKERS = ("<end_of_turn>", "<start_of_turn>", "<bos>", "<eos>", "<pad>")
FAMILIES = {
    "qwen3": Family("Qwen3", QWEN3, QWEN_MARKERS, None, True, {}),
    "qwen3-untied": Family("Qwen3", QWEN3, QWEN_MARKERS, None, False, {}),
    "qwen2": Family("Qwen2", QWEN3, QWEN_MARKERS, None, True, {}),
    "llama": Family("Llama", LLAMA, LLAMA_MARKERS, "<|begin_of_text|>", False, {}),
    "llama-tied": Family("Llama", LLAMA, LLAMA_MARKERS, "<|begin_of_text|>", True, {}),
    "gemma": Family("Gemma", GEMMA, GEMMA_MARKERS, "<bos>", True, {}),
    "gemma2": Family("Gemma2", GEMMA, GEMMA_MARKERS, "<bos>", True, SLIDING | {"query_pre_attn_scalar": 16}),
    "gemma3": Family("Gemma3", GEMMA, GEMMA_MARKERS, "<bos>", True, SLIDING | {"query_pre_attn_scalar": 16}),
    "olmo2": Family("Olmo2", OLMO, ("<|endoftext|>", "<|pad|>"), "<|endoftext|>", False, {}),
    "olmo3": Family("Olmo3", OLMO, ("<|endoftext|>", "<|pad|>"), "<|endoftext|>", False, SLIDING),
}


def family_model(name: str, folder: Path, *, layers: int = 2, hidden: int = 32, seed: int = 0) -> Path:
    """A random model of a family with a byte-level tokenizer, saved as an ordinary Hugging Face folder."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    family = FAMILIES[name]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        # Gemma's tokenizer names <eos>; that a turn's end ends an answer stands in generation_config.json alone.
        eos_token="<eos>" if "<eos>" in family.markers else family.markers[0],
        pad_token=family.markers[-1],
        bos_token=family.bos,
        additional_special_tokens=list(family.markers),
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = family.template
    ends = sorted({tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(family.markers[0])})
    torch.manual_seed(seed)
    suffix = "TextConfig" if family.name == "Gemma3" else "Config"
    model = getattr(transformers, f"{family.name}ForCausalLM")(
        getattr(transformers, family.name + suffix)(
            vocab_size=len(tokenizer) + 5,  # more rows than tokens, as real models have
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=hidden // 2,
            max_position_embeddings=2048,
            tie_word_embeddings=family.tied,
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            **family.config,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
