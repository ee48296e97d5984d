"""Student and teacher forward and backward on one batch of answers of realistic lengths: `Learner` beside TRL.

The model is a random Qwen3 of 4 layers, width 256, and a vocabulary of 8,192 (or what a caller asks for): trunk and
head share the work as in a model of a billion parameters, and two cores finish in minutes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks import peer
from benchmarks.measuring import agree, interleaved, medians, relative_error
from frown.config import RunConfig, parse
from frown.learner.learner import Learner
from frown.policy.policy import policy_of
from frown.types import Ints, Rollout, Task, TeacherView

GROUP = 8
ROWS_AT_ONCE = 8
"""TRL's default `per_device_train_batch_size`."""
ROUNDING = 1e-3
"""Most relative difference of the two paths' gradients, float32."""


class Shape(NamedTuple):
    """A random Qwen3."""

    vocabulary: int = 8_192
    width: int = 256
    layers: int = 4


class Group(NamedTuple):
    """One prompt, what the teacher is shown instead of it, and the answers."""

    prompt: Ints
    context: Ints
    answers: tuple[Ints, ...]


def realistic(seed: int, prompts: int, vocabulary: int, scale: float = 1.0) -> list[Group]:
    """Prompts of 200 +- 100 tokens, contexts of 800 +- 400, answers lognormal around 220, within 50 to 1,000.

    The context of a group is one: its demonstration is the same right answer (TRL takes the first). `scale` shortens
    all of them.
    """
    rng = np.random.default_rng(seed)

    def ids(length: float) -> Ints:
        return rng.integers(5, vocabulary, max(1, int(length * scale))).astype(np.int64)

    return [
        Group(
            ids(np.clip(rng.normal(200, 100), 50, 500)),
            ids(np.clip(rng.normal(800, 400), 200, 2000)),
            tuple(ids(np.clip(rng.lognormal(np.log(220), 0.75), 50, 1000)) for _ in range(GROUP)),
        )
        for _ in range(prompts)
    ]


