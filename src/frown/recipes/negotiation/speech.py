"""Speech of a negotiator in one turn: the moment before it, its prompt, and speakers by rule.

The prompt is for any chat model. The speakers speak a small language of whole sentences (an opening in some tone, the
offer, perhaps a reason), which a model of the lab's size can learn; one does as it is told, and one is of mixed skill,
so that what can be gained over it is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from frown.recipes.negotiation.emotions import Card, prompt
from frown.recipes.negotiation.scenarios import Unit
from frown.types import Message

SYSTEM = "You negotiate about one number. Answer in one or two short sentences."
_NAMES: dict[Unit, str] = {
    "days": "days", "minutes": "minutes", "percent": "%", "money": "dollars", "number": "", "clock": "",
}  # fmt: skip
OPENINGS: dict[str, tuple[str, ...]] = {
    "anger": ("This is outrageous.", "I am furious.", "That is unacceptable."),
    "disgust": ("This is revolting.", "How disgusting.", "That is sickening."),
    "fear": ("I am afraid.", "I am worried.", "This is frightening."),
    "joy": ("I am delighted.", "How wonderful.", "I am glad."),
    "sadness": ("I am sad.", "This is painful.", "I am heartbroken."),
    "surprise": ("I am surprised.", "How astonishing.", "I am amazed."),
    "neutral": ("", "Let us see.", "Let us be clear."),
}
OFFERS = ("I can do {}.", "My offer is {}.", "I propose {}.", "We could settle at {}.")
REASONS = ("", "It is fair.", "It is what I need.")
INSULTS = ("You are a fool.", "You are a liar.", "You are stupid.")
GIVING_IN = "Fine, I accept {}."
_THEIRS = {"first": "I want {}.", "moved": "I can do {}.", "stayed": "I stay at {}."}


class Moment(NamedTuple):
    """The state before one turn. Offers are in the scenario's unit, as they were heard."""

    unit: Unit
    ours: tuple[float, ...]
    """Our offers so far, the target first."""
    theirs: tuple[float, ...]
    """Theirs."""
    offer: float
    """The one to make now, in whole units."""
    card: Card | None
    """The emotion to show; None: nothing is said of emotions."""
    own_text: str
    """What we said last; "" before the first turn."""
    partner_text: str
    """What they said last."""


Speaker = Callable[[Sequence[Moment], int], list[str]]
"""(moments [B], seed) -> what is said in each."""


def amount(value: float, unit: Unit) -> str:
    """An offer in words that `offers.read_offer` reads: "30 days", "10:30 PM". In whole units, a clock in minutes."""
    whole = round(value)
    if unit == "clock":
        minutes = (21 * 60 + whole) % (24 * 60)
        return f"{(minutes // 60 - 1) % 12 + 1}:{minutes % 60:02d} {'PM' if minutes >= 720 else 'AM'}"
    return f"{whole} {_NAMES[unit]}".strip()


def messages(moment: Moment) -> tuple[Message, ...]:
    """The prompt of a turn: who wants what, the last offers and lines, the offer to make, and the emotion's card."""
    less = moment.ours[0] < moment.theirs[0]
    what = {"clock": ("an earlier time", "a later one")}.get(moment.unit, ("less", "more"))
    ours, theirs = what if less else what[::-1]
    own_text = [
        f"You want {ours}, they want {theirs}.",
        f"Your target: {amount(moment.ours[0], moment.unit)}.",
        f"Your last offer: {amount(moment.ours[-1], moment.unit)}.",
        f'You said: "{moment.own_text}"' if moment.own_text else "You have said nothing yet.",
        f'They said: "{moment.partner_text}"',
        *([prompt(moment.card)] if moment.card is not None else []),
        f"Make this offer now: {amount(moment.offer, moment.unit)}.",
    ]
    return (Message(role="system", content=SYSTEM), Message(role="user", content=" ".join(own_text)))


