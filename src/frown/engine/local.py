"""The engine for one process: any local Hugging Face causal LM, on the CPU or one GPU.

Six verbs: `sample`, `forward_backward`, `step`, `save`, `score` to hear what the teacher makes of answers without
learning from it, and `contexts` to turn teacher messages into ids.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from frown.config import RunConfig
from frown.engine import model as models
from frown.engine.allocator import keep_freed_memory
from frown.engine.head import head_of, why_slow, within
from frown.engine.sampling import Decoding, sample
from frown.engine.text import completion_text, prompt_ids
from frown.errors import FrownError, NotFinite
from frown.losses.head import HeadOutput, TokenLoss, head_pass
from frown.losses.objectives import policy_gradient
from frown.signals.variance import noise_copies, spread
from frown.teacher.weights import Teacher
from frown.types import Floats, Ints, Message, Rollout, Signals, Task, TeacherView

TEACHER_SIGNALS = ("teacher_logp", "log_ratio", "teacher_entropy", "divergence")


class Row(NamedTuple):
    """One rollout as the loss sees it: at which completion tokens, and with which weights."""

    prompt_ids: Ints
    context_ids: Ints | None
    """What the teacher sees before the answer; None when this row has no teacher."""
    ids: Ints
    weight: Floats
    """[T] weight of each token in the distillation loss."""
    advantage: Floats
    """[T] advantage of each token, for the policy gradient."""
    view: int | None = None
    """Which of the views this is; None for a row without teacher."""


class Learnt(NamedTuple):
    """What a pass over one batch saw."""

    averages: dict[str, float]
    """The loss, the number of rows computed, and the mean of each signal over the tokens that counted."""
    views: list[dict[str, Floats]]
    """One dictionary a view, in order: `TEACHER_SIGNALS`, float32[T], NaN at tokens that did not count."""


class LocalEngine:
    """A student, its self-teacher and its optimiser."""

    def __init__(self, config: RunConfig):
        self.config = config
        keep_freed_memory()
        self.model, self.tokenizer, self.device = models.load(config.model)
        self.model.eval()  # no dropout: the policy that is trained is the policy that sampled
        self.head = head_of(self.model)
        self.notes = [line for line in (why_slow(self.head, self.model),) if line]
        """What the user should know of how this model is trained."""
        self.teacher = Teacher(self.model, config.teacher)
        with self.teacher.model() as teacher:
            self.teacher_head = within(self.teacher.model, head_of(teacher))
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters,
            lr=config.optimiser.lr,
            betas=config.optimiser.betas,
            weight_decay=config.optimiser.weight_decay,
        )
        self.generator = torch.Generator(self.device)
        self.steps_taken = 0
        self.eos_ids = models.end_ids(self.model, self.tokenizer)
        pad = self.tokenizer.pad_token_id
        self.pad_id = pad if pad is not None else self.eos_ids[0]

    # -- sample ------------------------------------------------------------------------------------------------

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
        """n answers to each task, in order, under the policy (or another `model`).

        `contexts` replaces the tasks' own prompts, to see what a teacher would answer.
        """
        prompts = contexts if contexts is not None else self.contexts([t.messages for t in tasks])
        self.generator.manual_seed(seed)
        groups = sample(
            self.model if model is None else model,
            prompts,
            n,
            Decoding(temperature, self.config.sampling.max_new_tokens, self.eos_ids, self.pad_id),
            generator=self.generator,
            tokens_at_once=self.config.sampling_batch_tokens,
        )
        return [
            Rollout(
                task=task,
                group=g,
                prompt_ids=prompt,
                ids=s.ids.numpy(),
                logp=s.logp.numpy(),
                temperature=temperature,
                stop="eos" if s.finished else "length",
                text=completion_text(self.tokenizer, s.ids.tolist()[: -1 if s.finished else None]),
                signals=Signals({name: v.numpy() for name, v in s.signals.items()}),
                alternative=s.alternative.numpy(),
                policy_step=self.steps_taken,
            )
            for g, (task, prompt, group) in enumerate(zip(tasks, prompts, groups, strict=True))
            for s in group
        ]

    def contexts(self, conversations: Sequence[Sequence[Message]]) -> list[Ints]:
        """Conversations as token ids up to where the answer begins; one that leaves no room for it is an error."""
        limit = models.context_length(self.model)
        room = self.config.sampling.max_new_tokens
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

    def prompt(self, messages: Sequence[Message]) -> Ints:
        """A conversation as token ids up to where its answer begins."""
        return prompt_ids(self.tokenizer, messages)

    def encode(self, text: str) -> list[int]:
        """A piece of text as the model's tokens, without any that mark a beginning or an end."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """Tokens as text."""
        return completion_text(self.tokenizer, ids)

    def fits(self, context: Ints) -> bool:
        """Whether an answer of `sampling.max_new_tokens` fits behind a context."""
        limit = models.context_length(self.model)
        return limit is None or len(context) + self.config.sampling.max_new_tokens <= limit

    # -- learn -------------------------------------------------------------------------------------------------

    def forward_backward(
        self, rollouts: Sequence[Rollout], views: Sequence[TeacherView], advantages: Sequence[Floats]
    ) -> Learnt:
        """Gradients of one batch, and what the pass saw.

        loss = d * sum(w * divergence) / sum(w) + (1 - d) * sum(policy gradient) / (number of sampled tokens),
        with d = objective.distillation. `advantages`: float[T] for each rollout. Rows that carry neither weight nor
        advantage are not computed at all, and every row is cut after its last token that counts. With
        `affect.weight.teacher_beta` the weights w are multiplied by exp(-beta H_teacher) first.
        """
        objective = self.config.objective
        rows = training_rows(rollouts, views, advantages, objective.distillation)
        distilled = sum(float(r.weight.sum()) for r in rows)
        sampled = sum(len(r.ids) for r in rollouts)
        scale = (
            objective.distillation / distilled if distilled else 0.0,
            (1.0 - objective.distillation) / sampled if objective.distillation < 1 else 0.0,
        )
        seen: list[dict[str, np.ndarray]] = []
        read: list[dict[str, Floats]] = [
            {name: np.full(len(v.weight), np.nan, np.float32) for name in TEACHER_SIGNALS} for v in views
        ]
        loss = 0.0
        for batch in micro_batches(rows, self.config.micro_batch_tokens):
            value, stats = self._backward(batch, scale, read)
            loss += value
            seen.append(stats)
        if beta := self.config.affect.weight.teacher_beta:
            # What the teacher's doubt takes away is known only now; the mean weight is one again after this.
            kept = sum(float((s["weight"] * np.exp(-beta * s["teacher_entropy"])).sum()) for s in seen)
            factor = objective.distillation / kept if kept else 1.0
            loss *= factor
            for p in self.parameters:
                if p.grad is not None:
                    p.grad.mul_(factor)
        if not math.isfinite(loss):
            raise NotFinite(f"the loss is {loss}")
        return Learnt({"loss": loss, "rows": float(len(rows)), **_averages(seen)}, read)

    def _backward(
        self, rows: Sequence[Row], scale: tuple[float, float], read: Sequence[dict[str, Floats]]
    ) -> tuple[float, dict[str, np.ndarray]]:
        """Student and teacher hidden states of one micro-batch, one pass through the head, gradients."""
        used = [np.flatnonzero((r.weight != 0) | (r.advantage != 0)) for r in rows]
        rows = [r._replace(ids=r.ids[: u[-1] + 1]) for r, u in zip(rows, used, strict=True)]
        flat = {
            "targets": np.concatenate([r.ids[u] for r, u in zip(rows, used, strict=True)]),
            "weight": np.concatenate([r.weight[u] for r, u in zip(rows, used, strict=True)]) * scale[0],
            "advantage": np.concatenate([r.advantage[u] for r, u in zip(rows, used, strict=True)]) * scale[1],
        }
        tensor = {k: torch.as_tensor(v, device=self.device) for k, v in flat.items()}
        weight, advantage = tensor["weight"].float(), tensor["advantage"].float()
        beta = self.config.affect.weight.teacher_beta

        def token_loss(leaves: Any, at: slice) -> torch.Tensor:
            loss = policy_gradient(leaves.logp, None, advantage[at])  # one update a batch: the ratio is one
            if leaves.divergence is None:
                return loss
            gate = torch.exp(-beta * leaves.signals["teacher_entropy"]) if beta else 1.0
            return loss + weight[at] * gate * leaves.divergence

        out = self._pass(rows, used, tensor["targets"], token_loss)
        out.loss.backward()
        stats = {k: v.cpu().numpy() for k, v in out.signals.items()}
        ends = np.cumsum([len(u) for u in used])
        for row, u, end in zip(rows, used, ends, strict=True):
            if row.view is not None:
                for name in TEACHER_SIGNALS:
                    read[row.view][name][u] = stats[name][end - len(u) : end]
        return float(out.loss.detach()), {**stats, "weight": flat["weight"]}

    def _pass(
        self, rows: Sequence[Row], used: Sequence[np.ndarray], targets: torch.Tensor, loss: TokenLoss
    ) -> HeadOutput:
        """Student and (where rows have one) teacher on the used tokens of some rows: one pass through the head."""
        hidden = self._hidden(self.model, [(r.prompt_ids, r.ids) for r in rows], used)
        teacher_hidden = None
        if rows[0].context_ids is not None:
            with torch.no_grad(), self.teacher.model() as teacher:
                pairs = [(r.context_ids, r.ids) for r in rows if r.context_ids is not None]
                teacher_hidden = self._hidden(teacher, pairs, used)
        return head_pass(
            hidden,
            self.head,
            targets,
            token_loss=loss,
            teacher_hidden=teacher_hidden,
            teacher_head=None if teacher_hidden is None else self.teacher_head,
            alpha=self.config.objective.alpha,
            top_k=self.config.objective.top_k,
            temperature=self.config.sampling.temperature,
            teacher_temperature=self.config.teacher.temperature,
        )

    @torch.no_grad()
    def score(self, rollouts: Sequence[Rollout], views: Sequence[TeacherView]) -> list[dict[str, Floats]]:
        """What the teacher makes of each token of the viewed answers, without learning from it.

        One dictionary a view, in order, whatever its weights: `teacher_logp`, `log_ratio` (log q - log pi of the
        sampled token: its advantage), `teacher_entropy` and `divergence` (at `objective.alpha`), float32[T] in
        nats, at the temperature answers are sampled at in training. The student is the policy as it is now.
        """

        def row(view: TeacherView) -> Row:
            r = rollouts[view.rollout]
            ones = np.ones(len(r.ids), np.float32)
            return Row(r.prompt_ids, view.context_ids, r.ids, ones, np.zeros_like(ones))

        order = sorted(range(len(views)), key=lambda i: -_length(row(views[i])))
        found: list[dict[str, Floats]] = [{} for _ in views]
        at = iter(order)
        for batch in micro_batches([row(views[i]) for i in order], self.config.micro_batch_tokens):
            used = [np.arange(len(r.ids)) for r in batch]
            targets = torch.as_tensor(np.concatenate([r.ids for r in batch]), device=self.device)
            out = self._pass(batch, used, targets, lambda leaves, rows: torch.zeros_like(leaves.logp))
            ends = np.cumsum([len(u) for u in used])[:-1]
            flat = {name: np.split(out.signals[name].cpu().numpy(), ends) for name in TEACHER_SIGNALS}
            for j, i in enumerate(islice(at, len(batch))):
                found[i] = {name: parts[j] for name, parts in flat.items()}
        return found

    @torch.no_grad()
    def prediction_variance(self, rollouts: Sequence[Rollout], *, copies: int, seed: int) -> list[Floats]:
        """How much the policy and copies of it with noisy weights disagree at each token of their answers.

        The mutual information between next token and copy, nats, float32[T] a rollout
        (`frown.signals.variance.mutual_information`). Cost: copies + 1 forward passes over the answers.
        """
        order = sorted(range(len(rollouts)), key=lambda i: -len(rollouts[i].prompt_ids) - len(rollouts[i].ids))
        found: dict[int, Floats] = {}
        rows = [
            Row(r.prompt_ids, None, r.ids, np.ones(len(r.ids), np.float32), np.zeros(len(r.ids), np.float32))
            for r in (rollouts[i] for i in order)
        ]
        at = iter(order)
        for batch in micro_batches(rows, self.config.micro_batch_tokens):
            used = [np.arange(len(r.ids)) for r in batch]
            pairs = [(r.prompt_ids, r.ids) for r in batch]

            def hidden(model: Any, pairs: Any = pairs, used: Any = used) -> torch.Tensor:
                return self._hidden(model, pairs, used)

            noisy = noise_copies(self.model, hidden, copies=copies, seed=seed)
            targets = torch.as_tensor(np.concatenate([r.ids for r in batch]), device=self.device)
            read = spread(
                torch.cat([hidden(self.model)[None], noisy]),
                self.head.logits,
                targets,
                self.config.sampling.temperature,
            )["mutual_information"]
            parts = np.split(read.float().cpu().numpy(), np.cumsum([len(u) for u in used])[:-1])
            found |= dict(zip(islice(at, len(batch)), parts, strict=True))
        return [found[i] for i in range(len(rollouts))]

    def _hidden(self, model: Any, sequences: Sequence[tuple[Ints, Ints]], used: Sequence[np.ndarray]) -> torch.Tensor:
        """[N, H] final hidden states from which the used answer tokens are predicted, row after row.

        Rows are padded on the right: under causal attention nothing that counts can see the padding.
        """
        inputs = [np.concatenate([before, ids[:-1]]) for before, ids in sequences]
        batch = np.full((len(inputs), max(map(len, inputs))), self.pad_id)
        for i, x in enumerate(inputs):
            batch[i, : len(x)] = x
        ids = torch.as_tensor(batch, device=self.device)
        states = models.backbone(model)(input_ids=ids, use_cache=False).last_hidden_state
        at = np.concatenate(
            [
                i * batch.shape[1] + len(before) - 1 + u
                for i, ((before, _), u) in enumerate(zip(sequences, used, strict=True))
            ]
        )
        return states.flatten(0, 1)[torch.as_tensor(at, device=self.device)]

    def step(self) -> float:
        """Clip, update the student, then the teacher. Returns the gradient norm before clipping.

        A gradient that is not finite is an error, and leaves the weights as they were.
        """
        settings = self.config.optimiser
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, settings.max_grad_norm))
        if not math.isfinite(norm):
            raise NotFinite("the gradient is not finite")
        self.steps_taken += 1
        for group in self.optimiser.param_groups:
            group["lr"] = settings.lr * min(1.0, self.steps_taken / max(1, settings.warmup_steps))
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.teacher.update()
        return norm

    def save(self, folder: Path) -> None:
        """The student as an ordinary Hugging Face folder (with LoRA: its adapters)."""
        self.model.save_pretrained(folder, safe_serialization=True)
        self.tokenizer.save_pretrained(folder)


