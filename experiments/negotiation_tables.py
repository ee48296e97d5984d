"""The tables of docs/results/tables/negotiation.md, from the parts that experiments/negotiation.py has run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tables import insert, markdown

from frown.evals.figures import as_json
from frown.evals.stats import draws, interval
from frown.evals.weights import mean_of_samples
from frown.recipes.negotiation import selection
from frown.recipes.negotiation.selection import figure


def arms_rows(named: dict[str, dict[str, Any]]) -> list[list[str]]:
    """One row a setting: what each policy earns, and what selection gains."""
    arms = ("behaviour", "vanilla", "best fixed", "selection", "optimum")
    rows = [["", *arms, "over best fixed", "share of the optimum", "before training"]]
    for name, results in named.items():
        utility = [figure(results["arms"][a]["utility"]) if a in results["arms"] else "-" for a in arms]
        verdicts = {v["verdict"] for v in results["signal_check"]}
        over = figure(results["gain_of_selection_over"]["best fixed"], sign=True)
        rows.append([name, *utility, over, figure(results["share_of_optimum"]), "; ".join(sorted(verdicts))])
    return rows


def hidden_rows(named: dict[str, dict[str, Any]]) -> list[list[str]]:
    """One row a setting where the tactic is hidden: what policies earn, and selection's share of both optima."""
    arms = ("behaviour", "best fixed", "selection", selection.BELIEF_OPTIMUM, "optimum")
    rows = [["", *arms[:-1], "optimum, tactic known", "over best fixed", "share, hidden", "share, known"]]
    for name, results in named.items():
        utility = [figure(results["arms"][a]["utility"]) for a in arms]
        over = figure(results["gain_of_selection_over"]["best fixed"], sign=True)
        of = [figure(results[key]) for key in ("share_of_belief_optimum", "share_of_optimum")]
        rows.append([name, *utility, over, *of])
    return rows


def unseen_rows(by_tactic: dict[str, dict[str, Any]]) -> list[list[str]]:
    """The share of the optimum against a tactic that was in no log, by the state; and what random choice reaches."""
    rows = [["unseen", "onehot", "history", "random choice"]]
    for tactic, by_state in by_tactic.items():
        of = [figure(by_state[encoding]["of_optimum"]) for encoding in ("onehot", "history")]
        rows.append([tactic, *of, figure(by_state["history"]["random"])])
    return rows


def matrix_rows(matrix: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Trained in a row, tested in a column: the share of the optimum; below it what random choice reaches."""
    columns = list(matrix)
    rows = [["trained on \\ tested on", *columns]]
    rows += [[a, *(figure(matrix[a][b]["of_optimum"]) for b in columns)] for a in columns]
    return [*rows, ["random choice", *(figure(matrix[columns[0]][b]["random"]) for b in columns)]]


def estimates_rows(results: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Errors of the off-policy estimates of the sampled and the greedy selector, against what they earn in play."""
    rows = [["policy", "estimate", "error", "mean absolute error", "truth in the interval", "dialogues it is made of"]]
    for policy in ("selection, sampled", "selection"):
        each = [e[policy] for one in results.values() for e in one["off_policy"]]
        for name in ("wis", "dr", "fqe"):
            defined = [(e[name], e["truth"]) for e in each if e[name]["value"] is not None]
            errors = np.array([e["value"]["mean"] - truth for e, truth in defined])
            inside = [e["value"]["ci95"][0] <= truth <= e["value"]["ci95"][1] for e, truth in defined]
            made = np.mean([e[name]["effective"] for e in each])
            shown = interval(mean_of_samples, errors[None, :, None], using=draws(1, len(errors))) if defined else None
            row = [figure(as_json(shown), sign=True), f"{np.abs(errors).mean():.3f}"] if defined else ["-", "-"]
            rows.append(
                [policy, name, *row, f"{sum(inside)} of {len(each)}", f"{made:.1f} of {each[0][name]['total']}"]
            )
    return rows


def hidden_estimates_rows(results: dict[str, dict[str, Any]]) -> list[list[str]]:
    """The same where the tactic is hidden, for each state that made estimates."""
    rows: list[list[str]] = []
    for name, one in results.items():
        if any(one["off_policy"]):
            head, *each = estimates_rows({name: one})
            rows += [["state", *head]] if not rows else []
            rows += [[name.split(",")[0], *row] for row in each]
    return rows


def people_rows(results: dict[str, Any]) -> list[list[str]]:
    """Gains over what people earned, by three estimates."""
    rows = [["policy", "wis", "made of", "dr", "fqe"]]
    for name, policy in results["policies"].items():
        made = f"{policy['wis']['effective']:.0f} of {policy['wis']['total']}"
        cells = {e: figure(policy[e]["gain"], sign=True) for e in ("wis", "dr", "fqe")}
        rows.append([name, cells["wis"], made, cells["dr"], cells["fqe"]])
    return rows


def tables(folder: Path, parts: Iterable[str]) -> dict[str, str]:
    """Every table by the name of its mark, from the parts in a folder."""
    by_part = {part: json.loads((folder / f"{part}.json").read_text(encoding="utf-8")) for part in parts}
    of_state, inert, people = by_part["state"], by_part["inert"], by_part["casino"]
    cups = sorted(of_state["tournament"].items(), key=lambda item: -item[1]["points"])
    rated = [["player", "strength, nats", "points", "utility", "deals"]]
    rated += [
        [name, figure(r["strength"], 2, True), f"{r['points']:.3f}", f"{r['utility']:.3f}", f"{r['deals']:.3f}"]
        for name, r in cups
    ]
    claims = [["who is asked", "onehot", "history"]]
    claims += [
        [name, *("{} of {}".format(*part["alarms"][name]) for part in (inert, by_part["inert_history"]))]
        for name in inert["alarms"]
    ]
    claims.append(["check, 100 dialogues", "{} of {}".format(*inert["check_alone"]), ""])
    hidden = by_part["hidden"]["settings"]
    about = [["", "train", "test"]]
    about += [[k, *(str(people["points"][k][s]) for s in ("train", "test"))] for k in ("people", "messages")]
    about += [[f"messages that show {k}", f"{rate:.3f}", ""] for k, rate in people["points"]["shown"].items()]
    behaviour_nats = {"their habit": "habit_nats", "base rates": "base_rate_nats"}
    about += [
        [f"surprisal of a message's emoticon by {k}, nats", "", f"{people['points'][v]:.3f}"]
        for k, v in behaviour_nats.items()
    ]
    return {
        "state": markdown(arms_rows(of_state["tactics"])),
        "tactics": markdown(matrix_rows(of_state["transfer"])),
        "tournament": markdown(rated),
        "estimates": markdown(estimates_rows(of_state["tactics"])),
        "inert": markdown(arms_rows({"inert": inert["full"]})),
        "alarms": markdown(claims),
        "variants": markdown(arms_rows(by_part["variants"])),
        "hidden": markdown(hidden_rows(hidden)),
        "hidden_estimates": markdown(hidden_estimates_rows(hidden)),
        "known": markdown(arms_rows(by_part["known"])),
        "unseen": markdown(unseen_rows(by_part["unseen"])),
        "domains": markdown(hidden_rows(by_part["domains"]["domains"])),
        "transfer": markdown(matrix_rows(by_part["domains"]["transfer"])),
        "people": markdown(about),
        "points": markdown(people_rows(people["points"])),
        "satisfaction": markdown(people_rows(people["satisfaction"])),
    }


def write(folder: Path, page: Path, parts: Iterable[str]) -> None:
    """Put the tables between the marks of the page."""
    insert(tables(folder, parts), page)
