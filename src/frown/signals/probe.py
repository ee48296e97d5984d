"""A probe: what can be read off the hidden states at one depth, by a linear or a two-layer readout.

A probe is named for the label it was trained to read ("step_wrong"), never for a feeling: that it can be read off
says that the information is there, not that the model uses it. So a probe's figure is worth what it beats:
`frown.inspect.layers` sets it beside the same under shuffled labels.

Hidden states are [N, H], one row a token or a step.
Cost: one forward with hidden states kept, which is none extra where the answers are scored anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frown.errors import FrownError


@dataclass(frozen=True)
class ProbeTarget:
    """What a probe reads: `label`, the name of what it predicts, from hidden state `layer` of a model of `layers`
    layers and `width` hidden units (0 is the embeddings, `layers` the last state, after the final norm)."""

    label: str
    layer: int
    layers: int
    width: int

    @property
    def depth(self) -> float:
        """Relative depth, in [0, 1]."""
        return self.layer / self.layers if self.layers else 0.0


@dataclass(frozen=True, eq=False)
class Probe:
    """A fitted probe. `matrices`: one (weight [out, in], bias [out]) a layer, float64, out of the last is 1."""

    target: ProbeTarget
    mean: Tensor
    """[H] of the rows it was fitted on."""
    scale: Tensor
    """[H] their standard deviation; 1 where a unit is constant."""
    matrices: tuple[tuple[Tensor, Tensor], ...]

    @torch.no_grad()
    def predict(self, hidden: Tensor) -> Tensor:
        """Probability of the label, [N, H] -> float64[N], in [0, 1].

        Raises:
            FrownError: hidden states of another width than the probe reads.
        """
        if hidden.ndim != 2 or hidden.shape[1] != self.target.width:
            raise FrownError(
                f"the probe for {self.target.label!r} reads hidden states of width {self.target.width}, "
                f"got {tuple(hidden.shape)}; it belongs to another model"
            )
        x = (hidden.double().cpu() - self.mean) / self.scale
        return torch.sigmoid(_readout(x, self.matrices))


@torch.no_grad()
def hidden_states(backbone: Any, ids: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
    """All hidden states at N places: [layers + 1, N, H], the embeddings first. Cost: one forward.

    `backbone`: the transformer below the head; `ids`: int64[B, T], padded on the right; `rows`, `positions`:
    int64[N], where to read. The state at position t has seen token t and predicts token t + 1.
    """
    states = backbone(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states
    return torch.stack([s[rows, positions] for s in states])


def fit(
    hidden: Tensor,
    labels: NDArray[Any],
    target: ProbeTarget,
    *,
    units: int = 0,
    l2: float = 1e-2,
    seed: int = 0,
    iterations: int = 200,
) -> Probe:
    """Logistic regression on standardised hidden states [N, H], or a two-layer readout of it.

    Minimises mean cross-entropy (nats) + l2 / 2 * the squared weights (biases are free) by L-BFGS in float64. With
    `units` = 0 it is convex, and scikit-learn's LogisticRegression(C=1 / (l2 * N)) is the same model; with
    `units` > 0 a layer of that many tanh units comes between, started from `seed`.

    Args:
        hidden: [N, H], the hidden state that `target` names.
        labels: [N], 1 or True where the label holds.
        target: what the probe will say that it reads.
        units: width of the layer between; 0 is linear.
        l2: >= 0.
        seed: of the start of the two-layer readout; the linear one starts from zero.
        iterations: most L-BFGS steps.

    Raises:
        ValueError: labels that are not 0 and 1, both; shapes that do not fit.
    """
    y = torch.as_tensor(np.asarray(labels), dtype=torch.float64)
    if hidden.ndim != 2 or y.shape != hidden.shape[:1] or hidden.shape[1] != target.width:
        raise ValueError(f"hidden is [N, {target.width}] with N labels, got {tuple(hidden.shape)} and {tuple(y.shape)}")
    if set(y.tolist()) != {0.0, 1.0}:
        raise ValueError(
            f"a probe for {target.label!r} needs rows with the label (1) and without it (0), and no others"
        )
    x = hidden.detach().double().cpu()
    mean, scale = x.mean(0), x.std(0, correction=0)
    scale = torch.where(scale > 1e-8 * (1.0 + mean.abs()), scale, torch.ones_like(scale))
    x = (x - mean) / scale
    matrices = _start(target.width, units, seed)
    parameters = [p for pair in matrices for p in pair]
    optimiser = torch.optim.LBFGS(
        parameters, max_iter=iterations, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = torch.nn.functional.binary_cross_entropy_with_logits(_readout(x, matrices), y)
        value = value + 0.5 * l2 * sum(weight.square().sum() for weight, _ in matrices)
        value.backward()
        return value

    with torch.enable_grad():
        optimiser.step(loss)
    return Probe(target, mean, scale, tuple((w.detach(), b.detach()) for w, b in matrices))


def _start(width: int, units: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    if not units:
        sizes = [(1, width)]
        weights = [torch.zeros(1, width, dtype=torch.float64)]
    else:
        sizes = [(units, width), (1, units)]
        generator = torch.Generator().manual_seed(seed)
        weights = [torch.randn(s, generator=generator, dtype=torch.float64) / s[1] ** 0.5 for s in sizes]
    return [
        (w.requires_grad_(), torch.zeros(out, dtype=torch.float64, requires_grad=True))
        for w, (out, _) in zip(weights, sizes, strict=True)
    ]


def _readout(x: Tensor, matrices: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Standardised states [N, H] to logits [N]."""
    for i, (weight, bias) in enumerate(matrices):
        x = x.tanh() if i else x
        x = x @ weight.T + bias
    return x[:, 0]
