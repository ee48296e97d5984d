"""How time and memory are taken.

Time is process CPU-seconds, system time included, so that other processes on the machine weigh less than on a wall
clock. Variants take turns in one process, one turn of each a round, the order rotated; what is reported is the
median over rounds.

Memory is the highest resident set (VmHWM) of a process of its own, minus what was resident once the inputs had been
made.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

_STATUS, _REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


class Skip(Exception):
    """Why a measure cannot be taken here."""


def interleaved(variants: Mapping[str, Callable[[], Any]], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """CPU-seconds of each variant in each round; the `warm_up` rounds before those are not kept."""
    names = list(variants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for i in range(-warm_up, rounds):
        turn = i % len(names)
        for name in names[turn:] + names[:turn]:
            gc.collect()
            taken = cpu_seconds(variants[name])
            if i >= 0:
                seconds[name].append(taken)
    return seconds


def cpu_seconds(work: Callable[[], Any]) -> float:
    """CPU-seconds of this process, all threads, user and system."""
    began = time.process_time()
    work()
    return time.process_time() - began


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each variant's rounds."""
    return {name: median(values) for name, values in seconds.items()}


def reuse_freed_memory() -> bool:
    """Keep freed memory in the process for its next use, whatever its size (glibc alone; else False).

    Without it, glibc hands a large buffer back at once and takes it again page by page, zeroed: a tax on whoever has
    the larger buffers. Timings of the loss layer are taken without that tax.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 1 << 40))


def peak_mib(work: Callable[[], Any], since: float | None = None) -> float:
    """MiB by which the resident set grew at most while `work` ran.

    Where there is no /proc (or its high-water mark cannot be set back) the process's own maximum is taken instead,
    which is right in a fresh process whose inputs are smaller than its work.
    """
    gc.collect()
    base = resident_mib() if since is None else since
    try:
        _REFERENCES.write_text("5")  # sets VmHWM back to what is resident now (proc(5))
    except OSError:
        pass
    work()
    return _high_water_mib() - base


def resident_mib() -> float:
    """What is resident now, MiB; where the system does not say, the maximum so far."""
    return _status_mib("VmRSS") or _maximum_mib()


def _high_water_mib() -> float:
    return _status_mib("VmHWM") or _maximum_mib()


def _status_mib(key: str) -> float | None:
    if not _STATUS.is_file():
        return None
    values = [line.split()[1] for line in _STATUS.read_text().splitlines() if line.startswith(f"{key}:")]
    return int(values[0]) / 1024 if values else None


def _maximum_mib() -> float:
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` returns in a process of its own, which has nothing of this one's memory."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def relative_error(a: Any, b: Any) -> float:
    """||a - b|| / ||b|| of two tensors, in float64."""
    a, b = a.detach().double(), b.detach().double()
    return float((a - b).norm() / b.norm().clamp_min(1e-300))


def agree(differences: Mapping[str, float], most: float) -> dict[str, float]:
    """The differences as given, each at most `most`; else the two paths do not do the same work and nothing is timed.

    Raises AssertionError.
    """
    for name, difference in differences.items():
        assert difference <= most, f"the two paths disagree: {name} differs by {difference:.1e}, more than {most:.0e}"
    return dict(differences)
