"""Sampling against a plain loop that grows its cache by concatenation, and against `generate`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from frown.engine import sampling
from frown.engine.cache import RoomyLayer, repeat
from frown.engine.model import takes_masks
from frown.engine.sampling import Decoding, Sample, left_pad, sample
from frown.signals.token import signals_of_logits

SHAPE = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": 7,
    "pad_token_id": 0,
}
GROUPED = {**SHAPE, "num_key_value_heads": 2, "head_dim": 8}


def model(kind: str):
    torch.manual_seed(3)
    made = {
        "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**GROUPED)),
        "qwen3 window": lambda: Qwen3ForCausalLM(
            Qwen3Config(
                **GROUPED,
                use_sliding_window=True,
                sliding_window=9,
                layer_types=["sliding_attention", "full_attention"],
            )
        ),
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED)),
        "llama eager": lambda: LlamaForCausalLM._from_config(LlamaConfig(**GROUPED), attn_implementation="eager"),
        "neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SHAPE)),
        "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**GROUPED, sliding_window=9, query_pre_attn_scalar=8)),
    }[kind]()
    with torch.no_grad():
        for p in made.parameters():
            if p.ndim > 1:
                p.mul_(4.0)  # distributions that differ from token to token
    return made.eval()


KINDS = ["qwen3", "qwen3 window", "llama", "llama eager", "neox", "gemma2"]


def prompts(lengths: list[int]) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(8, 61, n) for n in lengths]


@torch.no_grad()
def plain(model, prompts, n, decoding, generator) -> list[list[Sample]]:
    """The same draws, nothing clever: the cache grows by itself, signals are read at every step."""
    temperature, most, eos_ids, pad = decoding
    ids, mask = left_pad(prompts, pad, "cpu")
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    ragged = not bool(mask.all())
    out = model(ids, attention_mask=mask if ragged else None, position_ids=positions if ragged else None)
    cache, logits = out.past_key_values, out.logits[:, -1].float().repeat_interleave(n, 0)
    cache.batch_repeat_interleave(n)
    mask, position = mask.repeat_interleave(n, 0), positions[:, -1:].repeat_interleave(n, 0)
    answers: list[list] = [[] for _ in range(len(prompts) * n)]
    row = list(range(len(answers)))
    dead: set[int] = set()
    for _ in range(most):
        logits = logits / temperature if temperature != 1.0 else logits
        token = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
        for i, r in enumerate(row):
            if r not in dead:
                signals = signals_of_logits(logits[i : i + 1], token[i : i + 1])
                other = next(int(t) for t in logits[i].argsort(descending=True) if t != token[i])
                answers[r].append((int(token[i]), {k: float(v) for k, v in signals.items()}, other))
        dead |= {r for i, r in enumerate(row) if int(token[i]) in eos_ids}
        living = [i for i, r in enumerate(row) if r not in dead]
        if not living:
            break
        if len(living) <= 0.75 * len(row):
            keep = torch.tensor(living)
            cache.batch_select_indices(keep)
            row, token, mask, position = [row[i] for i in living], token[keep], mask[keep], position[keep]
        position = position + 1
        mask = torch.cat([mask, mask.new_ones(len(row), 1)], 1)
        out = model(
            token[:, None], attention_mask=mask if ragged else None, position_ids=position, past_key_values=cache
        )
        cache, logits = out.past_key_values, out.logits[:, -1].float()
    made = [
        Sample(
            torch.tensor([t for t, _, _ in a]),
            -torch.tensor([s["surprisal"] for _, s, _ in a]),
            {k: torch.tensor([s[k] for _, s, _ in a]) for k in a[0][1]},
            torch.tensor([other for _, _, other in a]),
            a[-1][0] in eos_ids,
        )
        for a in answers
    ]
    return [made[i : i + n] for i in range(0, len(made), n)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("lengths", "n", "temperature"), [([5, 12, 3], 4, 1.0), ([9, 9], 3, 0.7), ([6], 1, 1.3)])
def test_a_seed_gives_the_tokens_of_the_plain_loop(kind, lengths, n, temperature, monkeypatch):
    monkeypatch.setattr(sampling, "_WAITING_BYTES", 61 * 4 * 40)  # signals are read several times
    m = model(kind)
    decoding = Decoding(temperature, 60, [7, 20, 33], 0)
    found = sample(m, prompts(lengths), n, decoding, generator=torch.Generator().manual_seed(5), tokens_at_once=10**6)
    expected = plain(m, prompts(lengths), n, decoding, torch.Generator().manual_seed(5))
    assert len({len(s.ids) for group in expected for s in group}) > 1 or n == 1
    for a, b in zip(found, expected, strict=True):
        for x, y in zip(a, b, strict=True):
            assert x.ids.tolist() == y.ids.tolist() and x.finished == y.finished
            assert x.alternative.tolist() == y.alternative.tolist()
            torch.testing.assert_close(x.logp, y.logp, rtol=1e-5, atol=1e-6)
            assert x.signals.keys() == y.signals.keys()
            for name in x.signals:
                torch.testing.assert_close(x.signals[name], y.signals[name], rtol=1e-5, atol=1e-5, msg=name)


def test_the_lab_model_writes_what_the_plain_loop_writes():
    from frown.config import ModelConfig
    from frown.engine import model as models
    from frown.engine.text import prompt_ids
    from frown.lab.environment import LabEnvironment

    m, tokenizer, _ = models.load(ModelConfig(path="lab:chains-0"))
    m.eval()
    asked = [prompt_ids(tokenizer, t.messages) for t in LabEnvironment("chains").test_tasks("dev", 12)]
    decoding = Decoding(1.0, 48, [tokenizer.eos_token_id], tokenizer.pad_token_id)
    found = sample(m, asked, 4, decoding, generator=torch.Generator().manual_seed(0), tokens_at_once=10**6)
    expected = plain(m, asked, 4, decoding, torch.Generator().manual_seed(0))
    assert [[s.ids.tolist() for s in g] for g in found] == [[s.ids.tolist() for s in g] for g in expected]


@pytest.mark.parametrize("kind", KINDS)
def test_near_zero_temperature_writes_what_greedy_generate_writes(kind):
    m = model(kind)
    asked = prompts([5, 12, 3, 8])
    decoding = Decoding(1e-4, 50, [7, 20, 33], 0)
    found = sample(m, asked, 2, decoding, generator=torch.Generator().manual_seed(0), tokens_at_once=10**6)
    for prompt, group in zip(asked, found, strict=True):
        ids = torch.tensor(prompt)[None]
        written = m.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=50,
            eos_token_id=[7, 20, 33],
            pad_token_id=0,
        )[0, len(prompt) :].tolist()
        for s in group:
            assert s.ids.tolist() == written
            assert s.finished == (written[-1] in (7, 20, 33))


def test_a_model_with_a_window_keeps_its_own_masks():
    """Sliding layers must not be given the mask of the full ones."""
    for kind, full in [("qwen3", True), ("qwen3 window", False)]:
        m = model(kind)
        assert takes_masks(m)
        with torch.no_grad():
            cache = m(torch.arange(8, 20)[None], use_cache=True).past_key_values
        assert repeat(cache, 2) is full
    assert not takes_masks(model("llama eager"))


def test_room_grows_and_rows_are_kept_as_by_concatenation():
    from transformers.cache_utils import DynamicLayer

    g = torch.Generator().manual_seed(0)
    grown, held = DynamicLayer(), DynamicLayer()
    first = [torch.randn(2, 3, 5, 4, generator=g), torch.randn(2, 3, 5, 6, generator=g)]
    grown.update(*first)
    held.update(*first)
    roomy = RoomyLayer(held, 3)
    grown.batch_repeat_interleave(3)
    rows = 6
    for step in range(200):
        if step in (3, 40, 150):
            keep = torch.arange(0, rows, 2)
            grown.batch_select_indices(keep)
            roomy.batch_select_indices(keep)
            rows = len(keep)
        new = 40 if step == 60 else 1
        more = [torch.randn(rows, 3, new, s, generator=g) for s in (4, 6)]
        for a, b in zip(grown.update(*more), roomy.update(*more), strict=True):
            assert torch.equal(a, b)
        assert roomy.get_seq_length() == grown.get_seq_length()
        assert roomy.get_mask_sizes(1) == grown.get_mask_sizes(1)


def test_logits_that_are_not_finite_are_said_at_once():
    from frown.errors import NotFinite

    m = model("llama")
    with torch.no_grad():
        m.lm_head.weight[5] = float("inf")
    with pytest.raises(NotFinite):
        sample(m, prompts([5]), 2, Decoding(1.0, 5, [7], 0), generator=torch.Generator(), tokens_at_once=10**6)
