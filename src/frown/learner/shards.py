"""A model whose decoder layers are spread over the processes of a run: FSDP2, torch's `fully_shard`.

Every process has a part of each layer, of its gradient and of its moments. A layer's parts are brought together
around its forward and its backward pass, its gradients are summed and taken apart again behind it. Embedding, head and
final norm stay whole in each process: the pass through the head works on plain tensors.

All of this is talk between processes, so they must run through the layers equally often (`frown.learner.rows.in_step`).
Answers differ in length: layers are put together before sampling and stay so until its end
(`frown.policy.parts.whole`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from frown.errors import FrownError
from frown.losses.projection import Head, OwnHead
from frown.policy.load import backbone, plain
from frown.policy.parts import is_part
from frown.policy.policy import Policy
from frown.runtime.processes import Ranks
from frown.teacher.weights import plain_copy


def spread(policy: Policy) -> Callable[[Any], Any]:
    """Spread a policy's decoder layers over the processes of its run, in place; returns what makes models of its shape
    that are spread, too (`copies_of`). Raises FrownError for a model that cannot be."""
    refuse_head(policy.head, policy.model)
    copied = copies_of(policy.model, policy.ranks, policy.device)
    shard(policy.model, policy.ranks, policy.device)
    return copied


def refuse_head(head: Head, model: Any) -> None:
    """Raise FrownError where logits are computed by running through the layers: as often as there are chunks of tokens,
    of which processes have different numbers."""
    if isinstance(head, OwnHead) and head.runs_layers:
        raise FrownError(
            f'distributed.sharding = "fsdp2" does not go with {type(plain(model)).__name__}, whose head does more than '
            'a product, a bias, a scale and a bound; use distributed.sharding = "none"'
        )


def split_layers(model: Any) -> list[Any]:
    """The modules that are spread, each as one: decoder layers, by transformers' own word. Raises FrownError where
    there is none."""
    kinds = set(getattr(plain(model), "_no_split_modules", None) or ())
    layers = [m for m in backbone(model).modules() if type(m).__name__ in kinds]
    if not layers:
        raise FrownError(
            f'{type(plain(model)).__name__} does not say what its layers are; use distributed.sharding = "none"'
        )
    return layers


def shard(model: Any, ranks: Ranks, device: torch.device) -> None:
    """Spread the decoder layers of a model, in place, over all processes; each has the same weights before."""
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import fully_shard

    layers = split_layers(model)
    parts = {id(p) for layer in layers for p in layer.parameters()}
    mesh = DeviceMesh.from_group(ranks.group, device.type)
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(backbone(model), mesh=mesh, ignored_params={p for p in model.parameters() if id(p) not in parts})


def copies_of(student: Any, ranks: Ranks, device: torch.device) -> Callable[[Any], Any]:
    """What makes models of a student's shape that are spread from the beginning, so that no process ever holds a second
    whole one. To be called while the student is whole. What is in the copies does not matter."""
    shapes = plain_copy(student, empty=True)

    def allocated(tensor: Tensor) -> Tensor:
        return torch.empty_like(tensor, device=device) if tensor.device.type == "meta" else tensor

    def copied(_: Any) -> Any:
        model = copy.deepcopy(shapes)
        layers = split_layers(model)
        parts = {id(p) for layer in layers for p in layer.parameters()}
        wholes: dict[int, Any] = {}  # tied weights stay tied
        for module in model.modules():
            for name, p in module._parameters.items():
                if p is not None and id(p) not in parts:
                    wholes.setdefault(id(p), torch.nn.Parameter(allocated(p), requires_grad=False))
                    module._parameters[name] = wholes[id(p)]
        shard(model, ranks, device)
        for layer in layers:
            layer._apply(allocated)  # as `to_empty`, which would empty buffers, too
        return model

    return copied


def add_gradients(parameters: Sequence[Tensor], ranks: Ranks) -> None:
    """Sum the gradients over all processes."""
    for p in parameters:
        if is_part(p) and p.grad is not None:
            p.grad.mul_(ranks.size)  # they are averages
    ranks.add_gradients([p for p in parameters if not is_part(p)])


def clip(parameters: Sequence[Tensor], most: float, ranks: Ranks) -> float:
    """Scale the gradients so that their norm is at most this. Returns the norm before."""
    parts: list[Any] = [p.grad for p in parameters if is_part(p) and p.grad is not None]
    if not parts:
        return float(torch.nn.utils.clip_grad_norm_(parameters, most))
    wholes = [p.grad for p in parameters if not is_part(p) and p.grad is not None]
    norms = [torch.nn.utils.get_total_norm(g).double() for g in ([x.to_local() for x in parts], wholes)]
    norm = (ranks.total(float(norms[0]) ** 2) + float(norms[1]) ** 2) ** 0.5
    factor = min(1.0, most / (norm + 1e-6))  # as `clip_grad_norm_` has it
    for gradient in [*parts, *wholes]:
        gradient.mul_(factor)
    return norm
