"""`python -m benchmarks [NAME ...] [--quick] [--out bench.json]`; `--markdown bench.json` prints a page's table."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks import table
from benchmarks.machine import environment
from benchmarks.measures import MEASURES, take
from benchmarks.measuring import in_fresh_process


def main(arguments: list[str] | None = None) -> None:
    """Take the measures asked for, each in a fresh process; write them and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="frown beside TRL, doing the same work.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which measures: {', '.join(MEASURES)}; default all")
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast it is")
    parser.add_argument("--out", type=Path, default=Path("bench.json"), help="where the measures go")
    parser.add_argument("--draw", type=Path, help="draw the growth curves to this file (SVG or PNG)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="print the table of such a file, measure nothing")
    asked = parser.parse_args(arguments)
    if asked.markdown:
        print(table.markdown(json.loads(asked.markdown.read_text(encoding="utf-8"))))
        return
    for name in asked.names:
        if name not in MEASURES:
            parser.error(f"there is no measure {name!r}; there are {', '.join(MEASURES)}")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    results: dict[str, Any] = {"measures": {}, "environment": environment()}
    for name in asked.names or MEASURES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        results["measures"][name] = in_fresh_process(take, name, asked.quick)
        asked.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    measured = results["measures"].get("growth")
    if asked.draw and measured and "skipped" not in measured:
        from benchmarks.growth import draw

        draw(measured, asked.draw)
    print(table.plain(results["measures"]))
    print(", ".join(f"{key} {value}" for key, value in results["environment"].items()))


if __name__ == "__main__":
    main()
