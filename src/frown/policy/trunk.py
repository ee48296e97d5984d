"""Final hidden states of many sequences: packed with shared beginnings where a model can, else packed, else padded.

Which it is, is not looked up in a list of models but tried: `choose` lets the model read four short sequences one
by one and in a packed row. What keeps a state beside attention (recurrent, linear, convolutional layers), looks at the
whole row or at places instead of positions gives other hidden states then, and gets the next simpler way.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from frown.errors import first_line
from frown.policy import attention
from frown.policy.load import backbone, plain
from frown.policy.packing import lay_out
from frown.types import Ints

Way = Literal["flex", "blocks", "side by side", "padded"]
"""How sequences reach the trunk: as one packed row whose attention is flex attention or blocks of SDPA, as rows of
several whole sequences under a mask, or padded on the right."""

_NAMES = {"flex": attention.FLEX, "blocks": attention.BLOCKS}


class Choice(NamedTuple):
    """How a model is read, and what a person should know about it."""

    way: Way
    notes: tuple[str, ...] = ()

    @property
    def shares(self) -> bool:
        """Whether beginnings are computed once, without padding."""
        return self.way in _NAMES


def choose(model: Any) -> Choice:
    """The best way that gives the model's own hidden states, to within the square root of its rounding error."""
    device = next(model.parameters()).device
    why: dict[str, str] = {}
    ways: tuple[Way, ...] = ("flex", "blocks", "side by side") if device.type == "cuda" else ("blocks", "side by side")
    for way in ways:
        reason = _objection(model, way)
        if reason is None:
            return Choice(way, _notes(way, why))
        why[way] = reason
    return Choice("padded", _notes("padded", why))


def _notes(way: Way, why: dict[str, str]) -> tuple[str, ...]:
    if way == "padded":
        reasons = "; ".join(dict.fromkeys(why[w] for w in ("blocks", "side by side")))
        return (f"rows reach the trunk padded, prompts and teacher contexts are not shared: {reasons}",)
    if way == "side by side":
        return (f"rows are packed, but prompts and teacher contexts are not shared: {why['blocks']}",)
    return tuple(f"flex attention is not used, SDPA is: {reason}" for reason in why.values())


def _objection(model: Any, way: Way) -> str | None:
    """Why a model cannot be read in a way; None where it can."""
    inner = plain(model)
    config = inner.config.get_text_config()
    name = type(inner).__name__
    if getattr(inner, "_is_stateful", False):
        return f"{name} keeps a state beside attention"
    kinds = set(getattr(config, "layer_types", None) or ())
    if odd := kinds - {"full_attention", "sliding_attention", "chunked_attention"}:
        return f"{name} has layers of {', '.join(sorted(odd))}"
    if way in _NAMES and not getattr(type(inner), "_supports_attention_backend", False):
        return f"the attention of {name} cannot be replaced"
    windows = (getattr(config, key, None) for key in ("sliding_window", "attention_chunk_size"))
    if way == "side by side" and (kinds - {"full_attention"} or (not kinds and any(windows))):
        return f"{name} has layers that see a window"
    ids = (np.arange(64) * 7919 + 13) % config.vocab_size
    # Two that share a beginning, and two that fit beside each other into a row as long as the longest.
    sequences = [np.concatenate([ids[:16], ids[16:25]]), np.concatenate([ids[:16], ids[30:43]]), ids[44:58], ids[58:]]
    places = [np.arange(len(s)) for s in sequences]
    try:
        with torch.no_grad():
            alone = torch.cat(
                [hidden_states(model, [s], [at], "padded") for s, at in zip(sequences, places, strict=True)]
            )
            together = hidden_states(model, sequences, places, way)
        if way == "flex":  # its kernels are compiled for each device, backward ones apart
            alone, together = (
                torch.cat([states.flatten().float(), _gradient(model, sequences, places, w).flatten().float()])
                for states, w in ((alone, "padded"), (together, way))
            )
    except Exception as error:  # whatever a model does with what it was not made for
        return f"{name}: {first_line(error)}"
    gap = float((together.double() - alone.double()).norm() / alone.double().norm())
    # Parts of most models compute in float32 whatever their weights are.
    if not gap <= max(torch.finfo(alone.dtype).eps, torch.finfo(torch.float32).eps) ** 0.5:
        return f"{name} gives other hidden states then (they differ by {gap:.0e})"
    return None


