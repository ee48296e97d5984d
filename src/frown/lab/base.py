"""The tiny base model: a Qwen3 architecture made from nothing, and its pretraining.

`model_path` says where the bundled ones lie; it needs no torch.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from frown.errors import FrownError
from frown.lab.corpus import LATE_LENGTHS, LENGTHS, STRETCH_LENGTHS, batches
from frown.lab.family import get_family
from frown.lab.text import BOS, EOS, IDS, PAD, VOCABULARY, make_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import Qwen3ForCausalLM

MODELS = ("chains-0", "chains-1", "columns-0", "columns-1")
"""The bundled base models: family and seed."""


@dataclass(frozen=True)
class Size:
    """The shape of a base: width of its layers and of their feed-forward, layers, attention heads."""

    width: int = 96
    layers: int = 3
    feed_forward: int = 256
    heads: int = 3


@dataclass(frozen=True)
class Recipe:
    """How a base is trained: two legs of AdamW, each with warm-up and a cosine to `floor` of its peak rate.

    The loss is on answers only. The first leg teaches the task and to read contexts, on short problems almost to
    its end; the second stretches both to problems of up to 15 steps.
    """

    size: Size = Size()
    steps: int = 6000
    """Training steps of the first leg."""
    late: float = 0.15
    """Share of the first leg, at its end, that sees longer problems."""
    stretch: int = 2000
    """Training steps of the second leg."""
    batch: int = 32
    """Documents a step."""
    rate: float = 2e-3
    """Peak learning rate of the first leg."""
    stretch_rate: float = 1.5e-3
    """Peak learning rate of the second leg."""
    warmup: int = 100
    floor: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    clip: float = 1.0

    def share_at(self, step: int, steps: int) -> float:
        """Learning rate at step 1 .. steps of a leg, as a share of its peak."""
        cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
        return min(1.0, step / self.warmup) * (self.floor + (1 - self.floor) * cosine)


RECIPES: dict[str, Recipe] = {
    "tiny": Recipe(),
    "large": Recipe(Size(width=384, layers=8, feed_forward=1024, heads=6), batch=64, rate=6e-4, stretch_rate=4e-4),
}
"""The bundled kind (a third of a million parameters), and one of 14 million that wants an accelerator."""


@dataclass(frozen=True)
class Progress:
    """How far pretraining is: step, running loss (nats a token), tokens seen (padding included), seconds."""

    step: int
    loss: float
    tokens: int
    seconds: float


def model_path(name: str) -> Path:
    """The folder of a bundled base model.

    Raises:
        FrownError: when there is no such model.
    """
    if name not in MODELS:
        raise FrownError(f"lab: no bundled model {name!r}; there are {', '.join(MODELS)}")
    path = Path(__file__).parent / "models" / name
    if not (path / "config.json").is_file():
        family, seed = name.rsplit("-", 1)
        raise FrownError(
            f"lab: the bundled model {name} is missing from {path}; reinstall frown, or build it: "
            f"python -m frown.lab.build --family {family} --seed {seed} --out {path}"
        )
    return path


def new_model(seed: int, size: Size = Recipe.size) -> Qwen3ForCausalLM:
    """An untrained base (of the bundled size about 335 thousand parameters)."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=len(VOCABULARY),
        hidden_size=size.width,
        intermediate_size=size.feed_forward,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        head_dim=size.width // size.heads,
        max_position_embeddings=512,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=True,
        attention_bias=False,
        pad_token_id=IDS[PAD],
        bos_token_id=IDS[BOS],
        eos_token_id=IDS[EOS],
    )
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(config)
    # Narrow layers want a wider start than the 0.02 of large models; what writes into the residual stream is
    # scaled down by its depth.
    into_residual = (2 * config.num_hidden_layers) ** -0.5
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() < 2:
                continue
            scale = 0.02 if "embed" in name else config.hidden_size**-0.5
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                scale *= into_residual
            weight.normal_(0.0, scale)
    return model


def pretrain(
    family_name: str,
    seed: int,
    recipe: Recipe,
    report: Callable[[Progress, Qwen3ForCausalLM], None] = lambda progress, model: None,
    every: int = 250,
    device: str = "cpu",
) -> tuple[Qwen3ForCausalLM, Progress]:
    """Train a base from nothing. The same seed gives the same weights (on one thread of one kind of machine).

    `report` is called every `every` steps and at the end.
    """
    family = get_family(family_name)
    model = new_model(seed, recipe.size)
    model.to(device)  # type: ignore[arg-type]  # the library types its decorated `to` for models alone
    rng = random.Random(f"{family_name}/{seed}")
    early, late = (batches(family, rng, recipe.batch, lengths) for lengths in (LENGTHS, LATE_LENGTHS))
    turn = recipe.steps * (1 - recipe.late)
    first = (next(early if step <= turn else late) for step in range(1, recipe.steps + 1))
    progress = _train(model, first, recipe.steps, recipe.rate, recipe, Progress(0, 0.0, 0, 0.0), report, every)
    rng = random.Random(f"{family_name}/{seed}/stretch")
    second = batches(family, rng, recipe.batch, STRETCH_LENGTHS)
    progress = _train(model, second, recipe.stretch, recipe.stretch_rate, recipe, progress, report, every)
    model.cpu()
    return model, progress


def _train(
    model: Qwen3ForCausalLM,
    source: Iterator[list[tuple[list[int], int]]],
    steps: int,
    rate: float,
    recipe: Recipe,
    before: Progress,
    report: Callable[[Progress, Qwen3ForCausalLM], None],
    every: int,
) -> Progress:
    """Train for one leg, with an optimiser of its own."""
    import torch

    model.train()
    decay = [p for p in model.parameters() if p.dim() >= 2]
    plain = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decay, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=rate, betas=recipe.betas, fused=True)
    began, progress, running = time.perf_counter(), before, 0.0
    tokens = before.tokens
    for step in range(1, steps + 1):
        ids, on_answer = (x.to(model.device) for x in _pad(next(source)))
        for group in optimiser.param_groups:
            group["lr"] = rate * recipe.share_at(step, steps)
        hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[on_answer])
        loss = torch.nn.functional.cross_entropy(logits, ids[:, 1:][on_answer])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimiser.step()
        tokens += ids.numel()
        running = 0.98 * running + 0.02 * loss.item()
        if step % every == 0 or step == steps:
            seconds = before.seconds + time.perf_counter() - began
            progress = Progress(before.step + step, running / (1 - 0.98**step), tokens, seconds)
            report(progress, model)
    model.eval()
    return progress


def save(model: Qwen3ForCausalLM, folder: Path) -> None:
    """Write an ordinary model folder: configuration, weights, tokenizer, generation settings."""
    from transformers import GenerationConfig

    folder.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(
        pad_token_id=IDS[PAD],
        bos_token_id=IDS[BOS],
        eos_token_id=IDS[EOS],
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=128,
    )
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)


def _pad(batch: list[tuple[list[int], int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids padded on the right (attention is causal, so padding needs no mask), and where the loss falls."""
    import torch

    longest = max(len(ids) for ids, _ in batch)
    ids = torch.full((len(batch), longest), IDS[PAD])
    for row, (sequence, _) in zip(ids, batch, strict=True):
        row[: len(sequence)] = torch.tensor(sequence)
    places = torch.arange(1, longest)[None]
    prompt = torch.tensor([n for _, n in batch])[:, None]
    return ids, (places >= prompt) & (ids[:, 1:] != IDS[PAD])