def training_rows(
    rollouts: Sequence[Rollout], views: Sequence[TeacherView], advantages: Sequence[Floats], distillation: float
) -> list[Row]:
    """The rows that have something to learn from, longest first, those with a teacher before those without."""
    rows = []
    viewed = set()
    for v, view in enumerate(views if distillation > 0 else ()):
        r = rollouts[view.rollout]
        first = view.rollout not in viewed and distillation < 1
        advantage = np.asarray(advantages[view.rollout] if first else np.zeros(len(r.ids)), np.float32)
        viewed.add(view.rollout)
        if view.weight.any() or advantage.any():
            rows.append(Row(r.prompt_ids, view.context_ids, r.ids, view.weight, advantage, v))
    for i, r in enumerate(rollouts):
        if distillation < 1 and i not in viewed and np.any(advantages[i]):
            zeros = np.zeros(len(r.ids), np.float32)
            rows.append(Row(r.prompt_ids, None, r.ids, zeros, np.asarray(advantages[i], np.float32)))
    return sorted(rows, key=lambda r: (r.context_ids is None, -_length(r)))


def _length(row: Row) -> int:
    longest = max(len(row.prompt_ids), len(row.context_ids) if row.context_ids is not None else 0)
    return longest + len(row.ids)


def micro_batches(rows: Sequence[Row], most_tokens: int) -> list[list[Row]]:
    """Rows in order, cut into batches of at most `most_tokens` padded tokens, never mixing with and without a
    teacher. A row longer than that is a batch of its own."""
    batches: list[list[Row]] = []
    for row in rows:
        last = batches[-1] if batches else None
        same_kind = last is not None and (last[0].context_ids is None) == (row.context_ids is None)
        if last is not None and same_kind and (len(last) + 1) * _length(last[0]) <= most_tokens:
            last.append(row)
        else:
            batches.append([row])
    return batches


def _averages(seen: Sequence[dict[str, np.ndarray]]) -> dict[str, float]:
    """Mean of each signal over the tokens the loss was taken on."""
    names = {name for stats in seen for name in stats} - {"weight"}
    return {
        name: float(np.concatenate([s[name] for s in seen if name in s]).mean(dtype=np.float64))
        for name in sorted(names)
    }
