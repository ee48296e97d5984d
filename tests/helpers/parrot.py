"""A real causal language model that says one and the same thing, for tests of whoever has to understand it."""

from __future__ import annotations

from pathlib import Path

from tiny import byte_model


def parrot(folder: Path, says: str) -> Path:
    """A Llama in an ordinary Hugging Face folder that answers every prompt with `says` and ends.

    `says` is one added token. The layer passes its input on unchanged, and the head knows three things: the token that
    opens an answer is followed by `says`, `says` by the end, and anything else by the end, too.
    """
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(byte_model(folder, layers=1))
    tokenizer.add_tokens([says])
    opens, speech, ends = (tokenizer.convert_tokens_to_ids(t) for t in ("<|assistant|>", says, "<|end|>"))
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
            max_position_embeddings=16384, bos_token_id=None, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip
    with torch.no_grad():
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
        embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        embedding.zero_()
        head.zero_()
        embedding[:, 0] = 1.0
        for token, axis, following in ((opens, 1, speech), (speech, 2, ends)):
            embedding[token] = torch.eye(8)[axis]
            head[following, axis] = 1.0
        head[ends, 0] = 1.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
