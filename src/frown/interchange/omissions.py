"""What of another program's log could not be read: how often, and the first case of each kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from frown.errors import printable

Kind = Literal[
    "rows", "requests", "answers", "scores", "logprobs", "tokens", "alternatives", "options", "filters", "messages"
]
Omit = Callable[[Kind, str], None]
"""Called with a kind and why this one is left out."""

_WORDS: dict[Kind, tuple[str, str]] = {
    "rows": ("row", "that cannot be read"),
    "requests": ("request", "that failed"),
    "answers": ("answer", "that cannot be read"),
    "messages": ("message", "of a prompt that cannot be read"),
    "scores": ("score", "outside [0, 1]"),
    "logprobs": ("answer", "whose log-probabilities cannot be read, only its text"),
    "tokens": ("token", "without a log-probability"),
    "alternatives": ("alternative", "of a token without a log-probability"),
    "options": ("option", "of a question without a log-likelihood"),
    "filters": ("row", "of a further filter of the same answer"),
}


@dataclass
class Omissions:
    """Counts what is left out while a log is read."""

    counts: dict[Kind, int] = field(default_factory=dict)
    first: dict[Kind, str] = field(default_factory=dict)
    """Of each kind the first case: where it stands, and why."""
    place: str = ""
    """Where reading is: "line 3"."""

    def add(self, kind: Kind, why: str) -> None:
        """Count one that is left out."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.first.setdefault(kind, f"{self.place}: {printable(why)}")

    def sentences(self) -> list[str]:
        """One line a kind, for a person."""
        lines = []
        for kind, (noun, which) in _WORDS.items():
            if n := self.counts.get(kind, 0):
                lines.append(f"left out: {n} {noun}{'s' * (n > 1)} {which}; the first: {self.first[kind]}")
        return lines