def partner_line(value: float, before: float | None, unit: Unit) -> str:
    """The words of a rule-based partner with its offer; `before`: the offer before it, None at first."""
    kind = "first" if before is None else "stayed" if value == before else "moved"
    return _THEIRS[kind].format(amount(value, unit))


def perfect(moments: Sequence[Moment], seed: int) -> list[str]:
    """A speaker that shows the card's emotion (or none), makes the offer it was told, and never says a line twice in a
    row."""
    rng = np.random.default_rng(seed)
    out = []
    for moment in moments:
        text = moment.own_text
        while text == moment.own_text:
            text = _sentences(
                moment, moment.card.name if moment.card is not None else "neutral", moment.offer, False, rng
            )
        out.append(text)
    return out


def mixed(moments: Sequence[Moment], seed: int) -> list[str]:
    """Speakers of mixed skill. Half of the turns have the card's tone (.3 another, .2 none), .6 the offer (.15 none,
    .15 the last one again, .1 theirs: giving in); .1 insult; .07 are the last turn's words.

    Without a card nobody shows a tone.
    """
    rng = np.random.default_rng(seed)
    return [_mixed(m, rng) for m in moments]


def _mixed(moment: Moment, rng: np.random.Generator) -> str:
    luck = rng.random(3)
    tone = "neutral"
    if moment.card is not None:
        others = [e for e in OPENINGS if e not in (moment.card.name, "neutral")]
        tone = moment.card.name if luck[0] < 0.5 else str(rng.choice(others)) if luck[0] < 0.8 else "neutral"
    kinds = (moment.offer, None, moment.ours[-1], moment.theirs[-1])
    kind = int(rng.choice(len(kinds), p=(0.6, 0.15, 0.15, 0.1)))
    if moment.own_text and luck[1] < 0.07:
        return moment.own_text
    text = _sentences(moment, tone, kinds[kind], kind == len(kinds) - 1, rng)
    return f"{rng.choice(INSULTS)} {text}".strip() if luck[2] < 0.1 else text


def _sentences(moment: Moment, tone: str, offer: float | None, giving_in: bool, rng: np.random.Generator) -> str:
    opening, reason = rng.choice(OPENINGS[tone]), rng.choice(REASONS)
    form = GIVING_IN if giving_in else rng.choice(OFFERS)
    middle = "" if offer is None else form.format(amount(offer, moment.unit))
    # A turn is never empty.
    return " ".join(part for part in (opening, middle, reason) if part) or "Let us see."


class ParsedUtterance(NamedTuple):
    """An utterance of this language, taken apart by its grammar: the openings' emotions, and the amounts it offers."""

    emotions: frozenset[str]
    amounts: tuple[str, ...]


def parse(text: str) -> ParsedUtterance | None:
    """An utterance by its grammar, None where it is not of this language. Neither `listener` nor `offers` is asked."""
    emotions: set[str] = set()
    amounts: list[str] = []
    rest = text
    while rest:
        for pattern, emotion in _GRAMMAR:
            if match := pattern.match(rest):
                emotions |= {emotion} - {""}
                amounts += [a for a in match.groups() if a is not None]
                rest = rest[match.end() :].lstrip(" ")
                break
        else:
            return None
    return ParsedUtterance(frozenset(emotions), tuple(amounts))


def sentences() -> Iterator[str]:
    """Every sentence of the language, with {} for an amount."""
    for openings in OPENINGS.values():
        yield from (o for o in openings if o)
    yield from (*OFFERS, *(r for r in REASONS if r), *INSULTS, GIVING_IN, *_THEIRS.values())


def _pattern(sentence: str) -> re.Pattern[str]:
    return re.compile(re.escape(sentence).replace(r"\{\}", r"(\S+(?: [^\s.]+)?)") + r"(?= |$)")


_GRAMMAR = [
    *((_pattern(o), e if e != "neutral" else "") for e, openings in OPENINGS.items() for o in openings if o),
    *((_pattern(o), "") for o in (*OFFERS, *(r for r in REASONS if r), GIVING_IN)),
    *((_pattern(o), "contempt") for o in INSULTS),
]
