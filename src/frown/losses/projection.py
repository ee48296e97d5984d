"""What a language-model head computes, and the three products with its weight, in float32 whatever the storage type.

Where the weight is stored in another type than the computation's, it is widened a few thousand rows at a
time, so that no full float32 copy of it ever exists. Logits stored in bfloat16 would put an error of 20 to
100 percent on the small divergences of self-distillation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_TILE_BYTES = 16 << 20
"""Widened weight rows at a time."""
_NARROW = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, eq=False)
class LinearHead:
    """logits = cap tanh(z / cap) with z = scale (hidden @ weight.T + bias); no bound where `cap` is None.

    Gemma bounds its logits (arXiv 2408.00118, section 2), Cohere, Granite and others scale them, Phi has a bias.
    """

    weight: Tensor
    """[V, H]."""
    bias: Tensor | None = None
    """[V]."""
    scale: float = 1.0
    cap: float | None = None

    @property
    def vocabulary(self) -> int:
        """V, how many tokens it tells apart."""
        return self.weight.shape[0]

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """What a gradient may be asked for."""
        return (self.weight,) if self.bias is None else (self.weight, self.bias)

    def same_as(self, other: Head) -> bool:
        """Whether another head computes the very same."""
        return (
            isinstance(other, LinearHead)
            and other.weight is self.weight
            and other.bias is self.bias
            and (other.scale, other.cap) == (self.scale, self.cap)
        )

    def project(self, hidden: Tensor, out: Tensor) -> None:
        """Write the logits of hidden [C, H] to `out` [C, V]."""
        project(hidden, self.weight, out)
        if self.bias is not None:
            out.add_(self.bias)
        if self.scale != 1.0:
            out.mul_(self.scale)
        if self.cap is not None:
            out.div_(self.cap).tanh_().mul_(self.cap)

    def bend(self, logits: Tensor) -> Tensor | None:
        """How much less bounded logits move than unbounded ones, d logits / d z: [C, V], or None for all ones."""
        return None if self.cap is None else 1.0 - (logits / self.cap).square_()

    def logits(self, hidden: Tensor) -> Tensor:
        """The logits [C, V] of hidden [C, H], of the hidden states' type."""
        out = hidden.new_empty(len(hidden), len(self.weight))
        self.project(hidden, out)
        return out


@dataclass(frozen=True, eq=False)
class OwnHead:
    """A head that only the model itself can compute: its logits are differentiated by autograd, chunk by chunk.

    Slower than `LinearHead`, and a chunk keeps what autograd needs; for adapters on the head and the like.
    """

    call: Callable[[Tensor], Tensor]
    """[C, H] -> [C, V]."""
    vocabulary: int
    """V, how many tokens it tells apart."""
    parameters: tuple[Tensor, ...] = ()
    """What a gradient may be asked for."""
    dtype: torch.dtype = torch.float32
    """Type of hidden states it takes."""
    runs_layers: bool = False
    """Whether `call` runs the whole model, layers and all."""

    def logits(self, hidden: Tensor) -> Tensor:
        """The logits [C, V] of hidden [C, H]."""
        return self.call(hidden.to(self.dtype))


Head = LinearHead | OwnHead


def compute_dtype(hidden: Tensor) -> torch.dtype:
    """float64 for float64 hidden states, float32 for all others."""
    return torch.float64 if hidden.dtype == torch.float64 else torch.float32


def project(hidden: Tensor, weight: Tensor, out: Tensor) -> None:
    """Write hidden [C, H] @ weight.T [H, V] to `out`; it adds up in the type of `out`.

    A product of two bfloat16 numbers is exact in float32, so on CUDA the narrow tensors are multiplied as they are,
    added up in float32 and stored in float32.
    """
    if weight.is_cuda and weight.dtype in _NARROW and hidden.dtype == weight.dtype and out.dtype == torch.float32:
        torch.mm(hidden, weight.T, out_dtype=out.dtype, out=out)
        return
    hidden = hidden.to(out.dtype)
    if weight.dtype == out.dtype:
        torch.mm(hidden, weight.T, out=out)
        return
    for tile in _tiles(weight):
        out[:, tile] = hidden @ weight[tile].to(out.dtype).T


def gradient_of_hidden(gradient: Tensor, weight: Tensor, out: Tensor) -> None:
    """Write gradient [C, V] @ weight [V, H] to `out` [C, H], in the type of `out`.

    On CUDA a gradient that meets a narrow weight is rounded to its type: what comes out is stored in it anyway.
    """
    if weight.is_cuda and weight.dtype in _NARROW and out.dtype == torch.float32:
        torch.mm(gradient.to(weight.dtype), weight, out_dtype=out.dtype, out=out)
        return
    if weight.dtype == out.dtype:
        torch.mm(gradient, weight, out=out)
        return
    out.zero_()
    for tile in _tiles(weight):
        out.addmm_(gradient[:, tile], weight[tile].to(out.dtype))


def gradient_of_weight(gradient: Tensor, hidden: Tensor, so_far: Tensor | None) -> Tensor:
    """`so_far` + gradient.T [V, C] @ hidden [C, H], in place where there is something so far."""
    if so_far is None:
        return gradient.T @ hidden
    return so_far.addmm_(gradient.T, hidden)


def _tiles(weight: Tensor) -> Iterator[slice]:
    rows = max(1, _TILE_BYTES // (4 * weight.shape[1]))
    for start in range(0, weight.shape[0], rows):
        yield slice(start, min(start + rows, weight.shape[0]))


def as_head(head: Any) -> Head:
    """A bare weight [V, H] as the head that it is; other heads as they are."""
    return LinearHead(head) if isinstance(head, Tensor) else head
