"""The arms of the expression half: SFT, JPO, DPO and their controls, from the same first model and sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from frown.config import LoraConfig
from frown.recipes.negotiation import speaker_model, teach
from frown.recipes.negotiation.sweep import Sweep

if TYPE_CHECKING:
    from torch import Tensor

    from frown.learner.learner import Learner

WATCHED = 64
"""Moments of the sweep at which the KL bound is watched."""
Arm = Literal[
    "sft", "jpo", "dpo", "jpo, good turns alone", "sft on random turns", "jpo, scores shuffled", "emotion-free"
]
"""emotion-free: a first model, a sweep and JPO of its own, without cards and tones."""


class TrainedArm(NamedTuple):
    """An arm after its training: its model, the course of the training, and the weights after SFT."""

    name: str
    learner: Learner
    training: teach.TrainingResult
    sft_weights: list[Tensor]


def train_arms(
    model: str,
    lora: LoraConfig,
    max_new_tokens: int,
    settings: teach.TeachConfig,
    sweep: Sweep,
    arms: Sequence[str],
    seed: int,
) -> Iterator[TrainedArm]:
    """Train SFT and then every other arm, each from fresh adapters on `model`. JPO and DPO start after SFT."""
    best = teach.best_turns(sweep.rewards, sweep.returns, settings.sft_share)
    turns = sweep.transcripts.turns
    watched = [t.moment for t in turns[:: max(1, len(sweep.lines) // WATCHED)]][:WATCHED]
    advantages = teach.group_advantages(sweep.groups, sweep.scores)
    rng = np.random.default_rng(seed)
    pairs = []
    if "dpo" in arms:
        pairs = teach.preference_pairs(sweep.groups, sweep.scores, settings.max_pairs, settings.min_gap, rng)
    sft_weights: list[Tensor] = []

    def learner_after_sft(lr: float, count: int) -> Learner:
        steps = teach.count_steps(count, settings.batch_size, settings.epochs)
        learner = speaker_model.make_learner(model, lora, lr, steps, seed, max_new_tokens)
        speaker_model.load_weights(learner, sft_weights)
        return learner

    for arm in dict.fromkeys(("sft", *(a for a in arms if a != "emotion-free"))):
        if arm.startswith("sft"):
            rows = best if arm == "sft" else rng.choice(len(sweep.lines), len(best), replace=False)
            steps = teach.count_steps(len(rows), settings.batch_size, settings.sft_epochs)
            learner = speaker_model.make_learner(model, lora, settings.sft_lr, steps, seed, max_new_tokens)
            training = teach.sft(learner, [sweep.lines[i] for i in rows], settings, seed)
            sft_weights = speaker_model.copy_weights(learner) if arm == "sft" else sft_weights
        elif arm == "dpo":
            learner = learner_after_sft(settings.dpo_lr, len(pairs))
            training = teach.dpo(learner, sweep.lines, pairs, settings, watched, seed)
        else:
            learner = learner_after_sft(settings.jpo_lr, len(sweep.lines))
            of_arm = advantages
            if "shuffled" in arm:
                of_arm = teach.group_advantages(sweep.groups, rng.permutation(sweep.scores))
            alone = settings.model_copy(update={"negative_factor": 0.0}) if "good turns" in arm else settings
            training = teach.jpo(learner, sweep.lines, of_arm, alone, watched, seed)
        yield TrainedArm(arm, learner, training, sft_weights)
