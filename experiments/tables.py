"""The Markdown tables of docs/results, from the summaries of finished comparisons.

    python experiments/tables.py runs/aimed-chains-0 [--of critique] [--arms doubt,random]

`--of`: the arm whose gain is 100 %. All intervals are 95 %, over prompts and seeds, as `frown compare` made them.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

COLUMNS = {
    "avg_at_k": "Avg@k",
    "maj_at_k": "maj@k",
    "auc": "area under the curve",
    "well_formed": "well-formed",
    "ece": "ECE of agreement",
    "ece_min_probability": "ECE of the answer's least probability",
    "brier": "Brier of agreement",
    "suppression": "suppression",
}


def figure(metric: dict[str, Any] | None) -> str:
    """A metric with its interval."""
    if metric is None or metric["mean"] is None:
        return "-"
    return f"{metric['mean']:.3f} [{metric['ci95'][0]:.2f}, {metric['ci95'][1]:.2f}]"


def arms_table(summary: dict[str, Any], names: list[str], of: str | None, columns: list[str]) -> str:
    """One row an arm, and a row for the policy before training."""
    arms = summary["arms"]
    before = next(iter(arms.values()))["change"]
    start = before["avg_at_k"]["before"]
    left = ["arm", "comments a step", "share of the gain"] if of else ["arm"]
    rows = [[*left, *(COLUMNS[c] for c in columns)]]
    values = [f"{before[c]['before']:.3f}" if c in before else "" for c in columns]
    rows.append(["before training", *[""] * (len(left) - 1), *values])
    for name in names:
        arm = arms[name]
        cells = [name]
        if of:
            gain = arm["avg_at_k"]["mean"] - start
            steps = summary["config"]["base"]["optimiser"]["steps"]
            cells.append(f"{arm['comments']['mean'] / steps if arm['comments'] else 0:.1f}")
            cells.append(f"{gain / (arms[of]['avg_at_k']['mean'] - start):.0%}")
        rows.append([*cells, *(figure(arm[c]) for c in columns)])
    return markdown(rows)


def pairs_table(summary: dict[str, Any], names: list[str], metrics: list[str]) -> str:
    """One row a comparison of two arms, one column a metric; bold where a difference is shown."""
    rows = [["difference", *(COLUMNS.get(m, m) for m in metrics)]]
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for pair in summary["pairs"]:
        if pair.get("difference") and {pair["arm"], pair["baseline"]} <= set(names):
            d = pair["difference"]
            text = f"{d['mean']:+.3f} [{d['ci95'][0]:+.2f}, {d['ci95'][1]:+.2f}]"
            cells.setdefault((pair["arm"], pair["baseline"]), {})[pair["metric"]] = (
                f"**{text}**" if pair["shown"] else text
            )
    for (arm, other), by_metric in cells.items():
        rows.append([f"{arm} - {other}", *(by_metric.get(m, "-") for m in metrics)])
    return markdown(rows)


def markdown(rows: list[list[str]]) -> str:
    """A Markdown table; the first row is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "| --- " * len(rows[0]) + "|", *lines[1:]])


def insert(named: dict[str, str], page: Path) -> None:
    """Put tables between the marks of a page that have their names, and leave its words alone."""
    text = page.read_text(encoding="utf-8")
    for name, table in named.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text, count = re.subn(pattern, lambda m, t=table: f"{m[1]}\n{t}\n\n{m[2]}", text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"{page} has {count} places for the table {name!r}, not one")
    page.write_text(text, encoding="utf-8")


def main() -> None:
    """Print the tables of one comparison."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--of", help="the arm whose gain is 100 %%")
    parser.add_argument("--arms", help="arms to show, comma-separated (all)")
    parser.add_argument("--columns", default=",".join(COLUMNS), help="metrics of the arms")
    parser.add_argument("--metrics", default="avg_at_k,auc,ece", help="metrics of the differences")
    arguments = parser.parse_args()
    summary = json.loads((arguments.folder / "summary.json").read_text(encoding="utf-8"))
    names = arguments.arms.split(",") if arguments.arms else list(summary["arms"])
    seeds = len(summary["config"]["seeds"])
    print(f"{seeds} seeds.\n\n{arms_table(summary, names, arguments.of, arguments.columns.split(','))}\n")
    print(pairs_table(summary, names, arguments.metrics.split(",")))


if __name__ == "__main__":
    main()
