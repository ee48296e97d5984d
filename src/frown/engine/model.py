"""Loading a local causal language model and its tokenizer, with errors that say what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from frown.config import ModelConfig
from frown.errors import FrownError, first_line


class Loaded(NamedTuple):
    """A model ready to train, and its tokenizer."""

    model: Any
    tokenizer: Any
    device: Any


def resolve(path: str) -> Path:
    """The folder of a model: an embedded one for "lab:NAME", else the path itself."""
    if path.startswith("lab:"):
        from frown.lab.base import model_path

        return model_path(path.removeprefix("lab:"))
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise FrownError(f"model folder {path} does not exist; give a local Hugging Face folder or lab:NAME")
    if not (folder / "config.json").is_file():
        raise FrownError(f"model folder {path} has no config.json; is it a Hugging Face model folder?")
    if not any(folder.glob("*.safetensors")):
        pickled = " (pickled weights are not loaded: convert them to safetensors)" if any(folder.glob("*.bin")) else ""
        raise FrownError(f"model folder {path} has no weights: no *.safetensors file in it{pickled}")
    return folder


def load(config: ModelConfig) -> Loaded:
    """Model in training precision on its device (with fresh LoRA adapters if configured), and tokenizer.

    Nothing is downloaded and no code from the folder is run.
    """
    folder = resolve(config.path)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    device = _device(config.device)
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **local)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, config.dtype), use_safetensors=True, output_loading_info=True, **local
        )
        model, found = loaded
    except Exception as error:  # whatever a broken folder makes the libraries raise
        raise FrownError(f"cannot load model {config.path}: {first_line(error)}") from error
    absent = sorted({*found["missing_keys"], *(str(key[0]) for key in found["mismatched_keys"])})
    if absent:
        raise FrownError(
            f"model {config.path}: {len(absent)} tensors are missing from its weights or have another shape than its "
            f"config.json says, {absent[0]} among them; is the checkpoint whole?"
        )
    if not tokenizer.chat_template:
        raise FrownError(f"model {config.path} has no chat template; add chat_template.jinja to the folder")
    if tokenizer.eos_token_id is None:
        raise FrownError(f"model {config.path}: its tokenizer has no end-of-sequence token; set eos_token")
    if config.lora is not None:
        model = _with_adapters(model, config)
    return Loaded(model.to(device), tokenizer, device)


def _device(name: str) -> Any:
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise FrownError(f"model.device = {name!r} cannot be used here: {first_line(error)}") from None
    return device


def _with_adapters(model: Any, config: ModelConfig) -> Any:
    try:
        import peft
    except ImportError:
        raise FrownError('model.lora needs the peft package: pip install "frown[lora]"') from None
    lora = config.lora
    assert lora is not None
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    try:
        return peft.get_peft_model(
            model,
            peft.LoraConfig(
                task_type="CAUSAL_LM",
                r=lora.rank,
                lora_alpha=lora.alpha,
                target_modules=targets,
            ),
        )
    except ValueError as error:
        raise FrownError(f"model.lora.targets = {lora.targets!r}: {first_line(error)}") from None


def plain(model: Any) -> Any:
    """The transformers model itself, with adapters (if any) left in place inside it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def backbone(model: Any) -> Any:
    """The transformer below the language-model head: input ids to final hidden states."""
    inner = plain(model)
    return getattr(inner, inner.base_model_prefix)


def takes_masks(model: Any) -> bool:
    """Whether booleans [rows, 1, queries, keys] given as `attention_mask` reach every layer's attention as they are.

    True of models with transformers' exchangeable attention; those with an attention of their own may read a mask
    of rows and tokens for more than attention.
    """
    inner = plain(model)
    return (
        getattr(type(inner), "_supports_attention_backend", False)
        and inner.config.get_text_config()._attn_implementation == "sdpa"
    )


def end_ids(model: Any, tokenizer: Any) -> list[int]:
    """The tokens that end an answer, by the tokenizer's word or the model's, ascending."""
    eos = plain(model).generation_config.eos_token_id
    return sorted({tokenizer.eos_token_id, *(eos if isinstance(eos, list) else [eos])} - {None})


def context_length(model: Any) -> int | None:
    """Most tokens the model can attend to, or None where its config does not say."""
    return getattr(plain(model).config, "max_position_embeddings", None)
