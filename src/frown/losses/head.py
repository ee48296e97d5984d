"""One pass through the language-model head: loss, gradients and every signal, with no [tokens, vocabulary]
tensor kept.

The head is the largest product of a small model, and its logits the largest tensor. `head_pass` walks the
tokens in chunks. For each chunk it

1. projects student and teacher to float32 logits (one product when they share the weight),
2. folds them, a cache-sized block of rows at a time, into per-token signals and the divergence's gradient,
3. asks the caller's `token_loss` for a loss per token, and autograd for its derivative by the [C]-sized
   leaves (divergence, logp, entropy), which is all that reaches the logits,
4. combines the derivatives into one dense gradient by the logits, and turns that into the gradients of the
   hidden states and of the weight at once.

So a step costs four products of 2 N V H operations (student, teacher, dH, dW; three when the head is frozen),
and memory is two chunks of logits plus the weight's gradient, whatever N. Everything that adds up is float32
(float64 for float64 hidden states), whatever the storage type. A head that is no product with a weight (`OwnHead`)
goes the plain way: its chunk of logits is differentiated by autograd, the rest is the same.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from frown.losses.fold import Chunk, Divergence, fold, logits_gradient
from frown.losses.projection import (
    Head,
    LinearHead,
    OwnHead,
    as_head,
    compute_dtype,
    gradient_of_hidden,
    gradient_of_weight,
)

__all__ = ["HeadOutput", "Leaves", "LinearHead", "OwnHead", "TokenLoss", "head_pass", "read_signals"]

_CHUNK_BYTES = {"cpu": 128 << 20}
"""Most logits of one model in one chunk. Fewer rows read and write the weight's gradient more often; an accelerator
needs more of them for a product to be worth its launch."""
_CHUNK_BYTES_ELSEWHERE = 1 << 30


def chunk_bytes(device: str) -> int:
    """Logits of one model in one chunk, on a kind of device."""
    return _CHUNK_BYTES.get(device, _CHUNK_BYTES_ELSEWHERE)


@dataclass(frozen=True, eq=False)
class Leaves:
    """What a token's loss may be computed from: C tokens of one chunk, all [C].

    Gradients flow through `divergence` (nats; None without a teacher), `logp` (nats, of the sampled token)
    and `entropy` (nats, the student's). `signals` holds the same and all other signals detached.
    """

    divergence: Tensor | None
    logp: Tensor
    entropy: Tensor
    signals: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class HeadOutput:
    """`loss`: scalar, the sum of the token losses. `signals`: name -> [N], detached.

    Signals: `surprisal`, `entropy` (nats), `varentropy` (nats squared), `top_probability`, `margin`
    (probabilities), `self_certainty` (nats), and with a teacher `teacher_logp`, `log_ratio` (log q - log pi
    of the sampled token), `teacher_entropy`, `divergence` (nats); definitions in `frown.signals.token`. All
    at the pass's temperature.
    """

    loss: Tensor
    signals: dict[str, Tensor]


_Derivatives = tuple[Tensor | None, Tensor | None, Tensor | None]

TokenLoss = Callable[[Leaves, slice], Tensor]
"""(leaves, rows) -> [C]: the losses of tokens `rows` of the pass. Row by row: a token's loss may depend on
its own leaves and on what was known before the pass, never on another token's leaves (the chunk is an
accident)."""


def head_pass(
    hidden: Tensor,
    head: Head | Tensor,
    targets: Tensor,
    *,
    token_loss: TokenLoss,
    teacher_hidden: Tensor | None = None,
    teacher_head: Head | Tensor | None = None,
    alpha: float = 0.5,
    top_k: int | None = None,
    temperature: float = 1.0,
    teacher_temperature: float = 1.0,
    chunk: int | None = None,
    compiled: bool | None = None,
) -> HeadOutput:
    """The loss of N tokens and their signals, in one pass through the head.

    The loss is differentiable by `hidden` and the head's parameters, in one backward (its gradients are already
    computed and are handed over; a second backward raises RuntimeError). It may be scaled by any scalar, and several
    passes may be added up or accumulated. Where gradients are off, or no input asks for one, only the value is
    computed.

    Args:
        hidden: [N, H], the student's last hidden states at the positions that predict `targets`.
        head: what makes logits of them, or its weight [V, H] where they are `hidden @ weight.T`. No gradient is
            computed for a parameter that does not require it.
        targets: int64[N], the sampled tokens.
        token_loss: see `TokenLoss`. Normalisers (1/N, token weights) are its business.
        teacher_hidden: [N, K], the teacher's hidden states for the same tokens; never differentiated.
        teacher_head: as `head`, with the same vocabulary; None when the teacher shares it.
        alpha: which divergence: 0, 1 or in [0.001, 0.999]; see `objectives.divergence_and_gradient`.
        top_k: None for the divergence over the whole vocabulary, else over the student's top_k tokens and the
            rest as one; see `objectives.binned_divergence_and_gradient`.
        temperature: > 0, divides the logits of both; signals and loss are those of the tempered
            distributions.
        teacher_temperature: > 0, divides the teacher's logits beside it; below 1 the teacher is sharpened.
        chunk: tokens per chunk; None chooses it from a byte budget (128 MiB of logits on a CPU, 1 GiB
            elsewhere), all chunks alike.
        compiled: whether the arithmetic between the products is compiled (torch.compile); None: on CUDA where
            triton is. TORCHDYNAMO_DISABLE=1 in the environment switches it off.

    Raises:
        ValueError: shapes that do not fit, or alpha, top_k or a temperature out of range.
    """
    head = as_head(head)
    asked = [p for p in head.parameters if torch.is_grad_enabled() and p.requires_grad]
    learn_hidden = torch.is_grad_enabled() and hidden.requires_grad
    dtype = compute_dtype(hidden)
    compiled = _compiles(hidden) if compiled is None else compiled
    what = Divergence(alpha, top_k, temperature, temperature * teacher_temperature)
    with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
        total = torch.zeros((), dtype=dtype, device=hidden.device)
        d_hidden = torch.empty(hidden.shape, dtype=dtype, device=hidden.device) if learn_hidden else None
        gradients_so_far = _Gradients(head, hidden, d_hidden, asked)
        parts = []
        for part, back in _chunks(
            hidden, head, targets, teacher_hidden, teacher_head, what, chunk, compiled, learn_hidden or bool(asked)
        ):
            parts.append(part.signals)
            loss, derivatives = _ask(token_loss, part)
            total += loss
            if learn_hidden or asked:
                gradient = logits_gradient(part, *derivatives, targets[part.rows], temperature, compiled)
                gradients_so_far.add(gradient, part.rows, back)
        signals = _joined(parts)
    if learn_hidden or asked:
        gradients = [gradients_so_far.d_hidden, *(gradients_so_far.d_parameters.get(id(p)) for p in head.parameters)]
        total = _Loss.apply(total, gradients, hidden, *head.parameters)
    return HeadOutput(total, signals)


@torch.no_grad()
def read_signals(
    hidden: Tensor, head: Head | Tensor, targets: Tensor, temperature: float = 1.0, chunk: int | None = None
) -> dict[str, Tensor]:
    """The student's signals of N tokens, name -> [N], without a loss; arguments as in `head_pass`."""
    what = Divergence(0.5, None, temperature, temperature)
    with torch.autocast(hidden.device.type, enabled=False):
        chunks = _chunks(hidden, as_head(head), targets, None, None, what, chunk, _compiles(hidden), False)
        parts = [p.signals for p, _ in chunks]
    return _joined(parts)


