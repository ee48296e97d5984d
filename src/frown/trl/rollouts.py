"""TRL's batches as frown's rollouts: what was asked, what was answered, how it was judged, what the policy felt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from frown.policy.text import completion_text
from frown.types import Rollout, Signals, Task, Verdict


def verdicts_of(rewards: Tensor, threshold: float, weights: Tensor) -> list[Verdict]:
    """Rewards [B, F] of F functions as verdicts: right where their weighted sum reaches the threshold.

    As in TRL a function that returned None (NaN) adds nothing; unlike there, an answer for which all did is unscored.
    """
    total = (rewards * weights[None]).nansum(1).tolist()
    judged = (~rewards.isnan()).any(1).tolist()
    return [
        Verdict(float(r >= threshold)) if known else Verdict.unscored("no reward function scored it")
        for r, known in zip(total, judged, strict=True)
    ]


def rollouts_of(
    batch: Mapping[str, Tensor],
    tasks: Sequence[Task],
    signals: Sequence[Mapping[str, np.ndarray]],
    *,
    first: int,
    group_size: int,
    tokenizer: Any,
    ends: Sequence[int],
    temperature: float,
    step: int,
) -> list[Rollout]:
    """One process's share of a generation batch, in order; `first` is the place of its first answer in the whole.

    `signals`: per answer, name -> float[T], as `frown.losses.head.read_signals` reads them.
    """
    out = []
    lengths = batch["raw_completion_lengths"].tolist()
    prompts = [
        ids[mask.bool()].cpu().numpy() for ids, mask in zip(batch["prompt_ids"], batch["prompt_mask"], strict=True)
    ]
    for i, (task, length, read) in enumerate(zip(tasks, lengths, signals, strict=True)):
        ids = batch["completion_ids"][i, :length].cpu().numpy()
        ended = bool(length) and int(ids[-1]) in ends
        out.append(
            Rollout(
                task=task,
                group=(first + i) // group_size,
                prompt_ids=prompts[i],
                ids=ids,
                logp=-read["surprisal"],
                temperature=temperature,
                stop="eos" if ended else "length",
                text=completion_text(tokenizer, ids[: -1 if ended else None].tolist()),
                signals=Signals(dict(read)),
                policy_step=step,
            )
        )
    return out
