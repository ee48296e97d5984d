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
class Dialogues:
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


def open_dialogues(ours: Floats, theirs: Floats) -> Dialogues:
    """Dialogues [B] that open with both targets, in units. Raises ValueError where the two are equal."""
    if np.any(np.asarray(ours) == np.asarray(theirs)):
        raise ValueError("equal targets leave nothing to negotiate")
    count = len(ours)
    zeros = np.zeros(count, dtype=np.int64)
    return Dialogues(
        np.asarray(ours, dtype=np.float64)[:, None],
        np.asarray(theirs, dtype=np.float64)[:, None],
        np.zeros((count, 0), dtype=np.int64),
        zeros,
        zeros,
    )


def exchange(
    dialogues: Dialogues, emotion: Ints, ours: Floats, theirs: Floats, left: NDArray[np.bool_], rules: Rules
) -> Dialogues:
    """The dialogues one exchange later.

    `emotion`, `ours`, `theirs`, `left`: [B], what we showed and offered, what they offered, and whether they left
    instead. Offers that meet or cross are a deal at their offer, the last word. Time that is up is no deal.
    """
    going = dialogues.status == OPEN
    now_ours = np.where(going, ours, dialogues.ours[:, -1])
    now_theirs = np.where(going & ~left, theirs, dialogues.theirs[:, -1])
    lasted = dialogues.lasted + going
    apart = (now_ours - now_theirs) * np.sign(dialogues.gap)
    met = going & ~left & (apart <= rules.tolerance + _ROUNDING)
    over = going & ~met & (left | (lasted >= rules.exchanges))
    return replace(
        dialogues,
        ours=np.column_stack([dialogues.ours, now_ours]),
        theirs=np.column_stack([dialogues.theirs, now_theirs]),
        shown=np.column_stack([dialogues.shown, np.where(going, emotion, -1)]),
        status=np.where(met, DEAL, np.where(over, NO_DEAL, dialogues.status)),
        lasted=lasted,
    )


def their_concession(dialogues: Dialogues) -> Floats:
    """Distance they have come from their target to ours: [B, t + 1], a share of the gap (0 at first, 1 our target)."""
    return (dialogues.theirs - dialogues.theirs[:, :1]) / dialogues.gap[:, None]


def our_concession(dialogues: Dialogues) -> Floats:
    """Distance we have come from our target to theirs: [B, t + 1], a share of the gap."""
    return (dialogues.ours[:, :1] - dialogues.ours) / dialogues.gap[:, None]


def stall_counts(dialogues: Dialogues) -> Ints:
    """For how many exchanges in a row they had not moved, before the first exchange and after each: [B, t + 1]."""
    still = np.abs(np.diff(their_concession(dialogues), axis=1)) < STILL
    counts = np.zeros((len(still), still.shape[1] + 1), dtype=np.int64)
    for t in range(still.shape[1]):
        counts[:, t + 1] = np.where(still[:, t], counts[:, t] + 1, 0)
    return counts


def stall_count(dialogues: Dialogues) -> Ints:
    """For how many exchanges in a row they have not moved: [B]."""
    return stall_counts(dialogues)[:, -1]


def utility(dialogues: Dialogues) -> Floats:
    """Savings: the share of the gap that the deal saves us, [B] in [0, 1]; 0 without a deal (EmoDistill)."""
    return np.where(dialogues.status == DEAL, np.clip(their_concession(dialogues)[:, -1], 0.0, 1.0), 0.0)


def mirror(dialogues: Dialogues, shown: Ints) -> Dialogues:
    """The same dialogues as the other side sees them; `shown` [B, t]: the emotions that the other side showed."""
    return replace(dialogues, ours=dialogues.theirs, theirs=dialogues.ours, shown=shown)


def up_to(dialogues: Dialogues, exchanges: int) -> Dialogues:
    """The dialogues as they stood after so many exchanges; those that had not ended by then are open."""
    t = exchanges
    return Dialogues(
        dialogues.ours[:, : t + 1],
        dialogues.theirs[:, : t + 1],
        dialogues.shown[:, :t],
        np.where((dialogues.lasted <= t) & (dialogues.status != OPEN), dialogues.status, OPEN),
        np.minimum(dialogues.lasted, t),
    )
