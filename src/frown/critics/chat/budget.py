"""The budget of calls and tokens of a chat model, and counts of what became of all it was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args


@dataclass(frozen=True)
class CriticStatistics:
    """Counts of what became of the reviews that a critic was asked for.

    asked = answered + cached + the sum of `lost`.
    """

    asked: int
    """Reviews asked for."""
    answered: int
    """Of these, by the model."""
    cached: int
    """Of these, at no cost: from the cache, or because the same answer was asked about twice at once."""
    lost: Mapping[str, int]
    """Reviews without a comment, by reason."""
    calls: int
    """Requests sent to the model, further tries included."""
    retried: int
    """Further tries after the endpoint failed."""
    reasked: int
    """Replies that could not be used as they were: the model was shown why, and asked for another."""
    contradicted: int
    """Comments that the verifier knew better about."""
    left_out: int
    """Steps of reviews that were not lost that nothing usable was said about."""
    stray: int
    """Judgements of steps that nobody asked about."""
    prompt_tokens: int
    """As the endpoint counts them; where it does not, 0."""
    completion_tokens: int
    tokens: int
    """Charged to the budget: what the endpoint counted, or the most a call may have taken where that is not known."""
    cache_faults: int
    """Times the cache could not be read or written."""

    def as_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return {**vars(self), "lost": dict(self.lost)}


Count = Literal[
    "asked", "answered", "cached", "retried", "reasked", "contradicted", "left_out", "stray", "cache_faults",
    "prompt_tokens", "completion_tokens",
]  # fmt: skip


class Budget:
    """A budget of calls and tokens, each None for no limit, and counts. Not for several threads at once.

    A call reserves the most it may take before it is made and settles what it took afterwards, so what is spent and
    what is under way never pass the budget together.
    """

    def __init__(self, calls: int | None, tokens: int | None) -> None:
        self._most_calls, self._most_tokens = calls, tokens
        self._calls = self._spent = self._under_way = 0
        self._counts: Counter[Count] = Counter()
        self._lost: Counter[str] = Counter()

    def count(self, what: Count, n: int = 1) -> None:
        """Count something."""
        self._counts[what] += n

    def count_lost(self, reason: str) -> None:
        """Count a lost review."""
        self._lost[reason] += 1

    def refusal(self, tokens: int) -> str | None:
        """Reason why a call of so many tokens cannot be made now: "" where it may once others have settled, a reason
        where it never can; None where it can be made."""
        if self._most_calls is not None and self._calls >= self._most_calls:
            return f"the budget of {self._most_calls} calls is spent"
        if self._most_tokens is None or self._spent + self._under_way + tokens <= self._most_tokens:
            return None
        if self._spent + tokens <= self._most_tokens:
            return ""
        return f"{self._most_tokens - self._spent} of {self._most_tokens} tokens are left, and it may take {tokens}"

    def reserve(self, tokens: int) -> None:
        """Begin a call that `refusal` does not refuse."""
        assert self.refusal(tokens) is None
        self._calls += 1
        self._under_way += tokens

    def count_tokens(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Count the tokens of a call, and give their sum."""
        self.count("prompt_tokens", prompt_tokens)
        self.count("completion_tokens", completion_tokens)
        return prompt_tokens + completion_tokens

    def settle(self, reserved: int, spent: int) -> None:
        """End a call for which `reserved` tokens were set aside and that took `spent`."""
        self._under_way -= reserved
        self._spent += spent

    def statistics(self) -> CriticStatistics:
        """A snapshot of the counts."""
        return CriticStatistics(
            **{name: self._counts[name] for name in get_args(Count)},
            lost=MappingProxyType(dict(self._lost)),
            calls=self._calls,
            tokens=self._spent,
        )

    def state(self) -> dict[str, Any]:
        """All counts as plain data, while no call is under way; `restore` takes it back."""
        assert not self._under_way
        return {"calls": self._calls, "spent": self._spent, "counts": dict(self._counts), "lost": dict(self._lost)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state`."""
        self._calls, self._spent = state["calls"], state["spent"]
        self._counts, self._lost = Counter(state["counts"]), Counter(state["lost"])
