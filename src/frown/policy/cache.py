"""Keys and values of answers that are still being written, in memory with some room to spare.

A cache that grows by concatenation copies everything in it at every token. Room for the longest answer would
be read from all over the memory, which costs as much; so the room grows a block at a time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

_BLOCK = 16
"""Tokens of room at the least; of a long text, an eighth of it."""


class RoomyLayer(DynamicLayer):
    """Full attention in one layer: keys and values [rows, heads, tokens, size], written in place.

    Made of a layer that holds a prompt, each row of it `repeats` times.
    """

    keys: Tensor
    values: Tensor

    def __init__(self, filled: DynamicLayer, repeats: int):
        super().__init__()
        assert filled.keys is not None and filled.values is not None
        self.dtype, self.device, self.is_initialized = filled.dtype, filled.device, True
        self._length = int(filled.keys.shape[-2])
        self._all_keys, self._all_values = (_roomy(x, repeats) for x in (filled.keys, filled.values))
        self._show()

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write keys and values [rows, heads, new tokens, size] behind the others; returns all of them."""
        new = key_states.shape[-2]
        if self._length + new > self._all_keys.shape[-2]:
            self._all_keys, self._all_values = (_roomy(x, room=new) for x in (self.keys, self.values))
        self._all_keys.narrow(2, self._length, new).copy_(key_states)
        self._all_values.narrow(2, self._length, new).copy_(value_states)
        self._length += new
        self._show()
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Tokens in it."""
        return self._length

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows only."""
        self._all_keys, self._all_values = (self._selected(x, indices) for x in (self._all_keys, self._all_values))
        self._show()

    def _selected(self, values: Tensor, rows: Tensor) -> Tensor:
        out = values.new_empty(len(rows), *values.shape[1:])
        torch.index_select(values.narrow(2, 0, self._length), 0, rows, out=out.narrow(2, 0, self._length))
        return out

    def _show(self) -> None:
        self.keys = self._all_keys.narrow(2, 0, self._length)
        self.values = self._all_values.narrow(2, 0, self._length)


def repeat(cache: Any, repeats: int) -> bool:
    """Each row of a cache that holds prompts `repeats` times, ready for answers, in place.

    Returns whether every layer attends to all tokens. Layers of another kind (sliding window, recurrent) grow
    as they did.
    """
    layers = cache.layers
    for i, layer in enumerate(layers):
        if type(layer) is DynamicLayer and layer.is_initialized:
            layers[i] = RoomyLayer(layer, repeats)
        elif repeats > 1:
            layer.batch_repeat_interleave(repeats)
    return all(isinstance(layer, RoomyLayer) for layer in layers)


def _roomy(values: Tensor, repeats: int = 1, room: int = 0) -> Tensor:
    """[B, heads, T, size] -> [B * repeats, heads, T + room and more, size], of which T tokens are filled."""
    rows, heads, length, size = values.shape
    room = max(room, _BLOCK, length // 8)
    out = values.new_empty(rows, repeats, heads, length + room, size)
    out.narrow(3, 0, length).copy_(values[:, None].expand(-1, repeats, -1, -1, -1))
    return out.flatten(0, 1)
