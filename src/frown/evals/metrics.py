"""The figures of a final evaluation that a summary reports: which statistic, of which arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frown.evals import accuracy, calibration
from frown.evals.samples import GradedSamples
from frown.evals.weights import Statistic, mean_of_samples

Arrays = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Metric:
    """A statistic and the arrays [N, ...] of one evaluation that it is taken of."""

    statistic: Statistic
    arrays: Callable[[GradedSamples], Arrays]

    def of(self, samples: GradedSamples) -> float:
        """The figure of one evaluation; NaN where it is not defined."""
        return float(self.statistic(*self.arrays(samples)))


def _codes(s: GradedSamples) -> NDArray[np.int64]:
    return accuracy.answer_codes(s.answer, s.well_formed & s.scored)


def _vote(s: GradedSamples) -> Arrays:
    return (accuracy.vote_of_prompts(_codes(s), s.right),)


def confidence_agreement(s: GradedSamples) -> Arrays:
    """[N, k] each: agreement of a prompt's samples as confidence, and whether they are right."""
    return calibration.agreement(_codes(s), s.scored), s.right


def confidence_weakest(s: GradedSamples) -> Arrays:
    """[N, k] each: the probability of the least likely token as confidence, and whether the answer is right."""
    return s.min_probability, s.right


def _among_scored(name: str) -> Callable[[GradedSamples], Arrays]:
    return lambda s: (np.where(s.scored, getattr(s, name).astype(np.float64), np.nan),)


def metrics(k: int) -> dict[str, Metric]:
    """Name to metric, for k samples a prompt. The names are the keys of a summary, see docs/summary.md."""
    mean = mean_of_samples
    return {
        "avg_at_k": Metric(accuracy.avg_at_k, lambda s: (s.score,)),
        "pass_at_k": Metric(partial(accuracy.pass_at, j=k), lambda s: (s.right,)),
        "maj_at_k": Metric(accuracy.mean_of_prompts, _vote),
        "ece": Metric(calibration.ece, confidence_agreement),
        "ece_min_probability": Metric(calibration.ece, confidence_weakest),
        "brier": Metric(calibration.brier, confidence_agreement),
        "brier_min_probability": Metric(calibration.brier, confidence_weakest),
        "auroc_min_probability": Metric(calibration.auroc, confidence_weakest),
        "aurc": Metric(calibration.aurc, confidence_agreement),
        "aurc_min_probability": Metric(calibration.aurc, confidence_weakest),
        "well_formed": Metric(mean, _among_scored("well_formed")),
        "truncated": Metric(mean, lambda s: (s.truncated.astype(np.float64),)),
        "length": Metric(mean, lambda s: (s.tokens.astype(np.float64),)),
        "process_accuracy": Metric(accuracy.process_accuracy, _among_scored("process_right")),
        "right_answer_wrong_step": Metric(accuracy.right_answer_wrong_step, lambda s: (s.right, s.process_right)),
        "entropy": Metric(mean, lambda s: (s.entropy,)),
        "surprisal": Metric(mean, lambda s: (s.surprisal,)),
        "strict_accuracy": Metric(mean, lambda s: (s.right * s.well_formed,)),
    }


CURVE = ("ece", "entropy", "surprisal")
"""The metrics that a summary also gives at every evaluation, beside Avg@k."""
EVERY_PAIR = ("avg_at_k", "auc", "ece", "brier", "ece_min_probability", "brier_min_probability")
"""The metrics in which arms are compared."""
CHANGE = tuple(name for name in EVERY_PAIR if name != "auc")
"""The metrics in which the trained policy is compared with the untrained one."""
