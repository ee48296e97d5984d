"""Forward passes over answers that are known already, packed: `passes(rows)` yields them, whoever reads.

Shapes: T tokens of an answer, N tokens of a pass that are read, H hidden units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, NamedTuple

import numpy as np
import torch
from torch import Tensor

from frown.policy import trunk
from frown.policy.load import recomputing
from frown.policy.rows import R, Readable, batched
from frown.types import Ints


class Packing(NamedTuple):
    """How answers reach one model, and its copies."""

    choice: trunk.Choice
    most_tokens: int
    """Tokens of one pass, at the most."""
    pad_id: int
    device: Any

    def batches(self, rows: Sequence[Readable]) -> list[list[int]]:
        """Which rows are read in one pass."""
        return batched(rows, self.most_tokens, shared=self.choice.shares)

    def passes(self, rows: Sequence[R], places: Sequence[Ints] | None = None) -> Iterator[Pass[R]]:
        """The passes in which rows are read, each row once. `places`: at which of its tokens; None: at all."""
        if places is None:
            places = [np.arange(len(row.ids)) for row in rows]
        for batch in self.batches(rows):
            yield Pass(self, batch, [rows[i] for i in batch], [places[i] for i in batch])

    def engaged(self, model: Any) -> AbstractContextManager[None]:
        """Around a pass whose gradients are taken, until they are."""
        return trunk.engaged(model, self.choice.way)


@dataclass(frozen=True, eq=False)
class Pass(Generic[R]):
    """Some rows that are read together, at N of their tokens."""

    packing: Packing
    numbers: Sequence[int]
    """Which of all rows these are."""
    rows: Sequence[R]
    places: Sequence[Ints]
    """At which tokens of each row it is read."""

    @cached_property
    def targets(self) -> Tensor:
        """int64[N]: the tokens that are predicted, row after row."""
        return self.gathered([row.ids for row in self.rows])

    def gathered(self, values: Sequence[np.ndarray]) -> Tensor:
        """[N] values at the places that are read, of values [T] of each row."""
        picked = [v[at] for v, at in zip(values, self.places, strict=True)]
        return torch.as_tensor(np.concatenate(picked), device=self.packing.device)

    def split(self, values: Tensor) -> tuple[Tensor, ...]:
        """[N] values as those of each row."""
        return values.split([len(at) for at in self.places])

    def hidden(self, model: Any) -> Tensor:
        """[N, H] final hidden states from which the targets are predicted, behind the rows' prompts."""
        return self._hidden(model, [row.prompt_ids for row in self.rows])

    def hidden_in_context(self, model: Any) -> Tensor:
        """[N, H], the same behind the teacher's contexts, which every row has."""
        return self._hidden(model, [row.context_ids for row in self.rows if row.context_ids is not None])

    def _hidden(self, model: Any, contexts: Sequence[Ints]) -> Tensor:
        answers = [row.ids for row in self.rows]
        inputs = [np.concatenate([before, ids[:-1]]) for before, ids in zip(contexts, answers, strict=True)]
        at = [len(before) - 1 + used for before, used in zip(contexts, self.places, strict=True)]
        with recomputing(model):
            return trunk.hidden_states(model, inputs, at, self.packing.choice.way, self.packing.pad_id)
