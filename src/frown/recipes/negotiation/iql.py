"""Discrete Implicit Q-Learning: a policy from logs alone, that never asks what an unlogged action is worth.

Kostrikov, Nair and Levine 2022 (arXiv 2110.06169), eq. 5 to 7, for a handful of actions, with the constants of
EmoDistill (arXiv 2605.26785) as defaults where they are known. Two things differ. The advantage is divided by its
standard deviation in the batch before it is exponentiated: savings lie in [0, 1] and advantages near .05, where
exp(3 u) is flat and the policy would stay what it was. And the state is standardised by the mean and spread of the
logs.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from frown.config import Config
from frown.recipes.negotiation.game import Dialogues, Rules
from frown.recipes.negotiation.logs import Logs
from frown.recipes.negotiation.play import Policy
from frown.recipes.negotiation.state import Encoding, encode

if TYPE_CHECKING:
    from torch import Tensor, nn


class IqlConfig(Config):
    """Settings of one training; in brackets what EmoDistill used where it differs."""

    tau: float = Field(default=0.7, gt=0, lt=1)
    """Expectile: 0.5 learns the behaviour's value, towards 1 the best logged one."""
    discount: float = Field(default=0.99, gt=0, le=1)
    beta: float = Field(default=3.0, gt=0)
    """Inverse temperature of the policy, in units of the advantage's standard deviation. [of the reward over its
    largest absolute value]"""
    cap: float = Field(default=100.0, gt=0)
    """Largest weight of a transition in the policy's loss."""
    polyak: float = Field(default=0.02, gt=0, le=1)
    """Share of the new Q in its slow copy at each step. [0.005]"""
    lr: float = Field(default=1e-3, gt=0)
    """[3e-4]"""
    batch_size: int = Field(default=256, ge=2)
    steps: int = Field(default=1500, ge=1)
    """[20000]"""
    hidden: int = Field(default=64, ge=1)
    """[256]"""


@dataclass(frozen=True, eq=False)
class Selector:
    """A trained choice of emotion: the policy's network, and what its input is divided by."""

    network: nn.Module
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    def chances(self, states: NDArray[np.float32]) -> NDArray[np.float64]:
        """Chances of the actions in each state: [B, F] -> [B, A]."""
        import torch

        with torch.no_grad():
            logits = self.network(torch.from_numpy((states - self.mean) / self.scale))
        chance = logits.double().softmax(-1).numpy()
        return chance / chance.sum(axis=1, keepdims=True)


def expectile_loss(advantage: Tensor, tau: float) -> Tensor:
    """Mean of |tau - 1(u < 0)| u^2 (eq. 5): its minimum over a constant v, u = x - v, is x's tau-expectile."""
    weight = (tau - (advantage < 0).to(advantage.dtype)).abs()
    return (weight * advantage**2).mean()


def policy_loss(advantage: Tensor, logp: Tensor, beta: float, cap: float) -> Tensor:
    """Mean of -min(exp(beta u), cap) log pi(a | s) (eq. 7): [N], [N] nats -> a scalar. No gradient enters u."""
    return -((beta * advantage.detach()).exp().clamp(max=cap) * logp).mean()


def dueling(value: Tensor, advantage: Tensor) -> Tensor:
    """Q = V + A - mean A: [N, 1], [N, A] -> [N, A] (Wang et al. 2016, arXiv 1511.06581, eq. 9)."""
    return value + advantage - advantage.mean(dim=-1, keepdim=True)


def train(logs: Logs, actions: int, settings: IqlConfig, seed: int = 0) -> Selector:
    """A selector from logged transitions. The same logs, settings and seed give the same selector.

    Raises ValueError where there are no transitions.
    """
    import torch
    from torch.nn import functional

    if not len(logs.actions):
        raise ValueError("there is nothing to learn from: no transitions")
    mean = logs.states.mean(axis=0)
    spread = logs.states.std(axis=0)
    scale = np.where(spread > 1e-6, spread, 1.0).astype(np.float32)
    largest = float(np.abs(logs.rewards).max()) or 1.0
    s, s_next = (torch.from_numpy((x - mean) / scale) for x in (logs.states, logs.next_states))
    a = torch.from_numpy(logs.actions)
    r = torch.from_numpy((logs.rewards / largest).astype(np.float32))
    going = torch.from_numpy(1.0 - logs.dones.astype(np.float32))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        features = logs.states.shape[1]
        q = _mlp(features, settings.hidden, 1 + actions)
        v = _mlp(features, settings.hidden, 1)
        policy = _mlp(features, settings.hidden, actions)
        target = deepcopy(q).requires_grad_(False)
        networks = (q, v, policy)
        optimiser = torch.optim.Adam([p for n in networks for p in n.parameters()], lr=settings.lr, foreach=True)
        for _ in range(settings.steps):
            i = torch.randint(len(a), (min(settings.batch_size, len(a)),))
            with torch.no_grad():
                out = target(s[i])
                worth = dueling(out[:, :1], out[:, 1:]).gather(1, a[i, None])[:, 0]
                goal = r[i] + settings.discount * going[i] * v(s_next[i])[:, 0]
            advantage = worth - v(s[i])[:, 0]
            out = q(s[i])
            guess = dueling(out[:, :1], out[:, 1:]).gather(1, a[i, None])[:, 0]
            logp = policy(s[i]).log_softmax(-1).gather(1, a[i, None])[:, 0]
            scaled = advantage.detach() / advantage.detach().std().clamp(min=1e-6)
            loss = (
                expectile_loss(advantage, settings.tau)
                + functional.mse_loss(guess, goal)
                + policy_loss(scaled, logp, settings.beta, settings.cap)
            )
            optimiser.zero_grad()
            loss.backward()
            for network in networks:
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            with torch.no_grad():
                for slow, fast in zip(target.parameters(), q.parameters(), strict=True):
                    slow.lerp_(fast, settings.polyak)
    return Selector(policy, mean, scale)


def greedy_policy(selector: Selector, places: NDArray[np.float64], encoding: Encoding, rules: Rules) -> Policy:
    """The selector as a policy: its most likely emotion. (EmoDistill samples: `sampling_policy`.)"""
    sample_utterances = sampling_policy(selector, places, encoding, rules)
    return lambda dialogues: np.eye(len(places))[sample_utterances(dialogues).argmax(axis=1)]


def sampling_policy(selector: Selector, places: NDArray[np.float64], encoding: Encoding, rules: Rules) -> Policy:
    """The selector as a policy: an emotion drawn from its chances."""

    def policy(dialogues: Dialogues) -> NDArray[np.float64]:
        return selector.chances(encode(dialogues, places, encoding, rules))

    return policy


def save(selector: Selector, folder: Path, about: Mapping[str, Any]) -> None:
    """`selector.safetensors` with weights, mean and scale, and `selector.json` with its settings."""
    import json

    import torch
    from safetensors.torch import save_file

    tensors = {f"policy.{name}": value.contiguous() for name, value in selector.network.state_dict().items()}
    tensors |= {"mean": torch.from_numpy(selector.mean), "scale": torch.from_numpy(selector.scale)}
    save_file(tensors, folder / "selector.safetensors")
    (folder / "selector.json").write_text(json.dumps(dict(about), indent=2) + "\n", encoding="utf-8")


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Module:
    from torch import nn

    layers: list[nn.Module] = []
    for width in (inputs, hidden):
        layers += [nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(hidden, outputs))
