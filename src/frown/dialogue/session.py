"""A partner that is ready to talk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from frown.dialogue.conversation import Dialogue
from frown.dialogue.partner import Partner
from frown.types import Message, Task, Verdict


@dataclass(frozen=True)
class PartnerSession:
    """A partner, the conversations that it opens, and how they are judged."""

    name: str
    """Short, for the record."""
    partner: Partner
    train: Sequence[Task]
    """Conversations to train on, each with the partner's first words as its last message."""
    test: Sequence[Task]
    """Conversations to be tested on."""
    turns: int
    """Most turns of the policy, unless the configuration says otherwise."""
    judge: Callable[[Dialogue], Verdict] | None = None
    """How a conversation went that could be scored, in place of the partner's own verdict."""
    statistics: Callable[[], Mapping[str, Any]] | None = None
    """What became of all that a model behind the partner was asked; None: no model is."""
    unknown_words: str = ""
    """What to do where the policy's tokenizer does not know the partner's words."""


def opening(name: str, words: str) -> Task:
    """A conversation that a partner opens with some words."""
    return Task(name, (Message(role="user", content=words),), answer="")
