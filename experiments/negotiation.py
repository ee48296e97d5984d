"""Every figure of the selection half of docs/results/tables/negotiation.md.

    python experiments/negotiation.py run runs/negotiation --tables DIR --casino DIR [--seeds 5] [--only state,inert]
    python experiments/negotiation.py write runs/negotiation docs/results/tables/negotiation.md

`run` writes one JSON file a part and skips the parts that are there. `write` puts the tables between the marks of the
page and leaves its words alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from negotiation_tables import write

from frown.config import parse
from frown.evals.figures import as_json
from frown.recipes.negotiation import belief, iql, play, scenarios, selection
from frown.recipes.negotiation.emotions import cards, places
from frown.recipes.negotiation.evaluate import scores, utility_share
from frown.recipes.negotiation.game import Rules, utility
from frown.recipes.negotiation.partner import TACTICS, our_offers, reply_model
from frown.recipes.negotiation.people import evaluate_people
from frown.recipes.negotiation.selection import SelectionConfig
from frown.recipes.negotiation.signal_check import check_signal
from frown.recipes.negotiation.tournament import tournament

RULES = Rules()
EMOTIONS = cards("ekman7")
AT = places(EMOTIONS)
DOMAINS = ("credit", "disaster", "hospital", "sleep")
LONG = {"steps": 6000, "tau": 0.9}
"""The training where the tactic is hidden."""
HIDDEN: dict[str, dict[str, Any]] = {
    "onehot, 2000, short training": {"encoding": "onehot"},
    "onehot, 2000": {"encoding": "onehot", "learning": LONG},
    "onehot, 8000": {"encoding": "onehot", "learning": LONG, "dialogues": 8000, "held_out": 400},
    "history, 2000, short training": {"encoding": "history"},
    "history, 2000": {"encoding": "history", "learning": LONG},
    "history, 8000": {"encoding": "history", "learning": LONG, "dialogues": 8000, "held_out": 400},
    "history, 32000": {"encoding": "history", "learning": LONG, "dialogues": 32_000},
}


def settings(**values: Any) -> SelectionConfig:
    """A configuration from plain values."""
    return parse(SelectionConfig, values, "this experiment")


def state(arguments: argparse.Namespace) -> dict[str, Any]:
    """Each tactic alone; its selectors against every other tactic; and a tournament of the first seed's."""
    results, selectors = {}, {}
    for tactic in TACTICS:
        results[tactic], seed_results = selection.run(
            settings(tactics=[tactic], seeds=list(range(arguments.seeds))), print
        )
        selectors[tactic] = [t.selector for t in seed_results]
    _, test = scenarios.split(scenarios.synthetic())
    worlds = {tactic: play.world(test, [tactic], AT, RULES) for tactic in TACTICS}
    players = {f"selection, {t}": iql.greedy_policy(s[0], AT, "onehot", RULES) for t, s in selectors.items()}
    names = [card.name for card in EMOTIONS]
    players |= {name: play.fixed(names.index(name), len(EMOTIONS)) for name in ("neutral", "joy", "anger", "sadness")}
    players["random"] = play.uniform(len(EMOTIONS))
    mixed = play.world(test, TACTICS, AT, RULES)
    rated = tournament(players, mixed, repeats=4)
    return {
        "tactics": results,
        "transfer": {a: {b: shares(selectors[a], worlds[b], "onehot") for b in TACTICS} for a in TACTICS},
        "tournament": {
            name: {"strength": as_json(r.strength), "points": r.points, "utility": r.utility, "deals": r.deals}
            for name, r in rated.items()
        },
    }


def hidden(arguments: argparse.Namespace) -> dict[str, Any]:
    """All four tactics in turn, and nobody says which: states with and without a memory, by the number of dialogues."""
    plain = {"tactics": list(TACTICS), "held_out": 0, "repeats": 100, "seeds": list(range(arguments.seeds))}
    results = {name: selection.run(settings(**(plain | values)), print)[0] for name, values in HIDDEN.items()}
    return {"settings": results, "belief_optimum": belief_optimum()}


