"""The engine: any local Hugging Face causal LM, on the CPU or one GPU, in one process or in each of several.

Seven verbs: `sample` (and `sync` where vLLM does it), `forward_backward`, `step`, `save`, `score` to hear what the
teacher makes of answers without learning from it, `read` for the policy's own signals, and `contexts` to turn teacher
messages into ids. Each process of several is asked the same and answers for all: `sample` shares out the prompts,
`forward_backward` the rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from frown.config import RunConfig, TeacherConfig
from frown.errors import FrownError, NotFinite
from frown.learner import shards
from frown.learner.rows import Row, arranged, counted, cut, in_step, micro_batches, plain_row, shared_out, training_rows
from frown.learner.schedule import rate
from frown.losses.head import HeadOutput, Leaves, TokenLoss, head_pass, read_signals
from frown.losses.objectives import importance_weight, mismatch, policy_gradient
from frown.policy import load as models
from frown.policy import trunk
from frown.policy.head import head_of, mixed, why_slow, within
from frown.policy.sampling import Decoding, Sample, read_logits, sample
from frown.policy.text import completion_text, prompt_ids
from frown.runtime.allocator import keep_freed_memory
from frown.runtime.processes import ALONE, Ranks
from frown.signals.variance import noise_copies, spread
from frown.teacher.weights import Teacher
from frown.types import Floats, Ints, Message, Rollout, Signals, Task, TeacherView

_READ_LOGITS = 1 << 25
"""Logits that are held at once when signals are read: 128 MiB."""
TEACHER_SIGNALS = ("teacher_logp", "log_ratio", "teacher_entropy", "divergence")


ObjectiveFunction = Callable[[Leaves, torch.Tensor, torch.Tensor], torch.Tensor]
"""(what the pass read of C tokens, weight [C], advantage [C]) -> the loss of each token [C], one's own. The built-in is
`weight * leaves.divergence - advantage * ratio`; the factors that average over the batch are in weight and advantage.
Gradients flow through `leaves.divergence` (None in rows without a teacher), `leaves.logp` and `leaves.entropy`."""


class Learnt(NamedTuple):
    """What a pass over one batch saw."""

    averages: dict[str, float]
    """The loss, the number of rows computed, and the mean of each signal over the tokens that counted."""
    views: list[dict[str, Floats]]
    """One dictionary a view, in order: `TEACHER_SIGNALS`, float32[T], NaN at tokens that did not count."""


class LocalEngine:
    """A student, its self-teacher and its optimiser."""

    def __init__(self, config: RunConfig, ranks: Ranks = ALONE):
        self.config, self.ranks = config, ranks
        keep_freed_memory()
        self.model, self.tokenizer, self.device = models.load(config.model)
        self.model.eval()  # no dropout: the policy that is trained is the policy that sampled
        self.head = head_of(self.model)
        self.trunk = trunk.choose(self.model)
        self.notes = [line for line in (why_slow(self.head, self.model), *self.trunk.notes) if line]
        """What the user should know of how this model is trained."""
        self.sharded, copied = config.distributed.sharding == "fsdp2", None
        if self.sharded:
            shards.refuse_head(self.head, self.model)
            copied = shards.copies_of(self.model, ranks, self.device)
            shards.shard(self.model, ranks, self.device)
        self.teacher = Teacher(self.model, config.teacher, copied)
        self._find_teacher_head()
        # What a policy is anchored to, or its distance measured from: its weights as they are now.
        wanted = config.objective.kl_anchor or config.guard.kl is not None
        self.start = Teacher(self.model, TeacherConfig(weights="frozen"), copied) if wanted else None
        if self.start is not None:
            with self.start.model() as start:
                self.start_head = within(self.start.model, head_of(start))
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters,
            lr=config.optimiser.lr,
            betas=config.optimiser.betas,
            weight_decay=config.optimiser.weight_decay,
            foreach=False if self.sharded else None,  # parts and whole tensors do not go into one call
        )
        self.steps_taken = 0
        self.eos_ids = models.end_ids(self.model, self.tokenizer)
        pad = self.tokenizer.pad_token_id
        self.pad_id = pad if pad is not None else self.eos_ids[0]
        self.vllm = ranks.together(self._vllm)

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
        """n answers to each task, in order, under the policy (or another `model`, which always samples here).

        `contexts` replaces the tasks' own prompts, to see what a teacher would answer.
        """
        prompts = contexts if contexts is not None else self.contexts([t.messages for t in tasks])
        self.ranks.agree([t.id for t in tasks], "the prompts they answer")
        mine = self.ranks.share(len(prompts))  # whole groups

        def answers() -> list[Rollout]:
            groups = self._answers(prompts[mine], n, mine.start * n, seed, temperature, model)
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
                for g, task, prompt, group in zip(
                    range(mine.start, mine.stop), tasks[mine], prompts[mine], groups, strict=True
                )
                for s in group
            ]

        return self.ranks.gather(answers)

    def _answers(
        self, prompts: Sequence[Ints], n: int, first: int, seed: int, temperature: float, model: Any
    ) -> list[list[Sample]]:
        """n answers to each prompt; `first` is the number of the first."""
        decoding = Decoding(temperature, self.config.sampling.max_new_tokens, self.eos_ids, self.pad_id)
        if self.vllm is not None and model is None:
            if self.vllm.due(self.steps_taken):
                self.sync()
            return self.vllm.sample(prompts, n, decoding, seed=seed + first, read=self._read_whole)
        model = self.model if model is None else model
        with shards.whole(model):
            return sample(
                model,
                prompts,
                n,
                decoding,
                seed=seed,
                tokens_at_once=self.config.sampling_batch_tokens,
                first=first,
            )

    def _vllm(self) -> Any:
        settings = self.config.sampling.vllm
        if settings is None:
            return None
        from frown.policy.vllm import Sampler

        return Sampler(settings, self.model, self.tokenizer, self.device, self.ranks)

    def sync(self) -> None:
        """Give vLLM, where it samples, the policy's present weights."""
        if self.vllm is not None:
            self.vllm.sync(self.steps_taken)

    def _read_whole(
        self, prompts: Sequence[Ints], answers: Sequence[Ints], temperature: float
    ) -> list[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        """`read`, where each process may have another number of answers."""
        with shards.whole(self.model):
            return self.read(prompts, answers, temperature)

    @torch.no_grad()
    def read(
        self, prompts: Sequence[Ints], answers: Sequence[Ints], temperature: float
    ) -> list[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        """The policy's own signals of answers that something else sampled: of each answer name -> [T], exact, and at
        each token the likeliest other than the sampled one.

        `surprisal` has the policy's log-probabilities with its sign turned. Cost: one forward pass over prompts and
        answers, packed as for training, and one product with the head; no gradient.
        """
        rows = [plain_row(p, ids) for p, ids in zip(prompts, answers, strict=True)]
        found: dict[int, tuple[dict[str, torch.Tensor], torch.Tensor]] = {}
        at_once = max(16, _READ_LOGITS // len(self.tokenizer))
        for batch in self._batches(rows):
            used = [np.arange(len(rows[i].ids)) for i in batch]
            targets = torch.as_tensor(np.concatenate([rows[i].ids for i in batch]), device=self.device)
            hidden = self._hidden(self.model, [(rows[i].prompt_ids, rows[i].ids) for i in batch], used)
            parts = [
                read_logits(self.head.logits(h.float()).float() / temperature, t)
                for h, t in zip(hidden.split(at_once), targets.split(at_once), strict=True)
            ]
            lengths = [len(u) for u in used]
            if not all(math.isfinite(float(s["entropy"].sum())) for s, _ in parts):
                raise NotFinite("the model's output is not finite")
            signals = {k: torch.cat([s[k] for s, _ in parts]).cpu().split(lengths) for k in parts[0][0]}
            others = torch.cat([other for _, other in parts]).cpu().split(lengths)
            found |= {i: ({k: v[j] for k, v in signals.items()}, others[j]) for j, i in enumerate(batch)}
        return [found[i] for i in range(len(rows))]

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
        self,
        rollouts: Sequence[Rollout],
        views: Sequence[TeacherView],
        advantages: Sequence[Floats],
        own: ObjectiveFunction | None = None,
    ) -> Learnt:
        """Gradients of one batch, and what the pass saw.

        loss = d * sum(w * divergence) / sum(w) + (1 - d) * sum(policy gradient) / N + a * sum(KL to the start) / N,
        with d = objective.distillation, a = objective.kl_anchor and N the number of sampled tokens. `advantages`:
        float[T] for each rollout. Rows that carry neither weight nor advantage nor an anchor are not computed at all,
        every row is cut after its last token that counts, and what rows share at their beginning is computed once where
        the model allows it (`frown.policy.trunk`). With `affect.weight.teacher_beta` the weights w are multiplied by
        exp(-beta H_teacher) first. `own`: the loss of each
        token by a function of one's own, in place of the first two terms. The sums are over all processes' rows, and so
        are the gradients in the end.
        """
        objective = self.config.objective
        rows = [cut(r) for r in self._rows(rollouts, views, advantages)]
        distilled = sum(float(r.weight.sum()) for r in rows)
        sampled = sum(int(r.own.sum()) for r in rollouts)
        scale = _Scale(
            objective.distillation / distilled if distilled else 0.0,
            (1.0 - objective.distillation) / sampled if objective.distillation < 1 else 0.0,
            objective.kl_anchor / sampled if sampled else 0.0,
        )
        seen: list[dict[str, np.ndarray]] = []
        read: list[dict[str, Floats]] = [
            {name: np.full(len(v.weight), np.nan, np.float32) for name in TEACHER_SIGNALS} for v in views
        ]
        loss = 0.0
        mine = shared_out(rows, self.ranks)
        for batch in self._plan(mine, rows):
            value, stats = self._backward(batch, scale, read, own)
            loss += value
            seen.append(stats)
        loss, seen, read = self.ranks.total(loss), self.ranks.gather(lambda: seen), self._views_of_all(mine, read)
        if beta := self.config.affect.weight.teacher_beta:
            # What the teacher's doubt takes away is known only now; the mean weight is one again after this.
            kept = sum(float((s["weight"] * np.exp(-beta * s["teacher_entropy"])).sum()) for s in seen)
            factor = objective.distillation / kept if kept else 1.0
            loss *= factor
            for p in self.parameters:
                if p.grad is not None:
                    p.grad.mul_(factor)
        shards.add_gradients(self.parameters, self.ranks)
        if not math.isfinite(loss):
            raise NotFinite(f"the loss is {loss}")
        return Learnt({"loss": loss, "rows": float(len(rows)), **_averages(seen)}, read)

    def _plan(self, mine: Sequence[Row], rows: Sequence[Row]) -> list[list[Row]]:
        """The micro-batches of this process; of one that holds parts of layers, as many as the others have."""
        if not self.sharded:
            return [[mine[i] for i in batch] for batch in self._batches(mine)]
        shares = [shared_out(rows, replace(self.ranks, rank=rank)) for rank in range(self.ranks.size)]
        plans = [[[share[i] for i in batch] for batch in self._batches(share)] for share in shares]
        return in_step(plans, self.ranks.rank)

    def _views_of_all(self, mine: Sequence[Row], read: Sequence[dict[str, Floats]]) -> list[dict[str, Floats]]:
        """What the teacher made of each view, whichever process saw it."""
        found = dict(self.ranks.gather(lambda: [(r.view, read[r.view]) for r in mine if r.view is not None]))
        return [found.get(i, unseen) for i, unseen in enumerate(read)]

    def _backward(
        self,
        rows: Sequence[Row],
        scale: _Scale,
        read: Sequence[dict[str, Floats]],
        own: ObjectiveFunction | None,
    ) -> tuple[float, dict[str, np.ndarray]]:
        """Hidden states of one micro-batch, one pass through the head (two with an anchor), gradients."""
        used = [counted(r) for r in rows]

        def gathered(values: Sequence[np.ndarray]) -> torch.Tensor:
            return torch.as_tensor(
                np.concatenate([v[u] for v, u in zip(values, used, strict=True)]), device=self.device
            )

        targets = gathered([r.ids for r in rows])
        weight = gathered([r.weight * scale.distillation for r in rows]).float()
        advantage = gathered([r.advantage * scale.policy for r in rows]).float()
        unknown = np.float32(np.nan)
        sampled = gathered([np.full(len(r.ids), unknown) if r.sampled_logp is None else r.sampled_logp for r in rows])
        beta, cap = self.config.affect.weight.teacher_beta, self.config.objective.importance_cap

        def token_loss(leaves: Leaves, at: slice) -> torch.Tensor:
            if own is not None:
                return own(leaves, weight[at], advantage[at])
            loss = policy_gradient(leaves.logp, None, advantage[at])  # one update a batch: the ratio is one
            if leaves.divergence is not None:
                gate = torch.exp(-beta * leaves.signals["teacher_entropy"]) if beta else 1.0
                loss = loss + weight[at] * gate * leaves.divergence
            return loss if cap is None else loss * importance_weight(leaves.logp, sampled[at], cap)

        with trunk.engaged(self.model, self.trunk.way):
            hidden = self._hidden(self.model, [(r.prompt_ids, r.ids) for r in rows], used)
            out = self._pass(hidden, rows, used, targets, token_loss)
            total, signals = out.loss, dict(out.signals)
            if self.config.objective.kl_anchor:
                anchored = gathered([np.full(len(r.ids), r.anchored * scale.anchor) for r in rows]).float()
                held = self._anchor(hidden, rows, used, targets, anchored)
                total = total + held.loss
                signals["kl_to_start"] = held.signals["divergence"]
            total.backward()
        stats = {k: v.cpu().numpy() for k, v in signals.items()}
        stats["weight"] = weight.cpu().numpy()
        fresh = np.concatenate([np.full(len(u), r.fresh) for r, u in zip(rows, used, strict=True)])
        stats["mismatch"] = mismatch(-out.signals["surprisal"], sampled).cpu().numpy()[fresh]
        ends = np.cumsum([len(u) for u in used])
        for row, u, end in zip(rows, used, ends, strict=True):
            if row.view is not None:
                for name in TEACHER_SIGNALS:
                    read[row.view][name][u] = stats[name][end - len(u) : end]
        return float(total.detach()), stats

    def _pass(
        self,
        hidden: torch.Tensor,
        rows: Sequence[Row],
        used: Sequence[np.ndarray],
        targets: torch.Tensor,
        loss: TokenLoss,
    ) -> HeadOutput:
        """The student's hidden states [N, H] of the used tokens, and (where rows have one) the teacher's, through the
        head."""
        teacher_hidden = None
        if rows[0].context_ids is not None:
            with torch.no_grad(), self.teacher.model() as teacher:
                pairs = [(r.context_ids, r.ids) for r in rows if r.context_ids is not None]
                teacher_hidden = self._hidden(teacher, pairs, used)
            if self.teacher.mixes:
                with torch.no_grad():
                    teacher_hidden = torch.cat([teacher_hidden, self._hidden(self.model, pairs, used)], -1)
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

    def _anchor(
        self,
        hidden: torch.Tensor,
        rows: Sequence[Row],
        used: Sequence[np.ndarray],
        targets: torch.Tensor,
        weight: torch.Tensor,
    ) -> HeadOutput:
        """KL(student || policy at the start) of the used tokens, summed with a weight [N] for each."""
        assert self.start is not None
        with torch.no_grad(), self.start.model() as start:
            before = self._hidden(start, [(r.prompt_ids, r.ids) for r in rows], used)

        def token_loss(leaves: Leaves, at: slice) -> torch.Tensor:
            assert leaves.divergence is not None
            return weight[at] * leaves.divergence

        return head_pass(
            hidden,
            self.head,
            targets,
            token_loss=token_loss,
            teacher_hidden=before,
            teacher_head=self.start_head,
            alpha=1.0,
            temperature=self.config.sampling.temperature,
        )

    def _rows(
        self, rollouts: Sequence[Rollout], views: Sequence[TeacherView], advantages: Sequence[Floats]
    ) -> list[Row]:
        objective = self.config.objective
        return training_rows(
            rollouts, views, advantages, objective.distillation, objective.kl_anchor > 0, self.steps_taken
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
            return plain_row(r.prompt_ids, r.ids)._replace(context_ids=view.context_ids)

        rows = [row(view) for view in views]
        found: list[dict[str, Floats]] = [{} for _ in views]
        for batch in self._batches(rows):
            used = [np.arange(len(rows[i].ids)) for i in batch]
            targets = torch.as_tensor(np.concatenate([rows[i].ids for i in batch]), device=self.device)
            some = [rows[i] for i in batch]
            hidden = self._hidden(self.model, [(r.prompt_ids, r.ids) for r in some], used)
            out = self._pass(hidden, some, used, targets, lambda leaves, at: torch.zeros_like(leaves.logp))
            ends = np.cumsum([len(u) for u in used])[:-1]
            flat = {name: np.split(out.signals[name].cpu().numpy(), ends) for name in TEACHER_SIGNALS}
            for j, i in enumerate(batch):
                found[i] = {name: parts[j] for name, parts in flat.items()}
        return found

    @torch.no_grad()
    def kl_to_start(self, rollouts: Sequence[Rollout]) -> float:
        """How far the policy that sampled these answers has gone from its start, nats a token: the mean of
        `frown.losses.objectives.mismatch` over the tokens that it sampled; what others said in a conversation is read,
        not measured.

        Needs `guard.kl`. Cost: a forward pass of the start over the answers.
        """
        assert self.start is not None
        nothing = [np.zeros(len(r.ids), np.float32) for r in rollouts]
        rows = [Row(r.prompt_ids, None, r.ids, zeros, zeros) for r, zeros in zip(rollouts, nothing, strict=True)]
        found = []
        for batch in self._batches(rows):
            used = [np.flatnonzero(rollouts[i].own) for i in batch]
            with self.start.model() as start:
                hidden = self._hidden(start, [(rows[i].prompt_ids, rows[i].ids) for i in batch], used)
            own = [(rollouts[i], u) for i, u in zip(batch, used, strict=True)]
            targets = torch.as_tensor(np.concatenate([r.ids[u] for r, u in own]), device=self.device)
            read = read_signals(hidden, self.start_head, targets, self.config.sampling.temperature)
            sampled = torch.as_tensor(np.concatenate([r.logp[u] for r, u in own]))
            found.append(mismatch(-read["surprisal"].cpu().double(), sampled.double()))
        return float(torch.cat(found).mean())

    @torch.no_grad()
    def prediction_variance(self, rollouts: Sequence[Rollout], *, copies: int, seed: int) -> list[Floats]:
        """How much the policy and copies of it with noisy weights disagree at each token of their answers.

        The mutual information between next token and copy, nats, float32[T] a rollout
        (`frown.signals.variance.mutual_information`). Cost: copies + 1 forward passes over the answers.
        """
        mine = rollouts[self.ranks.share(len(rollouts))]

        def read() -> list[Floats]:
            with shards.whole(self.model):  # noise is that of whole tensors
                return self._disagreement(mine, copies, seed)

        return self.ranks.gather(read)

    def _disagreement(self, rollouts: Sequence[Rollout], copies: int, seed: int) -> list[Floats]:
        found: dict[int, Floats] = {}
        rows = [plain_row(r.prompt_ids, r.ids) for r in rollouts]
        for batch in self._batches(rows):
            used = [np.arange(len(rows[i].ids)) for i in batch]
            pairs = [(rows[i].prompt_ids, rows[i].ids) for i in batch]

            def hidden(model: Any, pairs: Any = pairs, used: Any = used) -> torch.Tensor:
                return self._hidden(model, pairs, used)

            noisy = noise_copies(self.model, hidden, copies=copies, seed=seed)
            targets = torch.as_tensor(np.concatenate([rows[i].ids for i in batch]), device=self.device)
            read = spread(
                torch.cat([hidden(self.model)[None], noisy]),
                self.head.logits,
                targets,
                self.config.sampling.temperature,
            )["mutual_information"]
            parts = np.split(read.float().cpu().numpy(), np.cumsum([len(u) for u in used])[:-1])
            found |= dict(zip(batch, parts, strict=True))
        return [found[i] for i in range(len(rollouts))]

    def _hidden(self, model: Any, sequences: Sequence[tuple[Ints, Ints]], used: Sequence[np.ndarray]) -> torch.Tensor:
        """[N, H] final hidden states from which the used answer tokens are predicted, row after row."""
        inputs = [np.concatenate([before, ids[:-1]]) for before, ids in sequences]
        at = [len(before) - 1 + u for (before, _), u in zip(sequences, used, strict=True)]
        with models.recomputing(model):
            return trunk.hidden_states(model, inputs, at, self.trunk.way, self.pad_id)

    def _batches(self, rows: Sequence[Row]) -> list[list[int]]:
        """Which rows are computed together."""
        order = arranged(rows, shared=self.trunk.shares)
        found = micro_batches([rows[i] for i in order], self.config.micro_batch_tokens, shared=self.trunk.shares)
        at = iter(order)
        return [list(islice(at, len(batch))) for batch in found]

    def step(self) -> float:
        """Clip, update the student, then the teacher. Returns the gradient norm before clipping.

        A gradient that is not finite is an error, and leaves the weights as they were.
        """
        settings = self.config.optimiser
        norm = shards.clip(self.parameters, settings.max_grad_norm, self.ranks)
        if not math.isfinite(norm):
            raise NotFinite("the gradient is not finite")
        self.steps_taken += 1
        for group in self.optimiser.param_groups:
            group["lr"] = rate(self.steps_taken, settings)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.teacher.update()
        return norm

    def freeze_teacher(self) -> None:
        """Let the teacher stay as it is now."""
        self.teacher.freeze()
        self._find_teacher_head()

    def thaw_teacher(self) -> None:
        """Let the teacher go with the student again, as configured."""
        self.teacher.thaw()
        self._find_teacher_head()

    def _find_teacher_head(self) -> None:
        with self.teacher.model() as teacher:
            self.teacher_head = within(self.teacher.model, head_of(teacher))
        if self.teacher.mixes:
            width = models.plain(self.model).get_output_embeddings().weight.shape[1]
            self.teacher_head = mixed(self.teacher_head, self.head, width, self.config.teacher.student_share)

    def save(self, folder: Path, weights: Mapping[str, torch.Tensor] | None = None) -> None:
        """The student as an ordinary Hugging Face folder (with LoRA: its adapters). `weights`: what is saved for the
        parts that a process holds."""
        self.model.save_pretrained(folder, state_dict=weights, safe_serialization=True)
        self.tokenizer.save_pretrained(folder)


class _Scale(NamedTuple):
    """What a token's weight, its advantage and its anchor are multiplied by."""

    distillation: float
    policy: float
    anchor: float


def _averages(seen: Sequence[dict[str, np.ndarray]]) -> dict[str, float]:
    """Mean of each signal over the tokens the loss was taken on."""
    names = {name for stats in seen for name in stats} - {"weight"}
    read = {name: np.concatenate([s[name] for s in seen if name in s]) for name in sorted(names)}
    return {name: float(values.mean(dtype=np.float64)) for name, values in read.items() if len(values)}
