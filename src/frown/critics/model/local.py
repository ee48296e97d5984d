"""A critic that asks a language model on this machine, with the same prompt and parsing as behind an endpoint."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from frown.config import LocalModelConfig, ModelConfig, ModelCriticConfig
from frown.critics.base import Request
from frown.critics.chat.budget import Budget
from frown.critics.model.critic import ModelCritic, OnOutcome, Outcome, to_outcome
from frown.critics.model.prompt import judge_prompt, retry_prompt
from frown.critics.model.reply import ParsedReply, parse_reply
from frown.errors import FrownError, first_line
from frown.policy.folder import resolve
from frown.policy.load import context_length, end_ids, load
from frown.policy.text import prompt_ids
from frown.types import Ints, Message


def local_critic(config: ModelCriticConfig) -> ModelCritic:
    """Make the critic that asks the model in `config.local`. Raises FrownError when it cannot be loaded."""
    assert config.local is not None
    return ModelCritic(config, LocalModel(config.local, config.sees, config.max_new_tokens))


class LocalReply(NamedTuple):
    """A reply of a model on this machine."""

    text: str
    truncated: bool
    """Whether it ends at the limit of tokens."""


class LocalModel:
    """Conversations with a model in this process, answered greedily and in batches; implements
    `frown.critics.model.critic.Backend`."""

    def __init__(self, config: LocalModelConfig, sees: Sequence[str], max_new_tokens: int) -> None:
        self._config, self._sees, self._max_new_tokens = config, sees, max_new_tokens
        # Past the check that refuses bfloat16 for training: nothing is trained here.
        plain = ModelConfig.model_construct(path=config.path, dtype=config.dtype, device=config.device)
        self._model, self._tokenizer, self._device, _ = load(plain)
        self._model.eval().requires_grad_(False)
        self._eos = end_ids(self._model, self._tokenizer)
        self._context = context_length(self._model)
        self._identity = f"{config.path} {_fingerprint(resolve(config.path))} {config.dtype}"
        self._ids([Message(role="system", content="a"), Message(role="user", content="b")])  # a template that fails

    @property
    def identity(self) -> str:
        """The folder, what its files are, and the type of the weights."""
        return self._identity

    def judge(self, requests: Mapping[str, Request], budget: Budget, on_outcome: OnOutcome) -> None:
        """Hold all conversations, then once more those whose reply cannot be used as it is."""
        first: dict[str, ParsedReply] = {}
        retries: dict[str, list[Message]] = {}
        prompts = {key: judge_prompt(request, self._sees) for key, request in requests.items()}
        for key, reply in self.replies(prompts, budget):
            if isinstance(reply, Outcome):
                on_outcome(key, reply)
                continue
            parsed = self._read(reply, requests[key], budget)
            if parsed.fault:
                first[key], retries[key] = parsed, retry_prompt(prompts[key], reply.text, parsed.fault)
            else:
                on_outcome(key, to_outcome(parsed))
        budget.count("reasked", len(retries))
        for key, reply in self.replies(retries, budget):
            if isinstance(reply, Outcome):
                on_outcome(key, to_outcome(first[key]) if first[key].judgements else reply)
                continue
            second = self._read(reply, requests[key], budget)
            on_outcome(key, to_outcome(max(second, first[key], key=lambda r: len(r.judgements))))

    def close(self) -> None:
        """Let go of the weights."""
        self._model = None

    def _read(self, reply: LocalReply, request: Request, budget: Budget) -> ParsedReply:
        parsed = parse_reply(reply.text, request, cut_after=self._max_new_tokens if reply.truncated else None)
        budget.count("stray", parsed.stray)
        return parsed

    def replies(
        self, conversations: Mapping[str, list[Message]], budget: Budget
    ) -> Iterator[tuple[str, LocalReply | Outcome]]:
        """A reply to each conversation, or why there is none; longest first."""
        waiting: list[tuple[str, Ints]] = []
        for key, messages in conversations.items():
            try:
                ids = self._ids(messages)
            except FrownError as error:
                yield key, Outcome((), "failed", str(error))
                continue
            if self._context is not None and len(ids) + self._max_new_tokens > self._context:
                room = f"{len(ids)} tokens and max_new_tokens = {self._max_new_tokens} pass its {self._context}"
                yield key, Outcome((), "too long", f"the prompt does not fit the model's context: {room}")
                continue
            waiting.append((key, ids))
        queue = deque(sorted(waiting, key=lambda w: -len(w[1])))
        while queue:
            batch: list[tuple[str, Ints]] = []
            widest = len(queue[0][1]) + self._max_new_tokens
            while queue and (not batch or (len(batch) + 1) * widest <= self._config.batch_tokens):
                most = len(queue[0][1]) + self._max_new_tokens
                refusal = budget.refusal(most)
                if refusal is None:
                    budget.reserve(most)
                    batch.append(queue.popleft())
                elif refusal:
                    yield queue.popleft()[0], Outcome((), "budget", refusal)
                else:
                    break  # it may fit once this batch has settled
            if batch:
                yield from self._generate(batch, budget)

    def _generate(
        self, batch: Sequence[tuple[str, Ints]], budget: Budget
    ) -> Iterator[tuple[str, LocalReply | Outcome]]:
        most = [len(ids) + self._max_new_tokens for _, ids in batch]
        spent = most  # what is not known to be less
        try:
            replies = self._continuations([ids for _, ids in batch])
            spent = [budget.count_tokens(len(ids), len(reply)) for (_, ids), reply in zip(batch, replies, strict=True)]
        except Exception as error:  # out of memory, or whatever else a model's own code raises
            why = f"the model failed on a batch of {len(batch)}: {type(error).__name__}: {first_line(error)}"[:300]
            yield from ((key, Outcome((), "failed", why)) for key, _ in batch)
            return
        finally:
            for reserved, used in zip(most, spent, strict=True):
                budget.settle(reserved, used)
        for (key, _), reply in zip(batch, replies, strict=True):
            text = self._tokenizer.decode(reply, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            yield key, LocalReply(text, not np.isin(reply[-1], self._eos))

    def _continuations(self, prompts: Sequence[Ints]) -> list[Ints]:
        """Greedy continuations of prompts, each up to its end-of-sequence token."""
        import torch
        from transformers import GenerationConfig

        longest, pad = max(map(len, prompts)), self._eos[0]
        ids = np.full((len(prompts), longest), pad, np.int64)
        mask = np.zeros_like(ids)
        for row, of_prompt in enumerate(prompts):
            ids[row, longest - len(of_prompt) :], mask[row, longest - len(of_prompt) :] = of_prompt, 1
        with torch.inference_mode():
            out = self._model.generate(
                torch.from_numpy(ids).to(self._device),
                attention_mask=torch.from_numpy(mask).to(self._device),
                generation_config=GenerationConfig(
                    do_sample=False, num_beams=1, temperature=1.0, top_p=1.0, top_k=50,
                    max_new_tokens=self._max_new_tokens, eos_token_id=self._eos, pad_token_id=pad,
                ),
            )  # fmt: skip
        rows = out[:, longest:].cpu().numpy()
        ends = [np.flatnonzero(np.isin(row, self._eos)) for row in rows]
        return [row[: at[0] + 1] if len(at) else row for row, at in zip(rows, ends, strict=True)]

    def _ids(self, messages: Sequence[Message]) -> Ints:
        """A conversation in tokens; where the template knows no system turn, that is said at the head of the first
        user turn."""
        try:
            return prompt_ids(self._tokenizer, messages)
        except FrownError:
            system, user, *rest = messages
            merged = Message(role="user", content=f"{system['content']}\n\n{user['content']}")
            return prompt_ids(self._tokenizer, [merged, *rest])


def _fingerprint(place: Path) -> str:
    """A hash of the names, sizes and times of a model's files: another model in its place is another critic."""
    files = [place] if place.is_file() else sorted(f for f in place.rglob("*") if f.is_file())
    entries = [f"{f.relative_to(place)} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files]
    return hashlib.sha256("\n".join(entries).encode()).hexdigest()[:16]
