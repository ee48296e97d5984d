"""Backoff between retries, and a circuit breaker after too many failures."""

from __future__ import annotations

import email.utils
import math
import random
import time
from collections.abc import Mapping

_LONGEST = 30.0
"""Seconds that a pause grows to by itself; an endpoint may ask for more."""


class CircuitBreaker:
    """A circuit breaker: opens after `threshold` failures in a row and stays open for a pause (seconds).

    The first failure after a pause opens it again, the first success closes it.
    """

    def __init__(self, threshold: int, pause: float) -> None:
        self._threshold, self._pause = threshold, pause
        self._failures, self._open_until = 0, -math.inf

    @property
    def open(self) -> bool:
        """Whether calls are refused now."""
        return time.monotonic() < self._open_until

    def record_failure(self) -> None:
        """One more failure."""
        self._failures += 1
        if self._failures >= self._threshold:
            self._open_until = time.monotonic() + self._pause

    def record_success(self) -> None:
        """A success."""
        self._failures, self._open_until = 0, -math.inf


def backoff(failures: int, base: float, requested: float | None, rng: random.Random) -> float:
    """Seconds to wait after so many failures (1 or more): doubled each time, half of it at random, and no less than the
    endpoint asked for, to which up to a tenth is added, for those it asked the same not to come back all at once."""
    delay = min(_LONGEST, base * 2.0 ** min(failures - 1, 30)) * rng.uniform(0.5, 1.0)
    return delay if requested is None else max(delay, requested * rng.uniform(1.0, 1.1))


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
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