class _Loss(torch.autograd.Function):
    """Ties gradients that are already known to a loss; handed over, not copied, hence one backward."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, gradients: list[Tensor | None], *inputs: Tensor) -> Tensor:
        ctx.gradients, ctx.dtypes = gradients, [x.dtype for x in inputs]
        return total.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is None:
            raise RuntimeError("the loss of head_pass was already differentiated; run head_pass again")
        for i, gradient in enumerate(gradients):
            if gradient is not None:
                # A pass over the weight's gradient is worth a look on a CPU; elsewhere the look is a wait.
                if scale.device.type != "cpu" or scale.item() != 1.0:
                    gradient.mul_(scale)
                gradients[i] = gradient.to(ctx.dtypes[i])
        out = tuple(gradients)
        gradients.clear()  # so that the leaf may take the buffer instead of copying it
        return None, None, *out


_Graph = tuple[Tensor, Tensor]
"""Hidden states [C, H] and the logits [C, V] that autograd made of them."""


class _Gradients:
    """What the chunks add up to: d loss / d hidden, and d loss / d parameter by the parameter's id."""

    def __init__(self, head: Head, hidden: Tensor, d_hidden: Tensor | None, asked: Sequence[Tensor]):
        self.head, self.hidden, self.d_hidden = head, hidden, d_hidden
        self.asked = list(asked)
        self.d_parameters: dict[int, Tensor] = {}

    def add(self, gradient: Tensor, rows: slice, back: Tensor | _Graph | None) -> None:
        """Take in the gradient by the logits of some rows. `back`: how to get behind a bent or an own head."""
        if isinstance(self.head, OwnHead):
            assert isinstance(back, tuple)
            self._differentiate(gradient, rows, back)
            return
        if isinstance(back, Tensor):
            gradient = gradient.mul_(back)
        if self.head.scale != 1.0:
            gradient = gradient.mul_(self.head.scale)
        if self.d_hidden is not None:
            gradient_of_hidden(gradient, self.head.weight, out=self.d_hidden[rows])
        for p in self.asked:
            so_far = self.d_parameters.get(id(p))
            if p is self.head.weight:
                self.d_parameters[id(p)] = gradient_of_weight(gradient, self.hidden[rows].to(gradient.dtype), so_far)
            else:
                bias = gradient.sum(0)
                self.d_parameters[id(p)] = bias if so_far is None else so_far.add_(bias)

    def _differentiate(self, gradient: Tensor, rows: slice, graph: _Graph) -> None:
        entered, logits = graph
        wanted = [*([entered] if self.d_hidden is not None else []), *self.asked]
        got = list(torch.autograd.grad(logits, wanted, gradient.to(logits.dtype), allow_unused=True))
        if self.d_hidden is not None:
            by_hidden = got.pop(0)
            self.d_hidden[rows] = 0.0 if by_hidden is None else by_hidden.to(self.d_hidden.dtype)
        for p, by in zip(self.asked, got, strict=True):
            if by is not None:
                by = by.to(gradient.dtype)
                so_far = self.d_parameters.get(id(p))
                self.d_parameters[id(p)] = by if so_far is None else so_far.add_(by)


