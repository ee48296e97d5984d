"""Every figure of the expression half of docs/results/tables/negotiation.md.

    python experiments/expression.py run runs/expression [--seeds 3] [--only whole,paper,inert]
    python experiments/expression.py write runs/expression docs/results/tables/negotiation.md

`run` writes one JSON file a part and seed and skips those that are there; models and adapters stand beside them. The
parts after the first begin with its models.
`write` puts the tables between the marks of the page and leaves its words alone.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from tables import insert, markdown

from frown.config import parse
from frown.recipes.negotiation import expression, scenarios, speaker_scores
from frown.recipes.negotiation.selection import figure

PARTS: dict[str, dict[str, Any]] = {
    "whole": {
        "arms": [
            *("sft", "jpo", "dpo", "jpo, good turns alone", "sft on random turns", "jpo, scores shuffled"),
            "emotion-free",
        ]
    },
    "paper": {"arms": ["sft", "jpo"], "reward": "paper"},
    "inert": {"arms": ["jpo"], "inert": True},
}
NAMES = {
    "no flaw": "speaker by rule, no flaw",
    "first model": "first model",
    "sft": "SFT",
    "jpo": "SFT, JPO",
    "dpo": "SFT, DPO",
    "jpo, good turns alone": "SFT, JPO, good turns alone",
    "sft on random turns": "SFT on random turns",
    "jpo, scores shuffled": "SFT, JPO on shuffled scores",
    "sft, emotion-free": "SFT, emotion-free",
    "jpo, emotion-free": "SFT, JPO, emotion-free",
}


def settings(part: str, seeds: int) -> expression.ExpressionConfig:
    """The configuration of a part."""
    return parse(expression.ExpressionConfig, {**PARTS[part], "seeds": list(range(seeds))}, "this experiment")


def run(folder: Path, part: str, seeds: int) -> None:
    """Every seed of a part that is not there yet."""
    config = settings(part, seeds)
    train, test = scenarios.split(expression.load_table(config))
    for seed in config.seeds:
        path = folder / f"{part}-{seed}.json"
        if not path.exists():
            first = None if part == "whole" else str(folder / f"whole-{seed}" / "first")
            from_first = config.model_copy(update={"model": first})
            seed_results = expression.run_seed(
                from_first, train, test, seed, folder / f"{part}-{seed}", partial(print, flush=True)
            )
            path.write_text(json.dumps(speaker_scores.to_data(seed_results)) + "\n", encoding="utf-8")
        print(path)


def load_results(folder: Path, part: str) -> dict[str, Any]:
    """The results of all seeds of a part that are there."""
    seed_results = []
    while (path := folder / f"{part}-{len(seed_results)}.json").exists():
        seed_results.append(speaker_scores.from_data(json.loads(path.read_text(encoding="utf-8"))))
    if not seed_results:
        raise SystemExit(f"{folder} holds no results of the part {part!r}: run it first")
    return speaker_scores.results(settings(part, len(seed_results)).model_dump(mode="json"), seed_results)


def judged_rows(results: dict[str, Any], arms: list[str]) -> list[list[str]]:
    """One row a speaker, on held-out moments."""
    rows = [["speaker", "judged, 1 to 10", "less SFT", "offer correct", "tone correct", "insults", "KL to SFT, nats"]]
    for arm in arms:
        of = results["speakers"][arm]
        # Who is asked for no tone is scored by another measure.
        gain = None if "emotion-free" in arm else results["gain_in_score_over"][arm].get("sft")
        stopped = sum(t["stopped"] for t in results["trainings"].get(arm, ()))
        note = f" (stopped in {stopped})" if stopped else ""
        cells = [figure(of["score"], 2), figure(gain, 2, sign=True)]
        cells += [figure(of[c]) for c in ("offer_correct", "tone_correct", "insults", "distance")]
        rows.append([NAMES[arm], *cells[:-1], cells[-1] + note])
    return rows


def play_rows(results: dict[str, Any], arms: dict[str, str]) -> list[list[str]]:
    """One row an arm of the game."""
    rows = [["", "utility", "of deals", "success", "exchanges"]]
    for arm, name in arms.items():
        of = results["play"][arm]
        cells = [figure(of[c]) for c in ("utility", "utility_of_deals", "success")]
        rows.append([name, *cells, figure(of["rounds"], 1)])
    return rows


def gain_rows(results: dict[str, Any]) -> list[list[str]]:
    """One row a comparison of two arms of the game."""
    rows = [["utility of", "less that of", "difference", "p"]]
    for arm, others in results["gain_in_utility_over"].items():
        rows += [[arm, other, figure(gain, sign=True), f"{gain['p']:.3f}"] for other, gain in others.items()]
    return rows


def tables(folder: Path) -> dict[str, str]:
    """Every table by the name of its mark."""
    whole, paper, inert = (load_results(folder, part) for part in PARTS)
    arms = {
        "neutral, first model": "vanilla: first model, neutral",
        "random, first model": "random: first model, random emotion",
        "best fixed, first model": "best fixed: first model, best fixed emotion",
        "selection, first model": "selection only: first model, selector of the sweep",
        "selection from labels, first model": "selection only: first model, selector of labels",
        "optimum, first model": "first model, the optimum's emotion",
        "neutral, jpo": "expression only: JPO, neutral",
        "random, jpo": "expression only: JPO, random emotion",
        "best fixed, jpo": "JPO, best fixed emotion",
        "selection, jpo": "both: JPO, selector of the sweep",
        "selection from labels, jpo": "both: JPO, selector of labels",
        "optimum, jpo": "JPO, the optimum's emotion",
        "neutral, jpo, emotion-free": "emotion-free: JPO without cards and tones",
        "random, sft": "SFT, random emotion",
        "random, sft on random turns": "SFT on random turns, random emotion",
        "random, dpo": "DPO, random emotion",
        "random, jpo, scores shuffled": "JPO on shuffled scores, random emotion",
        "neutral, no flaw": "no flaw, neutral",
        "random, no flaw": "no flaw, random emotion",
        "best fixed, no flaw": "no flaw, best fixed emotion",
        "selection, no flaw": "no flaw, selector of the sweep",
        "selection from labels, no flaw": "no flaw, selector of labels",
        "optimum, no flaw": "no flaw, the optimum's emotion",
    }
    of_sweep = [
        ["reward by which SFT chooses", "turns", "judged", "the chosen, judged", "the chosen that end a dialogue"]
    ]
    for name, s in (("utility", whole["sweep"]), ("the paper's", paper["sweep"])):
        of_sweep.append([name, f"{s['turns']:.0f}", *(f"{s[c]:.2f}" for c in ("score", "best_score", "best_last"))])
    return {
        "speakers": markdown(judged_rows(whole, list(whole["speakers"]))),
        "spoken": markdown(play_rows(whole, arms)),
        "spoken gains": markdown(gain_rows(whole)),
        "paper reward": markdown(judged_rows(paper, ["first model", "sft", "jpo"])),
        "chosen": markdown(of_sweep),
        "spoken inert": markdown(play_rows(inert, {k: v for k, v in arms.items() if k in inert["play"]})),
    }


def main() -> None:
    """Run the parts, or write their tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("run", "write"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("page", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", help="parts, comma-separated (all)")
    arguments = parser.parse_args()
    if arguments.what == "write":
        insert(tables(arguments.folder), arguments.page)
        return
    import torch

    torch.set_num_threads(1)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for part in arguments.only.split(",") if arguments.only else PARTS:
        run(arguments.folder, part, arguments.seeds)


if __name__ == "__main__":
    main()
