"""LoRA adapters: fresh ones around a model, and saved ones merged into the model that they were trained on.

What is merged is held to what peft makes of the same folder without merging: nothing in the folder may be left out,
and a head that shares its weight with the embedding gets one of its own where either has an adapter.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from frown.config import ModelConfig
from frown.errors import FrownError, first_line
from frown.policy.folder import ADAPTER, ADAPTER_WEIGHTS, header_of, located
from frown.policy.hub import is_hub_name

MERGEABLE = ("LORA", "ADALORA", "LOHA", "LOKR", "IA3", "OFT", "BOFT", "VERA", "TRAINABLE_TOKENS")
"""Kinds of peft's adapters that are changes of weights."""


def adapted(model: Any, config: ModelConfig) -> Any:
    """The model with fresh LoRA adapters, which alone are trained."""
    peft = _peft("model.lora needs")
    lora = config.lora
    assert lora is not None
    _refuse_targets(model, lora.targets)
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


def rank_note(model: Any, rank: int) -> str | None:
    """A line where adapters have a higher rank than the matrices they change; None where none has."""
    sizes = {
        name.rpartition(".")[2]: min(module.get_base_layer().weight.shape)
        for name, module in model.named_modules()
        if hasattr(module, "get_base_layer") and hasattr(module, "lora_A")
    }
    small = {name: size for name, size in sorted(sizes.items()) if size < rank}
    if not small:
        return None
    named = ", ".join(f"{name} {size}" for name, size in small.items())
    return f"model.lora.rank = {rank} is more than the full rank of some matrices ({named}): a lower one learns as much"


def _refuse_targets(model: Any, targets: Sequence[str] | str) -> None:
    """Raise FrownError for a name of `model.lora.targets` that no layer has, or that is no layer of weights: peft
    leaves the first out without a word where others are right."""
    if isinstance(targets, str):
        return
    if not targets:
        raise FrownError('model.lora.targets is empty: name the modules, or leave it out for "all-linear"')
    import torch
    from transformers.pytorch_utils import Conv1D

    modules = dict(model.named_modules())
    kinds = (torch.nn.Linear, torch.nn.Embedding, Conv1D)
    fitting = sorted({name.rpartition(".")[2] for name, module in modules.items() if isinstance(module, kinds)})
    for target in targets:
        named = [module for name, module in modules.items() if name == target or name.endswith(f".{target}")]
        if not named:
            raise FrownError(
                f"model.lora.targets: {type(model).__name__} has no module {target}; it has {', '.join(fitting)}"
            )
        if other := next((m for m in named if not isinstance(m, kinds)), None):
            raise FrownError(
                f"model.lora.targets: {target} is a {type(other).__name__}, which gets no adapter; those of "
                f"{type(model).__name__} that do are {', '.join(fitting)}"
            )


def merged(model: Any, folder: Path) -> Any:
    """The model with the adapters in a folder added to its weights: what peft makes of both, as one model.

    Where the adapters bring more rows of an embedding than the model has (added tokens), the model gets them, too.
    Raises FrownError for adapters of another model, of a kind that changes no weights, or of which a part is missing.
    """
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise FrownError(f"{folder} has no {ADAPTER_WEIGHTS}")
    peft = _peft(f"the adapters in {folder} need")
    tensors = {name: tuple(tensor["shape"]) for name, tensor in header_of(folder / ADAPTER_WEIGHTS).items()}
    settings = peft.PeftConfig.from_pretrained(str(folder))
    kind = str(getattr(settings.peft_type, "value", settings.peft_type))
    if kind not in MERGEABLE:
        raise FrownError(f"the adapters in {folder} are of the kind {kind}, which cannot be merged into weights")
    _grow(folder, model, tensors)
    ends = _paths(model, model.get_input_embeddings()) + _paths(model, model.get_output_embeddings())
    with _calm():
        try:
            with_adapters = peft.PeftModel.from_pretrained(model, folder)
        except (RuntimeError, ValueError, KeyError) as error:
            raise FrownError(f"the adapters in {folder} do not fit their base model: {_misfit(error)}") from error
        # Weights of embedding and head that peft saves with adapters are there twice: as what they were, too.
        _refuse_others(folder, with_adapters, {t for t in tensors if "lora_" in t or not t.startswith(ends)}, tensors)
        _untie(with_adapters)
        whole = with_adapters.merge_and_unload()
    return whole.requires_grad_(True)  # peft had frozen it; it is a model like any other now


