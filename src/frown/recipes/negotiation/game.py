"""The game: two sides make offers of one number by turns until the offers meet, one side leaves, or time is up.

All of it is pure functions on frozen arrays, B dialogues side by side (B = 1 for a dialogue with a language model).
One exchange is two turns: we speak, showing an emotion and making an offer, and they reply with theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OPEN, DEAL, NO_DEAL = 0, 1, 2
STILL = 0.02
"""A change of an offer below this share of the gap is none. (EmoDistill: below one unit, in whatever unit.)"""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Rules:
    """`turns` of both sides together at most; offers no more than `tolerance` units apart are a deal (EmoDistill)."""

    turns: int = 30
    tolerance: float = 5.0

    @property
    def exchanges(self) -> int:
        """Exchanges at most."""
        return self.turns // 2


@dataclass(frozen=True, eq=False)
class Talks:
    """B dialogues after t exchanges.

    `ours`, `theirs` [B, t + 1]: offers in units, the first one each side's target, which it opens with; `shown` [B, t]:
    the emotion shown in each exchange; `status` [B]: OPEN, DEAL or NO_DEAL; `lasted` [B]: exchanges until the end, or
    so far. A dialogue that has ended keeps its offers and shows -1.
    """

    ours: Floats
    theirs: Floats
    shown: Ints
    status: Ints
    lasted: Ints

    @property
    def exchanges(self) -> int:
        """Exchanges so far, t."""
        return self.shown.shape[1]

    @property
    def gap(self) -> Floats:
        """Signed distance from their target to ours: [B] units, not 0."""
        return self.ours[:, 0] - self.theirs[:, 0]


def begin(ours: Floats, theirs: Floats) -> Talks:
    """Dialogues [B] that open with both targets, in units. Raises ValueError where the two are equal."""
    if np.any(np.asarray(ours) == np.asarray(theirs)):
        raise ValueError("equal targets leave nothing to negotiate")
    count = len(ours)
    nothing = np.zeros(count, dtype=np.int64)
    return Talks(
        np.asarray(ours, dtype=np.float64)[:, None],
        np.asarray(theirs, dtype=np.float64)[:, None],
        np.zeros((count, 0), dtype=np.int64),
        nothing,
        nothing,
    )


def exchange(talks: Talks, emotion: Ints, ours: Floats, theirs: Floats, left: NDArray[np.bool_], rules: Rules) -> Talks:
    """The dialogues one exchange later.

    `emotion`, `ours`, `theirs`, `left`: [B], what we showed and offered, what they offered, and whether they left
    instead. Offers that meet or cross are a deal at their offer, the last word. Time that is up is no deal.
    """
    going = talks.status == OPEN
    now_ours = np.where(going, ours, talks.ours[:, -1])
    now_theirs = np.where(going & ~left, theirs, talks.theirs[:, -1])
    lasted = talks.lasted + going
    apart = (now_ours - now_theirs) * np.sign(talks.gap)
    met = going & ~left & (apart <= rules.tolerance + _ROUNDING)
    over = going & ~met & (left | (lasted >= rules.exchanges))
    return replace(
        talks,
        ours=np.column_stack([talks.ours, now_ours]),
        theirs=np.column_stack([talks.theirs, now_theirs]),
        shown=np.column_stack([talks.shown, np.where(going, emotion, -1)]),
        status=np.where(met, DEAL, np.where(over, NO_DEAL, talks.status)),
        lasted=lasted,
    )


def conceded(talks: Talks) -> Floats:
    """How far they have come from their target to ours: [B, t + 1], a share of the gap (0 at first, 1 our target)."""
    return (talks.theirs - talks.theirs[:, :1]) / talks.gap[:, None]


def given(talks: Talks) -> Floats:
    """How far we have come from our target to theirs: [B, t + 1], a share of the gap."""
    return (talks.ours[:, :1] - talks.ours) / talks.gap[:, None]


def stalls(talks: Talks) -> Ints:
    """For how many exchanges in a row they had not moved, before the first exchange and after each: [B, t + 1]."""
    still = np.abs(np.diff(conceded(talks), axis=1)) < STILL
    found = np.zeros((len(still), still.shape[1] + 1), dtype=np.int64)
    for t in range(still.shape[1]):
        found[:, t + 1] = np.where(still[:, t], found[:, t] + 1, 0)
    return found


def stalled(talks: Talks) -> Ints:
    """For how many exchanges in a row they have not moved: [B]."""
    return stalls(talks)[:, -1]


def utility(talks: Talks) -> Floats:
    """Savings: the share of the gap that the deal saves us, [B] in [0, 1]; 0 without a deal (EmoDistill)."""
    return np.where(talks.status == DEAL, np.clip(conceded(talks)[:, -1], 0.0, 1.0), 0.0)


def mirrored(talks: Talks, shown: Ints) -> Talks:
    """The same dialogues as the other side sees them; `shown` [B, t]: the emotions that the other side showed."""
    return replace(talks, ours=talks.theirs, theirs=talks.ours, shown=shown)


def earlier(talks: Talks, exchanges: int) -> Talks:
    """The dialogues as they stood after so many exchanges; those that had not ended by then are open."""
    t = exchanges
    return Talks(
        talks.ours[:, : t + 1],
        talks.theirs[:, : t + 1],
        talks.shown[:, :t],
        np.where((talks.lasted <= t) & (talks.status != OPEN), talks.status, OPEN),
        np.minimum(talks.lasted, t),
    )
