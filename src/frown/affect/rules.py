"""What signals mean, as data: labels, the conditions that make them, their place in valence-arousal-dominance.

The preset "literal" is the original idea as it was stated: a spike of entropy is frustration, low confidence is
doubt. "default" is what measurements on the lab support, one reason a rule.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict, TypeAdapter, ValidationError

from frown.affect.spikes import Detector, Shape
from frown.errors import FrownError
from frown.types import Label

EVERY_RUN = Shape()
Scale = Literal["unlikely", "likely", "share", "complement", "level", "excess"]


class Vad(NamedTuple):
    """A place in valence, arousal and dominance, each in [-1, 1], and where it was taken from."""

    valence: float
    arousal: float
    dominance: float
    source: str


@dataclass(frozen=True)
class Condition:
    """A signal and what must be remarkable about it.

    `over` = "step": the largest value within each written-out step counts for all its tokens (tokens outside of
    steps have none), so "below" then means that no token of the step is above.
    """

    signal: str
    detector: Detector
    over: Literal["token", "step"] = "token"


@dataclass(frozen=True)
class Rule:
    """Tokens for which all conditions hold get a label. Of the first condition the intensity is made.

    `intensity`, in [0, 1], of the first condition's most remarkable value x in the span, or its detector's score s:
    unlikely 1 - exp(-x), likely exp(-x) (x in nats); share x, complement 1 - x (x in [0, 1]); level s (quantile,
    share); excess s / (s + enter) (z-scores: one half at the threshold).

    `verdict`: the rule speaks of steps that were judged right, or wrong. Where nobody judged single steps the
    verdict on the answer counts for all of it; an unscored answer leaves the rule unread.
    """

    label: Label
    conditions: tuple[Condition, ...]
    intensity: Scale
    vad: Vad
    shape: Shape = EVERY_RUN
    verdict: Literal["right", "wrong"] | None = None

    def __post_init__(self) -> None:
        if not self.conditions:
            raise ValueError(f"the rule for {self.label!r} has no condition, so nothing would be its evidence")


_NEAREST = "nearest emotion in Mehrabian (1996): "
# Places are a convention, not a measurement. Confusion has surprise's place with its valence held at 0.
FRUSTRATION = Vad(-0.51, 0.59, 0.25, _NEAREST + "anger")
DOUBT = Vad(-0.64, 0.60, -0.43, _NEAREST + "fear")
CONFUSION = Vad(0.0, 0.67, -0.13, _NEAREST + "surprise, valence at most 0")
AMBIVALENCE = Vad(-0.20, 0.30, -0.30, "own convention")
CONFIDENCE = Vad(0.81, 0.51, 0.46, _NEAREST + "joy")

EVEN_ODDS = Detector("absolute", log(2.0))
SURE = Detector("absolute", -log(0.9), side="below")

LITERAL = (
    Rule("frustration", (Condition("entropy", Detector("robust_z", 2.0, 1.0)),), "excess", FRUSTRATION),
    Rule("doubt", (Condition("probability", Detector("robust_z", 2.0, 1.0, "below")),), "complement", DOUBT),
)

DEFAULT = (
    # The sampled token had less than even odds. On the lab's chains this flag finds wrong steps with F1 .88,
    # against .65 for the best absolute threshold on entropy and .57 for a z-score within the answer.
    Rule("doubt", (Condition("surprisal", EVEN_ODDS),), "unlikely", DOUBT),
    # Absolute thresholds on entropy flag 27 % of the steps before training and .2 % after it; a running quantile
    # keeps flagging the same share.
    Rule("frustration", (Condition("entropy", Detector("quantile", 0.95, 0.9)),), "level", FRUSTRATION),
    # Siblings in the same state disagree (F1 .74 alone) and the token's distribution is uneven: long-tailed, not a
    # plain tie, which is ambivalence.
    Rule(
        "confusion",
        (Condition("disagreement", Detector("absolute", 0.5)), Condition("varentropy", Detector("quantile", 0.9))),
        "share",
        CONFUSION,
    ),
    # Two continuations hold nearly all of the probability, in nearly equal parts.
    Rule(
        "ambivalence",
        (
            Condition("margin", Detector("absolute", 0.15, side="below")),
            Condition("top_two", Detector("absolute", 0.8)),
        ),
        "complement",
        AMBIVALENCE,
    ),
    # No token of the step had less than .9, and the step is wrong, or right.
    Rule("overconfidence", (Condition("surprisal", SURE, "step"),), "likely", CONFIDENCE, verdict="wrong"),
    Rule("confidence", (Condition("surprisal", SURE, "step"),), "likely", CONFIDENCE, verdict="right"),
)

PRESETS: dict[str, tuple[Rule, ...]] = {"literal": LITERAL, "default": DEFAULT}

_ADAPTER = TypeAdapter(tuple[Rule, ...], config=ConfigDict(extra="forbid"))


def rules_named(name: str) -> tuple[Rule, ...]:
    """The rules of a preset, or of a TOML file with one [[rule]] table a rule.

    Raises:
        FrownError: for an unknown preset, a missing file, or a rule that cannot be read.
    """
    if name in PRESETS:
        return PRESETS[name]
    if not name.endswith(".toml"):
        raise FrownError(f"appraisal = {name!r}: there are {', '.join(PRESETS)}, or give a .toml file of rules")
    try:
        data = tomllib.loads(Path(name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FrownError(f"cannot read the rules {name}: {error}") from None
    if set(data) != {"rule"}:
        raise FrownError(f"{name} holds [[rule]] tables and nothing else; got {', '.join(data) or 'nothing'}")
    return rules_from(data["rule"], name)


def rules_from(data: Any, where: str) -> tuple[Rule, ...]:
    """Rules from plain data: a list of tables with the fields of `Rule`. `where` names their source in errors."""
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "rule"
        raise FrownError(f"{where}: {key}: {first['msg'].removeprefix('Value error, ')}") from None