def _grow(folder: Path, model: Any, tensors: Mapping[str, tuple[int, ...]]) -> None:
    """Give embedding and head as many rows as they had where the adapters were trained; peft does not.

    Raises FrownError where the adapters bring the rows of one of them alone, and both have weights of their own.
    """
    ends = {"embedding": model.get_input_embeddings(), "head": model.get_output_embeddings()}
    names = {end: _paths(model, module) for end, module in ends.items()}
    rows = {
        end: shape[0]
        for end, paths in names.items()
        for key, shape in tensors.items()
        if key.startswith(paths) and key.endswith(".weight") and "lora_" not in key and ".original_module." not in key
    }
    different = {n for n in rows.values() if n != ends["embedding"].weight.shape[0]}
    if not different:
        return
    if len(set(rows.values())) > 1:
        raise FrownError(f"the adapters in {folder} bring an embedding and a head of different numbers of rows")
    tied = ends["head"] is None or ends["head"].weight is ends["embedding"].weight
    most = different.pop()
    if not tied and (missing := sorted(set(ends) - set(rows))):
        raise FrownError(
            f"the adapters in {folder} were trained on {most} tokens and their base model has "
            f"{ends['embedding'].weight.shape[0]}: the rows of the added ones are not among them, those of the "
            f"{missing[0]} (save them with modules_to_save, or the resized base model with save_pretrained)"
        )
    model.resize_token_embeddings(most, mean_resizing=False)


def _paths(model: Any, wanted: Any) -> tuple[str, ...]:
    """How the tensors of a module of the base model begin in a file of adapters."""
    return tuple(f"base_model.model.{name}." for name, module in model.named_modules() if module is wanted)


def _refuse_others(folder: Path, model: Any, adapters: Collection[str], tensors: Collection[str]) -> None:
    """Raise FrownError where there are `adapters` that the model has no place for, or not all that it needs among the
    `tensors` of the file: peft goes on with what fits."""
    from peft import get_peft_model_state_dict

    wanted = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    if missing := sorted(wanted - set(tensors)):
        raise FrownError(
            f"the adapters in {folder} are not whole: {len(missing)} tensors that {ADAPTER} asks for are missing, "
            f"{missing[0]} among them"
        )
    if strange := sorted(set(adapters) - wanted):
        raise FrownError(
            f"the adapters in {folder} do not fit their base model, which has no place for {len(strange)} tensors, "
            f"{strange[0]} among them"
        )


def _untie(model: Any) -> None:
    """Give the head a weight of its own where it shares the embedding's and one of both has an adapter: what is added
    to one must not reach the other."""
    import torch

    inner = model.get_base_model()
    ends = [inner.get_input_embeddings(), inner.get_output_embeddings()]
    layers = [end.get_base_layer() if hasattr(end, "get_base_layer") else end for end in ends]
    adapters = any(hasattr(end, "get_base_layer") for end in ends)
    if adapters and layers[0].weight is layers[1].weight:
        layers[1].weight = torch.nn.Parameter(layers[1].weight.detach().clone(), requires_grad=False)


def declare_untied(model: Any) -> None:
    """Have the configuration say so where head and embedding have weights of their own: it would be saved with a model
    that is another one when loaded."""
    ends = model.get_input_embeddings(), model.get_output_embeddings()
    weights = [getattr(end, "weight", None) for end in ends]
    if weights[0] is not weights[1]:
        for config in (model.config, model.config.get_text_config()):
            if getattr(config, "tie_word_embeddings", False):
                config.tie_word_embeddings = False
        for name in [n for n, p in model.named_parameters() if p is weights[1]]:
            getattr(model, "all_tied_weights_keys", {}).pop(name, None)


def _misfit(error: BaseException) -> str:
    """The line of an error of torch that names a tensor."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if "size mismatch" in line), first_line(error))


def _peft(what_needs: str) -> Any:
    try:
        import peft
    except ImportError:
        raise FrownError(f'{what_needs} the peft package: pip install "frown[lora]"') from None
    return peft


@contextmanager
def _calm() -> Iterator[None]:
    """Without warnings that nobody can do anything about: peft asks a model for `is_gradient_checkpointing`, a name
    that transformers has deprecated, and warns of tied weights and missing tensors, which are looked after here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        for start in (r"Model (with|has) `tie_word_embeddings=True`", "Input and output embeddings are no longer tied",
                      "Found missing adapter keys"):  # fmt: skip
            warnings.filterwarnings("ignore", start)
        yield
