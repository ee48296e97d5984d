"""Hidden states of TRL's batches: one forward pass through the trainer's own (wrapped) model, without its logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor

from frown.policy.load import backbone


class States(NamedTuple):
    """What one forward pass leaves behind: B answers of T padded tokens."""

    hidden: Tensor
    """[B, T, H], from which the tokens of the answers are predicted."""
    logits: Tensor
    """[B, K, V], the model's own at the last K positions."""


@contextmanager
def _caught(model: Any) -> Iterator[list[Tensor]]:
    """The final hidden states of what passes through a model meanwhile."""
    outputs: list[Tensor] = []
    hook = backbone(model).register_forward_hook(lambda module, inputs, output: outputs.append(output[0]))
    try:
        yield outputs
    finally:
        hook.remove()


def answer_states(
    model: Any, inner: Any, input_ids: Tensor, attention_mask: Tensor, answer: int, logits: int | None
) -> States:
    """Hidden states for the last `answer` tokens of left-padded prompts with right-padded answers: [B, S] -> [B, T, H].

    The pass goes through `model` as the trainer wrapped it, so that gradients are still shared among processes; `inner`
    is the same model unwrapped. `logits`: how many of the last positions the model projects; None: it has no such
    argument, and projects all.
    """
    more = {} if logits is None else {"logits_to_keep": logits}
    with _caught(inner) as outputs:
        projected = model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False, **more).logits
    [hidden] = outputs
    return States(hidden[:, -answer - 1 : -1], projected)


def what_counts(inputs: Mapping[str, Any], weight: Tensor) -> tuple[dict[str, Any], Tensor]:
    """TRL's batch and token weights [B, T] without rows that have no weight, and without columns behind the last one.

    One row and one token are left in any case: every process has a forward pass. Nothing that counts can see what is
    left out, under causal attention.
    """
    rows, columns = (weight != 0).any(1), (weight != 0).any(0)
    length = int(columns.nonzero().max()) + 1 if bool(columns.any()) else 1
    rows[0] |= not bool(rows.any())
    end = length - weight.shape[1] or None
    rows_of = {name: inputs[name][rows] for name in ("prompt_ids", "prompt_mask")}
    for name in ("completion_ids", "completion_mask", "teacher_input_ids", "teacher_attention_mask"):
        rows_of[name] = inputs[name][rows, :end]
    if inputs.get("old_per_token_logps") is not None:
        rows_of["old_per_token_logps"] = inputs["old_per_token_logps"][rows, :end]
    return rows_of, weight[rows, :end]


class Pair(NamedTuple):
    """Student and teacher on the same answers; what TRL's `DistillationLogits` is to its own loss."""

    student: States
    teacher_hidden: Tensor
    """[B, T, H]."""
    inputs: Mapping[str, Any]
    """TRL's batch, as far as it was computed."""
    loss_mask: Tensor
    """float[B, T] weight of each token."""
    rows: int
    """Answers in TRL's batch, those that were not computed included."""
    student_logits: Tensor
    """[B, T, V] at the sampling temperature where the policy loss needs them, else empty."""


def attached_zero(states: States) -> Tensor:
    """A zero that hangs on all that the pass computed, so that each parameter has a gradient, of zero.

    It is no sum times 0, which would be no number where a logit is infinite.
    """
    return states.hidden[..., :0].float().sum() + states.logits[..., :0].float().sum()
