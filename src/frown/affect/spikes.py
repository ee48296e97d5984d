"""Where a token signal spikes: detectors as a small closed choice, and what makes a stretch of spikes a span."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frown.types import Step

Scores = NDArray[np.float64]
Kind = Literal["absolute", "robust_z", "rolling_mad", "quantile", "share"]


@dataclass(frozen=True)
class Detector:
    """What counts as a spike. A token is in a spike when its score exceeds `leave` in a run that exceeds `enter`.

    The score of a token, by `kind`:

    - absolute: the value itself. Goes blind when training sharpens the policy.
    - robust_z: 0.6745 (x - median) / MAD over the answer (Iglewicz & Hoaglin 1993, eq. for the modified z). Finds
      a "spike" in every answer, right ones too.
    - rolling_mad: the same over the last `window` tokens, the token itself included.
    - quantile: the running quantile in [0, 1] of values seen at this position in training (`Normaliser`).
    - share: the rank in this answer, in (0, 1]: a score above 0.95 is one of the largest 5 % (rounded up). Equal
      values are counted together, so an answer without differences has no spike.
    """

    kind: Kind
    enter: float
    leave: float | None = None
    """Where a spike ends: a threshold no stricter than `enter`. None: the same."""
    side: Literal["above", "below"] = "above"
    """below: low values are remarkable. For `absolute` the thresholds are then upper ones; else as they are."""
    window: int = 32
    """Tokens of `rolling_mad`."""

    def __post_init__(self) -> None:
        flip = self.kind == "absolute" and self.side == "below"
        if self.leave is not None and (self.leave > self.enter if not flip else self.leave < self.enter):
            raise ValueError(f"a spike is left at a milder threshold than it is entered: {self.enter}, {self.leave}")
        if self.window < 3:
            raise ValueError(f"a rolling window has at least 3 tokens, got {self.window}")

    @property
    def thresholds(self) -> tuple[float, float]:
        """(enter, leave) in units of `score`."""
        sign = -1.0 if self.kind == "absolute" and self.side == "below" else 1.0
        return sign * self.enter, sign * (self.enter if self.leave is None else self.leave)


@dataclass(frozen=True)
class Shape:
    """Which runs of spikes become spans."""

    min_length: int = 1
    """Tokens; shorter spans are left out."""
    merge_gap: int = 0
    """Spans of one step with at most this many tokens between them become one."""
    snap: bool = False
    """Widen a span to the whole step that it lies in."""


def score(values: ArrayLike, detector: Detector, quantiles: ArrayLike | None = None) -> Scores:
    """How remarkable each token is to a detector: float64[T], NaN where nobody can tell."""
    x = np.asarray(values, np.float64) * (1.0 if detector.side == "above" else -1.0)
    if detector.kind == "absolute":
        return x
    if detector.kind == "robust_z":
        return robust_z(x)
    if detector.kind == "rolling_mad":
        return np.array([robust_z(x[max(0, t + 1 - detector.window) : t + 1])[-1] for t in range(len(x))])
    if detector.kind == "share":
        return _rank(x)
    if quantiles is None:
        raise ValueError("a quantile detector needs the running quantiles of the values")
    q = np.asarray(quantiles, np.float64)
    return q if detector.side == "above" else 1.0 - q


def flags(scores: Scores, detector: Detector) -> NDArray[np.bool_]:
    """bool[T]: the tokens within a spike, by hysteresis."""
    enter, leave = detector.thresholds
    return hysteresis(scores, enter, leave)


def hysteresis(scores: Scores, enter: float, leave: float) -> NDArray[np.bool_]:
    """bool[T]: the runs above `leave` that somewhere exceed `enter`. Contains every token above `enter`."""
    high, low = scores > enter, scores > leave
    if leave == enter or not high.any():
        return high
    mask = np.zeros(len(scores), np.bool_)
    for a, b in runs(low):
        mask[a:b] = high[a:b].any()
    return mask


def robust_z(values: Scores) -> Scores:
    """The modified z-score 0.6745 (x - median) / MAD (Iglewicz & Hoaglin 1993): float64[T], no unit.

    Where more than half of the values are equal the MAD is 0, and the mean absolute deviation times 1.2533 takes
    its place, as they advise; where all are equal nothing is remarkable and the score is 0. Shifting the values or
    scaling them by a positive factor changes nothing. NaN stays NaN and does not count.
    """
    out = np.full(len(values), np.nan)
    finite = np.isfinite(values)
    x = values[finite]
    if not len(x):
        return out
    away = x - np.median(x)
    spread = np.median(np.abs(away)) / 0.6745
    if spread == 0.0:
        spread = np.abs(away).mean() * 1.253314
    out[finite] = away / spread if spread > 0.0 else 0.0
    return out


def runs(mask: NDArray[np.bool_]) -> list[Step]:
    """The maximal runs of True in a bool[T], as half-open ranges."""
    high = np.concatenate([[False], mask, [False]])
    edges = np.flatnonzero(high[1:] != high[:-1])
    return [Step(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def form(mask: NDArray[np.bool_], shape: Shape, steps: Sequence[Step] = ()) -> list[Step]:
    """Flagged tokens, bool[T], as spans: cut at the borders of steps, merged, the short left out, snapped."""
    if not mask.any():
        return []
    place = segments(len(mask), steps)
    spans: list[Step] = []
    for a, b in runs(mask):
        cuts = [a, *(int(t) for t in np.flatnonzero(np.diff(place[a:b])) + a + 1), b]
        for start, end in zip(cuts, cuts[1:], strict=False):
            last = spans[-1] if spans else None
            if last and place[last.start] == place[start] and start - last.end <= shape.merge_gap:
                spans[-1] = Step(last.start, end)
            else:
                spans.append(Step(start, end))
    spans = [s for s in spans if s.end - s.start >= shape.min_length]
    return snap(spans, steps) if shape.snap else spans


def snap(spans: Sequence[Step], steps: Sequence[Step]) -> list[Step]:
    """Each span widened to all steps that it touches, one span a step; a span that touches none stays as it is."""
    out: set[Step] = set()
    for span in spans:
        touched = [Step(*s) for s in steps if s.start < span.end and span.start < s.end]
        out.update(touched or [span])
    return sorted(out)


def segments(length: int, steps: Sequence[Step]) -> NDArray[np.int64]:
    """int64[T]: a number for each token that changes where a step begins or ends."""
    border = np.zeros(length, np.int64)
    for a, b in steps:
        if 0 < a < length:
            border[a] = 1
        if b < length:
            border[b] = 1
    return np.cumsum(border)


def _rank(x: Scores) -> Scores:
    """1 - (number of values at least as large - 1) / n: 1 for a unique largest value; NaN stays NaN."""
    out = np.full(len(x), np.nan)
    finite = np.isfinite(x)
    ordered = np.sort(x[finite])
    at_least = len(ordered) - np.searchsorted(ordered, x[finite], side="left")
    out[finite] = 1.0 - (at_least - 1) / max(len(ordered), 1)
    return out
