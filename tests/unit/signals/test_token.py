"""Token signals against float64 closed forms and scipy."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from frown.signals import token

NAMES = {"surprisal", "entropy", "varentropy", "top_probability", "margin", "self_certainty"}


def oracle(logits: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
    """The definitions, in float64, by scipy."""
    logp = scipy.special.log_softmax(logits.astype(np.float64), axis=-1)
    p = np.exp(logp)
    h = scipy.stats.entropy(p, axis=-1)
    top = np.sort(p, axis=-1)
    with np.errstate(invalid="ignore"):
        spread = np.where(p > 0, p * (-logp - h[:, None]) ** 2, 0.0).sum(-1)
    return {
        "surprisal": -logp[np.arange(len(targets)), targets],
        "entropy": h,
        "varentropy": spread,
        "top_probability": top[:, -1],
        "margin": top[:, -1] - top[:, -2],
        "self_certainty": scipy.special.rel_entr(1 / p.shape[-1], p).sum(-1),
    }


@pytest.mark.parametrize("vocabulary", [2, 40, 20_011])
@pytest.mark.parametrize("scale", [0.01, 1.0, 8.0])
def test_signals_are_the_definitions(vocabulary: int, scale: float) -> None:
    rng = np.random.default_rng(0)
    logits = (rng.normal(size=(33, vocabulary)) * scale).astype(np.float32)
    targets = rng.integers(0, vocabulary, 33)
    found = token.signals_of_logits(torch.tensor(logits), torch.tensor(targets))
    assert set(found) == NAMES
    for name, expected in oracle(logits, targets).items():
        assert found[name].shape == (33,)
        np.testing.assert_allclose(found[name].numpy(), expected, rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_peaked_distribution_over_a_large_vocabulary_keeps_its_tail() -> None:
    # 150,000 small terms beside one large: a running float32 sum loses them, and with them the normaliser.
    logits = torch.zeros(4, 150_001)
    logits[:, 7] = torch.tensor([12.0, 16.0, 20.0, 24.0])
    targets = torch.full((4,), 7)
    found = token.signals_of_logits(logits, targets)
    expected = oracle(logits.numpy(), targets.numpy())
    np.testing.assert_allclose(found["surprisal"].numpy(), expected["surprisal"], atol=2e-6)
    np.testing.assert_allclose(found["entropy"].numpy(), expected["entropy"], rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", ["entropy", "varentropy", "self_certainty"])
def test_each_function_alone_is_what_the_whole_gives(name: str) -> None:
    logits = torch.randn(9, 17, generator=torch.Generator().manual_seed(1))
    targets = torch.arange(9)
    logp = token.log_probabilities(logits)
    torch.testing.assert_close(getattr(token, name)(logp), token.signals_of_logits(logits, targets)[name])


def test_uniform_certain_and_tied() -> None:
    uniform, certain, tied = torch.zeros(8), torch.full((8,), -200.0), torch.full((8,), -200.0)
    certain[3], tied[1], tied[5] = 0.0, 0.0, 0.0
    s = token.signals_of_logits(torch.stack([uniform, certain, tied]), torch.tensor([0, 3, 5]))
    np.testing.assert_allclose(s["entropy"], [np.log(8), 0, np.log(2)], atol=1e-6)
    np.testing.assert_allclose(s["varentropy"], [0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(s["surprisal"], [np.log(8), 0, np.log(2)], atol=1e-6)
    np.testing.assert_allclose(s["top_probability"], [1 / 8, 1, 1 / 2], atol=1e-6)
    np.testing.assert_allclose(s["margin"], [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(s["self_certainty"][0], 0, atol=1e-6)
    # By hand: one of 8 entries has log p = 0, seven have -200; then two and six, with log p = -log 2.
    np.testing.assert_allclose(s["self_certainty"][1], 7 / 8 * 200 - np.log(8), rtol=1e-6)
    np.testing.assert_allclose(s["self_certainty"][2], 6 / 8 * 200 + np.log(2) - np.log(8), rtol=1e-6)


def test_masked_vocabulary_is_as_if_it_were_not_there() -> None:
    logits = torch.randn(6, 30, generator=torch.Generator().manual_seed(2))
    masked = torch.cat([logits, torch.full((6, 10), -torch.inf)], 1)
    targets = torch.arange(6)
    for name, value in token.signals_of_logits(masked, targets).items():
        torch.testing.assert_close(value, token.signals_of_logits(logits, targets)[name], msg=name)


def test_self_certainty_of_a_mask_in_some_rows_is_that_of_the_other_entries() -> None:
    logits = torch.randn(4, 12, generator=torch.Generator().manual_seed(4))
    masked = logits.clone()
    masked[0, 5:], masked[2, 3:] = -torch.inf, -torch.inf
    found = token.self_certainty(token.log_probabilities(masked))
    for row, n in ((0, 5), (1, 12), (2, 3), (3, 12)):
        p = scipy.special.softmax(logits[row, :n].double().numpy())
        np.testing.assert_allclose(found[row], scipy.stats.entropy(np.full(n, 1 / n), p), rtol=1e-5)
    assert token.self_certainty(token.log_probabilities(torch.tensor([[0.0, -torch.inf]]))).item() == 0.0


@pytest.mark.parametrize("vocabulary", [3, 40, 5000])
def test_effective_choices_are_the_perplexity_of_the_distribution(vocabulary: int) -> None:
    logits = torch.randn(7, vocabulary, generator=torch.Generator().manual_seed(5)) * 2
    p = scipy.special.softmax(logits.double().numpy(), -1)
    found = token.effective_choices(token.entropy(token.log_probabilities(logits)))
    np.testing.assert_allclose(found, np.exp(scipy.stats.entropy(p, axis=-1)), rtol=1e-5)
    assert (found >= 1).all() and (found <= vocabulary).all()
    even = token.effective_choices(token.entropy(token.log_probabilities(torch.zeros(1, vocabulary))))
    np.testing.assert_allclose(even, vocabulary, rtol=1e-5)


def test_no_tokens_have_no_signals() -> None:
    found = token.signals_of_logits(torch.zeros(0, 7), torch.zeros(0, dtype=torch.long))
    assert set(found) == NAMES and all(v.shape == (0,) for v in found.values())


def test_an_impossible_target_has_a_finite_surprisal() -> None:
    logits = torch.tensor([[0.0, -torch.inf]])
    assert token.signals_of_logits(logits, torch.tensor([1]))["surprisal"].item() == -token.LOG_ZERO


def test_half_precision_logits_are_widened() -> None:
    logits = torch.randn(5, 11, generator=torch.Generator().manual_seed(3)).bfloat16()
    found = token.signals_of_logits(logits, torch.arange(5))
    expected = token.signals_of_logits(logits.float(), torch.arange(5))
    for name in NAMES:
        assert found[name].dtype == torch.float32
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=0)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(st.floats(-80, 80, width=32), min_size=5, max_size=5), min_size=1, max_size=4),
    shift=st.floats(-20, 20),
)
def test_ranges_hold_and_a_shift_of_the_logits_changes_nothing(rows: list[list[float]], shift: float) -> None:
    logits = torch.tensor(rows, dtype=torch.float64)
    targets = torch.zeros(len(rows), dtype=torch.long)
    s = token.signals_of_logits(logits, targets)
    assert (s["surprisal"] >= 0).all() and (s["entropy"] >= 0).all() and (s["varentropy"] >= 0).all()
    assert (s["entropy"] <= np.log(5) + 1e-12).all()
    assert (s["top_probability"] >= 0.2 - 1e-12).all() and (s["top_probability"] <= 1).all()
    assert (s["self_certainty"] >= 0).all()
    assert (s["margin"] >= 0).all() and (s["margin"] <= s["top_probability"]).all()
    assert (torch.exp(-s["surprisal"]) <= s["top_probability"] + 1e-12).all()
    for name, value in token.signals_of_logits(logits + shift, targets).items():
        torch.testing.assert_close(value, s[name], rtol=1e-9, atol=1e-9)


def test_log_ratio_is_positive_where_the_teacher_likes_the_token_better() -> None:
    student, teacher = torch.tensor([0.2, 0.5]).log(), torch.tensor([0.4, 0.5]).log()
    np.testing.assert_allclose(token.log_ratio(student, teacher), [np.log(2), 0], atol=1e-6)


@pytest.mark.parametrize("where", [(0, 1), (3, 69_999), (70_000, 70_002), (41_000, 41_263), (69_960, 5)])
def test_the_top_two_of_a_large_vocabulary(where: tuple[int, int]) -> None:
    g = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 70_003, generator=g)
    logits[0, where[0]], logits[0, where[1]] = 9.0, 8.0
    logits[1, where[0]] = logits[1, where[1]] = 9.0  # a tie
    logits[2, list(where)] = torch.tensor([9.0, -torch.inf])
    logp = token.log_probabilities(logits)
    first, second = token.top_two(logp)
    expected = logp.topk(2, -1).values.exp()
    torch.testing.assert_close(torch.stack([first, second], -1), expected, rtol=0, atol=0)
