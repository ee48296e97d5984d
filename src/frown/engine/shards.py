"""A model whose decoder layers are spread over the processes of a run: FSDP2, torch's `fully_shard`.

Every process holds a part of each layer, of its gradient and of its moments. A layer's parts are brought together
around its forward and its backward pass, its gradients are summed and taken apart again behind it. Embedding, head and
final norm stay whole in each process: the pass through the head works on plain tensors.

All of this is talk between processes, so they must run through the layers equally often (`frown.engine.rows.in_step`).
Answers differ in length: layers are put together before sampling and stay so until its end (`whole`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from frown.config import RunConfig
from frown.distributed import Ranks
from frown.engine.model import backbone, plain
from frown.errors import FrownError


def refuse_unsharded(config: RunConfig) -> None:
    """Raise FrownError where a setting needs a whole model at a moment at which there is none."""
    why = None
    if config.model.lora is not None:
        why = "model.lora: adapters are small, and the weights below them are not trained"
    elif config.feedback.critique.ask == "variance":
        why = 'feedback.critique.ask = "variance": it adds noise to the whole model, in one process'
    elif "freeze" in config.guard.actions and config.teacher.weights == "live":
        why = 'guard.actions = ["freeze"] with teacher.weights = "live": a copy would have to be made while training'
    if why is not None:
        raise FrownError(f'distributed.sharding = "fsdp2" does not go with {why}; use distributed.sharding = "none"')


def shard(model: Any, ranks: Ranks) -> None:
    """Spread the decoder layers of a model, in place, over all processes; each has the same weights before."""
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.fsdp import fully_shard

    kinds = set(getattr(plain(model), "_no_split_modules", None) or ())
    layers = [m for m in backbone(model).modules() if type(m).__name__ in kinds]
    if not layers:
        raise FrownError(
            f'{type(plain(model)).__name__} does not say what its layers are; use distributed.sharding = "none"'
        )
    spread = {id(p) for layer in layers for p in layer.parameters()}
    mesh = DeviceMesh.from_group(ranks.group, next(model.parameters()).device.type)
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(backbone(model), mesh=mesh, ignored_params={p for p in model.parameters() if id(p) not in spread})


@contextmanager
def whole(model: Any) -> Iterator[None]:
    """Hold all layers of a model together, so that processes may run through them as often as each likes. One that is
    not sharded is as it was."""
    layers = [m for m in model.modules() if hasattr(m, "unshard")]
    for layer in layers:
        layer.unshard()
        layer.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for layer in layers:
            layer.reshard()
            layer.set_reshard_after_forward(True, recurse=False)


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


def is_part(tensor: Any) -> bool:
    """Whether this process holds a part of a tensor only."""
    return hasattr(tensor, "full_tensor")


def collected(tensor: Any) -> Tensor:
    """The whole of a tensor, on the CPU where it had to be collected. Every process asks."""
    return tensor.full_tensor().cpu() if is_part(tensor) else tensor


def alike(value: Tensor, like: Any) -> Tensor:
    """A whole tensor as it is held where `like` is: this process's part of it, or all."""
    if not is_part(like):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
