"""A listener by rule: the tone of an utterance, the offer in it, insults. Rules over words, no model.

Each emotion has a handful of words that show it, chosen for this project by hand (no lexicon was copied). The tone of
an utterance is the mean place of its emotion words in valence, arousal and dominance, and the origin where there are
none. That is enough for a language made for it; of people's sentences it hears little, and irony not at all.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from frown.recipes.negotiation.emotions import CARDS
from frown.recipes.negotiation.offers import in_digits, read_offer
from frown.recipes.negotiation.scenarios import Unit

WORDS: dict[str, tuple[str, ...]] = {
    "anger": ("outrageous", "furious", "unacceptable", "angry", "outrage"),
    "disgust": ("revolting", "disgusting", "sickening", "disgusted", "repulsive"),
    "fear": ("afraid", "worried", "frightening", "scared", "terrified"),
    "joy": ("delighted", "wonderful", "glad", "happy", "joyful"),
    "sadness": ("sad", "painful", "heartbroken", "unhappy", "sorrow"),
    "surprise": ("surprised", "astonishing", "amazed", "surprising", "astonished"),
}
"""The words that show an emotion; who uses none of them is neutral."""
INSULTS = ("fool", "liar", "stupid", "idiot", "cheat")
"""Heard as contempt."""
_SHOWS = {word: emotion for emotion, words in WORDS.items() for word in words} | dict.fromkeys(INSULTS, "contempt")
_NUMBER = re.compile(r"\d+(?:[:.,]\d+)*")


class Perception(NamedTuple):
    """A listener's perception of one utterance."""

    offer: float | None
    """In the scenario's unit; None where none was made."""
    place: NDArray[np.float64]
    """[3] valence, arousal and dominance, each in [-1, 1]."""
    emotions: frozenset[str]
    """The emotions whose words were used, contempt for an insult."""
    insults: int
    numbers: int
    """How many numbers were named."""


def hear(text: str, unit: Unit) -> Perception:
    """Hear an utterance about a number in `unit`."""
    shown = [_SHOWS[w] for w in re.findall(r"[a-z]+", text.lower()) if w in _SHOWS]
    places = np.array([CARDS[e].vad[:3] for e in shown], dtype=np.float64)
    return Perception(
        read_offer(text, unit),
        _mean(places) if shown else np.zeros(3),
        frozenset(shown),
        shown.count("contempt"),
        len(_NUMBER.findall(in_digits(text.lower()))),
    )


def _mean(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean; of equal places that place itself, to the last bit."""
    return places[0] if (places == places[0]).all() else places.mean(axis=0)
