"""When to try again, and when to leave off for a while."""

from __future__ import annotations

import email.utils
import math
import random
import time
from collections.abc import Mapping

_LONGEST = 30.0
"""Seconds that a pause grows to by itself; an endpoint may ask for more."""


class Breaker:
    """Opens after so many failures in a row and stays open for a pause (seconds). The first failure after a pause opens
    it again, the first success closes it."""

    def __init__(self, after: int, pause: float) -> None:
        self._after, self._pause = after, pause
        self._row, self._until = 0, -math.inf

    @property
    def open(self) -> bool:
        """Whether there is to be no try now."""
        return time.monotonic() < self._until

    def failed(self) -> None:
        """One more failure."""
        self._row += 1
        if self._row >= self._after:
            self._until = time.monotonic() + self._pause

    def worked(self) -> None:
        """A success."""
        self._row, self._until = 0, -math.inf


def backoff(tried: int, base: float, asked: float | None, rng: random.Random) -> float:
    """Seconds to wait after `tried` failures (1 or more): doubled each time, half of it at random, and no less than the
    endpoint asked for, to which up to a tenth is added, for those it asked the same not to come back all at once."""
    own = min(_LONGEST, base * 2.0 ** min(tried - 1, 30)) * rng.uniform(0.5, 1.0)
    return own if asked is None else max(own, asked * rng.uniform(1.0, 1.1))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a response asks to wait: `retry-after-ms`, or `retry-after` in seconds or as a date (RFC 9110)."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        return max(0.0, seconds) if math.isfinite(seconds) else None
    try:
        at = email.utils.parsedate_to_datetime(headers["retry-after"])
        return max(0.0, at.timestamp() - time.time())
    except (KeyError, ValueError, OverflowError, OSError):
        return None
