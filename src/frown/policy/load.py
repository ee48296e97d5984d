"""Loading a causal language model and its tokenizer, with errors that say what is missing."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from frown.config import ModelConfig
from frown.errors import FrownError, first_line
from frown.policy.hub import is_hub_name, snapshot


class LoadedModel(NamedTuple):
    """A model ready to train, and its tokenizer."""

    model: Any
    tokenizer: Any
    device: Any


ADAPTER = "adapter_config.json"
"""What makes a folder one of LoRA adapters (peft)."""


def resolve(path: str) -> Path:
    """The folder of a model: an embedded one for "lab:NAME", a folder as it is, or that of a hub name."""
    folder = located(path)
    if not any((folder / name).is_file() for name in ("config.json", ADAPTER)):
        raise FrownError(f"model folder {path} has no config.json; is it a Hugging Face model folder?")
    if not any(folder.glob("*.safetensors")):
        pickled = " (pickled weights are not loaded: convert them to safetensors)" if any(folder.glob("*.bin")) else ""
        raise FrownError(f"model folder {path} has no weights: no *.safetensors file in it{pickled}")
    return folder


def located(path: str, *, weights: bool = True) -> Path:
    """The folder that "lab:NAME", a path or a hub name stands for, whatever is in it; `weights`: a hub model whole."""
    if path.startswith("lab:"):
        from frown.lab.base import model_path

        return model_path(path.removeprefix("lab:"))
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if is_hub_name(path):
        return snapshot(path, weights=weights)
    raise FrownError(f"model folder {path} does not exist; give a Hugging Face folder, a hub name or lab:NAME")


def load(config: ModelConfig) -> LoadedModel:
    """Model in training precision on its device (with fresh LoRA adapters if configured), and tokenizer.

    A folder of LoRA adapters is loaded as its base model with the adapters merged into it, so that "the model at the
    start" (a frozen teacher) is what the adapters had made of it. No code from a folder is run.
    """
    folder = resolve(config.path)
    is_adapter = (folder / ADAPTER).is_file()
    if is_adapter and config.lora is not None:
        raise FrownError(
            f"model {config.path} is a folder of LoRA adapters, and new ones on top of it would name a base model that "
            "is in no folder: leave out model.lora, or merge them first (merge_and_unload and save_pretrained of peft)"
        )
    import torch
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    device = device_named(config.device)
    base = _base(config.path, folder) if is_adapter else folder
    try:
        has_tokenizer = (folder / "tokenizer_config.json").is_file()
        tokenizer = AutoTokenizer.from_pretrained(folder if has_tokenizer else base, **_LOCAL)
        model, loading = _weights(base, getattr(torch, config.dtype))
        if is_adapter:
            model = _merged(model, folder)
    except FrownError:
        raise
    except Exception as error:  # whatever a broken folder makes the libraries raise
        raise FrownError(f"cannot load model {config.path}: {first_line(error)}") from error
    _refuse_incomplete(config.path, loading, tokenizer)
    if config.gradient_checkpointing:
        _mark_for_recomputation(model)
    if config.lora is not None:
        model = adapted(model, config)
    return LoadedModel(model.to(device), tokenizer, device)


def _refuse_incomplete(path: str, loading: Mapping[str, Any], tokenizer: Any) -> None:
    """Raise FrownError for a model without all of its weights, a chat template or an end of sequence."""
    absent = sorted({*loading["missing_keys"], *(str(key[0]) for key in loading["mismatched_keys"])})
    if absent:
        raise FrownError(
            f"model {path}: {len(absent)} tensors are missing from its weights or have another shape than its "
            f"config.json says, {absent[0]} among them; is the checkpoint whole?"
        )
    if not tokenizer.chat_template:
        raise FrownError(f"model {path} has no chat template; add chat_template.jinja to the folder")
    if tokenizer.eos_token_id is None:
        raise FrownError(f"model {path}: its tokenizer has no end-of-sequence token; set eos_token")


_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def _weights(folder: Path, dtype: Any) -> tuple[Any, dict[str, Any]]:
    """The model in a folder, and what transformers says is missing in it."""
    from transformers import AutoModelForCausalLM

    loaded: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **_LOCAL
    )
    return loaded[0], loaded[1]


def described(path: str) -> Path:
    """The folder whose config.json says what a model is: of adapters, their base model's. Weights need not be there."""
    folder = located(path, weights=False)
    return _base(path, folder) if (folder / ADAPTER).is_file() else folder


