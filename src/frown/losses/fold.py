"""The arithmetic on one chunk of logits: into signals on the way in, into a gradient on the way out.

Both work in place on the chunk's buffers. Eager code takes a block of rows at a time: on a CPU a block and its
temporaries stay in the cache and are never fresh pages, which would cost as much as the arithmetic. Compiled code
takes the chunk whole, in one or two kernels; on a CPU that is no faster, on CUDA it saves some thirty passes through
the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from frown.losses.objectives import binned_divergence_and_gradient, divergence_and_gradient
from frown.signals.token import entropy, log_probabilities, log_ratio, token_logp, token_signals

_BLOCK_BYTES = {"cpu": 1 << 18}
"""Logits in a block."""
_BLOCK_BYTES_ELSEWHERE = 128 << 20


class Divergence(NamedTuple):
    """Which divergence of which distributions; see `frown.losses.objectives`."""

    alpha: float
    top_k: int | None
    temperature: float
    """Divides the student's logits."""
    teacher_temperature: float
    """Divides the teacher's."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """A folded chunk: student `logp` [C, V]; `gradient` of the divergence by the logits [C, V], or None."""

    rows: slice
    logp: Tensor
    gradient: Tensor | None
    signals: dict[str, Tensor]


def fold(
    student: Tensor, teacher: Tensor | None, targets: Tensor, what: Divergence, compiled: bool = False
) -> dict[str, Tensor]:
    """Read the signals [C] of a chunk of logits [C, V], leaving log-probabilities in the student's place and
    the divergence's gradient by the tempered student logits in the teacher's.
    """
    if compiled:
        return dict(_compiled(_fold)(student, teacher, targets, what))
    out: dict[str, Tensor] = {}
    for b in blocks(student):
        signals = _fold(student[b], None if teacher is None else teacher[b], targets[b], what)
        # Copied out at once: small results left between a block's large temporaries would split the heap, and
        # every block would take new memory.
        out = out or {name: torch.empty_like(targets, dtype=s.dtype) for name, s in signals.items()}
        for name, s in signals.items():
            out[name][b] = s
        del signals, s
    return out


def _fold(student: Tensor, teacher: Tensor | None, targets: Tensor, what: Divergence) -> dict[str, Tensor]:
    logp = log_probabilities(student if what.temperature == 1.0 else student / what.temperature)
    p = logp.exp()
    signals = token_signals(logp, p, targets)
    if teacher is not None:
        cool = what.teacher_temperature
        teacher_logp = log_probabilities(teacher if cool == 1.0 else teacher / cool)
        teacher_p = teacher_logp.exp()
        at_target = token_logp(teacher_logp, targets)
        signals["teacher_logp"] = at_target
        signals["log_ratio"] = log_ratio(-signals["surprisal"], at_target)
        signals["teacher_entropy"] = entropy(teacher_logp, teacher_p)
        if what.top_k is None:
            value, gradient = divergence_and_gradient(logp, teacher_logp, what.alpha, p, teacher_p)
        else:
            value, gradient = binned_divergence_and_gradient(logp, teacher_logp, what.alpha, what.top_k)
        signals["divergence"] = value
        teacher.copy_(gradient)
    student.copy_(logp)
    return signals


def logits_gradient(
    chunk: Chunk,
    by_divergence: Tensor | None,
    by_logp: Tensor | None,
    by_entropy: Tensor | None,
    targets: Tensor,
    temperature: float,
    compiled: bool = False,
) -> Tensor:
    """The gradient of a loss by the untempered student logits [C, V], in one of the chunk's buffers.

    `by_...`: the loss's derivatives [C] by the chunk's leaves, None for zero. By the tempered logits z,
    d logp / dz = 1[target] - p and d entropy / dz = -p (log p + H); d divergence / dz lies in the chunk.
    """
    by_divergence, by_logp, by_entropy = (
        None if by is None else (by / temperature)[:, None] for by in (by_divergence, by_logp, by_entropy)
    )
    divergence_part = None
    if by_divergence is not None and chunk.gradient is not None:
        divergence_part = chunk.gradient.mul_(by_divergence)
    if by_logp is None and by_entropy is None:
        return chunk.logp.zero_() if divergence_part is None else divergence_part
    h = chunk.signals["entropy"][:, None]
    slopes = _compiled(_slopes) if compiled else _slopes
    for b in [slice(None)] if compiled else blocks(chunk.logp):
        slopes(chunk.logp[b], h[b], *(None if by is None else by[b] for by in (by_logp, by_entropy)))
    if by_logp is not None:
        chunk.logp.scatter_add_(1, targets[:, None], by_logp)
    return chunk.logp if divergence_part is None else divergence_part.add_(chunk.logp)


def _slopes(logp: Tensor, h: Tensor, by_logp: Tensor | None, by_entropy: Tensor | None) -> None:
    """Overwrite logp with -p (by_logp + by_entropy (log p + H))."""
    slope = torch.zeros_like(h)
    if by_entropy is not None:
        slope = (logp + h).mul_(-by_entropy)
    if by_logp is not None:
        slope = slope.sub_(by_logp)
    logp.copy_(logp.exp().mul_(slope))


@lru_cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=True)


def blocks(logits: Tensor) -> Iterator[slice]:
    """Slices of rows whose logits fill a block; one empty slice when there are no rows."""
    size = _BLOCK_BYTES.get(logits.device.type, _BLOCK_BYTES_ELSEWHERE)
    rows = max(1, size // (logits.shape[1] * logits.itemsize))
    for start in range(0, max(len(logits), 1), rows):
        yield slice(start, start + rows)
