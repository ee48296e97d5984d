"""Loading a causal language model and its tokenizer, with errors that say what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from frown.config import ModelConfig
from frown.errors import FrownError, first_line
from frown.policy import gguf
from frown.policy.adapters import adapted, declare_untied, merged, rank_note
from frown.policy.folder import ADAPTER, TOKENIZERS, base_of, has_tokenizer, resolve
from frown.policy.text import templated
from frown.types import Message


class LoadedModel(NamedTuple):
    """A model ready to train, and its tokenizer."""

    model: Any
    tokenizer: Any
    device: Any
    notes: tuple[str, ...] = ()
    """What a person should know of its files."""


def load(config: ModelConfig) -> LoadedModel:
    """Model in training precision on its device (with fresh LoRA adapters if configured), and tokenizer.

    A folder of LoRA adapters is loaded as its base model with the adapters merged into it, so that "the model at the
    start" (a frozen teacher) is what the adapters had made of it. A GGUF file is dequantised. No code from a folder is
    run.
    """
    place = resolve(config.path)
    is_adapter = (place / ADAPTER).is_file()
    if is_adapter and config.lora is not None:
        raise FrownError(
            f"model {config.path} is a folder of LoRA adapters, and new ones on top of it would name a base model that "
            "is in no folder: leave out model.lora, or merge them first (merge_and_unload and save_pretrained of peft)"
        )
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    device = device_named(config.device)
    base = base_of(config.path, place) if is_adapter else place
    notes = [_gguf_note(base, config.dtype)] if gguf.is_gguf(base) else []
    try:
        tokenizer = _tokenizer(config.path, place, base)
        model, loading = _weights(base, getattr(torch, config.dtype))
        _refuse_incomplete(config.path, loading)
        if is_adapter:
            model = merged(model, place)
    except FrownError:
        raise
    except Exception as error:  # whatever a broken folder makes the libraries raise
        raise FrownError(f"cannot load model {config.path}: {first_line(error)}") from error
    declare_untied(model)
    _refuse_tokenizer(config.path, tokenizer)
    notes += [line for line in (_unused(loading), _rowless(config.path, model, tokenizer)) if line]
    if config.gradient_checkpointing:
        _mark_for_recomputation(model)
    if config.lora is not None:
        model = adapted(model, config)
        notes += [line for line in (rank_note(model, config.lora.rank),) if line]
    return LoadedModel(model.to(device), tokenizer, device, tuple(notes))


def _tokenizer(path: str, place: Path, base: Path) -> Any:
    """The tokenizer in a model's own folder or GGUF file, else that of the base of its adapters, or the one beside its
    GGUF file."""
    from transformers import AutoTokenizer

    if gguf.is_gguf(base) and gguf.header(base).has_tokenizer and not (place != base and has_tokenizer(place)):
        return AutoTokenizer.from_pretrained(**gguf.pretrained(base))
    folders = [place, base] if base.is_dir() else [*([place] if place.is_dir() else []), base.parent]
    folder = next((folder for folder in folders if has_tokenizer(folder)), None)
    if folder is None:
        raise FrownError(
            f"model {path} has no tokenizer: none of {', '.join(TOKENIZERS)} is there; copy the files of the model it "
            "was made from"
        )
    return AutoTokenizer.from_pretrained(**gguf.pretrained(folder))


def _weights(place: Path, dtype: Any) -> tuple[Any, dict[str, Any]]:
    """The model in a folder or a GGUF file, and what transformers says is missing in it."""
    from transformers import AutoModelForCausalLM

    how: dict[str, Any] = gguf.dequantised() if gguf.is_gguf(place) else {"use_safetensors": True}
    with _without_report():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True, **how, **gguf.pretrained(place)
        )
    return loaded[0], loaded[1]


@contextmanager
def _without_report() -> Iterator[None]:
    """Without the table of tensors that transformers writes to the screen: what counts of it is said in one line."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _gguf_note(file: Path, dtype: str) -> str:
    return (
        f"the weights of {file.name} are {gguf.header(file).quantisation}, dequantised to {dtype}: what is learnt is "
        "saved as safetensors, not as GGUF"
    )


def _refuse_incomplete(path: str, loading: Mapping[str, Any]) -> None:
    """Raise FrownError for a model without all of its weights."""
    absent = sorted({*loading["missing_keys"], *(str(key[0]) for key in loading["mismatched_keys"])})
    if absent:
        raise FrownError(
            f"model {path}: {len(absent)} tensors are missing from its weights or have another shape than its "
            f"config.json says, {absent[0]} among them; is the checkpoint whole?"
        )


def _unused(loading: Mapping[str, Any]) -> str | None:
    """A line on weights that the architecture has no place for."""
    strange = sorted(loading["unexpected_keys"])
    if not strange:
        return None
    return (
        f"{len(strange)} tensors of the model's weights are not used, since its architecture has no place for them "
        f"({strange[0]} among them)"
    )


def _refuse_tokenizer(path: str, tokenizer: Any) -> None:
    """Raise FrownError for a tokenizer without a chat template or an end of sequence."""
    if not tokenizer.chat_template:
        raise FrownError(f"model {path} has no chat template; add chat_template.jinja to the folder")
    if tokenizer.eos_token_id is None:
        raise FrownError(f"model {path}: its tokenizer has no end-of-sequence token; set eos_token")


def _rowless(path: str, model: Any, tokenizer: Any) -> str | None:
    """A line on tokens that the model has no embedding of. Raises FrownError where a conversation needs one of them."""
    rows = model.get_input_embeddings().weight.shape[0]
    beyond = {token: i for token, i in tokenizer.get_vocab().items() if i >= rows}
    if not beyond:
        return None
    token = min(beyond, key=lambda name: beyond[name])
    what = (
        f"the tokenizer has {len(beyond)} tokens that the model has no embedding of, {token!r} ({beyond[token]}) "
        f"among them, since the embedding has {rows} rows"
    )
    ids = templated(tokenizer, [Message(role="user", content="a")], return_dict=False)
    if tokenizer.eos_token_id >= rows or max(ids) >= rows:
        raise FrownError(
            f"model {path}: {what}, and its conversations need them: take the tokenizer of this very model, or resize "
            "the embedding (resize_token_embeddings of transformers)"
        )
    return f"{what}; a text with one of them is refused"


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
