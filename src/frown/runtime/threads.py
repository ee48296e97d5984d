"""How many threads torch computes with: the cores that are free, and one alone for a model too small to share out.

An OpenMP worker that waits for its next piece of work spins. Where another process needs its core, the worker holds
it for a whole time slice at every small operation, and a tiny model trains many times slower on two threads than on
one. Two things are done against it: waiting workers sleep (`wait_asleep`, before torch is imported), and no thread
is started for a core that is in use (`settle`, once the model is there).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, NamedTuple

TINY = 10_000_000
"""Parameters. A round figure between the lab's models (0.3 million), which gain nothing from a second thread, and the
smallest pretrained ones (100 million)."""
_NOISE = 0.1
"""Cores. What an idle machine does by itself."""
_MOMENT = 0.25
"""Seconds over which it is measured how busy the cores are."""


class Threads(NamedTuple):
    """A number of threads, and why."""

    number: int
    why: str

    def __str__(self) -> str:
        return f"{self.number}: {self.why}"


def wait_asleep() -> None:
    """Let waiting OpenMP workers sleep instead of spin, here and in child processes, unless the user chose a policy.

    The library reads this when it is loaded: without effect once torch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def settle(model: Any) -> Threads:
    """Choose the number of threads for a loaded model, now, and set it for this process."""
    import torch

    if next(model.parameters()).device.type != "cpu":
        return Threads(torch.get_num_threads(), "the model is not on the CPU")
    cores, parameters = own_cores(), sum(p.numel() for p in model.parameters())
    chosen = decide(
        asked=os.environ.get("OMP_NUM_THREADS"),
        cores=len(cores),
        quota=cpu_quota(),
        busy=busy_cores(cores) if parameters >= TINY else 0.0,  # a tiny model gets one thread, however free the cores
        parameters=parameters,
    )
    torch.set_num_threads(chosen.number)
    return chosen


def decide(*, asked: str | None, cores: int, quota: float | None, busy: float, parameters: int) -> Threads:
    """The number of threads, at least 1, and unless it was asked for at most the cores and the quota.

    `asked`: OMP_NUM_THREADS, which wins (of a list for nested levels, its first; what is no number is as if unset).
    `cores`: those this process may run on. `quota`: cores' worth of time it may use, None where there is no limit.
    `busy`: how many of the cores others use now, in [0, cores]. `parameters`: of the model.
    """
    first = (asked or "").split(",")[0].strip()
    if first.isdecimal() and int(first) > 0:
        return Threads(int(first), f"OMP_NUM_THREADS={asked}")
    if parameters < TINY:
        return Threads(1, f"the model is tiny ({parameters:,} parameters)")
    free = cores - max(0.0, busy - _NOISE)
    if quota is not None and quota < free:
        return Threads(max(1, int(quota)), f"the container may use {quota:g} of {cores} cores")
    return Threads(max(1, int(free)), f"{busy:.1f} of {cores} cores are busy")


def own_cores() -> frozenset[int]:
    """The cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """The cores' worth of time that the process's control groups allow it: the least of any level, None for no limit.

    Reads version 2 (cpu.max) and version 1 (cpu.cfs_quota_us) below `root`. A level that cannot be seen from inside a
    container limits nothing that we could know of.
    """
    mounted = root / "sys/fs/cgroup"
    limits = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        levels = [Path(path.lstrip("/")), *Path(path.lstrip("/")).parents]
        for level in levels:
            if not controllers:
                parts = _text(mounted / level / "cpu.max").split()
            elif "cpu" in controllers.split(","):
                group = mounted / controllers / level
                parts = [_text(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
            else:
                break
            if len(parts) == 2 and all(x.isdecimal() for x in parts) and int(parts[1]):
                limits.append(int(parts[0]) / int(parts[1]))  # "max" and -1 are no limit
    return min(limits, default=None)


def busy_cores(cores: frozenset[int], root: Path = Path("/"), moment: float = _MOMENT) -> float:
    """How many of some cores are in use during a moment (seconds) of this process's sleep, in [0, len(cores)].

    0 where the system does not tell.
    """
    before = _ticks(root)
    time.sleep(moment)
    after = _ticks(root)
    busy = 0.0
    for core in cores & before.keys() & after.keys():
        used, whole = (b - a for a, b in zip(before[core], after[core], strict=True))
        busy += min(1.0, max(0.0, used / whole)) if whole > 0 else 0.0
    return busy


def _ticks(root: Path) -> dict[int, tuple[int, int]]:
    """Of each core: clock ticks in use, and all of them, since the machine started."""
    by_core = {}
    for line in _text(root / "proc/stat").splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            ticks = [int(x) for x in fields[:8]]  # user nice system idle iowait irq softirq steal; guests are in user
            by_core[int(name.removeprefix("cpu"))] = sum(ticks) - ticks[3] - ticks[4], sum(ticks)
    return by_core


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
