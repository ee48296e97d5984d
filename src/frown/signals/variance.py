"""Prediction variance: how much copies of a model disagree about the next token.

Shapes: K copies, N tokens in all, C tokens of a chunk, V vocabulary entries, H hidden units. A signal is a pure
function of the copies' log-probabilities [K, C, V] (nats, within [`token.LOG_ZERO`, 0]); high is contested.
Copies are made as hidden states [K, N, H], which are small, and only `copies_mutual_information` goes through the
head, a chunk of tokens at a time, so that [N, V] never exists, for one copy or for all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from frown.signals.token import log_probabilities

Score = Callable[[Any], Tensor]
"""One forward pass of the model below its head: model -> hidden states [N, H] at the positions that predict the
tokens of interest."""

_CHUNK_BYTES = 32 << 20
"""Logits of all copies in one chunk."""


def kl(logp: Tensor, other_logp: Tensor) -> Tensor:
    """KL(p || other) = sum p (log p - log other): [..., V], [..., V] -> [...] nats, >= 0 (Kullback & Leibler 1951).

    In the Bregman form sum p (e^d - 1 - d) with d = log other - log p, whose terms are all >= 0: the plain sum
    loses small divergences in float32. Where `other` is impossible and p is not, up to 1e4 nats, not infinity.
    """
    d = other_logp - logp
    small = d.abs() < 1.0
    gap = torch.where(small, logp.exp() * torch.expm1(d.clamp(-1.0, 1.0)), other_logp.exp() - logp.exp())
    return (gap - logp.exp() * d).sum(-1).clamp_min(0.0)


def mutual_information(logp: Tensor) -> Tensor:
    """Between the next token and which copy predicts it: [K, C, V] -> [C] nats, in [0, log K].

    H(mean p) - mean H(p) (BALD: Houlsby et al. 2011, arXiv 1112.5745, eq. 2), the part of the uncertainty that the
    copies do not share; computed as the mean of KL(p_k || mean p), which is the same and does not cancel. For
    K = 2 it is the Jensen-Shannon divergence (Lin 1991).
    """
    mean = torch.logsumexp(logp, 0) - math.log(logp.shape[0])
    return kl(logp, mean.expand_as(logp)).mean(0)


@torch.no_grad()
def copies_mutual_information(
    hidden: Tensor, head: Callable[[Tensor], Tensor], temperature: float = 1.0, chunk: int | None = None
) -> Tensor:
    """`mutual_information` of K copies at each of N tokens: [N] nats. Cost: K products with the head.

    Args:
        hidden: [K, N, H], K >= 2. Computed on in float32, float64 where it is float64.
        head: the head of all copies, [C, H] -> logits [C, V].
        temperature: > 0, divides all logits.
        chunk: tokens at a time; None chooses it so that the logits of all copies take at most 32 MiB.

    Raises:
        ValueError: fewer than two copies, or a temperature that is not above 0.
    """
    if hidden.ndim != 3 or hidden.shape[0] < 2:
        raise ValueError(f"hidden is [K, N, H] with K >= 2, got {tuple(hidden.shape)}")
    if not temperature > 0:
        raise ValueError(f"temperature is above 0, got {temperature}")
    dtype = hidden.dtype if hidden.dtype == torch.float64 else torch.float32

    def project(rows: slice) -> Tensor:
        return torch.stack([head(h[rows]).to(dtype) for h in hidden])

    row = project(slice(0, 1)).nbytes if hidden.shape[1] else dtype.itemsize
    size = chunk or max(1, _CHUNK_BYTES // row)
    parts = []
    for start in range(0, max(hidden.shape[1], 1), size):
        logits = project(slice(start, start + size))
        parts.append(mutual_information(log_probabilities(logits.div_(temperature))))
    return torch.cat(parts)


@torch.no_grad()
def noise_copies(model: Any, score: Score, *, scale: float = 0.02, copies: int = 6, seed: int = 0) -> Tensor:
    """Hidden states [K, N, H] under gaussian noise on the weights; see `weight_noise`. Cost: K forwards, and one
    copy of the weights below the head."""
    out = []
    for k in range(copies):
        with weight_noise(model, scale=scale, seed=seed + k):
            out.append(score(model).clone())
    return torch.stack(out)


@contextmanager
def weight_noise(model: Any, *, scale: float, seed: int) -> Iterator[None]:
    """The model with independent gaussian noise on each of its weights; afterwards exactly, bit by bit, as before.

    A weight tensor's noise has the standard deviation `scale` times that of its entries, so that all layers are
    disturbed alike; a tensor whose entries are all equal (the gains of a fresh norm) stays. The head stays too, and
    with it an embedding tied to it: all copies share it. The same seed gives the same noise on the same device.

    Raises:
        ValueError: a scale that is not above 0.
    """
    if not scale > 0:
        raise ValueError(f"the scale of the noise is above 0, got {scale}")
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    spared = {id(p) for p in head.parameters()} if head is not None else set()
    disturbed = [p for p in model.parameters() if id(p) not in spared and p.is_floating_point() and p.numel() > 1]
    generators: dict[Any, torch.Generator] = {}
    before = [p.detach().clone() for p in disturbed]
    try:
        with torch.no_grad():
            for p in disturbed:
                generator = generators.setdefault(p.device, torch.Generator(p.device).manual_seed(seed))
                noise = torch.empty_like(p, dtype=torch.float32).normal_(generator=generator)
                p.add_((noise * (scale * p.float().std())).to(p.dtype))
        yield
    finally:
        with torch.no_grad():
            for p, original in zip(disturbed, before, strict=True):
                p.copy_(original)
