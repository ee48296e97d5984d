"""Prediction variance: how much copies of a model disagree about the next token.

Shapes: K copies, N tokens in all, C tokens of a chunk, V vocabulary entries, H hidden units. A signal is a pure
function of the copies' log-probabilities [K, C, V] (nats, within [`token.LOG_ZERO`, 0]); high is contested.
Copies are made as hidden states [K, N, H], which are small, and only `spread` goes through the head, a chunk of
tokens at a time, so that [N, V] never exists, for one copy or for all.

Cost in forward passes of the backbone, beside the one that was made anyway:

    student and EMA teacher    1 (the teacher's; 0 where it was scored in the same context)
    K dropout copies           K
    K weight-noise copies      K, and one copy of the weights below the head in memory

and one product with the head for each copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
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


def probability_variance(logp: Tensor, targets: Tensor) -> Tensor:
    """Variance over the copies of the sampled token's probability: [K, C, V], int64[C] -> [C], in [0, 1/4].

    The population variance: the copies are all there are (Gal & Ghahramani 2016, arXiv 1506.02142, of one class).
    """
    chosen = logp.gather(-1, targets.expand(logp.shape[0], -1)[..., None])[..., 0].exp()
    return chosen.var(0, correction=0)


@torch.no_grad()
def spread(
    hidden: Tensor,
    heads: Tensor | Callable[[Tensor], Tensor] | Sequence[Tensor],
    targets: Tensor,
    temperature: float = 1.0,
    chunk: int | None = None,
) -> dict[str, Tensor]:
    """How much K copies disagree about each of N tokens: name -> [N]. Cost: K products with the head.

    `mutual_information` (nats) and `probability_variance` as above, over all copies; `kl_to_others`, the mean of
    KL(p_0 || p_k), and `kl_from_others`, the mean of KL(p_k || p_0), over k >= 1 (nats): put the model itself
    first. With the student first and its teacher second these are the reverse and the forward KL of
    distillation, and the mutual information is their Jensen-Shannon divergence.

    Args:
        hidden: [K, N, H], K >= 2. Computed on in float32, float64 where it is float64.
        heads: the head of all copies, as its weight [V, H] or as a function [C, H] -> logits [C, V]; or a weight for
            each copy.
        targets: int64[N], the sampled tokens.
        temperature: > 0, divides all logits.
        chunk: tokens at a time; None chooses it so that the logits of all copies take at most 32 MiB.

    Raises:
        ValueError: fewer than two copies, or shapes or a temperature that do not fit.
    """
    each = list(heads) if isinstance(heads, Sequence) else [heads] * hidden.shape[0]
    if hidden.ndim != 3 or hidden.shape[0] < 2 or len(each) != hidden.shape[0]:
        raise ValueError(f"hidden is [K, N, H] with K >= 2 and a head each, got {tuple(hidden.shape)}, {len(each)}")
    if targets.shape != hidden.shape[1:2]:
        raise ValueError(f"targets are [{hidden.shape[1]}], one a token, got {tuple(targets.shape)}")
    if not temperature > 0:
        raise ValueError(f"temperature is above 0, got {temperature}")
    dtype = hidden.dtype if hidden.dtype == torch.float64 else torch.float32

    def project(rows: slice) -> Tensor:
        both = zip(hidden, each, strict=True)
        return torch.stack(
            [(h[rows].to(dtype) @ w.to(dtype).T if isinstance(w, Tensor) else w(h[rows]).to(dtype)) for h, w in both]
        )

    row = project(slice(0, 1)).nbytes if len(targets) else dtype.itemsize
    size = chunk or max(1, _CHUNK_BYTES // row)
    parts = []
    for start in range(0, max(hidden.shape[1], 1), size):
        rows = slice(start, start + size)
        parts.append(_spread_of_chunk(log_probabilities(project(rows).div_(temperature)), targets[rows]))
    return {name: torch.cat([p[name] for p in parts]) for name in parts[0]}


def _spread_of_chunk(logp: Tensor, targets: Tensor) -> dict[str, Tensor]:
    own, others = logp[:1], logp[1:]
    return {
        "mutual_information": mutual_information(logp),
        "probability_variance": probability_variance(logp, targets),
        "kl_to_others": kl(own.expand_as(others), others).mean(0),
        "kl_from_others": kl(others, own.expand_as(others)).mean(0),
    }


@torch.no_grad()
def dropout_copies(model: Any, score: Score, *, rate: float = 0.1, copies: int = 6, seed: int = 0) -> Tensor:
    """Hidden states [K, N, H] under dropout on what attention and feed-forward add to the residual stream.

    Monte-Carlo dropout (Gal & Ghahramani 2016, arXiv 1506.02142) for models that have no dropout of their own: the
    output of each branch of each layer is dropped by hooks (entries to zero with probability `rate`, the others
    divided by 1 - rate), which are gone afterwards. The model was not trained so: a disturbance, not a posterior.
    The same seed gives the same copies on the same device. Cost: K forwards.

    Raises:
        ValueError: a rate outside (0, 1), or a model whose branches cannot be found.
    """
    if not 0.0 < rate < 1.0:
        raise ValueError(f"a dropout rate lies in (0, 1), got {rate}")
    branches = residual_branches(model)
    generator = torch.Generator(next(model.parameters()).device).manual_seed(seed)

    def drop(module: Any, inputs: Any, output: Any) -> Any:
        x = output[0] if isinstance(output, tuple) else output
        kept = torch.empty_like(x, dtype=torch.float32).uniform_(generator=generator) >= rate
        x = x * kept / (1.0 - rate)
        return (x, *output[1:]) if isinstance(output, tuple) else x

    hooks = [branch.register_forward_hook(drop) for branch in branches]
    try:
        return torch.stack([score(model).clone() for _ in range(copies)])
    finally:
        for hook in hooks:
            hook.remove()


def residual_branches(model: Any) -> list[Any]:
    """The modules whose outputs are added to the residual stream: attention and feed-forward of every layer.

    Found by the names that transformers gives them; where a layer calls them otherwise, an error says so.

    Raises:
        ValueError: a model without layers, or with a layer that has not one of each at least.
    """
    layers = next((m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m)), None)
    if layers is None:
        raise ValueError(f"{type(model).__name__} has no list of layers to put dropout into")
    found = []
    for layer in layers:
        names = {name: name.lower() for name, _ in layer.named_children()}
        # Norms and dropouts beside a branch often carry its name: post_attention_layernorm.
        parts = [n for n, low in names.items() if not any(w in low for w in ("norm", "ln_", "dropout"))]
        mixing = [n for n in parts if any(w in names[n] for w in ("attn", "attention", "mamba", "conv"))]
        feeding = [n for n in parts if any(w in names[n] for w in ("mlp", "ffn", "feed_forward", "moe"))]
        if not mixing or not feeding:
            raise ValueError(f"a layer of {type(model).__name__} has the parts {', '.join(names)}: which are residual?")
        found += [getattr(layer, n) for n in (*mixing, *feeding)]
    return found


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
