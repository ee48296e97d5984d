"""Prediction variance against scipy in float64, and copies that leave the model as it was."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.special
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from torch import Tensor

from frown.signals import variance
from frown.signals.token import log_probabilities


def logits_of(k: int, c: int, v: int, scale: float = 2.0, seed: int = 0) -> Tensor:
    return torch.randn(k, c, v, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def oracle(logits: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
    """[K, N, V] logits, everything in float64 from scipy's relative entropies."""
    p = scipy.special.softmax(logits.astype(np.float64), -1)
    kl = lambda a, b: scipy.special.rel_entr(a, b).sum(-1)  # noqa: E731
    chosen = p[:, np.arange(len(targets)), targets]
    entropy = lambda q: scipy.special.entr(q).sum(-1)  # noqa: E731
    return {
        "mutual_information": entropy(p.mean(0)) - entropy(p).mean(0),
        "probability_variance": ((chosen - chosen.mean(0)) ** 2).mean(0),
        "kl_to_others": kl(p[:1], p[1:]).mean(0),
        "kl_from_others": kl(p[1:], p[:1]).mean(0),
    }


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("chunk", [None, 1, 4])
@pytest.mark.parametrize("own_heads", [False, True])
def test_spread_is_the_definitions(temperature: float, chunk: int | None, own_heads: bool) -> None:
    g = torch.Generator().manual_seed(1)
    hidden = torch.randn(3, 11, 6, generator=g)
    heads = [torch.randn(29, 6, generator=g) for _ in range(3)] if own_heads else torch.randn(29, 6, generator=g)
    targets = torch.randint(0, 29, (11,), generator=g)
    found = variance.spread(hidden, heads, targets, temperature, chunk)
    each = heads if isinstance(heads, list) else [heads] * 3
    logits = np.stack([h.double().numpy() @ w.double().numpy().T for h, w in zip(hidden, each, strict=True)])
    expected = oracle(logits / temperature, targets.numpy())
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].numpy(), value, rtol=1e-5, atol=1e-5, err_msg=name)


def test_two_copies_are_jensen_shannon() -> None:
    logits = logits_of(2, 9, 17)
    p = scipy.special.softmax(logits.numpy(), -1)
    found = variance.mutual_information(log_probabilities(logits))
    np.testing.assert_allclose(found, jensenshannon(p[0], p[1], axis=-1) ** 2, atol=1e-10)


def test_small_divergences_keep_their_digits_in_float32() -> None:
    one = torch.randn(5, 1000, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    logits = torch.stack([one, one + 1e-2 * torch.randn(5, 1000, generator=torch.Generator().manual_seed(3))])
    targets = torch.zeros(5, dtype=torch.long)
    expected = oracle(logits.float().numpy(), targets.numpy())
    logp = log_probabilities(logits.float())
    np.testing.assert_allclose(variance.mutual_information(logp), expected["mutual_information"], rtol=5e-3)
    np.testing.assert_allclose(variance.kl(logp[0], logp[1]), expected["kl_to_others"], rtol=5e-3)


def test_opposite_and_equal_copies() -> None:
    sure = torch.full((3, 1, 3), -300.0)
    sure[torch.arange(3), 0, torch.arange(3)] = 0.0
    logp = log_probabilities(sure)
    np.testing.assert_allclose(variance.mutual_information(logp), [math.log(3)], rtol=1e-6)
    np.testing.assert_allclose(variance.probability_variance(logp, torch.tensor([0])), [2 / 9], rtol=1e-6)
    same = logp[:1].expand(4, 1, 3)
    np.testing.assert_allclose(variance.mutual_information(same), [0], atol=1e-7)
    np.testing.assert_allclose(variance.probability_variance(same, torch.tensor([0])), [0], atol=1e-7)


def test_an_impossible_token_costs_at_most_ten_thousand_nats() -> None:
    p, q = log_probabilities(torch.zeros(1, 2)), log_probabilities(torch.tensor([[0.0, -torch.inf]]))
    assert 4e3 < variance.kl(p, q).item() < 1e4
    np.testing.assert_allclose(variance.kl(q, p), [math.log(2)], rtol=1e-6)
    assert torch.isfinite(variance.mutual_information(torch.stack([p, q]))).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(2, 9), st.floats(0.01, 30), st.integers(0, 99))
def test_ranges_hold_and_the_order_of_copies_is_nothing(k: int, v: int, scale: float, seed: int) -> None:
    logp = log_probabilities(logits_of(k, 3, v, scale, seed))
    targets = torch.arange(3) % v
    mi, var = variance.mutual_information(logp), variance.probability_variance(logp, targets)
    assert (mi >= 0).all() and (mi <= math.log(k) + 1e-9).all()
    assert (var >= 0).all() and (var <= 0.25 + 1e-12).all()
    turned = logp.flip(0)
    torch.testing.assert_close(variance.mutual_information(turned), mi)
    torch.testing.assert_close(variance.probability_variance(turned, targets), var)


def test_shapes_that_do_not_fit_are_refused() -> None:
    hidden, weight, targets = torch.zeros(2, 3, 4), torch.zeros(5, 4), torch.zeros(3, dtype=torch.long)
    for broken in (
        lambda: variance.spread(hidden[:1], weight, targets),
        lambda: variance.spread(hidden, [weight], targets),
        lambda: variance.spread(hidden, weight, targets[:2]),
        lambda: variance.spread(hidden, weight, targets, 0.0),
    ):
        with pytest.raises(ValueError):
            broken()


