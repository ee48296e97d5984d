"""What is practised next: which prompts, and how difficult they are. State in, choice out.

Tutoring has the same problem: keep the learner between boredom and anxiety (Perez, Dapena and Aguilar 2024, after
Csikszentmihalyi's flow). Choosing by doubt alone was null on the lab (.882 against .878 at random): what is doubted may
be known already, or out of reach. Learnable doubt asks for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Choice = Literal["uniform", "doubt", "success", "learnable"]
Mood = Literal["boredom", "flow", "anxiety"]


class Candidate(NamedTuple):
    """What is known of a prompt: right answers out of scored ones (both may be 0), and the student's doubt, >= 0."""

    right: int
    scored: int
    doubt: float

    @property
    def success(self) -> float:
        """The expected success rate in (0, 1): Jeffreys' (right + 1/2) / (scored + 1). Never tried: 1/2.

        Never exactly 0 or 1, so that a prompt that failed or succeeded eight times is not lost for ever.
        """
        return (self.right + 0.5) / (self.scored + 1.0)


def worth(candidates: Sequence[Candidate], by: Choice) -> NDArray[np.float64]:
    """What practising each prompt is worth, 0 or more: float64[n].

    uniform 1; doubt; success: sqrt(p (1 - p)) with the success rate p (what reward alone would choose, the control of
    all that doubt adds); learnable: doubt sqrt(p (1 - p)). The root is SC-SDPO's weight of a
    question (arXiv 2605.27765): largest where half of the answers are right, as neither mastered nor hopeless prompts
    give siblings to learn from.
    """
    doubt = np.array([c.doubt for c in candidates], np.float64)
    if not (doubt >= 0).all():
        raise ValueError("a candidate's doubt is 0 or more")
    if by == "uniform":
        return np.ones(len(doubt))
    if by == "doubt":
        return doubt
    p = np.array([c.success for c in candidates], np.float64)
    spread = np.sqrt(p * (1.0 - p))
    return spread if by == "success" else doubt * spread


def choose_prompts(
    candidates: Sequence[Candidate],
    n: int,
    by: Choice,
    rng: np.random.Generator,
    *,
    draw: Literal["top", "weighted"] = "top",
) -> list[int]:
    """Which n candidates to practise, in ascending order; all of them where there are fewer.

    top: those that are worth most, ties in random order. weighted: without replacement, the odds in proportion to worth
    (Efraimidis and Spirakis 2006); those worth nothing come last. `uniform` is an even draw both ways: the control,
    which spends as many candidates.
    """
    value = worth(candidates, by)
    chance = rng.random(len(value))
    if draw == "weighted":
        with np.errstate(divide="ignore"):
            value = np.where(value > 0, np.log(chance) / np.maximum(value, 1e-300), -np.inf)
    order = np.lexsort((chance, -value))
    return sorted(order[:n].tolist())


@dataclass(frozen=True)
class Flow:
    """The band in which practice is neither boring nor frightening, and how fast difficulty follows."""

    low: float = 0.3
    """Below this success rate the learner is anxious."""
    high: float = 0.7
    """Above it, unless it still doubts, bored."""
    calm: float = 0.25
    """Share of doubtful steps above which success is not mastery yet: right but unsure stays where it is."""
    change: float = 1.0
    """By how much difficulty moves at once."""
    least: float = 1.0
    most: float = 10.0
    start: float = 1.0
    """The difficulty of the first batch."""
    rate: float = 0.3
    """Weight of the newest batch in the running means, in (0, 1]."""
    patience: int = 2
    """Batches seen at a difficulty before it may move."""

    def __post_init__(self) -> None:
        if not (0 <= self.low < self.high <= 1 and self.least <= self.start <= self.most and 0 < self.rate <= 1):
            raise ValueError(
                f"a band of flow needs 0 <= low < high <= 1, least <= start <= most and rate in (0, 1]; got {self}"
            )


@dataclass(frozen=True)
class Difficulty:
    """Where the learner is: its difficulty, and how it fared there."""

    level: float
    success: float = 0.5
    """Running mean in [0, 1]."""
    doubt: float = 0.0
    """Running mean of the share of doubtful steps, in [0, 1]."""
    batches: int = 0
    """Batches at this level."""


def mood(state: Difficulty, flow: Flow) -> Mood:
    """How the learner feels at its difficulty."""
    if state.success < flow.low:
        return "anxiety"
    return "boredom" if state.success > flow.high and state.doubt <= flow.calm else "flow"


def follow(state: Difficulty, success: float, doubt: float, flow: Flow) -> Difficulty:
    """The difficulty after one more batch: harder out of boredom, easier out of anxiety, never beyond the ends.

    `success`: mean score of the batch's scored answers, NaN where none was scored (nothing is learnt from it); `doubt`:
    share of its steps that were doubted. Both in [0, 1].
    """
    if not np.isfinite(success):
        return state
    rate = 1.0 if state.batches == 0 else flow.rate
    now = replace(
        state,
        success=state.success + rate * (success - state.success),
        doubt=state.doubt + rate * (doubt - state.doubt),
        batches=state.batches + 1,
    )
    if now.batches < flow.patience:
        return now
    change = {"boredom": flow.change, "flow": 0.0, "anxiety": -flow.change}[mood(now, flow)]
    level = min(max(now.level + change, flow.least), flow.most)
    return now if level == now.level else Difficulty(level)
