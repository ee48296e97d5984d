"""Which head a causal language model has: found by asking the model, not by trusting the names in its configuration.

The same key scales up in one architecture and down in the next (`logits_scaling` of Granite and of HyperCLOVA), so
whatever a head is believed to be is compared with what the model itself makes of a few hidden states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import Tensor

from frown.errors import FrownError
from frown.losses.projection import Head, LinearHead, OwnHead
from frown.policy.load import plain

_ROWS = 4
"""Hidden states that are tried."""
_LARGE = 40.0
"""The largest logit they get."""


def head_of(model: Any) -> Head:
    """The head of a transformers causal language model, with adapters or without.

    A weight with or without bias, scale and bound becomes a `LinearHead`. An adapter on the head, or an architecture
    that does more, becomes an `OwnHead`, which is slower; `why_slow` has the line that says so.

    Raises:
        FrownError: the model has no head, or one that no hidden states can be given to.
    """
    inner = plain(model)
    module = inner.get_output_embeddings()
    weight = getattr(module, "weight", None)
    if weight is None:
        raise FrownError(f"{type(inner).__name__} has no output embedding; use a causal language model")
    adapted = hasattr(module, "base_layer")
    trained = tuple(p for p in module.parameters() if p.requires_grad)
    with torch.no_grad():
        hidden = torch.randn(_ROWS, weight.shape[1], generator=torch.Generator().manual_seed(0)).to(weight)
        hidden *= _LARGE / module(hidden).abs().max()  # as large as logits get, so that a bound on them shows
        expected, raw = logits_of(inner, hidden).float(), module(hidden).float()
        tried = {pair: _distance(_shaped(raw, *pair), expected) for pair in _candidates(inner.config.get_text_config())}
    scale, cap = min(tried, key=lambda pair: tried[pair])
    own = expected.shape[1], trained, weight.dtype
    if tried[scale, cap] > (1e-4 if weight.dtype == torch.float32 else 2e-2):
        return OwnHead(lambda hidden: logits_of(inner, hidden), *own, runs_layers=True)
    if adapted:
        return OwnHead(lambda hidden: _shaped(module(hidden), scale, cap), *own)
    return LinearHead(weight, getattr(module, "bias", None), scale, cap)


def why_slow(head: Head, model: Any) -> str | None:
    """A line for the user where the head has to be differentiated by autograd, else None."""
    if isinstance(head, LinearHead):
        return None
    inner = plain(model)
    adapter = hasattr(inner.get_output_embeddings(), "base_layer")
    why = "carries an adapter" if adapter else "does more than a product, a bias, a scale and a bound"
    mend = "; leave lm_head out of model.lora.targets to be faster" if adapter else ""
    return f"the head of {type(inner).__name__} {why}: its logits are differentiated the plain way, slower{mend}"


def within(context: Callable[[], AbstractContextManager[Any]], head: Head) -> Head:
    """A head that works inside a context only (adapters switched off, say) as one that may be called at any time."""
    if isinstance(head, LinearHead):
        return head

    def call(hidden: Tensor) -> Tensor:
        with context():
            return head.call(hidden)

    return replace(head, call=call)


def mixed(start: Head, student: Head, width: int, share: float) -> Head:
    """The head of a trust-region teacher: logits (1 - share) z_start + share z_student, which after the softmax is the
    geometric mixture of the two distributions, normalised (SDPO, arXiv 2601.20802, eq. 10).

    It takes hidden states [C, 2 width], those of the start before the student's.
    """

    def call(hidden: Tensor) -> Tensor:
        return torch.lerp(start.logits(hidden[:, :width]), student.logits(hidden[:, width:]), share)

    return OwnHead(call, student.vocabulary)


def logits_of(model: Any, hidden: Tensor) -> Tensor:
    """What a causal language model makes of final hidden states: [C, H] -> [C, V], whatever its head does.

    The model's own forward is run, on tokens that do not matter: what enters the head is replaced.
    """
    module = model.get_output_embeddings()
    entered = []

    def entering(module: Any, args: Any) -> tuple[Tensor]:
        entered.append(True)
        return (hidden[None],)

    hook = module.register_forward_pre_hook(entering)
    try:
        ids = torch.zeros(1, len(hidden), dtype=torch.long, device=hidden.device)
        logits = model(input_ids=ids, use_cache=False).logits[0]
    finally:
        hook.remove()
    if not entered:
        raise FrownError(
            f"the logits of {type(model).__name__} do not come from its output embedding; use another model"
        )
    return logits


def _candidates(config: Any) -> Iterator[tuple[float, float | None]]:
    """Scales and bounds the logits may have, by the names under which transformers' configurations keep them."""
    keys = ("logit_scale", "logits_scaling", "lm_head_multiplier")
    named = [float(v) for v in (getattr(config, key, None) for key in keys) if v]
    scales = dict.fromkeys([1.0, *named, *(1 / v for v in named)])
    yield from product(scales, dict.fromkeys([None, getattr(config, "final_logit_softcapping", None)]))


def _shaped(logits: Tensor, scale: float, cap: float | None) -> Tensor:
    return logits * scale if cap is None else cap * torch.tanh(logits * scale / cap)


def _distance(logits: Tensor, expected: Tensor) -> float:
    """How far logits are from the model's own, as a share of the largest."""
    return float((logits - expected).abs().max() / expected.abs().max().clamp_min(1e-30))