# -- copies ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=31, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=64, tie_word_embeddings=True,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).eval()


IDS = torch.arange(12).reshape(2, 6)


def score(model) -> Tensor:
    return model.model(input_ids=IDS, use_cache=False).last_hidden_state.flatten(0, 1)


def fingerprint(model) -> list[bytes]:
    return [p.detach().numpy().tobytes() for p in model.parameters()]


COPIES: list[Callable] = [variance.dropout_copies, variance.noise_copies]


@pytest.mark.parametrize("make", COPIES)
def test_copies_differ_repeat_with_the_seed_and_leave_no_trace(model, make: Callable) -> None:
    before, plain = fingerprint(model), score(model).detach()
    one, again, other = (
        make(model, score, copies=3, seed=5),
        make(model, score, copies=3, seed=5),
        make(model, score, copies=3, seed=9),
    )
    assert one.shape == (3, 12, 16)
    torch.testing.assert_close(one, again, rtol=0, atol=0)
    assert not torch.allclose(one, other) and not torch.allclose(one[0], one[1]) and not torch.allclose(one[0], plain)
    assert fingerprint(model) == before
    torch.testing.assert_close(score(model).detach(), plain, rtol=0, atol=0)
    found = variance.spread(torch.cat([plain[None], one]), model.lm_head.weight, IDS.flatten())
    assert (found["mutual_information"] > 0).all() and (found["kl_to_others"] > 0).all()


@pytest.mark.parametrize(
    ("make", "small", "large"),
    [(COPIES[0], {"rate": 0.02}, {"rate": 0.4}), (COPIES[1], {"scale": 0.002}, {"scale": 0.2})],
)
def test_a_larger_disturbance_disagrees_more(model, make: Callable, small: dict, large: dict) -> None:
    head = model.lm_head.weight
    a, b = (variance.spread(make(model, score, copies=6, **how), head, IDS.flatten()) for how in (small, large))
    assert a["mutual_information"].mean() < b["mutual_information"].mean()


@pytest.mark.parametrize("make", COPIES)
def test_the_model_is_restored_when_scoring_fails(model, make: Callable) -> None:
    before, plain = fingerprint(model), score(model).detach()

    def fails(m):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        make(model, fails, copies=2)
    assert fingerprint(model) == before
    torch.testing.assert_close(score(model).detach(), plain, rtol=0, atol=0)


def test_noise_has_the_asked_size_and_spares_the_head(model) -> None:
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    name = "model.layers.0.mlp.up_proj.weight"
    with variance.weight_noise(model, scale=0.1, seed=0):
        now = dict(model.named_parameters())
        torch.testing.assert_close(model.lm_head.weight, weights["model.embed_tokens.weight"], rtol=0, atol=0)
        noise = now[name].detach() - weights[name]
        np.testing.assert_allclose(noise.std() / weights[name].std(), 0.1, rtol=0.1)
        assert sum(not torch.equal(now[n], w) for n, w in weights.items()) >= 14  # 7 matrices a layer


def test_dropout_keeps_the_mean_and_drops_the_asked_share(model) -> None:
    seen = []
    branch = model.model.layers[0].mlp
    plain = score(model)

    def watch(module, inputs, output):
        seen.append(output)

    hooks = []

    def scored(m):
        if not hooks:  # registered after dropout's own hook, so it sees what dropout made
            hooks.append(branch.register_forward_hook(watch))
        return score(m)

    variance.dropout_copies(model, scored, rate=0.3, copies=60, seed=1)
    hooks[0].remove()
    zeros = torch.stack(seen) == 0
    np.testing.assert_allclose(zeros.float().mean(), 0.3, atol=0.02)
    assert torch.isfinite(plain).all()


def test_branches_of_other_families_are_found() -> None:
    from transformers import (
        GPT2Config,
        GPT2LMHeadModel,
        GPTNeoXConfig,
        GPTNeoXForCausalLM,
        LlamaConfig,
        LlamaForCausalLM,
        OPTConfig,
        OPTForCausalLM,
    )

    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=8, n_layer=2, n_head=2, n_positions=16))
    llama = LlamaForCausalLM(
        LlamaConfig(vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=3, num_attention_heads=2)
    )
    assert [type(m).__name__ for m in variance.residual_branches(gpt2)] == ["GPT2Attention", "GPT2MLP"] * 2
    assert [type(m).__name__ for m in variance.residual_branches(llama)] == ["LlamaAttention", "LlamaMLP"] * 3
    small = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    neox = GPTNeoXForCausalLM(GPTNeoXConfig(**small, intermediate_size=8))
    assert [type(m).__name__ for m in variance.residual_branches(neox)] == ["GPTNeoXAttention", "GPTNeoXMLP"]
    with pytest.raises(ValueError, match="which are residual"):
        variance.residual_branches(OPTForCausalLM(OPTConfig(**small, ffn_dim=8, word_embed_proj_dim=8)))
    with pytest.raises(ValueError, match="no list of layers"):
        variance.residual_branches(torch.nn.Linear(2, 2))


def test_settings_out_of_range_are_refused(model) -> None:
    with pytest.raises(ValueError, match="rate"):
        variance.dropout_copies(model, score, rate=1.0)
    with pytest.raises(ValueError, match="above 0"):
        variance.noise_copies(model, score, scale=0.0)
