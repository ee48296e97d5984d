"""Who a policy talks to: the contract.

A partner keeps nothing between calls. What it is (its profile, its mood) travels as a `state` that it made itself,
so dialogues can be held side by side, branched and played again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from frown.types import Message, Task, Verdict


class PartnerTurn(NamedTuple):
    """What a partner hears: one turn of the policy, in its conversation."""

    task: Task
    messages: tuple[Message, ...]
    """The conversation so far; the last message is the policy's turn."""
    turn: int
    """How many turns the policy had before this one."""
    state: Any
    """What the partner gave as its state with its last reply; None at the first turn."""
    seed: int
    """For what is drawn in this reply: the same hearing gives the same reply."""


@dataclass(frozen=True)
class Reply:
    """A partner's answer to one turn."""

    text: str
    reward: float = 0.0
    """What this turn of the policy earned, in the partner's own unit."""
    state: Any = None
    over: str = ""
    """Why the partner ends the conversation here, in a word or two; "" where it goes on."""
    lost: str = ""
    """Why there is no reply (an endpoint failed, a budget is spent): the conversation ends and is unscored."""
    notes: Mapping[str, float] = field(default_factory=dict)
    """Figures to be kept with this turn, e.g. an emotion score after it."""


class Partner(Protocol):
    """Somebody to talk to."""

    @property
    def identity(self) -> str:
        """All that its replies depend on beside the conversation. No secrets."""
        ...

    def reply(self, hearings: Sequence[PartnerTurn]) -> list[Reply]:
        """An answer to each turn, in order; all that a batch asks at once, so that a partner behind a network can
        answer side by side. What cannot be answered is `lost`; never raises for it."""
        ...

    def verify(self, task: Task, replies: Sequence[Reply]) -> Verdict:
        """How a conversation went, from this partner's answers to all its turns; there is at least one."""
        ...
