"""At which layer a label can be read, and how much of that such a sweep would find in labels that mean nothing.

The control is the same sweep under shuffled labels (after Hewitt & Liang 2019, arXiv 1909.03368): what it finds
is what the readout finds in any labels of that many rows.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frown.evals.ranking import auroc
from frown.signals.probe import Reads, fit


class LayerScore(NamedTuple):
    """How well a label can be read at one layer, on prompts that the probe was not fitted on."""

    layer: int
    depth: float
    auroc: float
    """Chance is 0.5; NaN where the held-out rows have one label only."""
    shuffled: tuple[float, ...]
    """The same with the labels of all rows permuted, once a control: what such a sweep gives for nothing."""
    n_train: int
    n_test: int
    """Rows, not prompts."""


def layer_sweep(
    hidden: Tensor,
    labels: NDArray[Any],
    groups: Sequence[Hashable],
    label: str,
    *,
    held_out: float = 0.3,
    units: int = 0,
    l2: float = 1e-2,
    controls: int = 3,
    seed: int = 0,
) -> list[LayerScore]:
    """Held-out AUROC of a probe at every layer, beside the same under shuffled labels.

    Whole groups (prompts) are held out, the same ones at all layers and for all controls, so that no sibling of a
    training row is tested on. The best layer of a sweep is chosen on these rows: its figure is a little too good.
    Cost: no forward; (layers + 1) * (1 + controls) fits.

    Args:
        hidden: [layers + 1, N, H], as `hidden_states` gives them.
        labels: [N] of 0 and 1.
        groups: N keys; rows of one prompt share one.
        label: the name of what is read.
        held_out: share of the groups to test on, in (0, 1); at least one is, and one is not.
        units: as in `fit`.
        l2: as in `fit`.
        controls: how many times the labels are shuffled.
        seed: of the split, the shuffles and the fits.

    Raises:
        ValueError: fewer than two groups, or training rows with one label only.
    """
    y = np.asarray(labels).astype(np.float64)
    rng = np.random.default_rng(seed)
    test = held_out_rows(groups, held_out, rng)
    trials = [y, *(rng.permutation(y) for _ in range(controls))]
    train_rows, test_rows = torch.as_tensor(np.flatnonzero(~test)), torch.as_tensor(np.flatnonzero(test))
    layers = hidden.shape[0] - 1
    scores = []
    for layer, states in enumerate(hidden):
        reads = Reads(label, layer, layers, states.shape[1])
        aurocs = []
        for trial in trials:
            probe = fit(states[train_rows], trial[~test], reads, units=units, l2=l2, seed=seed)
            aurocs.append(_auroc(probe.predict(states[test_rows]).numpy(), trial[test]))
        depth = reads.depth if layers else 0.0
        scores.append(LayerScore(layer, depth, aurocs[0], tuple(aurocs[1:]), len(train_rows), len(test_rows)))
    return scores


def held_out_rows(groups: Sequence[Hashable], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which rows to test on: bool[N], a share of the groups (not of the rows), whole.

    Raises:
        ValueError: fewer than two groups, or a share outside (0, 1).
    """
    names = list(dict.fromkeys(groups))
    if len(names) < 2 or not 0.0 < share < 1.0:
        raise ValueError(f"a held-out share in (0, 1) of at least two groups, got {share} of {len(names)}")
    count = min(max(1, round(share * len(names))), len(names) - 1)
    chosen = {names[i] for i in rng.permutation(len(names))[:count]}
    return np.array([g in chosen for g in groups], dtype=np.bool_)


def _auroc(score: NDArray[Any], label: NDArray[Any]) -> float:
    """Of rows [M] that stand for themselves."""
    return float(auroc(score[None], label[None], np.zeros((1, len(label)))))