def belief_optimum() -> dict[str, float]:
    """The value of the best policy that does not know the tactic: as played (20,000 dialogues), and an upper bound."""
    kinds = [reply_model(tactic, AT) for tactic in TACTICS]
    bound = belief.solve(kinds, our_offers(RULES.exchanges), 1, 48).start(np.full(len(kinds), 1 / len(kinds)))
    where = play.world(scenarios.split(scenarios.synthetic())[0], TACTICS, AT, RULES)
    earned = utility(play.play(play.belief_optimal(where, 250), where, 77, 250).dialogues)
    error = float(earned.std() / np.sqrt(len(earned)))
    return {"played": float(earned.mean()), "standard_error": error, "upper_bound": bound}


def unseen(arguments: argparse.Namespace) -> dict[str, Any]:
    """Trained against three tactics in turn, tested against the fourth."""
    shares_by_tactic: dict[str, Any] = {}
    _, test = scenarios.split(scenarios.synthetic())
    for tactic in TACTICS:
        others = [t for t in TACTICS if t != tactic]
        where = play.world(test, [tactic], AT, RULES)
        shares_by_tactic[tactic] = {}
        for encoding in ("onehot", "history"):
            plain = {"tactics": others, "held_out": 0, "seeds": list(range(arguments.seeds))}
            _, seed_results = selection.run(settings(**HIDDEN[f"{encoding}, 8000"] | plain), print)
            shares_by_tactic[tactic][encoding] = shares([t.selector for t in seed_results], where, encoding, 100)
    return shares_by_tactic


def known(arguments: argparse.Namespace) -> dict[str, Any]:
    """One tactic at a time with the state that remembers, from the same logs as `state`."""
    plain = {"encoding": "history", "held_out": 0, "seeds": list(range(arguments.seeds))}
    return {tactic: selection.run(settings(**plain, tactics=[tactic]), print)[0] for tactic in TACTICS}


def shares(
    selectors: list[iql.Selector],
    where: play.World,
    encoding: Any,
    repeats: int = 20,
    best: Callable[[play.World, int], play.Policy] = play.optimal,
) -> dict[str, Any]:
    """Shares of the optimum in a world: of selectors, one a seed, and of random choice."""
    arms: dict[str, list[Any]] = {"selection": [], "optimum": [], "random": []}
    optimum = best(where, repeats)
    for seed, selector in enumerate(selectors):
        policies = {
            "selection": iql.greedy_policy(selector, AT, encoding, RULES),
            "optimum": optimum,
            "random": play.uniform(len(AT)),
        }
        for name, policy in policies.items():
            dialogues = play.play(policy, where, selection.TESTED + seed, repeats).dialogues
            arms[name].append(scores(dialogues, repeats))
    return {
        "of_optimum": utility_share(arms, "selection", "optimum"),
        "random": utility_share(arms, "random", "optimum"),
    }


def inert(arguments: argparse.Namespace) -> dict[str, Any]:
    """Emotions that do nothing: the full recipe, and how often short ones and the check alone cry wolf."""
    full, _ = selection.run(settings(inert=True, seeds=list(range(arguments.seeds))), print)
    _, test = scenarios.split(scenarios.synthetic())
    where = play.world(test, ["victim"], AT, RULES, inert=True)
    checks = [check_signal(play.play(play.uniform(7), where, 5000 + s, 5).dialogues, s).significant for s in range(200)]
    return {
        "full": full,
        "alarms": alarms(arguments.short, "onehot"),
        "check_alone": [sum(bool(c) for c in checks), len(checks)],
    }


def inert_history(arguments: argparse.Namespace) -> dict[str, Any]:
    """False alarms of short trainings with the state that remembers."""
    return {"alarms": alarms(arguments.short, "history")}


