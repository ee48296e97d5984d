"""Sampling several answers to each prompt: prompts are read once, finished answers are dropped.

Each decoding step already has the whole next-token distribution, so the token signals are taken from it there:
they cost no forward pass of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from frown.errors import NotFinite
from frown.signals.token import signals_of_logits
from frown.types import Ints


class Sample(NamedTuple):
    """One sampled completion; tensors on the CPU, one entry a token."""

    ids: Tensor
    logp: Tensor
    signals: dict[str, Tensor]
    alternative: Tensor
    """The likeliest token other than the sampled one, at each token."""
    finished: bool
    """Whether it ended with an end-of-sequence token."""


class Decoding(NamedTuple):
    """How answers are decoded."""

    temperature: float
    max_new_tokens: int
    eos_ids: Sequence[int]
    """Any of these ends an answer."""
    pad_id: int


@torch.no_grad()
def sample(
    model: Any,
    prompts: Sequence[Ints],
    n: int,
    decoding: Decoding,
    *,
    generator: torch.Generator,
    tokens_at_once: int,
) -> list[list[Sample]]:
    """n completions of each prompt, in order.

    Log-probabilities and signals are those of the distribution sampled from: softmax(logits / temperature) in
    float32 over the full vocabulary, without top-k or top-p. `tokens_at_once` bounds how many tokens (prompt and all it
    may grow to, over all rows) are held at a time. Raises NotFinite when the model's output is not finite.
    """
    longest = max(map(len, prompts)) + decoding.max_new_tokens
    per_batch = max(1, tokens_at_once // (longest * n))
    out: list[list[Sample]] = []
    for i in range(0, len(prompts), per_batch):
        out += _sample_batch(model, prompts[i : i + per_batch], n, decoding, generator)
    return out


def _sample_batch(
    model: Any, prompts: Sequence[Ints], n: int, decoding: Decoding, generator: torch.Generator
) -> list[list[Sample]]:
    temperature, max_new_tokens, eos_ids, pad_id = decoding
    device = next(model.parameters()).device
    ids, mask = left_pad(prompts, pad_id, device)
    ragged = not bool(mask.all())
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    result = model(
        input_ids=ids,
        attention_mask=mask if ragged else None,
        position_ids=positions if ragged else None,
        use_cache=True,
        logits_to_keep=1,
    )
    cache = result.past_key_values
    if n > 1:
        cache.batch_repeat_interleave(n)
    logits = result.logits[:, -1].float().repeat_interleave(n, 0)
    mask, position = mask.repeat_interleave(n, 0), positions[:, -1:].repeat_interleave(n, 0)
    eos = torch.tensor(list(eos_ids), device=device)

    row = torch.arange(len(prompts) * n, device=device)
    """Which answer each row still being written belongs to."""
    alive = torch.ones(len(row), dtype=torch.bool, device=device)
    """Rows that have not ended; an ended row is only carried until the next compaction."""
    steps: list[_Step] = []
    for t in range(max_new_tokens):
        logits = logits / temperature if temperature != 1.0 else logits
        if not bool(torch.isfinite(logits).all()):
            raise NotFinite("the model's output is not finite")
        token = torch.multinomial(torch.softmax(logits, -1), 1, generator=generator)[:, 0]
        living_logits, living_token = logits[alive], token[alive]
        other = living_logits.scatter(-1, living_token[:, None], -torch.inf).argmax(-1)
        steps.append(_Step(row[alive], living_token, other, signals_of_logits(living_logits, living_token)))
        alive = alive & ~torch.isin(token, eos)
        living = int(alive.sum())
        if living == 0 or t + 1 == max_new_tokens:
            break
        if living <= 0.75 * len(row):  # copying the cache pays when enough of it goes
            keep = alive.nonzero()[:, 0]
            cache.batch_select_indices(keep)
            row, token, mask, position, alive = row[keep], token[keep], mask[keep], position[keep], alive[keep]
        position = position + 1
        mask = torch.cat([mask, mask.new_ones(len(row), 1)], 1)
        result = model(
            input_ids=token[:, None],
            attention_mask=mask if ragged else None,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
        )
        cache, logits = result.past_key_values, result.logits[:, -1].float()
    return _gather(steps, len(prompts), n, eos)


class _Step(NamedTuple):
    """What one decoding step gave, for the answers that were still being written."""

    row: Tensor
    token: Tensor
    alternative: Tensor
    signals: dict[str, Tensor]


def _gather(steps: Sequence[_Step], prompts: int, n: int, eos: Tensor) -> list[list[Sample]]:
    """From one record a decoding step to one record an answer."""
    rows = torch.cat([s.row for s in steps])
    order = torch.argsort(rows, stable=True)  # by answer, and within it by time
    lengths = torch.bincount(rows, minlength=prompts * n).tolist()
    tokens = torch.cat([s.token for s in steps])[order]
    others = torch.cat([s.alternative for s in steps])[order].cpu().split(lengths)
    ended = torch.isin(tokens, eos).cpu().split(lengths)
    ids = tokens.cpu().split(lengths)
    signals = {k: torch.cat([s.signals[k] for s in steps])[order].cpu().split(lengths) for k in steps[0].signals}
    flat = [
        Sample(ids[i], -signals["surprisal"][i], {k: v[i] for k, v in signals.items()}, others[i], bool(ended[i][-1]))
        for i in range(prompts * n)
    ]
    return [flat[i : i + n] for i in range(0, len(flat), n)]


def left_pad(prompts: Sequence[Ints], pad_id: int, device: Any) -> tuple[Tensor, Tensor]:
    """Prompts as one [B, P] tensor, padded on the left, and its mask."""
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), pad_id)
    mask = torch.zeros(len(prompts), width, dtype=torch.bool)
    for i, prompt in enumerate(prompts):
        ids[i, width - len(prompt) :] = torch.as_tensor(prompt)
        mask[i, width - len(prompt) :] = True
    return ids.to(device), mask.to(device)
