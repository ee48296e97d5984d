"""Packed rows against the same sequences alone: layout, hidden states, gradients, tokens computed, fallbacks."""

from __future__ import annotations

import importlib
import itertools
import json

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from frown.config import RunConfig, parse
from frown.learner.learner import Learner
from frown.policy import trunk
from frown.policy.load import takes_masks
from frown.policy.packing import attention_blocks, lay_out
from frown.policy.rows import Row, arranged, micro_batches
from frown.policy.trunk import Choice, choose, hidden_states
from frown.training.run import train
from frown.types import Rollout, Task, TeacherView
from learning import parsed
from tiny import byte_model, gsm8k_rows, write_jsonl

pytestmark = pytest.mark.slow

SIZE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
WINDOW = {**SIZE, "num_hidden_layers": 4, "sliding_window": 6}
BOTH = ["sliding_attention", "full_attention"]
GPT = {"vocab_size": 97, "n_embd": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 1, "eos_token_id": 2}
FAMILIES = {
    "Qwen3": ("Qwen3Config", "Qwen3ForCausalLM", SIZE),
    "Llama": ("LlamaConfig", "LlamaForCausalLM", SIZE),
    "Mistral": ("MistralConfig", "MistralForCausalLM", WINDOW),
    "Gemma2": ("Gemma2Config", "Gemma2ForCausalLM", {**WINDOW, "attn_logit_softcapping": 0.5}),
    "Gemma3": ("Gemma3TextConfig", "Gemma3ForCausalLM", {**WINDOW, "layer_types": BOTH * 2}),
    "OLMo2": ("Olmo2Config", "Olmo2ForCausalLM", SIZE),
    "gpt-oss": ("GptOssConfig", "GptOssForCausalLM", {**WINDOW, "num_local_experts": 2, "num_experts_per_tok": 1}),
    "GPT-2": ("GPT2Config", "GPT2LMHeadModel", GPT),
}  # fmt: skip
UNPACKED = {
    "Bloom": ("BloomConfig", "BloomForCausalLM", {"vocab_size": 97, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "Mamba": ("MambaConfig", "MambaForCausalLM", {**SIZE, "state_size": 4}),
    "LFM2": ("Lfm2Config", "Lfm2ForCausalLM", {**SIZE, "full_attn_idxs": [1]}),
}


class Double:
    """torch, whose single precision is double: what models compute in float32 on the way is float64 then."""

    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


@pytest.fixture
def exact(monkeypatch):
    """Nothing in a model is rounded to less than float64."""
    for config, _, _ in FAMILIES.values():
        module = importlib.import_module(getattr(transformers, config).__module__.replace("configuration", "modeling"))
        monkeypatch.setattr(module, "torch", Double())
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


def made(config: str, model: str, values: dict, dtype: torch.dtype = torch.float64):
    """A random model, its weights large enough that attention is far from even."""
    torch.manual_seed(0)
    m = getattr(transformers, model)(getattr(transformers, config)(**values)).to(dtype).eval()
    m.set_experts_implementation("eager")  # the grouped product has no float64
    with torch.no_grad():
        for p in m.parameters():
            p.add_(0.15 * torch.randn_like(p))
    return m


# -- layout --------------------------------------------------------------------------------------------------------


@st.composite
def trees(draw, most_tokens: int = 2, longest: int = 24):
    """Sequences of few different tokens, some of which begin with a part of another."""
    sequence = st.lists(st.integers(0, most_tokens - 1), min_size=1, max_size=longest)
    found = draw(st.lists(sequence, min_size=1, max_size=6))
    for _ in range(draw(st.integers(0, 5))):
        stem = draw(st.sampled_from(found))
        found.append(stem[: draw(st.integers(1, len(stem)))] + draw(st.lists(st.integers(0, 1), max_size=longest)))
    return [np.array(s) for s in draw(st.permutations(found))]


@given(trees(), st.integers(1, 12))
@settings(max_examples=150, deadline=None)
def test_every_token_sees_its_own_sequence_up_to_itself_and_nothing_else(sequences, least):
    layout = lay_out(sequences, least)
    order = np.arange(len(layout.ids))
    seen = (order <= order[:, None]) & (order[:, None] < layout.seen_until)
    used = set()
    for sequence, places in zip(sequences, layout.places, strict=True):
        np.testing.assert_array_equal(layout.ids[places], sequence)
        np.testing.assert_array_equal(layout.positions[places], np.arange(len(sequence)))
        for j, place in enumerate(places):
            np.testing.assert_array_equal(np.flatnonzero(seen[place]), places[: j + 1])
        used |= set(places.tolist())
    assert used == set(order.tolist())  # nothing is computed that nobody needs
    by_blocks = np.zeros_like(seen)
    for block in attention_blocks(layout):
        for queries, keys, count in zip(*block, strict=True):
            for q in queries:
                by_blocks[q, [k for k in keys[:count] if layout.positions[k] <= layout.positions[q]]] = True
    np.testing.assert_array_equal(by_blocks, seen)


@given(trees())
@settings(max_examples=60, deadline=None)
def test_with_no_least_length_the_row_is_as_long_as_there_are_different_beginnings(sequences):
    beginnings = {tuple(s[: j + 1]) for s in sequences for j in range(len(s))}
    assert len(lay_out(sequences, 1).ids) == len(beginnings)
    side_by_side = lay_out(sequences, 1 << 62)
    assert len(side_by_side.ids) == sum(map(len, {tuple(s) for s in sequences}))


def test_long_segments_are_cut_and_padding_is_bounded():
    rng = np.random.default_rng(0)
    prompt = rng.integers(0, 90, 700)
    layout = lay_out([np.concatenate([prompt, rng.integers(0, 90, n)]) for n in (3, 90, 500)])
    blocks = attention_blocks(layout)
    assert max(b.queries.shape[1] for b in blocks) <= 256
    places = np.concatenate([np.unique(row) for b in blocks for row in b.queries])
    np.testing.assert_array_equal(np.sort(places), np.arange(len(layout.ids)))


# -- hidden states and gradients -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models():
    return {name: made(*spec) for name, spec in FAMILIES.items()}


def read(model, sequences, way):
    """Hidden states of every token, and the gradients of a sum that weighs them unevenly."""
    model.zero_grad()
    with trunk.engaged(model, way):
        states = hidden_states(model, sequences, [np.arange(len(s)) for s in sequences], way)
        weight = torch.linspace(-1, 1, states.numel(), dtype=states.dtype).cos().view_as(states)
        (states * weight).sum().backward()
    return states.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


def assert_same(mine, plain, tolerance: float):
    for a, b in zip((mine[0], *mine[1]), (plain[0], *plain[1]), strict=True):
        assert float((a - b).norm()) <= tolerance * max(1.0, float(b.norm()))


SHAPES = {
    "siblings": [[5] * 20 + [7, i] for i in range(4)],
    "one row": [list(range(3, 30))],
    "no sharing": [list(range(i, i + 12 + i)) for i in (3, 20, 40)],
    "identical": [list(range(3, 20))] * 3,
    "a sequence within another": [list(range(3, 40)), list(range(3, 20))],
    "one token": [[3], [4], [3]],
    "three levels": [list(range(3, 15)) + [a] * 12 + [b] * 9 for a, b in itertools.product((50, 60), (70, 80))],
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", SHAPES)
def test_states_and_gradients_are_those_of_padded_rows(models, exact, family, shape):
    model = models[family]
    assert choose(model) == Choice("blocks")
    sequences = [np.array(s) for s in SHAPES[shape]]
    assert_same(read(model, sequences, "blocks"), read(model, sequences, "padded"), 1e-10)


@pytest.mark.parametrize("family", ["Qwen3", "Gemma2", "gpt-oss"])
def test_states_and_gradients_of_random_trees(models, exact, family):
    @given(trees(most_tokens=2, longest=30))
    @settings(max_examples=15, deadline=None)
    def check(sequences):
        assert_same(read(models[family], sequences, "blocks"), read(models[family], sequences, "padded"), 1e-10)

    check()


@pytest.mark.parametrize("family", ["Qwen3", "Gemma3"])
def test_float32_differs_by_rounding_alone(family):
    model = made(*FAMILIES[family], dtype=torch.float32)
    sequences = [np.array(s) for s in SHAPES["three levels"]]
    assert_same(read(model, sequences, "blocks"), read(model, sequences, "padded"), 2e-5)


@pytest.mark.parametrize("family", ["Qwen3", "Gemma2", "Mistral"])
def test_flex_attention_sees_the_same(models, family):
    """Without compiling, and without gradients, which flex attention has on an accelerator only."""
    model = models[family].float()
    rng = np.random.default_rng(0)
    prompt = rng.integers(3, 97, 140)  # more than one block of the mask
    sequences = [np.concatenate([prompt, rng.integers(3, 97, n)]) for n in (2, 150, 30)]
    sequences += [rng.integers(3, 97, n) for n in (1, 40)]
    at = [np.arange(len(s)) for s in sequences]
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        flex, padded = (hidden_states(model, sequences, at, way) for way in ("flex", "padded"))
    model.double()
    assert float((flex - padded).norm()) <= 1e-5 * float(padded.norm())


@pytest.mark.parametrize("way", ["blocks", "padded"])
def test_gradient_checkpointing_changes_nothing(exact, way):
    model = made(*FAMILIES["Gemma2"])
    sequences = [np.array(s) for s in SHAPES["siblings"]]
    plain = read(model, sequences, "padded")
    model.train()  # transformers computes again only then; this model has no dropout
    model.gradient_checkpointing_enable({"use_reentrant": False})
    passes = []
    hook = model.model.layers[0].mlp.register_forward_hook(lambda *_: passes.append(1))
    again = read(model, sequences, way)
    hook.remove()
    assert len(passes) == 2
    assert_same(again, plain, 1e-10)


def test_afterwards_the_model_is_as_it_was(models, tmp_path):
    model = models["Qwen3"]
    model.save_pretrained(tmp_path / "before")
    with pytest.raises(ZeroDivisionError), trunk.engaged(model, "blocks"):
        assert not takes_masks(model)
        raise ZeroDivisionError
    hidden_states(model, [np.arange(3, 9)], [np.arange(6)], "blocks")
    assert takes_masks(model)
    model.save_pretrained(tmp_path / "after")
    before, after = (json.loads((tmp_path / x / "config.json").read_text()) for x in ("before", "after"))
    assert before == after and "frown" not in str(after)


# -- models that cannot be packed ------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", UNPACKED)
def test_a_model_that_cannot_be_packed_is_padded_and_says_so(family):
    model = made(*UNPACKED[family])
    found = choose(model)
    assert found.way == "padded" and not found.shares
    assert len(found.notes) == 1 and type(model).__name__ in found.notes[0] and "padded" in found.notes[0]
    states, _ = read(model, [np.array(s) for s in SHAPES["siblings"]], found.way)
    alone = hidden_states(model, [np.array(SHAPES["siblings"][1])], [np.arange(22)], "padded")
    torch.testing.assert_close(states[22:44], alone.detach())


def test_a_model_whose_attention_cannot_be_replaced_is_packed_side_by_side():
    model = made("StableLmConfig", "StableLmForCausalLM", {k: v for k, v in SIZE.items() if k != "head_dim"})
    found = choose(model)
    assert found.way == "side by side" and not found.shares and "StableLm" in found.notes[0]
    seen = []
    model.get_input_embeddings().register_forward_hook(lambda m, inputs, out: seen.append(tuple(inputs[0].shape)))
    sequences = [np.arange(3, 3 + n) for n in (20, 12, 8, 7, 13)]
    assert_same(read(model, sequences, "side by side"), read(model, sequences, "padded"), 1e-10)
    assert seen == [(3, 20), (5, 20)]


@pytest.mark.parametrize("way", ["looks back", "looks at places"])
def test_a_model_that_does_more_than_attend_is_found_out(way):
    """One that mixes neighbours in the row, and one that goes by the place in the row instead of the position."""
    model = made(*FAMILIES["Qwen3"])

    def more(module, inputs, output):
        places = torch.arange(output.shape[1], dtype=output.dtype)[None, :, None]
        return output + (output.roll(1, 1) * (places > 0) if way == "looks back" else torch.cos(places))

    model.model.layers[1].mlp.register_forward_hook(more)
    found = choose(model)
    assert found.way == "padded" and "gives other hidden states" in found.notes[0]


# -- the learner ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return byte_model(tmp_path_factory.mktemp("model"))


def learner(folder, **changes) -> Learner:
    model = {"path": str(folder), **changes.pop("model", {})}
    return parsed({"model": model, "task": {"kind": "exact"}, **changes})


def batch(rng=None, prompts: int = 3, answers: int = 4):
    """Rollouts and views whose contexts are equal among the siblings of one prompt and only begin alike elsewhere."""
    rng = rng or np.random.default_rng(0)
    rollouts, views = [], []
    for g in range(prompts):
        prompt, context = rng.integers(0, 250, 11 + 9 * g), rng.integers(0, 250, 40 + g)
        for a in range(answers):
            ids = rng.integers(0, 250, 1 if a == 2 else rng.integers(2, 30))
            task = Task(id=str(g), messages=({"role": "user", "content": "x"},), answer="")
            own = context if g != 1 else np.concatenate([context, rng.integers(0, 250, 5)])
            weight = (rng.random(len(ids)) * (rng.random(len(ids)) > 0.4)).astype(np.float32)
            if (g, a) != (2, 3):  # one has an advantage alone
                views.append(TeacherView(len(rollouts), own, weight))
            rollouts.append(Rollout(task, g, prompt, ids, np.zeros(len(ids), np.float32), 1.0, "eos", ""))
    return rollouts, views, [rng.normal(size=len(r.ids)).astype(np.float32) for r in rollouts]


def learnt(e: Learner, way: str, most: int):
    e.policy.packing = e.policy.packing._replace(choice=Choice(way), most_tokens=most)
    e.optimiser.zero_grad()
    update = e.backward(*batch(), distillation=e.config.method.share)
    return update, [p.grad.clone() for p in e.parameters if p.grad is not None]


@pytest.mark.parametrize("lora", [None, {"rank": 4}])
@pytest.mark.parametrize("weights", ["ema", "frozen", "live"])
def test_the_learner_learns_the_same_from_packed_rows(folder, lora, weights):
    if lora:
        pytest.importorskip("peft")
    e = learner(
        folder,
        model={"lora": lora},
        teacher={"weights": weights},
        method={"type": "opsd", "distillation": 0.6},
    )
    assert e.policy.packing.choice == Choice("blocks")
    with torch.no_grad():  # student and teacher differ, and adapters are not zero
        for i, p in enumerate(e.parameters):
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(i)))
    (padded, expected), *others = (
        learnt(e, way, most)
        for way, most in (("padded", 100_000), ("blocks", 100_000), ("blocks", 120), ("side by side", 100_000))
    )
    for seen, gradients in others:
        assert seen.averages == pytest.approx(padded.averages, rel=2e-5)
        for got, plain in zip(seen.views, padded.views, strict=True):
            for name in plain:
                np.testing.assert_allclose(got[name], plain[name], rtol=2e-4, atol=2e-5)  # NaN at the same tokens
        for a, b in zip(gradients, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-7)


def test_a_bfloat16_base_with_adapters_learns_from_packed_rows(folder):
    pytest.importorskip("peft")
    e = learner(folder, model={"lora": {"rank": 4}, "dtype": "bfloat16"}, method="opsd")
    assert e.policy.packing.choice == Choice("blocks")
    assert np.isfinite(learnt(e, "blocks", 1000)[0].averages["loss"]) and e.step() > 0


def test_score_and_variance_are_the_same_and_in_the_order_asked(folder):
    e = learner(folder, micro_batch_tokens=150)
    rollouts, views, _ = batch()
    views = [views[i] for i in np.random.default_rng(1).permutation(len(views))]
    mine = e.score(rollouts, views), e.policy.prediction_variance(rollouts, copies=2, seed=0)
    e.policy.packing = e.policy.packing._replace(choice=Choice("padded"))
    plain = e.score(rollouts, views), e.policy.prediction_variance(rollouts, copies=2, seed=0)
    for a, b in zip(mine[0], plain[0], strict=True):
        for name in b:
            np.testing.assert_allclose(a[name], b[name], atol=2e-5)
    for x, y in zip(mine[1], plain[1], strict=True):
        np.testing.assert_allclose(x, y, atol=2e-5)


def test_only_tokens_that_differ_and_count_reach_the_trunk(folder):
    e = learner(folder, teacher={"weights": "live"})
    counted = []
    e.policy.model.get_input_embeddings().register_forward_hook(lambda m, inputs, out: counted.append(inputs[0].shape))
    rng = np.random.default_rng(3)
    prompt, context = rng.integers(0, 250, 30), rng.integers(0, 250, 80)
    lengths, ends = (12, 9, 20, 7), (12, 4, 1)  # the last one carries no weight
    rollouts, views = [], []
    for i, n in enumerate(lengths):
        task = Task(id="x", messages=({"role": "user", "content": "x"},), answer="")
        ids = np.concatenate([[i], rng.integers(0, 250, n - 1)])
        rollouts.append(Rollout(task, 0, prompt, ids, np.zeros(n, np.float32), 1.0, "eos", ""))
        weight = np.zeros(n, np.float32)
        weight[: ends[i] if i < 3 else 0] = 1.0
        views.append(TeacherView(i, context, weight))
    e.backward(rollouts, views, [np.zeros(n, np.float32) for n in lengths], distillation=1.0)
    answers = sum(end - 1 for end in ends)
    assert counted == [(1, 30 + answers), (1, 80 + answers)]


@given(trees(longest=40), trees(longest=40), st.integers(20, 200))
@settings(max_examples=150, deadline=None)
def test_batches_of_packed_rows_keep_to_their_budget_and_to_their_prompts(prompts, contexts, most):
    rows = [Row(prompts[i % len(prompts)], np.array([0, 1, i, 1]), context) for i, context in enumerate(contexts * 2)]
    order = arranged(rows, shared=True)
    assert sorted(order) == list(range(len(rows)))
    families = [rows[i].prompt_ids.tobytes() for i in order]
    assert len(list(itertools.groupby(families))) == len(set(families))
    batches = micro_batches([rows[i] for i in order], most, shared=True)
    assert [r for b in batches for r in b] == [rows[i] for i in order]
    for members in batches:
        sides = ([np.concatenate([r.prompt_ids, r.ids[:-1]]) for r in members],
                 [np.concatenate([r.context_ids, r.ids[:-1]]) for r in members])  # fmt: skip
        assert len(members) == 1 or max(len(lay_out(side).ids) for side in sides) <= most
    assert len(micro_batches([rows[i] for i in order], 10_000, shared=True)) == 1


def test_a_run_says_that_its_model_is_padded(tmp_path, monkeypatch):
    """From a model whose attention is its own, through a whole run, to the warning and the run's record."""
    path = byte_model(tmp_path / "model")
    monkeypatch.setattr(transformers.Qwen3ForCausalLM, "_supports_attention_backend", False)
    monkeypatch.setattr(trunk, "_side_by_side", lambda *_: 1 / 0)
    settings = {
        "model": {"path": str(path)},
        "task": {"kind": "math", "data": str(write_jsonl(tmp_path / "rows.jsonl", gsm8k_rows(12)))},
        "sampling": {"prompts_per_step": 1, "responses_per_prompt": 2, "max_new_tokens": 8},
        "method": {"type": "sdpo", "feedback": ["outcome"]},
        "optimiser": {"steps": 1},
        "eval": {"every": 1, "prompts": 1, "samples": 1},
    }
    warned = []
    train(parse(RunConfig, settings, "test"), tmp_path / "run", warned.append)
    said = [line for line in warned if "padded" in line]
    assert len(said) == 1 and "the attention of Qwen3ForCausalLM cannot be replaced" in said[0]
    assert said[0] in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_the_gradient_that_decides_on_flex_attention_is_the_same_for_packed_and_padded_rows() -> None:
    model = made(*FAMILIES["Qwen3"], dtype=torch.float32)
    ids = np.arange(2, 40)
    sequences = [ids[:20], np.concatenate([ids[:12], ids[25:33]]), ids[30:]]
    places = [np.arange(len(s)) for s in sequences]
    model.requires_grad_(False)
    found = [trunk._gradient(model, sequences, places, way) for way in ("padded", "blocks")]
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-7)
    assert found[0].norm() > 0 and not any(p.requires_grad for p in model.parameters())
