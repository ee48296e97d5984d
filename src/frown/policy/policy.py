"""The policy: any local Hugging Face causal LM, on the CPU or one GPU, in one process or in each of several.

It answers (`sample`), reads its own signals of answers that something else sampled (`read`), and says at which tokens
noisy copies of it disagree (`prediction_variance`). Each process of several is asked the same and answers for all:
`sample` shares out the prompts. What is learnt is `frown.learner`'s business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frown.config import ModelConfig, RunConfig, SamplingConfig
from frown.errors import FrownError, NotFinite
from frown.policy import load as models
from frown.policy import trunk
from frown.policy.head import head_of, why_slow
from frown.policy.parts import whole
from frown.policy.passes import Packing
from frown.policy.rows import Row
from frown.policy.sampling import Decoding, Sample, read_logits, sample
from frown.policy.text import completion_text, embedded, prompt_ids, token_steps
from frown.runtime.allocator import keep_freed_memory
from frown.runtime.processes import ALONE, Ranks
from frown.signals.variance import copies_mutual_information, noise_copies
from frown.types import Floats, Ints, Message, Rollout, Signals, Step, Task

_READ_LOGITS = 1 << 25
"""Logits that are in memory at once when signals are read: 128 MiB."""

Reading = tuple[dict[str, Tensor], Tensor]
"""Of one answer: its signals, name -> [T], and at each token the likeliest [T] other than the sampled one."""


class Policy:
    """A language model that answers, with all that reads and writes its tokens; implements
    `frown.policy.reader.Reader`."""

    def __init__(
        self,
        model: ModelConfig,
        sampling: SamplingConfig,
        *,
        sampling_batch_tokens: int = RunConfig.model_fields["sampling_batch_tokens"].default,
        micro_batch_tokens: int = RunConfig.model_fields["micro_batch_tokens"].default,
        ranks: Ranks = ALONE,
    ):
        """Load the model, and reach vLLM where it samples.

        `sampling_batch_tokens`: most tokens (prompts and all they may grow to) that are sampled at once.
        `micro_batch_tokens`: most tokens of a forward pass that reads answers. Raises FrownError for a model that
        cannot be loaded, or a vLLM that cannot be used.
        """
        self.sampling, self.ranks = sampling, ranks
        self._sampling_batch_tokens = sampling_batch_tokens
        keep_freed_memory()
        self.model, self.tokenizer, self.device, notes = models.load(model)
        self.model.eval()  # no dropout: the policy that is trained is the policy that sampled
        self.head = head_of(self.model)
        self.eos_ids = models.end_ids(self.model, self.tokenizer)
        self._rows = self.model.get_input_embeddings().weight.shape[0]
        pad = self.tokenizer.pad_token_id
        self.pad_id = pad if pad is not None and pad < self._rows else next(i for i in self.eos_ids if i < self._rows)
        self.packing = Packing(trunk.choose(self.model), micro_batch_tokens, self.pad_id, self.device)
        self.notes = [line for line in (*notes, why_slow(self.head, self.model), *self.packing.choice.notes) if line]
        """What a person should know of how this model is read."""
        self.steps_taken = 0
        """Optimiser steps that its weights have behind them."""
        self.vllm = ranks.together(self._vllm)

    # -- text and tokens -----------------------------------------------------------------------------------------------

    def prompt(self, messages: Sequence[Message]) -> Ints:
        """A conversation as token ids up to where its answer begins."""
        return embedded(self.tokenizer, prompt_ids(self.tokenizer, messages), self._rows)

    def contexts(self, conversations: Sequence[Sequence[Message]]) -> list[Ints]:
        """Conversations as token ids up to where the answer begins; one that leaves no room for it is an error."""
        limit = models.context_length(self.model)
        room = self.sampling.max_new_tokens
        out = []
        for messages in conversations:
            ids = self.prompt(messages)
            if not self.fits(ids):
                raise FrownError(
                    f"a prompt of {len(ids)} tokens and sampling.max_new_tokens = {room} do not fit the model's "
                    f"context of {limit}: {messages[-1]['content'][:60]!r}...; shorten it or lower max_new_tokens"
                )
            out.append(ids)
        return out

    def encode(self, text: str) -> list[int]:
        """A piece of text as the model's tokens, without any that mark a beginning or an end."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return [int(i) for i in embedded(self.tokenizer, np.asarray(ids, dtype=np.int64), self._rows)]

    def decode(self, ids: Sequence[int]) -> str:
        """Tokens as text."""
        return completion_text(self.tokenizer, ids)

    def fits(self, context: Ints, answer: int | None = None) -> bool:
        """Whether an answer of so many tokens (None: `sampling.max_new_tokens`) fits behind a context."""
        limit = models.context_length(self.model)
        return limit is None or len(context) + (answer or self.sampling.max_new_tokens) <= limit

    def token_steps(self, ids: Sequence[int] | Ints, text: str, steps: Sequence[Step]) -> tuple[Step, ...]:
        """Ranges of characters of an answer as ranges of its tokens; see `frown.policy.text.token_steps`."""
        return token_steps(self.tokenizer, ids, text, steps)

    # -- sample --------------------------------------------------------------------------------------------------------

    def sample(
        self,
        tasks: Sequence[Task],
        n: int,
        *,
        seed: int,
        temperature: float,
        contexts: Sequence[Ints] | None = None,
        model: Any = None,
    ) -> list[Rollout]:
        """n answers to each task, in order, under the policy (or another `model`, which always samples here).

        `contexts` replaces the tasks' own prompts, to see what a teacher would answer.
        """
        prompts = contexts if contexts is not None else self.contexts([t.messages for t in tasks])
        self.ranks.agree([t.id for t in tasks], "the prompts they answer")
        mine = self.ranks.share(len(prompts))  # whole groups

        def answers() -> list[Rollout]:
            groups = self._answers(prompts[mine], n, mine.start * n, seed, temperature, model)
            numbered = zip(range(mine.start, mine.stop), tasks[mine], prompts[mine], groups, strict=True)
            return [
                self._rollout(task, number, prompt, answer, temperature)
                for number, task, prompt, group in numbered
                for answer in group
            ]

        return self.ranks.gather(answers)

    def _rollout(self, task: Task, group: int, prompt: Ints, answer: Sample, temperature: float) -> Rollout:
        return Rollout(
            task=task,
            group=group,
            prompt_ids=prompt,
            ids=answer.ids.numpy(),
            logp=answer.logp.numpy(),
            temperature=temperature,
            stop="eos" if answer.finished else "length",
            text=completion_text(self.tokenizer, answer.ids.tolist()[: -1 if answer.finished else None]),
            signals=Signals({name: v.numpy() for name, v in answer.signals.items()}),
            alternative=answer.alternative.numpy(),
            policy_step=self.steps_taken,
        )

    def _answers(
        self, prompts: Sequence[Ints], n: int, first: int, seed: int, temperature: float, model: Any
    ) -> list[list[Sample]]:
        """n answers to each prompt; `first` is the number of the first."""
        decoding = Decoding(temperature, self.sampling.max_new_tokens, self.eos_ids, self.pad_id)
        if self.vllm is not None and model is None:
            if self.vllm.due(self.steps_taken):
                self.sync()
            return self.vllm.sample(prompts, n, decoding, seed=seed + first, read=self._read_whole)
        model = self.model if model is None else model
        with whole(model):
            return sample(
                model, prompts, n, decoding, seed=seed, tokens_at_once=self._sampling_batch_tokens, first=first
            )

    def _vllm(self) -> Any:
        settings = self.sampling.vllm
        if settings is None:
            return None
        from frown.policy.vllm import Sampler

        return Sampler(settings, self.model, self.tokenizer, self.device, self.ranks)

    def sync(self) -> None:
        """Give vLLM, where it samples, the policy's present weights."""
        if self.vllm is not None:
            self.vllm.sync(self.steps_taken)

    # -- read ----------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def read(self, prompts: Sequence[Ints], answers: Sequence[Ints], temperature: float) -> list[Reading]:
        """The policy's own signals of answers that something else sampled: of each answer name -> [T], exact, and at
        each token the likeliest other than the sampled one.

        `surprisal` has the policy's log-probabilities with its sign turned. Cost: one forward pass over prompts and
        answers, packed as for training, and one product with the head; no gradient.
        """
        rows = [Row(prompt, ids) for prompt, ids in zip(prompts, answers, strict=True)]
        readings: dict[int, Reading] = {}
        for batch in self.packing.passes(rows):
            signals, others = self._signals(batch.hidden(self.model), batch.targets, temperature)
            by_row = {name: batch.split(values) for name, values in signals.items()}
            for j, (i, other) in enumerate(zip(batch.numbers, batch.split(others), strict=True)):
                readings[i] = {name: values[j] for name, values in by_row.items()}, other
        return [readings[i] for i in range(len(rows))]

    def _read_whole(self, prompts: Sequence[Ints], answers: Sequence[Ints], temperature: float) -> list[Reading]:
        """`read`, where each process may have another number of answers."""
        with whole(self.model):
            return self.read(prompts, answers, temperature)

    def _signals(self, hidden: Tensor, targets: Tensor, temperature: float) -> Reading:
        """Signals of N tokens from their hidden states [N, H], on the CPU."""
        at_once = max(16, _READ_LOGITS // len(self.tokenizer))
        parts = [
            read_logits(self.head.logits(h.float()).float() / temperature, t)
            for h, t in zip(hidden.split(at_once), targets.split(at_once), strict=True)
        ]
        if not all(math.isfinite(float(signals["entropy"].sum())) for signals, _ in parts):
            raise NotFinite("the model's output is not finite")
        names = parts[0][0]
        signals = {name: torch.cat([part[name] for part, _ in parts]).cpu() for name in names}
        return signals, torch.cat([other for _, other in parts]).cpu()

    @torch.no_grad()
    def prediction_variance(self, rollouts: Sequence[Rollout], *, copies: int, seed: int) -> list[Floats]:
        """How much the policy and copies of it with noisy weights disagree at each token of their answers.

        The mutual information between next token and copy, nats, float32[T] a rollout
        (`frown.signals.variance.mutual_information`). Cost: copies + 1 forward passes over the answers.
        """
        mine = rollouts[self.ranks.share(len(rollouts))]

        def disagreements() -> list[Floats]:
            with whole(self.model):  # noise is that of whole tensors
                return self._disagreements(mine, copies, seed)

        return self.ranks.gather(disagreements)

    def _disagreements(self, rollouts: Sequence[Rollout], copies: int, seed: int) -> list[Floats]:
        rows = [Row(r.prompt_ids, r.ids) for r in rollouts]
        by_row: dict[int, np.ndarray] = {}
        for batch in self.packing.passes(rows):
            noisy = noise_copies(self.model, batch.hidden, copies=copies, seed=seed)
            hidden = torch.cat([batch.hidden(self.model)[None], noisy])
            information = copies_mutual_information(hidden, self.head.logits, self.sampling.temperature)
            parts = batch.split(information.float().cpu())
            by_row |= {i: part.numpy() for i, part in zip(batch.numbers, parts, strict=True)}
        return [by_row[i] for i in range(len(rows))]


def policy_of(config: RunConfig, ranks: Ranks = ALONE) -> Policy:
    """The policy that a run with this configuration starts from."""
    return Policy(
        config.model,
        config.sampling,
        sampling_batch_tokens=config.sampling_batch_tokens,
        micro_batch_tokens=config.micro_batch_tokens,
        ranks=ranks,
    )
