"""The worker pool: the limit is kept by killing, and a broken item costs only itself."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from frown.errors import FrownError
from frown.tasks.workers import Failure, WorkerPool

# Worker functions in a module of their own: the pool imports them by name in a fresh interpreter.
FUNCTIONS = """
import os, sys, time

def echo(x):
    print("chatter on standard output")
    return x

def slow(x):
    time.sleep(x)
    return x

def die(x):
    if x == "die":
        os._exit(7)
    return x

def fail(x):
    raise ValueError("no " + x)

def eat(x):
    return len(bytearray(x * 2**20))

def pid(x):
    time.sleep(0.02)
    return os.getpid()

def pid_when_told(folder):  # says that it is at work, and waits until it may answer
    open(f"{folder}/{os.getpid()}", "w").close()
    while not os.path.exists(f"{folder}/go"):
        time.sleep(0.01)
    return os.getpid()
"""


@pytest.fixture
def pool(tmp_path, monkeypatch):
    (tmp_path / "worker_functions.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    pools = []

    def make(function, **options):
        pools.append(WorkerPool(f"worker_functions:{function}", **options))
        return pools[-1]

    yield make
    for p in pools:
        p.close()


def pids_of(pool) -> list[int]:
    """Process ids of the workers that run now."""
    return [w.pid for w in list(pool._live) if w.alive]


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended but was not yet waited for does not."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_pool_keeps_order_and_survives_chatter(pool):
    payloads = [{"i": i, "text": "é\n\ud800" * (i % 3)} for i in range(100)]
    assert pool("echo").map(payloads) == payloads
    assert pool("echo").map([]) == []


def test_pool_kills_what_exceeds_the_limit(pool):
    slow = pool("slow", limit=3.0, workers=2)
    results = slow.map([0, 3600, 0.01, 3600, 0.02])
    assert [r if not isinstance(r, Failure) else r.why for r in results] == [
        0, "no result within 3 s", 0.01, "no result within 3 s", 0.02
    ]  # fmt: skip
    pids = pids_of(slow)
    slow.close()
    slow.close()
    assert not any(map(alive, pids))
    with pytest.raises(ValueError, match="closed"):
        slow.map([0])


def test_pool_reports_what_a_worker_raises_or_eats(pool):
    assert pool("fail").map(["way"]) == [Failure("ValueError: no way")]
    assert pool("eat", memory_mb=512).map([1, 4096, 2]) == [2**20, Failure("out of memory"), 2 * 2**20]


def test_a_worker_that_dies_costs_its_own_item(pool):
    results = pool("die", workers=2).map(["a", "die", "b", "c"])
    assert results[0] == "a" and results[2:] == ["b", "c"]
    assert "status 7" in results[1].why and "2 tries" in results[1].why


def test_a_worker_killed_from_outside_is_replaced(pool, tmp_path):
    busy = pool("pid_when_told", workers=2)
    at_work = tmp_path / "at_work"
    at_work.mkdir()
    victims: list[int] = []

    def kill_all() -> None:
        while len(list(at_work.iterdir())) < 2:
            time.sleep(0.01)
        victims.extend(pids_of(busy))
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        (at_work / "go").touch()

    killer = threading.Thread(target=kill_all)
    killer.start()
    results = busy.map([str(at_work)] * 12)
    killer.join()
    assert len(victims) == 2
    assert all(isinstance(r, int) for r in results)  # the items in hand were tried again
    assert not set(results) & set(victims)


def test_a_worker_that_cannot_start_is_an_error(pool):
    with pytest.raises(FrownError, match="could not be started: AttributeError"):
        pool("absent").map([1])
    with pytest.raises(FrownError, match="could not be started: ModuleNotFoundError"):
        WorkerPool("no_such_module:f").map([1, 2, 3])


def test_closing_ends_a_running_map(pool):
    slow = pool("slow", limit=7200, workers=1)
    results = []
    thread = threading.Thread(target=lambda: results.extend(slow.map([0, 3600, 3600])))
    thread.start()
    while not pids_of(slow):
        time.sleep(0.05)
    time.sleep(0.3)
    slow.close()
    thread.join()
    assert results[1] == results[2] == Failure("the grader was closed")
    assert pids_of(slow) == []


def test_workers_do_not_outlive_a_killed_parent(pool, tmp_path):
    code = (
        f"import sys, time; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from frown.tasks.workers import WorkerPool\n"
        "p = WorkerPool('worker_functions:pid', workers=1); p.map([0])\n"
        "print(*[w.pid for w in p._live if w.alive], flush=True); time.sleep(3600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    (pid,) = map(int, parent.stdout.readline().split())
    assert alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    while alive(pid):
        time.sleep(0.05)
