"""Models of the lab's size that know a small language: a word a token, two layers, made with random weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

PAD, END = "<pad>", "<end>"
TEMPLATE = (
    "{% for m in messages %}{{ '<' + m.role + '>' + m.content + '<end>' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
"""A turn is its role in angle brackets, its words and <end>."""


def word_tokenizer(
    words: Iterable[str], roles: Iterable[str], *, pre_tokenizer: Any, decoder: Any = None, unknown: str | None = None
) -> PreTrainedTokenizerFast:
    """A word a token, in this order; `words` hold PAD, END and the roles.

    `pre_tokenizer` says what a word is. `unknown`: the token of all other words; None: they are read as PAD.
    """
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {w: i for i, w in enumerate(words)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token=PAD if unknown is None else unknown))
    inner.pre_tokenizer = pre_tokenizer
    if decoder is not None:
        inner.decoder = decoder
    special = {} if unknown is None else {"unk_token": unknown}
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token=PAD, eos_token=END, additional_special_tokens=list(roles),
        clean_up_tokenization_spaces=False, chat_template=TEMPLATE, **special,
    )  # fmt: skip


def word_model(tokenizer: PreTrainedTokenizerFast, seed: int, *, spread: float = 0.02) -> Qwen3ForCausalLM:
    """A Qwen3 of two layers and some 0.1 million parameters. `spread`: standard deviation of its first weights."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(seed)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=2, head_dim=32, max_position_embeddings=256,
            tie_word_embeddings=True, initializer_range=spread, bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip
