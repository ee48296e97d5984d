"""Tensors of which each process of a run holds a part (FSDP2): brought together, and taken apart again.

`frown.learner.shards` is what spreads a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor


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


def is_part(tensor: Any) -> bool:
    """Whether this process has a part of a tensor only."""
    return hasattr(tensor, "full_tensor")


def collected(tensor: Any) -> Tensor:
    """The whole of a tensor, on the CPU where it had to be collected. Every process asks."""
    return tensor.full_tensor().cpu() if is_part(tensor) else tensor


def distributed_like(value: Tensor, like: Any) -> Tensor:
    """What this process has of a whole tensor, where it has as much as of `like`: a part of it, or all."""
    if not is_part(like):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