def alarms(count: int, encoding: str) -> dict[str, list[int]]:
    """Of so many short trainings in the inert mode, how many claim to have found something: name -> [claims, all]."""
    claims: dict[str, list[bool]] = {"check": [], "played": [], "fqe": [], "dr": []}
    for seed in range(count):
        short = settings(inert=True, encoding=encoding, seeds=[seed + 1000], dialogues=400, learning={"steps": 100})
        one, _ = selection.run(short)
        estimated = one["off_policy"][0]["selection, sampled"]
        claims["check"].append(one["signal_check"][0]["verdict"] != "no signal here")
        claims["played"].append(clear(one["gain_of_selection_over"]["behaviour"]))
        for name in ("fqe", "dr"):
            claims[name].append(clear(estimated[name]["gain"], above=True))
    return {name: [int(sum(a)), len(a)] for name, a in claims.items()}


def clear(gain: dict[str, Any] | None, above: bool = False) -> bool:
    """Whether an interval excludes zero (`above`: lies above it)."""
    return gain is not None and (gain["ci95"][0] > 0 or (not above and gain["ci95"][1] < 0))


def variants(arguments: argparse.Namespace) -> dict[str, Any]:
    """Other states, rewards, taxonomies and habits, against the victim."""
    arms: dict[str, dict[str, Any]] = {
        "vad state": {"encoding": "vad"},
        "legacy state": {"encoding": "legacy"},
        "the paper's reward": {"reward": "paper"},
        "GoEmotions 28": {"taxonomy": "goemotions28"},
        "Izard 10": {"taxonomy": "izard10"},
        "habitual behaviour": {"behaviour": "habitual"},
    }
    return {
        name: selection.run(settings(**values, held_out=0, seeds=list(range(arguments.seeds))), print)[0]
        for name, values in arms.items()
    }


def domains(arguments: argparse.Namespace) -> dict[str, Any]:
    """Trained in one domain, tested in each, all four tactics, hidden."""
    if arguments.tables is None:
        raise SystemExit("the part 'domains' needs --tables DIR")
    results, transfer = {}, {}
    tests = {}
    for domain in DOMAINS:
        plain = {"tactics": list(TACTICS), "held_out": 0, "seeds": list(range(arguments.seeds))}
        config = settings(**HIDDEN["history, 8000"] | plain, scenario=domain, data=arguments.tables)
        results[domain], seed_results = selection.run(config, print)
        transfer[domain] = [t.selector for t in seed_results]
        tests[domain] = play.world(scenarios.split(selection.load_table(config))[1], TACTICS, AT, RULES)
    matrix = {
        a: {b: shares(transfer[a], tests[b], "history", 20, play.belief_optimal) for b in DOMAINS} for a in DOMAINS
    }
    return {"domains": results, "transfer": matrix}


def casino(arguments: argparse.Namespace) -> dict[str, Any]:
    """People's logs."""
    if arguments.casino is None:
        raise SystemExit("the part 'casino' needs --casino DIR")
    return {o: evaluate_people(arguments.casino, o, iql.IqlConfig()) for o in ("points", "satisfaction")}


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "casino": casino,
    "state": state,
    "inert": inert,
    "inert_history": inert_history,
    "domains": domains,
    "variants": variants,
    "hidden": hidden,
    "unseen": unseen,
    "known": known,
}


def main() -> None:
    """Run the parts, or write their tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("run", "write"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("page", type=Path, nargs="?")
    parser.add_argument("--tables", type=Path, help="the folder with the four scenario tables")
    parser.add_argument("--casino", type=Path, help="the folder with CaSiNo's splits")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--short", type=int, default=40, help="short trainings in the inert mode, for false alarms")
    parser.add_argument("--only", help="parts, comma-separated (all)")
    arguments = parser.parse_args()
    if arguments.what == "write":
        write(arguments.folder, arguments.page, PARTS)
        return
    import torch

    torch.set_num_threads(1)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for part in arguments.only.split(",") if arguments.only else PARTS:
        path = arguments.folder / f"{part}.json"
        if not path.exists():
            path.write_text(json.dumps(PARTS[part](arguments), indent=1) + "\n", encoding="utf-8")
        print(f"{part}: {path}")


if __name__ == "__main__":
    main()
