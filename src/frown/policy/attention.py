"""Attention inside a packed row (`frown.policy.packing`), put in the place of a model's own while it is in use.

transformers lets attention be exchanged by name, and asks whoever exchanged it to make the masks, from a function of
two positions: causal, within a window, within a chunk, whatever the model's layers want. That function is asked here
for the positions which tokens have in their own sequences, so that every kind of layer sees in the row what it sees
in a sequence. No [N, N] mask of the row is made.

Two ways: `BLOCKS` gathers queries and their keys into few calls of torch's scaled dot product attention, on any
device; `FLEX` gives the whole row to flex attention, which skips the blocks nobody sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from frown.policy.packing import Layout, attention_blocks

BLOCKS, FLEX = "frown_blocks", "frown_flex"
"""Names under which transformers knows the two ways."""

_FLEX_BLOCK = 128
"""Tokens of a block of flex attention's mask."""


class _Call(NamedTuple):
    """`packing.Block` on the device, places flattened."""

    queries: Tensor
    keys: Tensor
    query_positions: Tensor
    """[B, 1, Q, 1]"""
    key_positions: Tensor
    """[B, 1, 1, K]"""
    is_key: Tensor
    """[B, 1, 1, K] False for padding."""


class Row:
    """A layout on the device, ready for attention."""

    def __init__(self, layout: Layout, device: Any):
        self.layout, self.device = layout, device

    def tensor(self, values: np.ndarray) -> Tensor:
        """An array on the row's device."""
        return torch.as_tensor(values, device=self.device)

    @cached_property
    def calls(self) -> list[_Call]:
        """The row's blocks, for `BLOCKS`."""
        at = self.layout.positions
        return [
            _Call(
                self.tensor(b.queries.ravel()),
                self.tensor(b.keys.ravel()),
                self.tensor(at[b.queries])[:, None, :, None],
                self.tensor(at[b.keys])[:, None, None, :],
                self.tensor(np.arange(b.keys.shape[1]) < b.key_counts[:, None])[:, None, None, :],
            )
            for b in self._blocks
        ]

    @cached_property
    def back(self) -> Tensor:
        """[N] where each token of the row stands among the queries of all calls."""
        queries = np.concatenate([b.queries.ravel() for b in self._blocks])
        return self.tensor(np.unique(queries, return_index=True)[1])

    @cached_property
    def _blocks(self) -> list[Any]:
        return attention_blocks(self.layout)


class View:
    """What the layers of one kind see of a row: given to them where a mask would be."""

    def __init__(self, row: Row, sees: Callable[..., Tensor]):
        self.row = row
        self._sees = sees
        self._biases: dict[torch.dtype, list[Tensor]] = {}
        self._block_mask: Any = None

    def biases(self, dtype: torch.dtype) -> list[Tensor]:
        """For each call [B, 1, Q, K]: zero where a query sees a key, else minus infinity. Made once for all layers."""
        if dtype not in self._biases:
            zero = torch.zeros((1, 1, 1, 1), dtype=torch.long, device=self.row.device)
            self._biases[dtype] = [
                torch.zeros_like(visible, dtype=dtype).masked_fill_(~visible, -torch.inf)
                for call in self.row.calls
                for visible in [self._sees(zero, zero, call.query_positions, call.key_positions) & call.is_key]
            ]
        return self._biases[dtype]

    def block_mask(self) -> Any:
        """flex attention's mask of the row, padded to whole blocks. Made once for all layers."""
        if self._block_mask is None:
            self._block_mask = _block_mask(self.row, self._sees)
        return self._block_mask


_ROW: ContextVar[Row | None] = ContextVar("row", default=None)


@contextmanager
def reading(row: Row) -> Iterator[None]:
    """The row that a forward pass is about to read."""
    token = _ROW.set(row)
    try:
        yield
    finally:
        _ROW.reset(token)


@contextmanager
def engaged(modules: Any, way: str) -> Iterator[None]:
    """A model whose layers attend by `way`; afterwards as before.

    Gradient checkpointing computes layers again in the backward pass, which therefore belongs inside as well.
    """
    configs = {id(m.config): m.config for m in modules.modules() if hasattr(getattr(m, "config", None), "to_dict")}
    # Past the setter of `_attn_implementation`, which would reach into configurations of parts without such layers.
    before = {key: config._attn_implementation_internal for key, config in configs.items()}
    for config in configs.values():
        config._attn_implementation_internal = way
    try:
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation_internal = before[key]


def _view(*, mask_function: Callable[..., Tensor], use_vmap: bool = False, **_: Any) -> View:
    """In the place of transformers' making of a mask."""
    row = _ROW.get()
    if row is None or use_vmap:
        raise NotImplementedError("its mask is more than a function of two positions")
    return View(row, mask_function)


def _rows(x: Tensor) -> Tensor:
    """[1, heads, N, size] -> [N, heads * size], from which tokens are gathered fastest, forth and back."""
    return x[0].transpose(0, 1).flatten(1)


