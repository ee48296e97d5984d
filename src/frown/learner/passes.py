"""The forward passes of one training batch, shared out over the processes of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from frown.learner.rows import TrainingRow, counted, in_step, shared_out
from frown.policy.passes import Packing, Pass
from frown.runtime.processes import Ranks


def training_passes(
    rows: Sequence[TrainingRow], packing: Packing, ranks: Ranks, *, sharded: bool
) -> Iterator[Pass[TrainingRow]]:
    """The passes of this process, each at the tokens that count; of one that has parts of layers, as many as the
    others have."""

    def batches(of: Ranks) -> list[list[TrainingRow]]:
        share = shared_out(rows, of)
        return [[share[i] for i in batch] for batch in packing.batches(share)]

    if sharded:
        mine = in_step([batches(replace(ranks, rank=rank)) for rank in range(ranks.size)], ranks.rank)
    else:
        mine = batches(ranks)
    for batch in mine:
        yield Pass(packing, (), batch, [counted(row) for row in batch])