def _base(path: str, folder: Path) -> Path:
    """The folder of the model that adapters were trained on."""
    try:
        named = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        named = None
    if not isinstance(named, str):
        raise FrownError(f"model {path}: its {ADAPTER} names no base model")
    try:
        base = resolve(named)
    except FrownError as error:
        raise FrownError(f"model {path} holds adapters; their base model cannot be loaded: {error}") from None
    if (base / ADAPTER).is_file():
        raise FrownError(f"model {path} holds adapters of adapters ({named}); merge those first")
    return base


def _merged(model: Any, folder: Path) -> Any:
    """The model with the adapters in a folder added to its weights."""
    if not (folder / "adapter_model.safetensors").is_file():
        raise FrownError(f"{folder} has no adapter_model.safetensors")
    peft = _peft(f"the adapters in {folder} need")
    with _calm():
        whole = peft.PeftModel.from_pretrained(model, folder).merge_and_unload()
    return whole.requires_grad_(True)  # peft had frozen it; it is a model like any other now


def device_named(name: str) -> Any:
    """The torch device of a name; "auto" is CUDA where there is a device, else the CPU."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise FrownError(f"model.device = {name!r} cannot be used here: {first_line(error)}") from None
    return device


def _peft(what_needs: str) -> Any:
    try:
        import peft
    except ImportError:
        raise FrownError(f'{what_needs} the peft package: pip install "frown[lora]"') from None
    return peft


@contextmanager
def _calm() -> Iterator[None]:
    """Without one warning: peft asks a model for `is_gradient_checkpointing`, a name that transformers has deprecated,
    and nobody who trains adapters can do anything about it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


def adapted(model: Any, config: ModelConfig) -> Any:
    """The model with fresh LoRA adapters, which alone are trained."""
    peft = _peft("model.lora needs")
    lora = config.lora
    assert lora is not None
    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    try:
        with _calm():
            with_adapters = peft.get_peft_model(
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
    # What saved adapters say of their base: a hub name as it was given, which means something elsewhere, too, and not
    # the folder of a cache; of a local model the whole path.
    settings = with_adapters.peft_config["default"]
    if is_hub_name(config.path) and not Path(config.path).expanduser().is_dir():
        settings.base_model_name_or_path, _, revision = config.path.partition("@")
        settings.revision = revision or None
    else:
        settings.base_model_name_or_path = str(located(config.path).resolve())
    return with_adapters


def layers(model: Any) -> list[Any]:
    """The decoder layers, in order; [] where transformers does not mark them."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]


def _mark_for_recomputation(model: Any) -> None:
    """Have each decoder layer computed again in the backward pass, wherever `recomputing` says so."""
    checkpointed = layers(model)
    if not checkpointed:
        raise FrownError(
            f"{type(model).__name__} has no layers that can be computed again: leave out model.gradient_checkpointing"
        )
    for layer in checkpointed:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = partial(_checkpointed, layer)


def _checkpointed(layer: Any, call: Any, *inputs: Any) -> Any:
    from torch.utils.checkpoint import checkpoint

    layer.training = False  # transformers asks for it to checkpoint; nothing inside may take it for a call for dropout
    return checkpoint(call, *inputs, use_reentrant=False)


@contextmanager
def recomputing(model: Any) -> Iterator[None]:
    """A forward pass that keeps only what enters each layer, if the model was loaded with gradient checkpointing.

    Without gradients, and in a model loaded otherwise, nothing changes. Outside of it the layers behave as ever: with
    checkpointing on, transformers would take the cache away from sampling.
    """
    import torch

    marked = [m for m in model.modules() if getattr(m, "_gradient_checkpointing_func", None) is not None]
    marked = marked if torch.is_grad_enabled() else []
    for layer in marked:
        layer.training = True
    try:
        yield
    finally:
        for layer in marked:
            layer.training = False


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
    return context_of(plain(model).config)


def context_of(settings: Any) -> int | None:
    """Most tokens that a model with this config can attend to, or None where it does not say."""
    return getattr(settings.get_text_config(), "max_position_embeddings", None)
