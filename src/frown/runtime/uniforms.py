"""Uniform random numbers that belong to an answer and a place in it, whoever draws them and in which order.

Philox (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") is a function of a key and a counter: the key
is the seed, the counter says which answer and where in it. What is drawn depends neither on what else is in the batch,
nor on the device, nor on which of several processes the answer is written in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

_PIECE = 64
"""Tokens drawn for at a time: for the longest answers a whole table would be as large as a small model."""
_EACH = 2
"""Numbers a token."""
_WORDS = 4
"""Numbers that one value of the counter gives."""


class Uniforms:
    """The numbers of some answers, token after token.

    `seed`: at least 0 and below 2**64. `answers`: the number of each answer, likewise.
    """

    def __init__(self, seed: int, answers: Sequence[int], device: Any):
        self._bits = np.random.Philox(key=seed)
        self._random = np.random.Generator(self._bits)
        self._key = np.array([seed, 0], np.uint64)
        self._answers, self._device = list(answers), device
        self._at = 0

    def next(self) -> Tensor:
        """The numbers of the next token of each answer, in [0, 1): float64[answers, 2]."""
        place = self._at % _PIECE
        if not place:
            self._piece = torch.from_numpy(self._draw()).to(self._device)
        self._at += 1
        return self._piece[:, place]

    def keep(self, kept: Tensor) -> None:
        """Go on with some of the answers only, given by their places."""
        self._answers = [self._answers[i] for i in kept.tolist()]
        self._piece = self._piece[kept]

    def _draw(self) -> np.ndarray:
        numbers = np.empty((len(self._answers), _PIECE, _EACH))
        for answer, out in zip(self._answers, numbers, strict=True):
            # Set anew instead of one generator an answer: making one costs a hundred times this.
            counter = np.array([self._at * _EACH // _WORDS, answer, 0, 0], np.uint64)
            self._bits.state = {
                "bit_generator": "Philox",
                "state": {"counter": counter, "key": self._key},
                "buffer": np.zeros(_WORDS, np.uint64),
                "buffer_pos": _WORDS,  # nothing is left of an earlier value
                "has_uint32": 0,
                "uinteger": 0,
            }
            self._random.random(out=out)
        return numbers
