"""The sizes of a model from its config.json alone: nothing is allocated, so that any model can be planned anywhere.

The model is built of fake tensors, which have shapes and no contents, and its forward pass is run on them. What
autograd would keep for the backward pass is then counted instead of guessed, layer by layer, for any architecture.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from frown.config import ModelConfig
from frown.errors import FrownError, first_line
from frown.policy import load as models
from frown.policy.folder import described
from frown.policy.gguf import pretrained


class PerProcess(NamedTuple):
    """What one process has of a model whose layers are spread over some (FSDP2): all that is not in a layer, and of
    each tensor in a layer its rows divided by the processes, rounded up."""

    processes: int
    """Over how many; 1: the model is whole."""
    weights: int
    """Bytes."""
    trainable: int
    """Numbers that are learnt."""
    base: int
    """Numbers, adapters left out."""
    layers: int
    """Bytes of all layers when they are put together; 0 where the model is whole, as are all below."""
    largest: int
    """Bytes of the largest layer when it is put together."""
    largest_base: int
    """Numbers of it, adapters left out."""
    largest_trainable: int
    """The most numbers of one layer that are learnt."""


class Shapes(NamedTuple):
    """Sizes in bytes, unless said otherwise."""

    architecture: str
    parameters: int
    """How many numbers, adapters included; tied weights once."""
    trainable: int
    """How many of them are learnt."""
    weights: int
    trainable_weights: int
    head: int
    """Of the head's weight in float32, in which its gradient is added up; 0 where it is not learnt."""
    tied: bool
    vocabulary: int
    """Rows of the head."""
    hidden: int
    """Size of the last hidden state, numbers."""
    kept: int
    """What a forward pass over the micro-batch keeps for the backward pass."""
    kept_by_layer: int
    """What the layer that keeps most keeps."""
    layer_inputs: int
    """What enters all layers: all that is kept of them when they are computed again."""
    cache_of_token: int
    """Keys and values of one token, all layers. Of sliding windows: before the window is full."""
    context: int | None
    """Most tokens the model can attend to."""
    per_process: PerProcess


