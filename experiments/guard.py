"""Trips and rollbacks of the guard in the runs of experiments/guard.toml, as a Markdown table.

python experiments/guard.py runs/guard
"""

from __future__ import annotations

import sys
from pathlib import Path

from frown.store.run_directory import RunDirectory


def row(arm: str, path: Path) -> str:
    """One run: where it ended, its accuracies, and when which canary tripped first."""
    run = RunDirectory(path)
    lines = list(run.metrics())
    tests = [(m["step"], m["avg_at_k"]) for m in lines if m.get("split") == "test"]
    trips = [m for m in lines if "guard" in m]
    first = f"{trips[0]['guard']} at {trips[0]['at']}" if trips else "none"
    undone = len({m["warning"].partition("rate is now ")[2].partition(";")[0] for m in trips} - {""})
    last = max(m["step"] for m in lines if "loss" in m)
    status = run.status[0] if run.status[0] == "finished" else f"stopped at {last}"
    best = max(a for _, a in tests)
    return f"| {arm} | {path.name[4:]} | {status} | {first} | {undone} | {best:.2f} | {tests[-1][1]:.2f} |"


def main() -> None:
    """Print the table."""
    runs = Path(sys.argv[1]) / "runs"
    print("| arm | seed | end | first trip (step) | rollbacks | best test accuracy | last test accuracy |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for arm in ("warn", "cut", "freeze", "rollback", "back_and_freeze", "ema"):
        for path in sorted((runs / arm).iterdir()):
            print(row(arm, path))


if __name__ == "__main__":
    main()
