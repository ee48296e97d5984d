"""The constants of RLVER's training and of SAGE's benchmark. Two scales: a score of one is none of the other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """How an emotion score moves and when a person leaves. Points are whole numbers up to `cap`."""

    name: str
    start: int
    """Points before the first turn."""
    clamp: int | None
    """Most points that one turn may add or take; None: no such bound."""
    leave_at: int
    """The person leaves at so few points or fewer."""
    cap: int
    """The person leaves, content, at so many."""
    turns: int
    """Most turns of the assistant."""

    def after(self, score: int, change: int) -> int:
        """The score after a change, at most the cap."""
        if self.clamp is not None:
            change = max(-self.clamp, min(self.clamp, change))
        return min(self.cap, score + change)


RLVER = Preset("rlver", start=30, clamp=None, leave_at=0, cap=100, turns=8)
"""Training (arXiv 2507.03112): 30 at the start, any change, over at 0 or below and at 100, 8 turns."""
SAGE = Preset("sage", start=40, clamp=10, leave_at=9, cap=100, turns=10)
"""The benchmark: 40 at the start, at most 10 a turn, over below 10 and at 100, 10 turns."""
PRESETS = {p.name: p for p in (RLVER, SAGE)}
