"""A model of people's behaviour, where nobody logged its chances: softmax regression on the state."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from frown.recipes.negotiation.logs import Logs

Floats = NDArray[np.float64]
_RIDGE = 1.0
"""Of the weights, in nats over all transitions; the base rates are not held back."""


@dataclass(frozen=True, eq=False)
class Habit:
    """Chances of actions given a state: softmax of `bias` + standardised state times `weights` [F, A]."""

    mean: Floats
    scale: Floats
    weights: Floats
    bias: Floats

    def chances(self, states: NDArray[np.float32]) -> Floats:
        """[M, F] -> [M, A]; rows sum to 1, all > 0."""
        logits = (states - self.mean) / self.scale @ self.weights + self.bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)


def fit_behaviour(logs: Logs, actions: int) -> Habit:
    """Fitted by maximum likelihood with a little ridge; deterministic."""
    import torch

    mean, spread = logs.states.mean(axis=0).astype(np.float64), logs.states.std(axis=0).astype(np.float64)
    scale = np.where(spread > 1e-6, spread, 1.0)
    x = torch.from_numpy((logs.states - mean) / scale)
    a = torch.from_numpy(logs.actions)
    weights = torch.zeros((x.shape[1], actions), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(actions, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        behaviour_nats = torch.nn.functional.cross_entropy(x @ weights + bias, a, reduction="sum")
        out = (behaviour_nats + _RIDGE * (weights**2).sum()) / len(a)
        out.backward()
        return out

    optimiser.step(loss)
    return Habit(mean, scale, weights.detach().numpy(), bias.detach().numpy())


def with_behaviour_chances(logs: Logs, habit: Habit) -> Logs:
    """The logs with the habit's chances of what was done."""
    return replace(logs, chances=habit.chances(logs.states)[np.arange(len(logs.actions)), logs.actions])


def behaviour_nats(logs: Logs, habit: Habit) -> float:
    """Mean surprisal of what was done, nats a transition: below that of the base rates, or the habit knows nothing."""
    return float(-np.log(with_behaviour_chances(logs, habit).chances).mean())
