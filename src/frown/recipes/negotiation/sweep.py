"""A sweep: logged dialogues of a speaker that shows random emotions, judged turn by turn. All arms learn from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frown.recipes.negotiation import speaker_model, spoken, teach
from frown.recipes.negotiation.game import Floats
from frown.recipes.negotiation.judge import judge
from frown.recipes.negotiation.logs import Reward, step_rewards
from frown.recipes.negotiation.play import uniform
from frown.recipes.negotiation.speech import Moment
from frown.types import Rollout

if TYPE_CHECKING:
    from frown.policy.policy import Policy


class Sweep(NamedTuple):
    """M logged turns, in the model's tokens, with their rewards and judged scores."""

    transcripts: spoken.Transcripts
    lines: list[speaker_model.Line]
    groups: NDArray[np.int64]
    """[M] the scenario of each turn."""
    scores: Floats
    """[M] by the judge, 1 to 10."""
    rewards: Floats
    """[M] of the step."""
    returns: Floats
    """[M] of the turn's dialogue."""


def make_sweep(policy: Policy, stage: spoken.Stage, repeats: int, reward: Reward, seed: int) -> Sweep:
    """Dialogues with random emotions, judged turn by turn."""
    rollouts: list[Rollout] = []  # in the order of turns

    def speak(moments: Sequence[Moment], seed: int) -> list[str]:
        new = speaker_model.sample_utterances(policy, moments, seed)
        rollouts.extend(new)
        return [speaker_model.spoken_text(r) for r in new]

    transcripts = spoken.play(speak, uniform(len(stage.emotions)), stage, seed, repeats)
    rewards = step_rewards(transcripts.episodes.dialogues, stage.rules, reward)
    dialogue, step = np.array([(t.dialogue, t.exchange) for t in transcripts.turns]).T
    return Sweep(
        transcripts,
        [speaker_model.as_line(r) for r in rollouts],
        dialogue // repeats,
        np.array([judge(t.moment, t.text) for t in transcripts.turns], dtype=np.float64),
        rewards[dialogue, step],
        rewards.sum(axis=1)[dialogue],
    )


def summarise_sweep(sweep: Sweep, sft_share: float) -> dict[str, float]:
    """Turns, their mean score, that of the turns chosen for SFT, and the share of those that end a dialogue."""
    best = teach.best_turns(sweep.rewards, sweep.returns, sft_share)
    lasted = sweep.transcripts.episodes.dialogues.lasted
    last = np.array([t.exchange == lasted[t.dialogue] - 1 for t in sweep.transcripts.turns])
    return {
        "turns": float(len(sweep.lines)),
        "score": float(sweep.scores.mean()),
        "best_score": float(sweep.scores[best].mean()),
        "best_last": float(last[best].mean()),
    }