def _gathered(rows: Tensor, places: Tensor, batch: int, heads: int) -> Tensor:
    """[N, heads * size] -> [B, heads, tokens, size]."""
    return rows.index_select(0, places).view(batch, -1, heads, rows.shape[1] // heads).transpose(1, 2)


def _check(view: Any, query: Tensor, given: dict[str, Any]) -> None:
    if not isinstance(view, View):
        raise NotImplementedError("it makes its masks itself")
    if query.shape[0] != 1 or query.shape[2] != len(view.row.layout.ids):
        raise NotImplementedError("its queries are not the tokens of the row")
    if given.get("position_bias") is not None or given.get("is_causal") is False:
        raise NotImplementedError("its attention asks for more than a mask")


def attend_in_blocks(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **given: Any,
) -> tuple[Tensor, None]:
    """Attention of a row [1, heads, N, size], as transformers calls it; returns [1, N, heads, size].

    Grouped keys, a soft cap on the scores (Gemma 2: cap * tanh(score / cap)) and attention sinks (gpt-oss: one more
    score a head, in the softmax alone) are those of the model.
    """
    _check(attention_mask, query, given)
    view: View = attention_mask
    heads, groups = query.shape[1], key.shape[1]
    q, k, v = _rows(query), _rows(key), _rows(value)
    out = []
    for call, bias in zip(view.row.calls, view.biases(query.dtype), strict=True):
        batch = len(bias)
        own = (
            _gathered(q, call.queries, batch, heads),
            _gathered(k, call.keys, batch, groups),
            _gathered(v, call.keys, batch, groups),
        )
        if softcap is None and s_aux is None:
            x = scaled_dot_product_attention(
                *own, attn_mask=bias, dropout_p=dropout, scale=scaling, enable_gqa=heads != groups
            )
        else:
            x = _attend_by_hand(*own, bias, scaling, dropout, softcap, s_aux)
        out.append(x.transpose(1, 2).flatten(0, 1).flatten(1))
    return torch.cat(out).index_select(0, view.row.back).view(1, query.shape[2], heads, -1), None


def _attend_by_hand(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor,
    scaling: float | None,
    dropout: float,
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    """What the fused attention has not: a soft cap, and sinks [heads]."""
    batch, heads, tokens, size = query.shape
    groups = key.shape[1]
    scores = query.reshape(batch, groups, -1, size) @ key.transpose(-1, -2)
    scores = scores.view(batch, heads, tokens, -1) * (size**-0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores + bias
    if sinks is not None:
        scores = torch.cat([scores, sinks.view(1, -1, 1, 1).to(scores.dtype).expand(batch, -1, tokens, 1)], -1)
    share = torch.softmax(scores, -1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(value.dtype)
    share = torch.dropout(share[..., : key.shape[2]], dropout, dropout > 0)
    return (share.reshape(batch, groups, -1, key.shape[2]) @ value).view(batch, heads, tokens, -1)


def attend_by_flex(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **given: Any
) -> tuple[Tensor, None]:
    """The same by flex attention."""
    from transformers.integrations.flex_attention import flex_attention_forward

    _check(attention_mask, query, given)
    length = query.shape[2]
    more = -length % _FLEX_BLOCK  # whole blocks, so that few lengths are compiled for
    q, k, v = (pad(x, (0, 0, 0, more)) for x in (query, key, value))
    out, _ = flex_attention_forward(module, q, k, v, attention_mask.block_mask(), **given)
    return out[:, :length], None


def _block_mask(row: Row, sees: Callable[..., Tensor]) -> Any:
    """The pairs of blocks in which some token may be visible, by each block's ends; which, its mask says."""
    from torch.nn.attention.flex_attention import BlockMask

    layout = row.layout
    blocks = -(-len(layout.ids) // _FLEX_BLOCK)
    more = blocks * _FLEX_BLOCK - len(layout.ids)
    until = row.tensor(np.pad(layout.seen_until, (0, more)))
    positions = row.tensor(np.pad(layout.positions, (0, more)))

    def mask_mod(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (k <= q) & (q < until[k]) & sees(b, h, positions[q], positions[k])

    number = torch.arange(blocks, device=row.device)
    visible = (number[:, None] >= number) & (until.view(blocks, -1).amax(1) > number[:, None] * _FLEX_BLOCK)
    counts = visible.sum(1, dtype=torch.int32)
    indices = torch.argsort(visible.int(), dim=1, descending=True, stable=True).int()
    return BlockMask.from_kv_blocks(counts[None, None], indices[None, None], BLOCK_SIZE=_FLEX_BLOCK, mask_mod=mask_mod)


for _name, _function in ((BLOCKS, attend_in_blocks), (FLEX, attend_by_flex)):
    AttentionInterface.register(_name, _function)
    AttentionMaskInterface.register(_name, _view)
