"""Build a base model from nothing: `python -m frown.lab.build --family chains --seed 0 --out DIR`.

Writes an ordinary model folder, and a model card with what was measured on it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from frown.errors import FrownError
from frown.lab.base import RECIPES, Progress, pretrain, save
from frown.lab.card import PLACES, accuracy, teacher_quality
from frown.lab.corpus import CRITIQUES, FOREIGN, KINDS, LATE_LENGTHS, LENGTHS, STRETCH_LENGTHS
from frown.lab.family import get_family

CARD_LENGTHS = (2, 3, 5, 7, 8, 10, 12, 15)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, save, measure, write the card. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m frown.lab.build", description=__doc__.splitlines()[0])
    parser.add_argument("--family", required=True, help="chains or columns")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the corpus")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--size", default="tiny", choices=list(RECIPES), help="tiny as bundled, or large (14 million)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=1, help="torch threads; builds repeat exactly with 1")
    given = parser.parse_args(arguments)
    try:
        get_family(given.family)
        build(given.family, given.seed, given.out, given.size, given.threads, given.device)
    except FrownError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def build(family: str, seed: int, out: Path, size: str, threads: int = 1, device: str = "cpu") -> None:
    """Train a base, save it to a folder and write its card there."""
    import torch

    recipe = RECIPES[size]
    if device != "cpu" and not torch.cuda.is_available():
        raise FrownError(f"--device {device}: there is no such accelerator here; leave it out for the CPU")

    torch.set_num_threads(threads)

    def show(progress: Progress, model: Any) -> None:
        now = accuracy(model.cpu(), family, problems=40, samples=4, split="dev")
        model.to(device)
        print(
            f"step {progress.step}/{recipe.steps + recipe.stretch}  loss {progress.loss:.4f} nats a token  "
            f"right {now['accuracy']:.2f}  well formed {now['well_formed']:.2f}  "
            f"{progress.tokens / progress.seconds:.0f} tokens a second  {progress.seconds:.0f} s",
            flush=True,
        )

    model, progress = pretrain(family, seed, recipe, show, device=device)
    save(model, out)
    (out / "README.md").write_text(card(model, family, seed, size, progress), encoding="utf-8")
    print(f"wrote {out}", flush=True)


def card(model: Any, family: str, seed: int, size: str, progress: Progress) -> str:
    """The model card. Every figure in it is measured or read from the code here."""
    recipe, sized = RECIPES[size], "" if size == "tiny" else f" --size {size}"
    example = {
        "chains": "Q7@3+8*6 is answered 7@3=4;4+8=2;2*6=2",
        "columns": "Q7+1,3@5,8+9 is answered 07+1=08;03@5=17;18+9=18",
    }[family]
    shares = ", ".join(f"{k} {v:.2f}" for k, v in KINDS.items())
    scopes = ", ".join(f"{k} {v:.2f}" for k, v in CRITIQUES.items())
    lengths, late, stretch = (
        ", ".join(f"{k}: {v:.2f}" for k, v in table.items()) for table in (LENGTHS, LATE_LENGTHS, STRETCH_LENGTHS)
    )
    parameters = sum(p.numel() for p in model.parameters())
    return f"""---
license: apache-2.0
library_name: transformers
tags: [frown, self-distillation]
---
# frown lab base: {family}, seed {seed}

A tiny language model made from nothing, so that self-distillation can be studied on a laptop. It knows one
task family ({example}; results of "@" depend on a convention) and how to use feedback about an answer. It is
an honest prior, not a skilled model: the environment's convention is one draw from the prior it learnt.

## Recipe

- Qwen3 architecture, {parameters:,} parameters, {model.config.num_hidden_layers} layers of width \
{model.config.hidden_size}; one character a token, {model.config.vocab_size} tokens.
- {recipe.steps} training steps on short problems at a peak rate of {recipe.rate:g}, then {recipe.stretch} on \
problems of up to 15 steps at {recipe.stretch_rate:g}; {progress.tokens:,} tokens, padding included.
- Each leg: {recipe.batch} documents a training step, AdamW with betas {recipe.betas[0]:g}/{recipe.betas[1]:g}, \
weight decay {recipe.weight_decay:g}, gradient norm at most {recipe.clip:g}, {recipe.warmup} steps of warm-up, \
cosine to {recipe.floor:.0%}; loss on the answer only.
- Kinds of context: {shares}. Steps a critique speaks about: {scopes}. {FOREIGN:.0%} of the contexts with content \
speak from a foreign convention.
- Steps a document: {lengths}; in the last {recipe.late:.0%} of the first leg {late}; in the second leg {stretch}.
- Built in {progress.seconds:.0f} s on one thread (progress checks included); final running loss \
{progress.loss:.4f} nats a token.
- Rebuild: `python -m frown.lab.build --family {family} --seed {seed}{sized} --out DIR`

## How well it answers

± is one standard error, with answers to one problem as one cluster; n counts answers.

{_accuracy_table(model, family)}

## What context does for it as a teacher

Its own well-formed, failed answers to dev problems of 5 steps: probability of the right result (given the
answer's own state) at each step, ± one standard error, and in brackets the mean change against no context. n
counts steps.

{_teacher_table(model, family)}
"""


def _accuracy_table(model: Any, family: str) -> str:
    rows = [
        "| problems | steps | sampled | well formed | right steps | n | greedy |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for split, steps in [("test", k) for k in CARD_LENGTHS] + [("heldout", 5)]:
        now = accuracy(model, family, steps, problems=100, samples=8, split=split)
        top = accuracy(model, family, steps, problems=100, split=split, greedy=True)
        rows.append(
            f"| {split} | {steps} | {now['accuracy']:.3f} ± {now['accuracy_se']:.3f} "
            f"| {now['well_formed']:.3f} | {now['step_accuracy']:.3f} | {now['n']} "
            f"| {top['accuracy']:.3f} ± {top['accuracy_se']:.3f} |"
        )
    return "\n".join(rows)


def _teacher_table(model: Any, family: str) -> str:
    table = teacher_quality(model, family, problems=150)
    counts = " | ".join(f"{p.replace('_', ' ')} (n = {table['none'][p]['n']})" for p in PLACES)
    rows = [f"| context | {counts} |", "| --- | --- | --- | --- | --- |"]
    for name, places in table.items():
        cells = [f"{places[p]['p']:.3f} ± {places[p]['se']:.3f}" for p in PLACES]
        if name != "none":
            gains = [f" ({places[p]['gain']:+.3f} ± {places[p]['gain_se']:.3f})" for p in PLACES]
            cells = [c + g for c, g in zip(cells, gains, strict=True)]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
