"""A partner that says its lines in order, and pays for what it waits to hear."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from frown.config.conversation import PartnerConfig
from frown.dialogue.partner import PartnerTurn, Reply
from frown.dialogue.session import PartnerSession, opening
from frown.types import Task, Verdict


class ScriptedPartner:
    """Says its lines and goes when there are none left; implements `frown.dialogue.partner.Partner`.

    A turn earns 1 where the regular expression `awaits` is found in it, else 0; a conversation's score is the mean
    over its turns. Without one every conversation scores 1.
    """

    def __init__(self, lines: Sequence[str], awaits: str = "") -> None:
        self._lines, self._awaits = tuple(lines), awaits

    @property
    def identity(self) -> str:
        """The lines, and what they wait for."""
        return repr((self._lines, self._awaits))

    def reply(self, hearings: Sequence[PartnerTurn]) -> list[Reply]:
        """The line of this turn."""
        return [self._reply(h) for h in hearings]

    def verify(self, task: Task, replies: Sequence[Reply]) -> Verdict:
        """The share of turns that said what was awaited."""
        return Verdict(float(np.mean([r.reward for r in replies])) if self._awaits else 1.0)

    def _reply(self, heard: PartnerTurn) -> Reply:
        earned = float(bool(self._awaits and re.search(self._awaits, heard.messages[-1]["content"])))
        if heard.turn < len(self._lines):
            return Reply(self._lines[heard.turn], earned)
        return Reply("", earned, over="out of lines")


class ScriptedConfig(PartnerConfig):
    """A partner that says given lines."""

    type: Literal["scripted"] = "scripted"
    openings: tuple[str, ...] = Field(min_length=1)
    """Its first words, one conversation each."""
    test_openings: tuple[str, ...] = ()
    """Those of the conversations that it is tested on. None: the same."""
    lines: tuple[str, ...] = ()
    """What it says to the first turn, to the second, and so on; a turn to which it has no line ends the
    conversation."""
    awaits: str = ""
    """A regular expression: a conversation's score is the share of turns in which it is found. Without one every
    conversation scores 1, and there is nothing to learn."""

    @field_validator("awaits")
    @classmethod
    def _is_an_expression(cls, awaits: str) -> str:
        try:
            re.compile(awaits)
        except re.error as error:
            raise ValueError(f"it is no regular expression: {error}") from None
        return awaits

    @contextmanager
    def open(self) -> Iterator[PartnerSession]:
        """The partner and its conversations."""
        train = [opening(f"opening-{i}", words) for i, words in enumerate(self.openings)]
        test = [opening(f"test-opening-{i}", words) for i, words in enumerate(self.test_openings)]
        yield PartnerSession(
            "scripted", ScriptedPartner(self.lines, self.awaits), train, test or train, len(self.lines) + 1
        )