def shapes(config: ModelConfig, *, rows: int, length: int, spread_over: int = 1) -> Shapes:
    """The sizes of a model, and of a micro-batch of `rows` sequences of `length` tokens each.

    `spread_over`: processes over which layers are spread. Needs config.json alone. Raises FrownError where the
    architecture cannot be run without contents, or does not say what its layers are.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM

    AttentionInterface.register(_ATTENTION, _attention)
    place = described(config.path)
    try:
        settings = AutoConfig.from_pretrained(**pretrained(place))
        with torch.device("meta"):
            built = AutoModelForCausalLM.from_config(
                settings, dtype=getattr(torch, config.dtype), attn_implementation=_ATTENTION
            )
            model = models.adapted(built, config) if config.lora is not None else built
        model.eval()
        with FakeTensorMode():
            _fake(model)
            kept, by_layer, entering = _kept(model, torch.zeros(rows, length, dtype=torch.long))
            cache = _cache_of_token(model)
    except FrownError:
        raise
    except Exception as error:  # whatever a broken config.json, or an operation that needs contents, raises
        raise FrownError(f"model {config.path} cannot be planned: {first_line(error)}") from error
    plain = models.plain(model)
    head = plain.get_output_embeddings().weight
    every = list(model.parameters())
    trainable = [p for p in every if p.requires_grad]
    return Shapes(
        architecture=type(plain).__name__,
        parameters=sum(p.numel() for p in every),
        trainable=sum(p.numel() for p in trainable),
        weights=sum(p.numel() * p.element_size() for p in every),
        trainable_weights=sum(p.numel() * p.element_size() for p in trainable),
        head=4 * head.numel() if head.requires_grad else 0,
        tied=head is plain.get_input_embeddings().weight,
        vocabulary=head.shape[0],
        hidden=head.shape[1],
        kept=kept,
        kept_by_layer=by_layer,
        layer_inputs=entering,
        cache_of_token=cache,
        context=models.context_length(model),
        per_process=_per_process(model, spread_over),
    )


def _per_process(model: Any, processes: int) -> PerProcess:
    from frown.learner.shards import split_layers

    class Sizes(NamedTuple):
        weights: int
        trainable: int
        base: int

    def sizes(parameters: dict[str, Any], share: int) -> Sizes:
        """Of the part of each that one of `share` processes has, padding included."""
        numbers = {n: -(-p.shape[0] // share) * (p.numel() // p.shape[0]) for n, p in parameters.items()}
        return Sizes(
            sum(numbers[n] * p.element_size() for n, p in parameters.items()),
            sum(numbers[n] for n, p in parameters.items() if p.requires_grad),
            sum(numbers[n] for n in parameters if "lora_" not in n),
        )

    every = dict(model.named_parameters())
    if processes == 1:
        return PerProcess(1, *sizes(every, 1), layers=0, largest=0, largest_base=0, largest_trainable=0)
    layers = [dict(layer.named_parameters()) for layer in split_layers(model)]
    spread = {id(p) for layer in layers for p in layer.values()}
    rest = sizes({n: p for n, p in every.items() if id(p) not in spread}, 1)
    parts = [sizes(layer, processes) for layer in layers]
    return PerProcess(
        processes,
        weights=rest.weights + sum(part.weights for part in parts),
        trainable=rest.trainable + sum(part.trainable for part in parts),
        base=rest.base + sum(part.base for part in parts),
        layers=processes * sum(part.weights for part in parts),
        largest=processes * max(part.weights for part in parts),
        largest_base=processes * max(part.base for part in parts),
        largest_trainable=processes * max(part.trainable for part in parts),
    )


_ATTENTION = "frown-shapes"


def _attention(
    module: Any, query: Any, key: Any, value: Any, mask: Any, *, sliding_window: int | None = None, **others: Any
) -> tuple[Any, None]:
    """What transformers' "sdpa" does with unpadded rows. That itself makes a mask of all pairs of tokens as soon as it
    meets tensors without contents, and such a mask is what is largest where there is one."""
    import torch

    length = query.shape[2]
    windowed = sliding_window is not None and sliding_window < length
    if windowed:
        mask = torch.ones(query.shape[0], 1, length, length, dtype=torch.bool)
    out = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask if windowed else None, is_causal=not windowed and length > 1, enable_gqa=True
    )
    return out.transpose(1, 2).contiguous(), None


def _fake(model: Any) -> None:
    """Put fake tensors of the processor in place of those of "meta", on which attention would not be the one used."""
    import torch

    fakes: dict[int, Any] = {}  # tied weights stay tied
    for module in model.modules():
        for name, p in module._parameters.items():
            if p is not None and id(p) not in fakes:
                fakes[id(p)] = torch.nn.Parameter(torch.empty(p.shape, dtype=p.dtype), requires_grad=p.requires_grad)
            module._parameters[name] = fakes.get(id(p))
        for name, b in module._buffers.items():
            module._buffers[name] = None if b is None else torch.empty(b.shape, dtype=b.dtype)


def _kept(model: Any, ids: Any) -> tuple[int, int, int]:
    """Bytes that autograd keeps of a forward pass: in all, of the largest layer, and of what enters the layers."""
    import torch

    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    storages: dict[int, Any] = {}  # the storages themselves, so that none is freed and its number given to another
    total, by_layer, entering, before = 0, [0], 0, 0

    def keep(tensor: Any) -> Any:
        nonlocal total
        storage = tensor.untyped_storage()
        if storage._cdata not in weights and storage._cdata not in storages:
            storages[storage._cdata] = storage
            total += storage.nbytes()
        return tensor

    def enter(layer: Any, inputs: Any) -> None:
        nonlocal before, entering
        before = total
        entering += inputs[0].nbytes

    def leave(layer: Any, inputs: Any, output: Any) -> None:
        by_layer.append(total - before)

    for layer in models.layers(model):
        layer.register_forward_pre_hook(enter)
        layer.register_forward_hook(leave)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        models.backbone(model)(input_ids=ids, use_cache=False)
    return total, max(by_layer), entering


def _cache_of_token(model: Any) -> int:
    import torch

    tokens = 2
    with torch.no_grad():
        cache = models.backbone(model)(input_ids=torch.zeros(1, tokens, dtype=torch.long)).past_key_values
    tensors = [x for layer in cache.layers for x in (layer.keys, layer.values)]
    return sum(x.nbytes for x in tensors) // tokens
