"""Does the gap that `frown probe` measures before training foretell the gain that training brings?

    python experiments/foretell.py runs/foretell-chains-0 runs/foretell-columns-0 ...

Reads the summaries of comparisons made with foretell.toml, probes each arm on its base, and prints one row a run
(arm x base) and the correlations over all of them and within each base.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from frown.config import CompareConfig, parse
from frown.evals.correlation import foretells
from frown.inspect.probe import probe

PROMPTS = 40


def main(folders: list[str]) -> None:
    """Print the table and the correlations."""
    torch.set_num_threads(1)
    pairs: dict[str, list[tuple[float, float]]] = {}
    print("| base | arm | gap of the probe | verdict | gain in Avg@k |\n| --- | --- | --- | --- | --- |")
    for folder in folders:
        summary = json.loads((Path(folder) / "summary.json").read_text(encoding="utf-8"))
        config = parse(CompareConfig, summary["config"], folder)
        for name, arm in summary["arms"].items():
            run = config.run(name, config.seeds[0])
            [probe_result] = probe(run, prompts=PROMPTS)["kinds"].values()
            gap, gain = probe_result["gap"], arm["change"]["avg_at_k"]
            difference = float("nan") if gap is None else gap["difference"]
            pairs.setdefault(run.model.path, []).append((difference, gain["mean"]))
            low, high = gain["ci95"]
            gap_text = "-" if gap is None else f"{difference:+.2f} ± {gap['standard_error']:.2f}"
            gain_text = f"{gain['mean']:+.2f} [{low:+.2f}, {high:+.2f}]"
            print(f"| {run.model.path} | {name} | {gap_text} | {probe_result['verdict']} | {gain_text} |")
    everything = [pair for of_base in pairs.values() for pair in of_base]
    for name, some in [("all", everything), *pairs.items()]:
        correlations = foretells(some)
        words = [
            f"{kind} {r['mean']:.2f} [{r['ci95'][0]:.2f}, {r['ci95'][1]:.2f}]"
            for kind in ("pearson", "spearman")
            if (r := correlations[kind]) is not None
        ]
        print(f"\n{name}: {correlations['n']} runs ({correlations['left_out']} without a gap); {'; '.join(words)}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python experiments/foretell.py FOLDER [FOLDER ...]")
    main(sys.argv[1:])
