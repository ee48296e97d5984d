"""Logged dialogues as transitions: what an offline learner is given.

The columns carry EmoDistill's names for them, and one more: the chance that the logging policy gave to what it did.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from frown.recipes.negotiation.game import (
    DEAL,
    Dialogues,
    Floats,
    Ints,
    Rules,
    our_concession,
    their_concession,
    up_to,
    utility,
)
from frown.recipes.negotiation.play import Episodes
from frown.recipes.negotiation.state import Encoding, encode

Reward = Literal["utility", "paper"]


@dataclass(frozen=True, eq=False)
class Logs:
    """M transitions of B dialogues, dialogue by dialogue in their order.

    `states`, `next_states` float32[M, F]; `actions` int64[M], positions in the taxonomy; `rewards` float64[M];
    `dones` bool[M]; `episode_ids` int64[M] from 0 to B - 1; `step_ids` int64[M]; `chances` float64[M], of the action
    under the logging policy.
    """

    states: NDArray[np.float32]
    actions: Ints
    rewards: Floats
    next_states: NDArray[np.float32]
    dones: NDArray[np.bool_]
    episode_ids: Ints
    step_ids: Ints
    chances: Floats

    @property
    def episodes(self) -> int:
        """Number of dialogues, B."""
        return int(self.episode_ids[-1]) + 1 if len(self.episode_ids) else 0

    def returns(self) -> Floats:
        """The sum of rewards of each dialogue: [B]."""
        return np.bincount(self.episode_ids, weights=self.rewards, minlength=self.episodes).astype(np.float64)


def transitions(played: Episodes, places: Floats, encoding: Encoding, rules: Rules, reward: Reward) -> Logs:
    """The transitions of finished dialogues; `reward`: see `step_rewards`."""
    dialogues = played.dialogues
    states = np.stack(
        [encode(up_to(dialogues, t), places, encoding, rules) for t in range(dialogues.exchanges + 1)], axis=1
    )
    step = np.arange(dialogues.exchanges)
    there = step < dialogues.lasted[:, None]
    last = step == dialogues.lasted[:, None] - 1
    rewards = step_rewards(dialogues, rules, reward)
    dialogue, t = np.nonzero(there)
    return Logs(
        states[dialogue, t],
        dialogues.shown[dialogue, t],
        rewards[dialogue, t],
        states[dialogue, t + 1],
        last[dialogue, t],
        dialogue.astype(np.int64),
        t.astype(np.int64),
        played.chance[dialogue, t],
    )


def step_rewards(dialogues: Dialogues, rules: Rules, reward: Reward) -> Floats:
    """The reward of each exchange: [B, T]. utility: the deal's savings at the end and nothing before; paper: see
    `paper_rewards`."""
    if reward == "paper":
        return paper_rewards(dialogues, rules)
    return (np.arange(dialogues.exchanges) == dialogues.lasted[:, None] - 1) * utility(dialogues)[:, None]


def paper_rewards(dialogues: Dialogues, rules: Rules) -> Floats:
    """EmoDistill's reward v4 of each exchange: [B, T], 0 after the end.

    r_t = (clip(Dd, +-2) - clip(Dc, +-2)) (1 - t / T), with Dd and Dc what they and we conceded, as shares of the gap;
    +2 for a deal and -2 for none, at the end.
    """
    theirs, ours = (np.clip(np.diff(f(dialogues), axis=1), -2.0, 2.0) for f in (their_concession, our_concession))
    step = np.arange(dialogues.exchanges)
    last = step == dialogues.lasted[:, None] - 1
    end = np.where(dialogues.status == DEAL, 2.0, -2.0)
    return (theirs - ours) * (1.0 - step / rules.exchanges) * (step < dialogues.lasted[:, None]) + last * end[:, None]


def write_logs(logs: Logs, path: Path) -> None:
    """One compressed .npz of plain arrays."""
    np.savez_compressed(path, **{name: getattr(logs, name) for name in Logs.__dataclass_fields__})
