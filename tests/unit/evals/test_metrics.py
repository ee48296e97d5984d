"""Figures that tell what is right from what is right in the form that was asked for."""

import numpy as np
import pytest

from frown.evals.metrics import metrics
from frown.evals.samples import GradedSamples


def test_strict_accuracy_counts_what_is_right_in_the_asked_form():
    score = np.array([[1.0, 1.0, 0.0, np.nan], [1.0, 0.0, 1.0, 1.0]])
    formed = np.array([[True, False, True, False], [False, True, True, True]])
    plain = np.ones_like(score)
    samples = GradedSamples(
        step=1, split="test", task_ids=("a", "b"), score=score, well_formed=formed, process_right=plain * np.nan,
        answer=np.full(score.shape, "5", dtype=object), min_probability=plain, mean_probability=plain, tokens=plain,
        entropy=plain, surprisal=plain, truncated=plain < 0,
    )  # fmt: skip
    figures = metrics(4)
    assert figures["strict_accuracy"].of(samples) == pytest.approx(3 / 7)
    assert figures["avg_at_k"].of(samples) > figures["strict_accuracy"].of(samples)
