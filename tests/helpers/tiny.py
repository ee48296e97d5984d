"""Tiny models and data that tests make for themselves."""

from __future__ import annotations

import json
from pathlib import Path

from paths import SHARED

DATA = SHARED / "data"

CHAT = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def byte_model(folder: Path, *, layers: int = 2, hidden: int = 32, context: int = 2048, seed: int = 0) -> Path:
    """A random Qwen3 with a byte-level tokenizer, saved as an ordinary Hugging Face folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    special = ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|pad|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=special[:3],
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=hidden // 2,
            max_position_embeddings=context,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def gsm8k_rows(n: int) -> list[dict[str, str]]:
    """Rows of GSM8K where the shared data is there, else a few of the same form written here."""
    file = DATA / "gsm8k" / "test.jsonl"
    if file.is_file():
        return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:n]]
    own = [
        {"question": f"Ann has {a} apples and buys {b} more. How many has she?",
         "answer": f"She has {a} + {b} = <<{a}+{b}={a + b}>>{a + b} apples.\n#### {a + b}"}
        for a in range(2, 12) for b in range(3, 9)
    ]  # fmt: skip
    return own[:n]


def write_jsonl(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path
