"""Emotions a negotiator may show, as cards: how it sounds, how it feels, what it does, and its place in VAD.

Every card is put into the same words, so that two prompts differ in the emotion and in nothing else. Places of the six
basic emotions are Mehrabian's (1996), as in `frown.affect.rules`; the others are this project's own convention, set by
hand between them. They are not measurements, and no lexicon was copied.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frown.affect.rules import Vad

Taxonomy = Literal["ekman7", "izard10", "goemotions28"]


class Card(NamedTuple):
    """An emotion to show: its name, the three parts of its prompt, and its place."""

    name: str
    tone: str
    feeling: str
    hint: str
    vad: Vad


_MEHRABIAN = "Mehrabian (1996)"
_OWN = "own convention"


def _card(name: str, tone: str, feeling: str, hint: str, v: float, a: float, d: float, source: str = _OWN) -> Card:
    return Card(name, tone, feeling, hint, Vad(v, a, d, source))


CARDS: dict[str, Card] = {
    card.name: card
    for card in (
        _card("admiration", "admiring", "you look up to them", "name what they do well", 0.60, 0.35, 0.05),
        _card("amusement", "amused", "you find this funny", "keep it light", 0.70, 0.45, 0.25),
        _card("anger", "angry", "you feel wronged", "say what is not acceptable", -0.51, 0.59, 0.25, _MEHRABIAN),
        _card(
            "annoyance", "annoyed", "your patience is running out", "ask them to get to the point", -0.45, 0.35, 0.20
        ),
        _card("approval", "approving", "you like what you hear", "confirm what is right in it", 0.55, 0.10, 0.30),
        _card("caring", "caring", "their well-being matters to you", "ask what they need", 0.60, -0.05, 0.25),
        _card("confusion", "confused", "you cannot follow them", "ask them to explain", -0.15, 0.30, -0.40),
        _card("contempt", "contemptuous", "you think little of this", "stay above it", -0.55, 0.10, 0.45),
        _card("curiosity", "curious", "you want to know more", "ask an open question", 0.35, 0.40, 0.10),
        _card("desire", "eager", "you want this very much", "say what you would like", 0.50, 0.55, 0.15),
        _card(
            "disappointment", "disappointed", "you had hoped for more", "say what you had hoped", -0.55, -0.20, -0.30
        ),
        _card("disapproval", "disapproving", "you think it is wrong", "say what is wrong with it", -0.45, 0.15, 0.35),
        _card("disgust", "disgusted", "this repels you", "turn away from it", -0.60, 0.35, 0.11, _MEHRABIAN),
        _card("embarrassment", "embarrassed", "you would rather hide", "admit it with few words", -0.45, 0.25, -0.45),
        _card("excitement", "excited", "you can hardly wait", "look forward to the deal", 0.70, 0.75, 0.35),
        _card("fear", "afraid", "you expect something bad", "say what might happen", -0.62, 0.82, -0.43, _MEHRABIAN),
        _card("gratitude", "grateful", "they did you a kindness", "thank them for something", 0.75, 0.15, 0.00),
        _card("grief", "grieving", "you have lost something dear", "let the loss be heard", -0.75, -0.15, -0.50),
        _card("guilt", "guilty", "you did them harm", "own your part in it", -0.55, 0.20, -0.40),
        _card("interest", "interested", "this holds your attention", "follow up on a detail", 0.45, 0.35, 0.20),
        _card("joy", "joyful", "you are happy with them", "share your pleasure", 0.81, 0.51, 0.46, _MEHRABIAN),
        _card("love", "affectionate", "you feel close to them", "speak warmly", 0.85, 0.30, 0.20),
        _card("nervousness", "nervous", "you are not sure of the end", "let it be noticed", -0.40, 0.60, -0.45),
        _card("neutral", "neutral", "you feel nothing in particular", "state the facts", 0.0, 0.0, 0.0),
        _card("optimism", "optimistic", "you expect a good end", "point to a way forward", 0.65, 0.30, 0.35),
        _card("pride", "proud", "you stand by what you did", "name what you achieved", 0.60, 0.35, 0.60),
        _card("realization", "dawning", "you have just understood", "say what became clear", 0.15, 0.30, 0.10),
        _card("relief", "relieved", "a burden is gone", "show that it is easier now", 0.55, -0.40, 0.15),
        _card("remorse", "remorseful", "you regret what you did", "say that you are sorry", -0.55, 0.00, -0.45),
        _card("sadness", "sad", "something weighs on you", "let it be felt", -0.63, -0.27, -0.33, _MEHRABIAN),
        _card("shame", "ashamed", "you fall short in their eyes", "lower your voice", -0.60, 0.15, -0.60),
        _card(
            "surprise", "surprised", "you did not expect this", "ask whether it is so", 0.40, 0.67, -0.13, _MEHRABIAN
        ),
    )
}

_NAMES: dict[Taxonomy, tuple[str, ...]] = {
    "ekman7": ("anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral"),
    "izard10": (
        *("interest", "joy", "surprise", "sadness", "anger"),
        *("disgust", "contempt", "fear", "shame", "guilt"),
    ),
    "goemotions28": (
        *("admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire"),
        *("disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief"),
        *("joy", "love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness"),
        *("surprise", "neutral"),
    ),
}


def cards(taxonomy: Taxonomy) -> tuple[Card, ...]:
    """The emotions of a taxonomy in its own order: 7 (Ekman and neutral), 10 (Izard 1977) or 28 (GoEmotions)."""
    return tuple(CARDS[name] for name in _NAMES[taxonomy])


def places(emotions: tuple[Card, ...]) -> NDArray[np.float64]:
    """Valence, arousal and dominance of each emotion: [A, 3], each in [-1, 1]."""
    return np.array([card.vad[:3] for card in emotions], dtype=np.float64)


def prompt(card: Card) -> str:
    """The card in words, the same sentence for every emotion."""
    how = f"{'an' if card.tone[0] in 'aeiou' else 'a'} {card.tone} tone"
    return f"Emotional approach: speak in {how}. Inside, {card.feeling}. In what you say, {card.hint}."
