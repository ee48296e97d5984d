"""The state before an emotion is chosen, as numbers.

`legacy` is EmoDistill's ten numbers, its two constants for an absent observer and its emotion as one number included,
which gives emotions an order that they do not have. `onehot` and `vad` say the same without that: the last emotion as A
indicators, or as its place; the partner's offer as a share of the gap (a ratio to its first offer has no meaning on a
clock); whether it moved at all.

Those three forget which emotion was shown before the last one, so partners who answer to different emotions look alike.
`history` is `vad` and what is needed to tell them apart: how the partner's moves went with what was shown
(`response_statistics`).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from frown.recipes.negotiation.game import (
    STILL,
    Dialogues,
    Floats,
    Rules,
    our_concession,
    stall_count,
    stall_counts,
    their_concession,
)

Encoding = Literal["onehot", "vad", "legacy", "history"]
_DEAL_PROBABILITY, _BREAKDOWN_RISK = 0.5, 0.3


def encode(dialogues: Dialogues, places: Floats, encoding: Encoding, rules: Rules) -> NDArray[np.float32]:
    """The state of each dialogue: [B, F]; F is 10 (legacy), 11 (vad), 27 (history) or 8 + A (onehot).

    `places` [A, 3]: the emotions that may be shown, in VAD. Before the first exchange no emotion was shown: zeros.
    """
    theirs, ours = their_concession(dialogues), our_concession(dialogues)
    moves = np.diff(theirs, axis=1)
    nothing = np.zeros(len(theirs))
    last = np.clip(moves[:, -1], -2.0, 2.0) if moves.shape[1] else nothing
    speed = moves[:, -3:].mean(axis=1) if moves.shape[1] else nothing
    time = np.full(len(theirs), dialogues.exchanges / rules.exchanges)
    apart = 1.0 - theirs[:, -1] - ours[:, -1]
    stale = stall_count(dialogues) / 10.0
    shown = dialogues.shown[:, -1] if dialogues.exchanges else np.full(len(theirs), -1)
    if encoding == "legacy":
        first = dialogues.theirs[:, 0]
        ratio = np.divide(dialogues.theirs[:, -1], first, out=np.ones(len(first)), where=first != 0)
        constants = (np.full(len(theirs), c) for c in (_DEAL_PROBABILITY, _BREAKDOWN_RISK))
        index = np.maximum(shown, 0) / max(len(places) - 1, 1)
        columns = [last, apart, time, ratio, ours[:, -1], speed, stale, *constants, index]
    else:
        moving = (np.abs(last) >= STILL) | (dialogues.exchanges == 0)
        each = np.eye(len(places)) if encoding == "onehot" else places
        emotion = np.where(shown[:, None] >= 0, each[shown], 0.0)
        columns = [last, apart, time, theirs[:, -1], ours[:, -1], speed, stale, moving.astype(float), *emotion.T]
    if encoding == "history":
        columns += [*response_statistics(dialogues, places, rules).T]
    return np.column_stack(columns).astype(np.float32)


def response_statistics(dialogues: Dialogues, places: Floats, rules: Rules) -> Floats:
    """Statistics of the partner's moves and the emotions before them, over all exchanges so far: [B, 16].

    Eight sums over the exchanges in which it was moving, then the same eight over those in which it was stuck: their
    number; its moves; the places [3] of what was shown; the places times the moves. Moves are shares of the gap, and
    all sums are divided by the exchanges at most. They are the parts of a regression of its moves on valence, arousal
    and dominance that depend on its moves, with the means: nearly all that a dialogue tells of who it is with.
    """
    shown = dialogues.shown >= 0
    stuck = stall_counts(dialogues)[:, :-1] > 0
    moves = np.diff(their_concession(dialogues), axis=1)[..., None]
    at = places[np.maximum(dialogues.shown, 0)]
    each = np.concatenate([np.ones_like(moves), moves, at, at * moves], axis=2)
    parts = [(each * (shown & level)[..., None]).sum(axis=1) for level in (~stuck, stuck)]
    return np.hstack(parts) / rules.exchanges