def _chunks(
    hidden: Tensor,
    head: Head,
    targets: Tensor,
    teacher_hidden: Tensor | None,
    teacher_head: Head | Tensor | None,
    what: Divergence,
    chunk: int | None,
    compiled: bool,
    learn: bool,
) -> Iterator[tuple[Chunk, Tensor | _Graph | None]]:
    """Project and fold chunk after chunk, each with the way back. A chunk's [C, V] tensors are overwritten by the
    next."""
    taught = head if teacher_head is None else as_head(teacher_head)
    v = _check(hidden, head, targets, teacher_hidden, None if teacher_head is None else taught, what)
    stacked = isinstance(head, LinearHead) and head.same_as(taught)
    n = hidden.shape[0]
    dtype, device = compute_dtype(hidden), hidden.device.type
    chunk = chunk or _even(n, max(1, chunk_bytes(device) // (v * dtype.itemsize)))
    chunk = min(chunk, max(n, 1))
    # One buffer for all chunks: fresh pages for every chunk cost as much as the arithmetic on them.
    copies = 1 if teacher_hidden is None else 2
    buffer = torch.empty(copies * chunk, v, dtype=dtype, device=hidden.device)
    for start in range(0, max(n, 1), chunk):
        rows = slice(start, min(start + chunk, n))
        size = rows.stop - start
        student, teacher = buffer[:size], None if teacher_hidden is None else buffer[size : 2 * size]
        back: Tensor | _Graph | None = None
        if isinstance(head, LinearHead) and stacked and teacher_hidden is not None and size < v:
            # Copying the hidden states together costs less than going through the weight twice.
            head.project(torch.cat([hidden[rows], teacher_hidden[rows].to(hidden.dtype)]), buffer[: 2 * size])
        else:
            back = _project(head, hidden[rows], student, learn)
            if teacher is not None and teacher_hidden is not None:
                _project(taught, teacher_hidden[rows], teacher, False)
        if isinstance(head, LinearHead) and learn:
            back = head.bend(student)
        signals = fold(student, teacher, targets[rows], what, compiled and size > 0)
        yield Chunk(rows, student, teacher, signals), back


def _project(head: Head, hidden: Tensor, out: Tensor, learn: bool) -> _Graph | None:
    """Write logits [C, V] to `out`; of an own head that is to learn, return what autograd needs."""
    if isinstance(head, LinearHead):
        head.project(hidden, out)
        return None
    with torch.set_grad_enabled(learn):
        entered = hidden.detach().requires_grad_(learn)
        logits = head.logits(entered)
    out.copy_(logits.detach())
    return (entered, logits) if learn else None


def _even(n: int, most: int) -> int:
    """Rows of a chunk, at most `most`: as many chunks as are needed, none of them much smaller than the others."""
    size = -(-n // -(-n // most)) if n else 1
    return min(most, -(-size // 16) * 16)


def _compiles(hidden: Tensor) -> bool:
    return hidden.is_cuda and importlib.util.find_spec("triton") is not None


def _joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The signals of consecutive tokens as one."""
    return parts[0] if len(parts) == 1 else {name: torch.cat([p[name] for p in parts]) for name in parts[0]}


def _ask(token_loss: TokenLoss, part: Chunk) -> tuple[Tensor, _Derivatives]:
    """The chunk's summed loss, and its derivatives [C] by divergence, logp and entropy (None: not used)."""
    with torch.enable_grad():
        logp = (-part.signals["surprisal"]).requires_grad_()
        spread = part.signals["entropy"].clone().requires_grad_()
        divergence = part.signals["divergence"].clone().requires_grad_() if "divergence" in part.signals else None
        per_token = token_loss(Leaves(divergence, logp, spread, part.signals), part.rows)
        if per_token.shape != logp.shape:
            raise ValueError(f"token_loss returns one loss a token: {tuple(logp.shape)}, got {tuple(per_token.shape)}")
        loss = per_token.sum()
    if not loss.requires_grad:
        return loss, (None, None, None)
    leaves = (logp, spread) if divergence is None else (logp, spread, divergence)
    by_logp, by_entropy, *rest = torch.autograd.grad(loss, leaves, allow_unused=True)
    return loss.detach(), (rest[0] if rest else None, by_logp, by_entropy)


def _check(
    hidden: Tensor,
    head: Head,
    targets: Tensor,
    teacher_hidden: Tensor | None,
    teacher_head: Head | None,
    what: Divergence,
) -> int:
    """The size of the vocabulary. ValueError where shapes do not fit: a broadcast would go unnoticed."""
    if hidden.ndim != 2:
        raise ValueError(f"hidden is [N, H], got {tuple(hidden.shape)}")
    if isinstance(head, LinearHead) and (head.weight.ndim != 2 or hidden.shape[1] != head.weight.shape[1]):
        raise ValueError(
            f"hidden is [N, H] and the head's weight [V, H], got {tuple(hidden.shape)} and {tuple(head.weight.shape)}"
        )
    if targets.shape != hidden.shape[:1]:
        raise ValueError(f"targets are [{hidden.shape[0]}], one a row of hidden, got {tuple(targets.shape)}")
    if not (what.temperature > 0 and what.teacher_temperature > 0):
        raise ValueError(f"temperatures are above 0, got {what.temperature} and {what.teacher_temperature}")
    v = head.vocabulary
    if teacher_hidden is None:
        if teacher_head is not None:
            raise ValueError("teacher_head without teacher_hidden")
        return v
    taught = head if teacher_head is None else teacher_head
    width = taught.weight.shape[1] if isinstance(taught, LinearHead) else teacher_hidden.shape[-1]
    if teacher_hidden.shape != (hidden.shape[0], width) or taught.vocabulary != v:
        raise ValueError(
            f"the teacher has the student's {hidden.shape[0]} rows and {v} vocabulary entries, got hidden "
            f"{tuple(teacher_hidden.shape)} and {taught.vocabulary} entries"
        )
    return v