def _gradient(model: Any, sequences: Sequence[Ints], places: Sequence[Ints], way: Any) -> Tensor:
    """The gradient of the mean square of hidden states by the first matrix of the first layer."""
    matrix = next(p for name, p in backbone(model).named_parameters() if ".0." in name and p.ndim == 2)
    learns = matrix.requires_grad
    matrix.requires_grad_()
    try:
        with torch.enable_grad(), engaged(model, way):
            states = hidden_states(model, sequences, places, way)
            return torch.autograd.grad(states.float().square().mean(), matrix)[0]
    finally:
        matrix.requires_grad_(learns)


def hidden_states(model: Any, sequences: Sequence[Ints], at: Sequence[Ints], way: Way, pad_id: int = 0) -> Tensor:
    """[N, H] final hidden states of sequences at some of their tokens, sequence after sequence.

    `at`: for each sequence, which tokens. Under causal attention nothing that counts can see the padding, if any.
    """
    trunk = backbone(model)
    device = next(model.parameters()).device
    if way in _NAMES:
        states, places = _shared(trunk, sequences, _NAMES[way], device)
    elif way == "side by side":
        states, places = _side_by_side(trunk, sequences, pad_id, device)
    else:
        ids = _stacked(sequences, pad_id)
        states = trunk(input_ids=torch.as_tensor(ids, device=device), use_cache=False).last_hidden_state
        places = [np.arange(len(s)) + i * ids.shape[1] for i, s in enumerate(sequences)]
    wanted = np.concatenate([place[a] for place, a in zip(places, at, strict=True)])
    return states.flatten(0, 1).index_select(0, torch.as_tensor(wanted, device=device))


def engaged(model: Any, way: Way) -> AbstractContextManager[None]:
    """Around a forward pass whose gradients are taken, until they are: layers may be computed again."""
    return attention.engaged(backbone(model), _NAMES[way]) if way in _NAMES else nullcontext()


def _shared(trunk: Any, sequences: Sequence[Ints], name: str, device: Any) -> tuple[Tensor, Sequence[Ints]]:
    layout = lay_out(sequences)
    row = attention.Row(layout, device)
    with attention.engaged(trunk, name), attention.reading(row):
        # With a mask given, transformers does not take positions that begin again for the seams of a packed row.
        states = trunk(
            input_ids=row.tensor(layout.ids)[None],
            position_ids=row.tensor(layout.positions)[None],
            attention_mask=torch.ones(1, len(layout.ids), dtype=torch.bool, device=device),
            use_cache=False,
        ).last_hidden_state
    return states, layout.places


def _side_by_side(trunk: Any, sequences: Sequence[Ints], pad_id: int, device: Any) -> tuple[Tensor, list[Ints]]:
    """Whole sequences, as many to a row as fit beside the longest, each under a causal mask of its own."""
    bins = _bins([len(s) for s in sequences])
    layouts = [lay_out([sequences[i] for i in members], least=1 << 62) for members in bins]
    width = max(len(x.ids) for x in layouts)
    order = torch.arange(width, device=device)
    until = torch.as_tensor(_stacked([x.seen_until for x in layouts], 0), device=device)[:, None, None]
    visible = (order <= order[:, None]) & (order[:, None] < until) | (order == order[:, None])
    dtype = next(trunk.parameters()).dtype
    states = trunk(
        input_ids=torch.as_tensor(_stacked([x.ids for x in layouts], pad_id), device=device),
        position_ids=torch.as_tensor(_stacked([x.positions for x in layouts], 0), device=device),
        attention_mask=torch.zeros(visible.shape, dtype=dtype, device=device).masked_fill_(
            ~visible, torch.finfo(dtype).min
        ),
        use_cache=False,
    ).last_hidden_state
    places: dict[int, Ints] = {}
    for r, (members, layout) in enumerate(zip(bins, layouts, strict=True)):
        places |= {i: p + r * width for i, p in zip(members, layout.places, strict=True)}
    return states, [places[i] for i in range(len(sequences))]


def _bins(lengths: Sequence[int]) -> list[list[int]]:
    """First fit decreasing (Johnson 1973): which sequences share a row that holds the longest of them."""
    room: list[int] = []
    bins: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        b = next((b for b, left in enumerate(room) if left >= lengths[i]), len(bins))
        if b == len(bins):
            bins.append([])
            room.append(max(lengths))
        bins[b].append(i)
        room[b] -= lengths[i]
    return bins


def _stacked(rows: Sequence[Ints], filler: int) -> Ints:
    """[rows, width], each padded on the right."""
    width = max(map(len, rows))
    return np.stack([np.pad(row, (0, width - len(row)), constant_values=filler) for row in rows])
