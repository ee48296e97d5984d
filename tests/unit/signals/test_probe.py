"""Probes against scikit-learn, on planted labels and on labels that mean nothing."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from frown.errors import FrownError
from frown.signals.probe import ProbeTarget, fit, hidden_states


def planted(n: int = 240, width: int = 6, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Hidden states of uneven scale, with a label that follows one direction but for noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, width)) * np.logspace(-2, 2, width) + 3.0
    z = (x - 3.0) / np.logspace(-2, 2, width)
    y = (z[:, 0] - z[:, -1] + 0.7 * rng.normal(size=n) > 0).astype(int)
    return torch.tensor(x, dtype=torch.float32), y


def target(width: int = 6) -> ProbeTarget:
    return ProbeTarget("step_wrong", layer=2, layers=4, width=width)


@pytest.mark.parametrize("l2", [1e-3, 1e-1])
def test_the_linear_probe_is_scikit_learns_logistic_regression(l2: float) -> None:
    x, y = planted()
    probe = fit(x, y, target(), l2=l2)
    z = StandardScaler().fit_transform(x.double().numpy())
    sklearn = LogisticRegression(C=1 / (l2 * len(y)), tol=1e-10, max_iter=2000).fit(z, y)
    np.testing.assert_allclose(probe.predict(x), sklearn.predict_proba(z)[:, 1], atol=1e-5)


@pytest.mark.slow
def test_two_layers_read_what_one_cannot() -> None:
    rng = np.random.default_rng(1)
    x = torch.tensor(rng.normal(size=(300, 4)))
    y = (x[:, 0] * x[:, 1] > 0).int().numpy()
    linear, deep = fit(x, y, target(4)), fit(x, y, target(4), units=8, l2=1e-4, seed=0)
    assert roc_auc_score(y, linear.predict(x).numpy()) < 0.65 < 0.95 < roc_auc_score(y, deep.predict(x).numpy())
    again = fit(x, y, target(4), units=8, l2=1e-4, seed=0)
    torch.testing.assert_close(deep.predict(x), again.predict(x), rtol=0, atol=0)


def test_probabilities_do_not_depend_on_the_units_of_a_hidden_state() -> None:
    x, y = planted()
    torch.testing.assert_close(
        fit(x, y, target()).predict(x), fit(8 * x - 5, y, target()).predict(8 * x - 5), rtol=1e-4, atol=1e-5
    )


def test_a_constant_unit_does_no_harm() -> None:
    x, y = planted()
    x[:, 3] = 7.0
    p = fit(x, y, target()).predict(x)
    assert torch.isfinite(p).all() and p.min() >= 0 and p.max() <= 1


def test_what_cannot_be_fitted_or_read_is_refused() -> None:
    x, y = planted()
    with pytest.raises(ValueError, match="needs rows"):
        fit(x, np.ones(len(y)), target())
    with pytest.raises(ValueError, match="hidden is"):
        fit(x[:-1], y, target())
    with pytest.raises(FrownError, match="width 6"):
        fit(x, y, target()).predict(x[:, :4])


def test_hidden_states_are_read_where_asked() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=3, num_attention_heads=2)
    model = LlamaForCausalLM(config).eval()
    ids = torch.randint(0, 20, (2, 5), generator=torch.Generator().manual_seed(0))
    found = hidden_states(model.model, ids, torch.tensor([0, 1, 1]), torch.tensor([4, 0, 2]))
    assert found.shape == (4, 3, 8)
    torch.testing.assert_close(found[0], model.model.embed_tokens(ids[[0, 1, 1], [4, 0, 2]]))
    torch.testing.assert_close(found[3] @ model.lm_head.weight.T, model(ids).logits[[0, 1, 1], [4, 0, 2]])
