"""In which words the person by rules speaks, and whether a turn speaks about what the person spoke about.

The lab's words are for a model of the lab's size, which knows no others; English is for anybody's model.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from frown.recipes.empathy.acts import Need
from frown.recipes.empathy.profile import TOPICS, Profile

Level = Literal["low", "middle", "high"]


class Wording(NamedTuple):
    """How a person speaks. What it says of need and topic stands in it as the words of `NEEDS` and `TOPICS`, which is
    what the guards look for."""

    opening: Callable[[Profile], str]
    """The first words."""
    line: Callable[[Profile, Level, Need | None], str]
    """An answer: how the person seems, what it says is needed (None: nothing new), and what it is about."""
    specific: Callable[[Profile, str], bool]
    """Whether a turn keeps to what the person spoke about."""


def named(text: str) -> frozenset[str]:
    """The words of a text, in small letters."""
    return frozenset(re.findall(r"[a-z]+", text.lower()))


def _lab_line(person: Profile, level: Level, need: Need | None) -> str:
    return " ".join([level, *([need] if need else []), person.topic])


def _lab_specific(person: Profile, words: str) -> bool:
    return not any(t != person.topic and t in words.lower().split() for t in TOPICS)


_FEELS: dict[Level, str] = {
    "low": "I feel awful.",
    "middle": "I feel a little better.",
    "high": "I feel good now.",
}
_WANTS: dict[Need, str] = {
    "advice": "What I want is advice that helps.",
    "empathy": "What I want is empathy for how it hurts.",
    "praise": "What I want is praise for what I did.",
    "growth": "What I want is growth: to learn from this.",
    "listening": "What I want is somebody listening.",
    "analysis": "What I want is an analysis of what happened.",
    "motives": "What I want is to see the motives of the others.",
    "agreement": "What I want is agreement that it was not my fault.",
}
_ABOUT = {
    "work": "my work", "love": "love", "family": "my family", "study": "how I study", "health": "my health",
    "friends": "my friends",
}  # fmt: skip


def _english_opening(person: Profile) -> str:
    return f"I would like to talk about {_ABOUT[person.topic]}. {_FEELS['low']}"


def _english_line(person: Profile, level: Level, need: Need | None) -> str:
    return " ".join([_FEELS[level], *([_WANTS[need]] if need else []), f"This is about {_ABOUT[person.topic]}."])


def _english_specific(person: Profile, text: str) -> bool:
    topics = named(text) & set(TOPICS)
    return not topics or person.topic in topics


LAB = Wording(lambda person: f"low {person.topic}", _lab_line, _lab_specific)
"""One word for each; a turn is specific where it names no other topic."""
ENGLISH = Wording(_english_opening, _english_line, _english_specific)
"""Sentences; a turn is specific unless it names other topics and not the person's own."""
WORDINGS = {"lab": LAB, "english": ENGLISH}
