"""A chat model as the speaker, on frown's own learner: samples, supervised steps, steps on objectives of utterances.

The objectives of JPO and DPO (`frown.losses.preference`) are of whole utterances, and the learner's pass through the
head is of single tokens. So each step reads the log-probabilities first, takes the gradient of the objective by them,
and hands its negative to the learner as the tokens' advantages: the chain rule, at the cost of one forward pass without
gradients. Whatever the model packs or shares, it does so here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frown.config import LoraConfig, RunConfig, parse
from frown.feedback.disclosure import without_reasoning
from frown.recipes.negotiation.speech import Moment, Speaker, messages
from frown.types import Ints, Rollout, Task

if TYPE_CHECKING:
    from torch import Tensor

    from frown.learner.learner import Learner
    from frown.policy.policy import Policy

MAX_NEW_TOKENS = 32
"""Of an utterance of the lab-size model."""
Objective = Callable[["Tensor", "Tensor", Sequence[int]], "Tensor"]
"""(log-probabilities [N, T] in nats, mask [N, T], which lines these are [N]) -> a scalar to be minimised."""


class Line(NamedTuple):
    """An utterance in the model's tokens: the prompt, and the answer with the token that ends it."""

    prompt: Ints
    answer: Ints


def make_learner(
    model: str, lora: LoraConfig | None, rate: float, steps: int, seed: int, max_new_tokens: int = MAX_NEW_TOKENS
) -> Learner:
    """frown's learner for policy gradient alone, with a warm-up of 3 % and half a cosine over `steps` (EmoDistill)."""
    import torch

    from frown.learner.learner import Learner
    from frown.policy.policy import policy_of
    from frown.runtime.threads import settle

    torch.manual_seed(seed)
    settings: dict[str, Any] = {
        "model": {"path": model, "lora": lora.model_dump() if lora is not None else None},
        "sampling": {"max_new_tokens": max_new_tokens},
        "method": {"type": "grpo"},
        "teacher": {"weights": "live"},
        "optimiser": {"lr": rate, "steps": steps, "warmup_steps": max(1, round(0.03 * steps)), "schedule": "cosine"},
        "seed": seed,
    }
    config = parse(RunConfig, settings, "expression")
    learner = Learner(policy_of(config), config)
    settle(learner.policy.model)
    return learner


def encode_lines(policy: Policy, moments: Sequence[Moment], texts: Sequence[str]) -> list[Line]:
    """Encode what somebody else said as the model's tokens, each text with an end."""
    return [
        Line(
            policy.prompt(messages(m)), np.array([*policy.encode(text), policy.tokenizer.eos_token_id], dtype=np.int64)
        )
        for m, text in zip(moments, texts, strict=True)
    ]


def make_speaker(policy: Policy, temperature: float = 1.0) -> Speaker:
    """The model as a speaker, as it is whenever it is asked."""
    return lambda moments, seed: [spoken_text(r) for r in sample_utterances(policy, moments, seed, temperature)]


def spoken_text(lines: Rollout) -> str:
    """The part of an answer that others hear: none of its reasoning."""
    return without_reasoning(lines.text).strip()


def as_line(lines: Rollout) -> Line:
    """An answer of the model itself, token for token; one that was cut off has no end."""
    return Line(lines.prompt_ids, lines.ids)


def sample_utterances(policy: Policy, moments: Sequence[Moment], seed: int, temperature: float = 1.0) -> list[Rollout]:
    """One utterance for each moment, with its tokens."""
    tasks = [Task(f"turn-{i}", messages(m), "") for i, m in enumerate(moments)]
    return policy.sample(tasks, 1, seed=seed, temperature=temperature)


def supervised_step(learner: Learner, lines: Sequence[Line]) -> float:
    """One step of supervised learning on the answers' tokens: their loss before it, nats a token."""
    advantages = [np.ones(len(x.answer), np.float32) for x in lines]
    return learner.learn(_rollouts(lines), [], advantages, distillation=0.0).averages["surprisal"]


def objective_step(learner: Learner, lines: Sequence[Line], which: Sequence[int], objective: Objective) -> float:
    """One step on an objective of whole utterances: its value before it."""
    import torch

    logp, mask = pad(log_probabilities(learner.policy, lines))
    logp.requires_grad_()
    loss = objective(logp, mask, which)
    by_logp = torch.autograd.grad(loss, logp)[0].numpy()
    # The learner divides by the number of tokens, and descends minus the advantage times the log-probability.
    tokens = sum(len(x.answer) for x in lines)
    advantages = [(-g[: len(x.answer)] * tokens).astype(np.float32) for g, x in zip(by_logp, lines, strict=True)]
    learner.learn(_rollouts(lines), [], advantages, distillation=0.0)
    return float(loss.detach())


def log_probabilities(policy: Policy, lines: Sequence[Line]) -> list[Tensor]:
    """Of each answer's tokens, in nats: [T] each, without gradients."""
    read = policy.read([x.prompt for x in lines], [x.answer for x in lines], 1.0)
    return [-signals["surprisal"].double() for signals, _ in read]


def pad(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows [T] of different lengths as [N, longest] with zeros behind them, and the mask of what is no padding."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    return pad_sequence(list(rows), True), pad_sequence([torch.ones_like(r) for r in rows], True)


def copy_weights(learner: Learner) -> list[Tensor]:
    """A copy of the trained parameters (of LoRA the adapters)."""
    return [p.detach().clone() for p in learner.parameters]


def load_weights(learner: Learner, values: Sequence[Tensor]) -> None:
    """Load such a copy into the model."""
    import torch

    with torch.no_grad():
        for p, w in zip(learner.parameters, values, strict=True):
            p.copy_(w)


@contextmanager
def temporary_weights(learner: Learner, values: Sequence[Tensor]) -> Iterator[None]:
    """Load other weights meanwhile, and the present ones afterwards."""
    now = copy_weights(learner)
    load_weights(learner, values)
    try:
        yield
    finally:
        load_weights(learner, now)


def kl_distance(learner: Learner, snapshot: Sequence[Tensor], lines: Sequence[Rollout]) -> NDArray[np.float64]:
    """Distance of the model from a snapshot: of each of its present answers, the mean over its tokens of the K3
    estimate of KL(model || snapshot) (`objectives.mismatch`), [B] nats a token."""
    import torch

    from frown.losses.objectives import mismatch

    with temporary_weights(learner, snapshot):
        before = log_probabilities(learner.policy, [as_line(r) for r in lines])
    return np.array(
        [float(mismatch(b, torch.from_numpy(r.logp).double()).mean()) for r, b in zip(lines, before, strict=True)]
    )


def _rollouts(lines: Sequence[Line]) -> list[Rollout]:
    task = Task("said", (), "")
    return [Rollout(task, 0, x.prompt, x.answer, np.zeros(len(x.answer), np.float32), 1.0, "eos", "") for x in lines]
