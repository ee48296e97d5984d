"""Prediction variance against scipy in float64, and copies that leave the model as it was."""

import math

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


def oracle(logits: np.ndarray) -> np.ndarray:
    """Mutual information of [K, N, V] logits, everything in float64 from scipy's entropies."""
    p = scipy.special.softmax(logits.astype(np.float64), -1)
    return scipy.special.entr(p.mean(0)).sum(-1) - scipy.special.entr(p).sum(-1).mean(0)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("chunk", [None, 1, 4])
def test_the_information_of_copies_is_the_definition(temperature: float, chunk: int | None) -> None:
    g = torch.Generator().manual_seed(1)
    hidden, weight = torch.randn(3, 11, 6, generator=g), torch.randn(29, 6, generator=g)
    information = variance.copies_mutual_information(hidden, lambda h: h @ weight.T, temperature, chunk)
    expected = oracle(np.stack([h.double().numpy() @ weight.double().numpy().T for h in hidden]) / temperature)
    np.testing.assert_allclose(information.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_two_copies_are_jensen_shannon() -> None:
    logits = logits_of(2, 9, 17)
    p = scipy.special.softmax(logits.numpy(), -1)
    found = variance.mutual_information(log_probabilities(logits))
    np.testing.assert_allclose(found, jensenshannon(p[0], p[1], axis=-1) ** 2, atol=1e-10)


def test_small_divergences_keep_their_digits_in_float32() -> None:
    one = torch.randn(5, 1000, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    logits = torch.stack([one, one + 1e-2 * torch.randn(5, 1000, generator=torch.Generator().manual_seed(3))])
    logp = log_probabilities(logits.float())
    np.testing.assert_allclose(variance.mutual_information(logp), oracle(logits.float().numpy()), rtol=5e-3)
    p, q = scipy.special.softmax(logits.float().double().numpy(), -1)
    np.testing.assert_allclose(variance.kl(logp[0], logp[1]), scipy.special.rel_entr(p, q).sum(-1), rtol=5e-3)


def test_opposite_and_equal_copies() -> None:
    sure = torch.full((3, 1, 3), -300.0)
    sure[torch.arange(3), 0, torch.arange(3)] = 0.0
    logp = log_probabilities(sure)
    np.testing.assert_allclose(variance.mutual_information(logp), [math.log(3)], rtol=1e-6)
    same = logp[:1].expand(4, 1, 3)
    np.testing.assert_allclose(variance.mutual_information(same), [0], atol=1e-7)


def test_an_impossible_token_costs_at_most_ten_thousand_nats() -> None:
    p, q = log_probabilities(torch.zeros(1, 2)), log_probabilities(torch.tensor([[0.0, -torch.inf]]))
    assert 4e3 < variance.kl(p, q).item() < 1e4
    np.testing.assert_allclose(variance.kl(q, p), [math.log(2)], rtol=1e-6)
    assert torch.isfinite(variance.mutual_information(torch.stack([p, q]))).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 5), st.integers(2, 9), st.floats(0.01, 30), st.integers(0, 99))
def test_ranges_hold_and_the_order_of_copies_is_nothing(k: int, v: int, scale: float, seed: int) -> None:
    logp = log_probabilities(logits_of(k, 3, v, scale, seed))
    mi = variance.mutual_information(logp)
    assert (mi >= 0).all() and (mi <= math.log(k) + 1e-9).all()
    torch.testing.assert_close(variance.mutual_information(logp.flip(0)), mi)


def test_shapes_that_do_not_fit_are_refused() -> None:
    hidden, head = torch.zeros(2, 3, 4), torch.nn.Linear(4, 5)
    with pytest.raises(ValueError, match="K >= 2"):
        variance.copies_mutual_information(hidden[:1], head)
    with pytest.raises(ValueError, match="temperature"):
        variance.copies_mutual_information(hidden, head, 0.0)


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


def test_copies_differ_repeat_with_the_seed_and_leave_no_trace(model) -> None:
    before, plain = fingerprint(model), score(model).detach()
    one, again, other = (
        variance.noise_copies(model, score, copies=3, seed=5),
        variance.noise_copies(model, score, copies=3, seed=5),
        variance.noise_copies(model, score, copies=3, seed=9),
    )
    assert one.shape == (3, 12, 16)
    torch.testing.assert_close(one, again, rtol=0, atol=0)
    assert not torch.allclose(one, other) and not torch.allclose(one[0], one[1]) and not torch.allclose(one[0], plain)
    assert fingerprint(model) == before
    torch.testing.assert_close(score(model).detach(), plain, rtol=0, atol=0)
    assert (variance.copies_mutual_information(torch.cat([plain[None], one]), model.lm_head) > 0).all()


def test_a_larger_disturbance_disagrees_more(model) -> None:
    small, large = (
        variance.copies_mutual_information(variance.noise_copies(model, score, copies=6, scale=s), model.lm_head).mean()
        for s in (0.002, 0.2)
    )
    assert small < large


def test_the_model_is_restored_when_scoring_fails(model) -> None:
    before, plain = fingerprint(model), score(model).detach()

    def fails(m):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        variance.noise_copies(model, fails, copies=2)
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


def test_settings_out_of_range_are_refused(model) -> None:
    with pytest.raises(ValueError, match="above 0"):
        variance.noise_copies(model, score, scale=0.0)
