"""Sampling several answers to each prompt: prompts are read once, finished answers are dropped.

Each decoding step already has the whole next-token distribution, so the token signals are taken from it there:
they cost no forward pass of their own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from frown.errors import NotFinite
from frown.policy.cache import repeat
from frown.policy.load import takes_masks
from frown.runtime.uniforms import Uniforms
from frown.signals.token import signals_of_logits
from frown.types import Ints

_WAITING_BYTES = 1 << 22
"""Logits that are kept until their signals are read: of a small vocabulary, those of many steps."""
_DRAWN_AT_ONCE = 256
"""Tokens of the vocabulary in a block: one uniform number chooses the block, another the token in it."""


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


@torch.inference_mode()
def sample(
    model: Any,
    prompts: Sequence[Ints],
    n: int,
    decoding: Decoding,
    *,
    seed: int,
    tokens_at_once: int,
    first: int = 0,
) -> list[list[Sample]]:
    """n completions of each prompt, in order.

    What is drawn depends on `seed` and on the number of an answer alone (`frown.runtime.uniforms`), not on what it is
    batched with; `first` is the number of the first prompt's first answer.
    Log-probabilities and signals are those of the distribution sampled from: softmax(logits / temperature) in
    float32 over the full vocabulary, without top-k or top-p. `tokens_at_once` bounds how many tokens (prompt and all it
    may grow to, over all rows) are in memory at a time. Raises NotFinite when the model's output is not finite.
    """
    out: list[list[Sample]] = [[] for _ in prompts]
    # Prompts of like length together, so that little is padded.
    todo = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    while todo:
        longest = len(prompts[todo[0]]) + decoding.max_new_tokens
        per_batch = max(1, tokens_at_once // (longest * n))
        batch, todo = sorted(todo[:per_batch]), todo[per_batch:]
        answers = [first + i * n + j for i in batch for j in range(n)]
        uniforms = Uniforms(seed, answers, next(model.parameters()).device)
        groups = _sample_batch(model, [prompts[i] for i in batch], n, decoding, uniforms)
        for i, group in zip(batch, groups, strict=True):
            out[i] = group
    return out


def _sample_batch(
    model: Any, prompts: Sequence[Ints], n: int, decoding: Decoding, uniforms: Uniforms
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
    cache, length = result.past_key_values, ids.shape[1]
    full = repeat(cache, n)
    logits = result.logits[:, -1].float().repeat_interleave(n, 0)
    position = positions[:, -1:].repeat_interleave(n, 0)
    # What each row may attend to, now and later: only a prompt's padding is out of sight.
    mask = torch.cat([mask, mask.new_ones(len(prompts), max_new_tokens)], 1).repeat_interleave(n, 0)
    if full and takes_masks(model):
        mask = mask[:, None, None]  # as it reaches the attention, so that no model has to make it for every token
    eos = torch.tensor(list(eos_ids), device=device)

    row = torch.arange(len(prompts) * n, device=device)
    """Which answer each row still being written belongs to."""
    alive = torch.ones(len(row), dtype=torch.bool, device=device)
    """Rows that have not ended; an ended row is only carried until the next compaction."""
    record = _Record(eos)
    for t in range(max_new_tokens):
        logits = logits / temperature if temperature != 1.0 else logits
        if not math.isfinite(float(logits.sum())):
            raise NotFinite("the model's output is not finite")
        token = draw(torch.softmax(logits, -1), uniforms.next())
        record.add(row, alive, token, logits)
        alive = alive & ~torch.isin(token, eos)
        living = int(alive.sum())
        if living == 0 or t + 1 == max_new_tokens:
            break
        if living <= 0.75 * len(row):  # copying the cache pays when enough of it goes
            keep = alive.nonzero()[:, 0]
            cache.batch_select_indices(keep)
            uniforms.keep(keep)
            row, token, mask, position, alive = row[keep], token[keep], mask[keep], position[keep], alive[keep]
        position = position + 1
        length += 1
        result = model(
            input_ids=token[:, None],
            attention_mask=mask[..., :length] if ragged else None,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
        )
        cache, logits = result.past_key_values, result.logits[:, -1].float()
    return record.samples(len(prompts), n)


class _Record:
    """What was sampled, step after step. Signals are read from many small steps at once."""

    def __init__(self, eos: Tensor):
        self._eos = eos
        self._waiting: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        self._bytes = 0
        self._rows: list[Tensor] = []
        self._tokens: list[Tensor] = []
        self._others: list[Tensor] = []
        self._signals: list[dict[str, Tensor]] = []

    def add(self, row: Tensor, alive: Tensor, token: Tensor, logits: Tensor) -> None:
        """One decoding step: the answer of each row, whether it is still being written, token [B], logits [B, V]."""
        self._waiting.append((row, alive, token, logits))
        self._bytes += logits.nbytes
        if self._bytes > _WAITING_BYTES:
            self._read()

    def _read(self) -> None:
        row, alive, token, logits = (torch.cat(parts) for parts in zip(*self._waiting, strict=True))
        self._rows.append(row[alive])
        self._tokens.append(token[alive])
        signals, other = read_logits(logits[alive], self._tokens[-1])
        self._others.append(other)
        self._signals.append(signals)
        self._waiting, self._bytes = [], 0

    def samples(self, prompts: int, n: int) -> list[list[Sample]]:
        """From one record a decoding step to one record an answer."""
        if self._waiting:
            self._read()
        rows = torch.cat(self._rows)
        order = torch.argsort(rows, stable=True)  # by answer, and within it by time
        lengths = torch.bincount(rows, minlength=prompts * n).tolist()
        tokens = torch.cat(self._tokens)[order]
        others = torch.cat(self._others)[order].cpu().split(lengths)
        ended = torch.isin(tokens, self._eos).cpu().split(lengths)
        ids = tokens.cpu().split(lengths)
        signals = {k: torch.cat([s[k] for s in self._signals])[order].cpu().split(lengths) for k in self._signals[0]}
        flat = [
            Sample(
                ids[i], -signals["surprisal"][i], {k: v[i] for k, v in signals.items()}, others[i], bool(ended[i][-1])
            )
            for i in range(prompts * n)
        ]
        return [flat[i : i + n] for i in range(0, len(flat), n)]


def draw(p: Tensor, uniform: Tensor) -> Tensor:
    """A token a row from probabilities [B, V], by inversion of `uniform` numbers in [0, 1), float64[B, 2]: int64[B].

    A token of probability 0 is never drawn.

    `torch.multinomial` draws an exponential number for every entry of the vocabulary, which of a large one costs as
    much as the model's head. A running sum over all of it would lose small probabilities to rounding, hence the blocks.
    """
    blocks = torch.nn.functional.pad(p, (0, -p.shape[1] % _DRAWN_AT_ONCE)).unflatten(1, (-1, _DRAWN_AT_ONCE))
    block = _invert(blocks.sum(-1), uniform[:, 0])
    return block * _DRAWN_AT_ONCE + _invert(blocks[torch.arange(len(p), device=p.device), block], uniform[:, 1])


def _invert(weights: Tensor, share: Tensor) -> Tensor:
    """The entry of each row [B, W] at which its running sum passes a `share` [B] of the whole: int64[B]."""
    edges = weights.cumsum(-1, dtype=torch.float64)
    edges = edges / edges[:, -1:]  # the last one is 1 exactly, and what is drawn is below 1
    return torch.searchsorted(edges, share[:, None].contiguous(), right=True)[:, 0]


def read_logits(logits: Tensor, tokens: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Signals of logits [C, V] at the sampling temperature, name -> [C], and the likeliest token [C] other than the
    sampled ones `tokens` [C]."""
    other = logits.scatter(-1, tokens[:, None], -torch.inf).argmax(-1)
    return signals_of_logits(logits, tokens), other


def left_pad(prompts: Sequence[Ints], pad_id: int, device: Any) -> tuple[Tensor, Tensor]:
    """Prompts as one [B, P] tensor, padded on the left, and its mask."""
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), pad_id)
    mask = torch.zeros(len(prompts), width, dtype=torch.bool)
    for i, prompt in enumerate(prompts):
        ids[i, width - len(prompt) :] = torch.as_tensor(prompt)
        mask[i, width - len(prompt) :] = True
    return ids.to(device), mask.to(device)
