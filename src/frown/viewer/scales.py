"""How each signal is drawn: its name, its unit, the range of its colours, and which end of it is remarkable."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import floor, isfinite
from typing import Literal

Direction = Literal["high", "low", "both"]


@dataclass(frozen=True)
class Scale:
    """A signal as a reader meets it.

    `direction`: the end that gets the strong colour; "both" is signed, coloured from a middle of 0. `bounds`: where
    the colours begin and end, the same in every answer; None: at the extremes of the answer shown.
    """

    name: str
    title: str
    unit: str
    direction: Direction
    bounds: tuple[float, float] | None
    note: str


SCALES = (
    Scale("surprisal", "Doubt", "nats", "high", (0.0, 3.0), "-log p of the token that was sampled"),
    Scale("entropy", "Entropy", "nats", "high", (0.0, 3.0), "of the student's next-token distribution"),
    Scale("entropy_lower", "Entropy, at least", "nats", "high", (0.0, 3.0), "of the top K, the others taken as one"),
    Scale("margin", "Margin", "probability", "low", (0.0, 1.0), "of the likeliest token over the second"),
    Scale("teacher_entropy", "Teacher entropy", "nats", "high", (0.0, 3.0), "of the teacher's distribution"),
    Scale("log_ratio", "Teacher's word", "nats", "both", (-3.0, 3.0), "log q - log p of the sampled token: "
          "above 0 the teacher would rather have said it"),
    Scale("advantage", "Advantage", "reward", "both", None, "of the policy gradient, weighted as it was used"),
    Scale("weight", "Loss weight", "", "high", None, "of the token in the distillation loss"),
    Scale("divergence", "Divergence", "nats", "high", None, "of student and teacher: what the loss counts"),
    Scale("top_probability", "Top probability", "probability", "low", (0.0, 1.0), "of the likeliest token"),
    Scale("varentropy", "Varentropy", "nats²", "high", None, "variance of the surprisal"),
    Scale("self_certainty", "Self-certainty", "nats", "low", None, "KL of the uniform distribution from the student's"),
    Scale("effective_choices", "Effective choices", "tokens", "high", None, "exp of the entropy"),
)  # fmt: skip
_KNOWN = {s.name: s for s in SCALES}


def scale(name: str) -> Scale:
    """The scale of a signal; one that frown does not know is drawn from its own least to its greatest value."""
    return _KNOWN.get(name) or Scale(name, name.replace("_", " "), "", "high", None, "")


def in_order(names: set[str]) -> list[str]:
    """Signals as they are offered: the known ones in the order of `SCALES`, then others by name."""
    return [s.name for s in SCALES if s.name in names] + sorted(names - set(_KNOWN))


def span_of(s: Scale, values: Iterable[float]) -> tuple[float, float]:
    """Where the colours of a scale begin and end for an answer with these values, NaN among them."""
    if s.bounds:
        return s.bounds
    known = [v for v in values if isfinite(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if s.direction == "both":
        high = max(abs(low), abs(high)) or 1.0
        return -high, high
    if s.direction == "high" and low >= 0:
        low = 0.0
    return low, high if high > low else low + 1.0


def level(value: float, s: Scale, span: tuple[float, float]) -> str:
    """The step of the colour ramp a value is drawn in: v0 to v8, of signed ones n4 to p4; "none" without a value.

    What colour.js does in the page.
    """
    if not isfinite(value):
        return "none"
    low, high = span
    if s.direction == "both":
        at = floor(max(-1.0, min(1.0, value / high)) * 4 + 0.5)
        return "v0" if at == 0 else f"p{at}" if at > 0 else f"n{-at}"
    share = max(0.0, min(1.0, (value - low) / (high - low)))
    return f"v{floor((1 - share if s.direction == 'low' else share) * 8 + 0.5)}"
