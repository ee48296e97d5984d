"""Mutated inputs for every reader: each is read, refused in one line, or counted as left out; nothing else.

    python tests/helpers/fuzz.py READER [READER ...] --cases 10000 --seed 0
    python tests/helpers/fuzz.py READER --seed 0 --replay N

A case is its reader, its seed and its number: the same three make the same input. Cases run in a process of their own,
so that one that crashes or hangs costs itself alone; a hang is more than `WATCHDOG` seconds without an end.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from fuzz_readers import READERS, Count, Input

WATCHDOG = 120
"""Seconds; against hangs alone, thousands of times what a case takes."""
MEMORY = 8 << 30
"""Bytes that a process of cases may take: an input that asks for more than there is must not be given it."""


class Outcome(NamedTuple):
    """What became of one case: "read", "skipped" (read, and something left out and counted), "refused", or a fault."""

    kind: str
    why: str = ""

    @property
    def ok(self) -> bool:
        return self.kind in ("read", "skipped", "refused")


def cases(name: str, seed: int, numbers: range) -> Iterator[tuple[int, Outcome]]:
    """The outcomes of some cases of a reader, in order."""
    reader = READERS[name]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        (Path(folder) / "seeds").mkdir()
        seeds = reader.seeds(Path(folder) / "seeds")
        place = Path(folder) / "case"
        for number in numbers:
            place.mkdir()
            made = reader.make(Random(f"{name}/{seed}/{number}"), seeds, place)
            yield number, outcome(name, made)
            shutil.rmtree(place)


def outcome(name: str, made: Input) -> Outcome:
    """Read one input and say what became of it."""
    from frown.errors import FrownError

    with _unraisable() as ignored, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            count = READERS[name].read(made)
            result = _lost(made, count) or Outcome("skipped" if count.reported else "read")
        except FrownError as error:
            lines = str(error).splitlines()
            fault = len(lines) != 1 or not lines[0].strip() or len(lines[0]) > 3000
            result = Outcome("no line" if fault else "refused", str(error))
        except AssertionError as error:
            result = Outcome("wrong", str(error) or _where(error))
        except Exception as error:
            result = Outcome(type(error).__name__, f"{str(error)[:200]!r} {_where(error)}")
    return Outcome("ignored error", ignored[0]) if ignored else result


def _lost(made: Input, count: Count) -> Outcome | None:
    if made.rows is not None and count.read + count.reported < made.rows and (count.read or not count.reported):
        return Outcome("lost", f"{made.rows} rows, of which {count.read} are read and {count.reported} reported")
    if missing := [mark for mark in made.intact if mark not in count.marks] if count.marks else []:
        return Outcome("lost", f"rows that nobody touched are missing: {', '.join(missing)}")
    return None


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/frown/" in f.filename] or frames
    return f"at {Path(own[-1].filename).name}:{own[-1].lineno} in {own[-1].name}"


@contextmanager
def _unraisable() -> Iterator[list[str]]:
    """What Python would print as "Exception ignored in"."""
    said: list[str] = []
    before = sys.unraisablehook
    sys.unraisablehook = lambda hook: said.append(f"{type(hook.exc_value).__name__}: {hook.exc_value}")
    try:
        yield said
    finally:
        sys.unraisablehook = before


# -- the command line ----------------------------------------------------------------------------------------------


def run(name: str, seed: int, total: int) -> tuple[Counter[str], list[tuple[int, Outcome]], float]:
    """All cases of a reader: counts, faults, processor seconds."""
    counts: Counter[str] = Counter()
    faults: list[tuple[int, Outcome]] = []
    first, seconds = 0, 0.0
    retried: set[int] = set()
    while first < total:
        words = [sys.executable, __file__, name, "--seed", str(seed), "--worker", str(first), str(total)]
        worker = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        hangs = True
        for said in _said(worker):
            if "number" not in said:
                hangs, seconds = False, seconds + said.get("seconds", 0.0)
                continue
            first = said["number"] + 1
            counts[said["kind"]] += 1
            if not Outcome(said["kind"]).ok:
                faults.append((said["number"], Outcome(said["kind"], said["why"])))
        if hangs:
            worker.kill()
        code = worker.wait()
        if hangs and first not in retried:  # the machine may have stood still, and not the reader
            retried.add(first)
        elif first < total:
            fault = Outcome("hang" if hangs else "crash", f"status {code}")
            counts[fault.kind] += 1
            faults.append((first, fault))
            first += 1
    return counts, faults, seconds


def _said(worker: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """What a process of cases writes, {} at its end; nothing more where it is silent for too long."""
    assert worker.stdout is not None
    descriptor, rest = worker.stdout.fileno(), b""
    with selectors.DefaultSelector() as waiting:
        waiting.register(descriptor, selectors.EVENT_READ)
        while waiting.select(WATCHDOG):
            piece = os.read(descriptor, 1 << 16)
            *lines, rest = (rest + piece).split(b"\n")
            yield from map(json.loads, lines)
            if not piece:
                yield {}
                return


def work(name: str, seed: int, first: int, total: int) -> None:
    """Run cases in this process and write each outcome as a line."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for number, result in cases(name, seed, range(first, total)):
        out.write(json.dumps({"number": number, "kind": result.kind, "why": result.why[:2000]}) + "\n")
        out.flush()
    out.write(json.dumps({"seconds": time.process_time()}) + "\n")
    out.flush()


def replay(name: str, seed: int, number: int, keep: Path) -> None:
    """One case again: its input is kept, its outcome shown, with the traceback where it has one."""
    reader = READERS[name]
    shutil.rmtree(keep, ignore_errors=True)
    (keep / "seeds").mkdir(parents=True)
    (keep / "case").mkdir()
    made = reader.make(Random(f"{name}/{seed}/{number}"), reader.seeds(keep / "seeds"), keep / "case")
    print(f"input: {made}"[:2000])
    try:
        print(reader.read(made))
    finally:
        print(outcome(name, made))


def main(arguments: Any = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readers", nargs="*", help=f"one of {', '.join(READERS)}; none: all")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--replay", type=int, metavar="N")
    parser.add_argument(
        "--keep", type=Path, default=Path(tempfile.gettempdir()) / "fuzz-replay", help="where a replayed input stays"
    )
    parser.add_argument("--worker", type=int, nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    names = asked.readers or list(READERS)
    if asked.worker:
        work(names[0], asked.seed, *asked.worker)
        return 0
    if asked.replay is not None:
        replay(names[0], asked.seed, asked.replay, asked.keep)
        return 0
    bad = 0
    for name in names:
        counts, faults, seconds = run(name, asked.seed, asked.cases)
        bad += len(faults)
        told = ", ".join(f"{n} {kind}" for kind, n in counts.most_common())
        print(f"{name}: {asked.cases} cases, {told}; {seconds:.0f} processor seconds", flush=True)
        shown: Counter[str] = Counter()
        for number, fault in faults:
            key = f"{fault.kind} {fault.why.rpartition(' at ')[2] or fault.why[:30]}"
            shown[key] += 1
            if shown[key] <= 2:
                print(f"  --replay {number}: {fault.kind}: {fault.why[:300]}", flush=True)
        for key, n in shown.most_common():
            if n > 2:
                print(f"  {n} x {key[:200]}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
