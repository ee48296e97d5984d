"""Sampling against a plain loop that grows its cache by concatenation, and against `generate`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from frown.policy import sampling
from frown.policy.cache import RoomyLayer, repeat
from frown.policy.load import takes_masks
from frown.policy.sampling import Decoding, Sample, draw, left_pad, sample
from frown.runtime import uniforms
from frown.runtime.uniforms import Uniforms
from frown.signals.token import signals_of_logits

pytestmark = pytest.mark.slow

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
        "gemma3": lambda: Gemma3ForCausalLM(
            Gemma3TextConfig(
                **GROUPED,
                sliding_window=9,
                query_pre_attn_scalar=8,
                layer_types=["sliding_attention", "full_attention"],
            )
        ),
        "olmo2": lambda: Olmo2ForCausalLM(Olmo2Config(**{k: v for k, v in GROUPED.items() if k != "head_dim"})),
    }[kind]()
    with torch.no_grad():
        for p in made.parameters():
            if p.ndim > 1:
                p.mul_(4.0)  # distributions that differ from token to token
    return made.eval()


KINDS = ["qwen3", "qwen3 window", "llama", "llama eager", "neox", "gemma2", "gemma3", "olmo2"]


def prompts(lengths: list[int]) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(8, 61, n) for n in lengths]


def drawn(p: torch.Tensor, row: list[int], t: int, seed: int) -> torch.Tensor:
    """Token t of each row by one inversion over the whole vocabulary, which here is one block: the second of the two
    numbers that are drawn for a token."""
    points = [np.random.Generator(np.random.Philox(counter=r << 64, key=seed)).random(2 * t + 2)[-1] for r in row]
    edges = p.double().numpy().cumsum(1)
    return torch.tensor([int(np.searchsorted(e / e[-1], x, side="right")) for e, x in zip(edges, points, strict=True)])


@torch.no_grad()
def plain(model, prompts, n, decoding, seed) -> list[list[Sample]]:
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
    for t in range(most):
        logits = logits / temperature if temperature != 1.0 else logits
        token = drawn(logits.softmax(-1), row, t, seed)
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
    found = sample(m, prompts(lengths), n, decoding, seed=5, tokens_at_once=10**6)
    expected = plain(m, prompts(lengths), n, decoding, 5)
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
    from frown.lab.environment import LabEnvironment
    from frown.policy import load as models
    from frown.policy.text import prompt_ids

    m, tokenizer = models.load(ModelConfig(path="lab:chains-0"))[:2]
    m.eval()
    asked = [prompt_ids(tokenizer, t.messages) for t in LabEnvironment("chains").test_tasks("dev", 12)]
    decoding = Decoding(1.0, 48, [tokenizer.eos_token_id], tokenizer.pad_token_id)
    found = sample(m, asked, 4, decoding, seed=0, tokens_at_once=10**6)
    expected = plain(m, asked, 4, decoding, 0)
    assert [[s.ids.tolist() for s in g] for g in found] == [[s.ids.tolist() for s in g] for g in expected]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_near_zero_temperature_writes_what_greedy_generate_writes(kind, seed):
    """Token for token, batched and padded by either, with answers that end at different times."""
    m, ends = model(kind), [7, 20, 33, *range(40, 46)]
    rng = np.random.default_rng(seed)
    asked = [rng.integers(8, 61, size) for size in rng.integers(2, 30, 12)]
    decoding = Decoding(1e-6, 50, ends, 0)
    found = sample(m, asked, 2, decoding, seed=0, tokens_at_once=900)
    ids, mask = left_pad(asked, 0, "cpu")
    written = m.generate(
        ids,
        attention_mask=mask.long(),
        do_sample=False,
        max_new_tokens=50,
        eos_token_id=ends,
        pad_token_id=0,
    )[:, ids.shape[1] :].tolist()
    for row, group in zip(written, found, strict=True):
        end = next((i for i, token in enumerate(row) if token in ends), None)
        for s in group:
            assert s.ids.tolist() == (row if end is None else row[: end + 1])
            assert s.finished == (end is not None)
    assert len({len(group[0].ids) for group in found}) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_recorded_is_what_a_forward_over_the_whole_text_says(kind):
    """No cache, no padding, no batch."""
    m = model(kind)
    asked = prompts([5, 25, 3, 12])
    decoding = Decoding(0.8, 40, [7], 0)
    found = sample(m, asked, 3, decoding, seed=2, tokens_at_once=10**6)
    assert max(len(s.ids) for group in found for s in group) == 40  # well past the window
    for prompt, group in zip(asked, found, strict=True):
        for s in group:
            with torch.no_grad():
                logits = m(torch.cat([torch.tensor(prompt), s.ids])[None]).logits[0, len(prompt) - 1 : -1] / 0.8
            expected = signals_of_logits(logits, s.ids)
            torch.testing.assert_close(s.logp, -expected["surprisal"], rtol=1e-4, atol=1e-4)
            assert s.signals.keys() == expected.keys()
            for name in expected:
                torch.testing.assert_close(s.signals[name], expected[name], rtol=1e-3, atol=1e-3, msg=name)
            others = logits.scatter(-1, s.ids[:, None], -torch.inf).argmax(-1)
            assert torch.equal(s.alternative, others)


def test_prompts_come_back_in_the_order_they_were_asked():
    m = model("qwen3")
    asked = prompts([4, 28, 9, 17, 4])
    decoding = Decoding(1e-6, 20, [7], 0)
    whole, cut = (sample(m, asked, 2, decoding, seed=0, tokens_at_once=most) for most in (10**6, 1))
    alone = [sample(m, [p], 2, decoding, seed=0, tokens_at_once=10**6)[0] for p in asked]
    for found in (whole, cut):
        assert [[s.ids.tolist() for s in g] for g in found] == [[s.ids.tolist() for s in g] for g in alone]


@pytest.mark.parametrize("kind", ["qwen3", "gemma3"])
def test_what_is_drawn_does_not_depend_on_what_it_is_batched_with(kind, monkeypatch):
    """Prompts cut into other batches, or shared out between processes, give the tokens of the whole."""
    monkeypatch.setattr(uniforms, "_PIECE", 8)  # it is drawn for fewer tokens at a time than there will be
    m, n = model(kind), 3
    asked = prompts([4, 28, 9, 17, 4, 11])
    decoding = Decoding(1.0, 60, [7, 20], 0)

    def tokens(some: list[np.ndarray], first: int = 0, most: int = 10**6) -> list[list[list[int]]]:
        found = sample(m, some, n, decoding, seed=4, tokens_at_once=most, first=first)
        return [[s.ids.tolist() for s in g] for g in found]

    whole = tokens(asked)
    assert len({tuple(ids) for g in whole for ids in g}) == len(asked) * n
    assert max(len(ids) for g in whole for ids in g) > 8
    assert tokens(asked, most=1) == tokens(asked, most=500) == whole
    assert tokens(asked[:4]) + tokens(asked[4:], first=4 * n) == whole
    assert tokens([]) == []


def test_numbers_of_an_answer_are_its_own_and_go_on_when_others_are_dropped():
    few, many = Uniforms(9, [5, 2], "cpu"), Uniforms(9, [1, 2, 3, 5], "cpu")
    for t in range(200):
        a, b = few.next(), many.next()
        assert torch.equal(a, b[[1, 0] if t > 70 else [3, 1]])
        assert a.shape == (2, 2) and a.dtype == torch.float64 and bool(((a >= 0) & (a < 1)).all())
        if t == 70:
            many.keep(torch.tensor([1, 3]))
    assert not torch.equal(Uniforms(8, [2], "cpu").next(), Uniforms(9, [2], "cpu").next())


@pytest.mark.parametrize("vocabulary", [1, 33, 256, 257, 1000])
def test_drawn_tokens_follow_their_probabilities(vocabulary):
    g = torch.Generator().manual_seed(0)
    p = torch.rand(vocabulary, generator=g) ** 4
    if vocabulary > 2:
        p[::3] = 0
    p = p / p.sum()
    times = 30_000
    uniform = torch.rand(times, 2, dtype=torch.float64, generator=g)
    counts = torch.bincount(draw(p.expand(times, -1), uniform), minlength=vocabulary).double()
    assert len(counts) == vocabulary and not counts[p == 0].any()
    expected = p.double() * times
    seen = expected >= 5
    # Pearson's statistic; the rare tokens are one class.
    pairs = [(counts[seen], expected[seen]), (counts[~seen].sum()[None], expected[~seen].sum()[None].clamp(min=1e-9))]
    value = sum(float(((c - e) ** 2 / e).sum()) for c, e in pairs)
    assert chi2.sf(value, max(1, int(seen.sum()))) > 1e-3


def test_a_long_tail_of_rare_tokens_is_drawn_as_often_as_it_should_be():
    """Beside 1, each of them is less than the rounding of a running sum in float32."""
    p = torch.full((1_000_000,), 2e-8)
    p[0] = 0.98
    share, times = 0.02, 900
    g = torch.Generator().manual_seed(1)
    uniform = torch.rand(times // 10, 10, 2, dtype=torch.float64, generator=g)
    rare = sum(int((draw(p.expand(10, -1), u) > 0).sum()) for u in uniform)
    assert abs(rare - times * share) < 4 * (times * share) ** 0.5  # 18 +- 17: none at all is too few


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
        sample(m, prompts([5]), 2, Decoding(1.0, 5, [7], 0), seed=0, tokens_at_once=10**6)
