"""How the work of a function grows with its input, whatever the speed of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable


def growth(work: Callable[[int], object], size: int, times: int = 4, turns: int = 5) -> float:
    """How many times the processor time of `work(times * size)` is that of `work(size)`.

    `times` where the work is linear, `times ** 2` where it is quadratic. Time of this thread alone, the least of
    several turns, which small and large take alternately: what else a machine does reaches both alike.
    """
    least = [float("inf"), float("inf")]
    for _ in range(turns):
        for i, n in enumerate((size, times * size)):
            began = time.thread_time()
            work(n)
            least[i] = min(least[i], time.thread_time() - began)
    return least[1] / least[0]


def is_linear(work: Callable[[int], object], size: int) -> bool:
    """Whether four times the input takes less than eight times the work, in one of three tries."""
    return any(growth(work, size) < 8.0 for _ in range(3))
