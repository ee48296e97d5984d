"""A model folder as a GGUF file, written as llama.cpp's converter writes those of Llama and Qwen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def gguf_file(
    folder: Path, file: Path, *, stored: str = "F32", tokenizer: bool = True, parts: int | None = None,
    architecture: str | None = None,
) -> Path:  # fmt: skip
    """Write the model in a folder to a GGUF file, its matrices `stored` as one of GGML's types says."""
    import gguf
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    config = model.config
    kind = getattr(gguf.MODEL_ARCH, config.model_type.upper())
    writer = gguf.GGUFWriter(file, architecture or config.model_type)
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    names = {"F32": "ALL_F32", "F16": "MOSTLY_F16", "Q8_0": "MOSTLY_Q8_0", "Q4_0": "MOSTLY_Q4_0"}
    writer.add_file_type(getattr(gguf.LlamaFileType, names[stored]))
    if parts is not None:
        writer.add_uint16("split.count", parts)
    if tokenizer:
        _add_tokenizer(writer, AutoTokenizer.from_pretrained(folder), config.vocab_size)
    kept = gguf.get_tensor_name_map(kind, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = tensor.float().numpy()
        if config.model_type == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            values = _interleaved(values, config.hidden_size // config.num_attention_heads)
        _add_tensor(writer, kept.get_name(name, try_suffixes=(".weight", ".bias")), values, stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _add_tokenizer(writer: Any, tokenizer: Any, rows: int) -> None:
    special = set(tokenizer.all_special_ids)
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    space = "\u0120"
    unused = [2 * space, *(f"[PAD{i}]" for i in range(len(tokens) + 1, rows))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens + unused)
    writer.add_token_types([3 if i in special else 1 for i in range(len(tokens))] + [1] + [5] * (len(unused) - 1))
    writer.add_token_merges([f"{space} {space}"])  # an empty list is no list, and no text of the tests has it
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _interleaved(values: np.ndarray, size: int) -> np.ndarray:
    """Rows of the rotated halves of each head in turns, as llama.cpp has them for Llama."""
    heads = values.shape[0] // size
    return values.reshape(heads, 2, size // 2, -1).swapaxes(1, 2).reshape(values.shape)


def _add_tensor(writer: Any, name: str, values: np.ndarray, stored: str) -> None:
    import gguf

    kind = gguf.GGMLQuantizationType[stored if values.ndim == 2 else "F32"]
    data = np.ascontiguousarray(values)
    if kind.name == "F16":
        data = data.astype(np.float16)
    elif kind.name != "F32":
        data = gguf.quants.quantize(data, kind)
    writer.add_tensor(name, data, raw_dtype=kind)