def save_model(folder: Path, shape: Shape) -> Path:
    """A random model as an ordinary folder, with the lab's tokenizer, which nothing here reads text with."""
    from transformers import Qwen3Config, Qwen3ForCausalLM
    from transformers.utils import logging

    from frown.lab.text import make_tokenizer

    logging.disable_progress_bar()
    torch.manual_seed(0)
    heads = max(1, shape.width // 64)
    tokenizer = make_tokenizer()
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=shape.vocabulary,
            hidden_size=shape.width,
            intermediate_size=3 * shape.width,
            num_hidden_layers=shape.layers,
            num_attention_heads=heads,
            num_key_value_heads=max(1, heads // 2),
            head_dim=shape.width // heads,
            tie_word_embeddings=True,
            max_position_embeddings=1 << 15,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class Own:
    """frown's learner with some groups to learn from."""

    def __init__(self, folder: Path):
        values = {"model": {"path": str(folder), "device": "cpu"}, "teacher": {"weights": "live"}}
        config = parse(RunConfig, values, "benchmark")
        self.learner = Learner(policy_of(config), config)

    def run(self, groups: Sequence[Group]) -> float:
        """The loss; the gradients lie at the model. A token weighs one over its answer's length, as in TRL's mean."""
        self.learner.optimiser.zero_grad(set_to_none=True)
        rollouts, views = [], []
        for g, group in enumerate(groups):
            task = Task(str(g), ({"role": "user", "content": ""},), "")
            for ids in group.answers:
                views.append(
                    TeacherView(len(rollouts), group.context, np.full(len(ids), 1 / len(ids), dtype=np.float32))
                )
                logp = np.zeros(len(ids), np.float32)
                rollouts.append(Rollout(task, g, group.prompt, ids, logp, 1.0, "length", ""))
        advantages = [np.zeros(len(r.ids), np.float32) for r in rollouts]
        return self.learner.backward(rollouts, views, advantages, distillation=1.0).averages["loss"]


class Padded:
    """TRL's trainer with the same groups, as its generation batch holds them."""

    def __init__(self, folder: Path):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        rows = [{"prompt": [{"role": "user", "content": "Q1+1"}]}] * GROUP
        self.trainer = peer.sdpo_trainer(
            self.model,
            tokenizer,
            rows,
            _no_reward,
            folder,
            batch=ROWS_AT_ONCE,
            group=GROUP,
            teacher="live",
            max_steps=1,
        )
        self.pad_id = tokenizer.pad_token_id

    def run(self, groups: Sequence[Group], with_signals: bool = True) -> float:
        """The loss by the trainer's own methods; the gradients lie at the model."""
        from trl.trainer.utils import split_tensor_dict

        self.model.zero_grad(set_to_none=True)
        trainer, batch = self.trainer, self._batch(groups)
        passes = max(1, len(batch["prompt_ids"]) // ROWS_AT_ONCE)
        total = 0.0
        for part in split_tensor_dict(batch, passes):
            logits = trainer._compute_teacher_student_logits(self.model, trainer.teacher_model, part)
            if with_signals:
                peer.signals(logits.student_logits, logits.teacher_logits, logits.completion_ids)
            loss = trainer._compute_self_distillation_loss(self.model, part, logits) / passes
            loss.backward()
            total += float(loss.detach())
        return total

    def _batch(self, groups: Sequence[Group]) -> dict[str, Any]:
        """Prompts padded on the left and answers on the right, to the longest of the generation batch."""
        from trl.trainer.utils import pad

        def both(sequences: Sequence[Ints], side: str) -> tuple[torch.Tensor, torch.Tensor]:
            tensors = [torch.as_tensor(s) for s in sequences]
            return (
                pad(tensors, padding_value=self.pad_id, padding_side=side),
                pad([torch.ones_like(t) for t in tensors], padding_value=0, padding_side=side),
            )

        rows = [(g, ids) for g in groups for ids in g.answers]
        prompts, prompt_mask = both([g.prompt for g, _ in rows], "left")
        contexts, context_mask = both([g.context for g, _ in rows], "left")
        answers, answer_mask = both([ids for _, ids in rows], "right")
        return {
            "prompt_ids": prompts,
            "prompt_mask": prompt_mask,
            "completion_ids": answers,
            "completion_mask": answer_mask,
            "teacher_input_ids": torch.cat([contexts, answers], 1),
            "teacher_attention_mask": torch.cat([context_mask, answer_mask], 1),
            "self_distillation_mask": torch.ones(len(rows)),
        }


def _no_reward(prompts: Any, **_: Any) -> list[float]:
    return [0.0] * len(prompts)


def tokens(groups: Sequence[Group]) -> dict[str, int]:
    """How many tokens the padded path puts through the trunk (student three times, teacher once), and the fewest
    possible with every prompt and context read once."""
    rows = [ids for g in groups for ids in g.answers]
    answer = max(map(len, rows))
    padded = len(rows) * (3 * (max(len(g.prompt) for g in groups) + answer))
    padded += len(rows) * (max(len(g.context) for g in groups) + answer)
    shared = sum(3 * len(g.prompt) + len(g.context) for g in groups) + 4 * sum(map(len, rows))
    return {"padded": padded, "shared": shared}


def gradients(model: Any) -> torch.Tensor:
    """All gradients of a model as one vector."""
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def compared(own: Own, padded: Padded, groups: Sequence[Group]) -> dict[str, Any]:
    """CPU-seconds of both on the same groups, one after the other, and how far their losses and gradients are apart.

    Raises AssertionError where they do not do the same work.
    """
    losses: dict[str, float] = {}
    seconds = medians(
        interleaved(
            {
                "ours": lambda: losses.update(ours=own.run(groups)),
                "peer": lambda: losses.update(peer=padded.run(groups)),
            },
            rounds=1,
            warm_up=0,
        )
    )
    agreement = {
        "loss": abs(losses["ours"] - losses["peer"]) / abs(losses["peer"]),
        "gradient": relative_error(gradients(own.learner.policy.model), gradients(padded.model)),
    }
    needed = tokens(groups)
    return {
        **seconds,
        "ratio": seconds["peer"] / seconds["ours"],
        "token_ratio": needed["padded"] / needed["shared"],
        "agreement": agree(agreement, ROUNDING),
    }


def step_forward_backward(quick: bool) -> dict[str, Any]:
    """Eight answers a prompt, one and four prompts, several draws of lengths."""
    peer.required()
    shape, draws, scale = (Shape(512, 64, 2), 1, 0.1) if quick else (Shape(), 3, 1.0)
    by_prompts: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = save_model(Path(name), shape)
        own, padded = Own(folder), Padded(folder)
        compared(own, padded, realistic(0, 1, shape.vocabulary, 0.1))  # what is made once, is made here
        for prompts in (1, 4):
            results = [
                compared(own, padded, realistic(seed, prompts, shape.vocabulary, scale)) for seed in range(draws)
            ]
            middle = {key: median(r[key] for r in results) for key in ("ours", "peer", "ratio", "token_ratio")}
            by_prompts[str(prompts)] = {"draws": results, **middle}
    return {
        **{key: by_prompts["4"][key] for key in ("ours", "peer", "ratio")},
        "unit": "CPU-seconds",
        "peer_name": "TRL SDPOTrainer's padded path, its full-logits loss and helpers, 8 rows a pass",
        "model": {**shape._asdict(), "answers_a_prompt": GROUP},
        "prompts": by_prompts,
    }
