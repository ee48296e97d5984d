"""Sampling on the embedded model: `frown.policy.sampling.sample` beside `generate` of transformers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.measuring import agree, interleaved
from frown.lab.base import model_path
from frown.lab.environment import LabEnvironment
from frown.policy.load import end_ids
from frown.policy.sampling import Decoding, left_pad, sample
from frown.policy.text import prompt_ids
from frown.runtime.allocator import keep_freed_memory
from frown.types import Ints, Task

MODEL = "chains-0"
GROUP, MAX_NEW_TOKENS = 8, 96


class Bench(NamedTuple):
    """The embedded model and how it decodes."""

    model: Any
    tokenizer: Any
    eos: list[int]

    def decoding(self, temperature: float = 1.0) -> Decoding:
        """At most 96 new tokens, the model's own end."""
        return Decoding(temperature, MAX_NEW_TOKENS, self.eos, self.tokenizer.pad_token_id)


def bench() -> Bench:
    """The embedded model, loaded."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    keep_freed_memory()  # as a policy does; it serves both
    folder = model_path(MODEL)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return Bench(model, tokenizer, end_ids(model, tokenizer))


def mixed_tasks(n: int, seed: int = 0) -> list[Task]:
    """n tasks of 2 to 15 steps, each number of steps equally often: answers of 12 to 90 tokens."""
    environment, rng = LabEnvironment("chains"), np.random.default_rng(seed)
    levels = list(environment.levels)
    return [environment.train_tasks(rng, 1, level=levels[i % len(levels)])[0] for i in range(n)]


def usual_tasks(n: int) -> list[Task]:
    """n tasks of five steps, as training draws them by default: answers of about 30 tokens."""
    return LabEnvironment("chains").train_tasks(np.random.default_rng(0), n)


def ours(at: Bench, prompts: list[Ints], seed: int) -> tuple[int, int]:
    """Useful tokens, and the longest answer; every token signal is read on the way."""
    groups = sample(at.model, prompts, GROUP, at.decoding(), seed=seed, tokens_at_once=1 << 16)
    lengths = [len(s.ids) for group in groups for s in group]
    return sum(lengths), max(lengths)


def generated(at: Bench, prompts: list[Ints], seed: int) -> tuple[int, int]:
    """The same by `generate`, called as TRL's trainer calls it: left padding, dynamic cache; no signal is read."""
    torch.manual_seed(seed)
    ids, mask = left_pad([p for p in prompts for _ in range(GROUP)], at.tokenizer.pad_token_id, "cpu")
    with torch.no_grad():
        out = at.model.generate(
            input_ids=ids,
            attention_mask=mask.long(),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=MAX_NEW_TOKENS,
            eos_token_id=at.eos,
            pad_token_id=at.tokenizer.pad_token_id,
            disable_compile=True,
        )
    ended = torch.isin(out[:, ids.shape[1] :], torch.tensor(at.eos))
    before = (ended.cumsum(1) - ended.long()) == 0  # up to the end token, which counts
    return int(before.sum()), int(before.sum(1).max())


def greedy_difference(at: Bench, prompts: list[Ints]) -> float:
    """Share of answers that differ between `generate` without sampling and `sample` as the temperature goes to 0."""
    answers = sample(at.model, prompts, 1, at.decoding(1e-5), seed=0, tokens_at_once=1 << 16)
    ids, mask = left_pad(prompts, at.tokenizer.pad_token_id, "cpu")
    with torch.no_grad():
        out = at.model.generate(
            input_ids=ids,
            attention_mask=mask.long(),
            do_sample=False,
            max_new_tokens=MAX_NEW_TOKENS,
            eos_token_id=at.eos,
            pad_token_id=at.tokenizer.pad_token_id,
        )
    answers = [
        (s.ids.tolist(), row[: len(s.ids)].tolist()) for [s], row in zip(answers, out[:, ids.shape[1] :], strict=True)
    ]
    return float(np.mean([one != other for one, other in answers]))


def compared(at: Bench, tasks: list[Task], rounds: int) -> dict[str, float]:
    """CPU-microseconds a useful token, both ways."""
    prompts = [prompt_ids(at.tokenizer, t.messages) for t in tasks]
    sampled: dict[str, list[tuple[int, int]]] = {"ours": [], "peer": []}
    seeds = {"ours": iter(range(10_000)), "peer": iter(range(10_000))}
    seconds = interleaved(
        {
            "ours": lambda: sampled["ours"].append(ours(at, prompts, next(seeds["ours"]))),
            "peer": lambda: sampled["peer"].append(generated(at, prompts, next(seeds["peer"]))),
        },
        rounds,
    )
    micro = {
        name: float(np.median([1e6 * s / tokens for s, (tokens, _) in zip(values, sampled[name][1:], strict=True)]))
        for name, values in seconds.items()
    }
    mean = float(np.mean([tokens for tokens, _ in sampled["peer"][1:]])) / (len(prompts) * GROUP)
    longest = float(np.mean([most for _, most in sampled["peer"][1:]]))
    return {**micro, "ratio": micro["peer"] / micro["ours"], "mean_length": mean, "longest_over_mean": longest / mean}


def sampling(quick: bool) -> dict[str, Any]:
    """Eight answers to each of 16 prompts at temperature 1: prompts of 2 to 15 steps, and of 5 alone."""
    prompts, rounds = (4, 2) if quick else (16, 15)
    at = bench()
    usual, mixed = usual_tasks(prompts), mixed_tasks(prompts)
    greedy = greedy_difference(at, [prompt_ids(at.tokenizer, t.messages) for t in mixed])
    return {
        **compared(at, mixed, rounds),
        "unit": "CPU-microseconds a useful token",
        "peer_name": "transformers generate (dynamic cache), without signals",
        "model": MODEL,
        "prompts": prompts,
        "answers_a_prompt": GROUP,
        "five_steps": compared(at, usual, rounds),
        "agreement": agree({"greedy_answers_that_differ": greedy}, 0.05),
    }
