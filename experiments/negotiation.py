"""Which emotion to show: every figure of docs/results/negotiation.md.

    python experiments/negotiation.py run runs/negotiation --tables DIR --casino DIR [--seeds 5] [--only state,inert]
    python experiments/negotiation.py write runs/negotiation docs/results/negotiation.md

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
from frown.recipes.negotiation import belief, iql, play, recipe, scenarios
from frown.recipes.negotiation.emotions import cards, places
from frown.recipes.negotiation.evaluate import scores, share
from frown.recipes.negotiation.game import Rules, utility
from frown.recipes.negotiation.learnable import learnable
from frown.recipes.negotiation.partner import TACTICS, our_offers, replies
from frown.recipes.negotiation.people import judge
from frown.recipes.negotiation.recipe import NegotiationConfig
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


def settings(**values: Any) -> NegotiationConfig:
    """A configuration from plain values."""
    return parse(NegotiationConfig, values, "this experiment")


def state(given: argparse.Namespace) -> dict[str, Any]:
    """Each tactic alone; its selectors against every other tactic; and a tournament of the first seed's."""
    found, selectors = {}, {}
    for tactic in TACTICS:
        found[tactic], done = recipe.run(settings(tactics=[tactic], seeds=list(range(given.seeds))), print)
        selectors[tactic] = [t.selector for t in done]
    _, test = scenarios.split(scenarios.synthetic())
    worlds = {tactic: play.world(test, [tactic], AT, RULES) for tactic in TACTICS}
    players = {f"selection, {t}": iql.selects(s[0], AT, "onehot", RULES) for t, s in selectors.items()}
    names = [card.name for card in EMOTIONS]
    players |= {name: play.fixed(names.index(name), len(EMOTIONS)) for name in ("neutral", "joy", "anger", "sadness")}
    players["random"] = play.uniform(len(EMOTIONS))
    mixed = play.world(test, TACTICS, AT, RULES)
    rated = tournament(players, mixed, repeats=4)
    return {
        "tactics": found,
        "transfer": {a: {b: shares(selectors[a], worlds[b], "onehot") for b in TACTICS} for a in TACTICS},
        "tournament": {
            name: {"strength": as_json(r.strength), "points": r.points, "utility": r.utility, "deals": r.deals}
            for name, r in rated.items()
        },
    }


def hidden(given: argparse.Namespace) -> dict[str, Any]:
    """All four tactics in turn, and nobody says which: states with and without a memory, by the number of dialogues."""
    plain = {"tactics": list(TACTICS), "held_out": 0, "repeats": 100, "seeds": list(range(given.seeds))}
    found = {name: recipe.run(settings(**(plain | values)), print)[0] for name, values in HIDDEN.items()}
    return {"found": found, "best_not_told": best_not_told()}


def best_not_told() -> dict[str, float]:
    """What the best policy that is not told earns, between what was played (20,000 dialogues) and an upper bound."""
    kinds = [replies(tactic, AT) for tactic in TACTICS]
    bound = belief.solve(kinds, our_offers(RULES.exchanges), 1, 48).start(np.full(len(kinds), 1 / len(kinds)))
    where = play.world(scenarios.split(scenarios.synthetic())[0], TACTICS, AT, RULES)
    earned = utility(play.play(play.untold(where, 250), where, 77, 250).talks)
    error = float(earned.std() / np.sqrt(len(earned)))
    return {"played": float(earned.mean()), "standard_error": error, "upper_bound": bound}


def unseen(given: argparse.Namespace) -> dict[str, Any]:
    """Trained against three tactics in turn, tested against the fourth."""
    found: dict[str, Any] = {}
    _, test = scenarios.split(scenarios.synthetic())
    for tactic in TACTICS:
        others = [t for t in TACTICS if t != tactic]
        where = play.world(test, [tactic], AT, RULES)
        found[tactic] = {}
        for encoding in ("onehot", "history"):
            plain = {"tactics": others, "held_out": 0, "seeds": list(range(given.seeds))}
            _, done = recipe.run(settings(**HIDDEN[f"{encoding}, 8000"] | plain), print)
            found[tactic][encoding] = shares([t.selector for t in done], where, encoding, 100)
    return found


def known(given: argparse.Namespace) -> dict[str, Any]:
    """One tactic at a time with the state that remembers, from the same logs as `state`."""
    plain = {"encoding": "history", "held_out": 0, "seeds": list(range(given.seeds))}
    return {tactic: recipe.run(settings(**plain, tactics=[tactic]), print)[0] for tactic in TACTICS}


def shares(
    selectors: list[iql.Selector],
    where: play.World,
    encoding: Any,
    repeats: int = 20,
    best: Callable[[play.World, int], play.Policy] = play.optimal,
) -> dict[str, Any]:
    """What selectors, one a seed, reach of the best policy in a world, and what random choice does."""
    arms: dict[str, list[Any]] = {"selection": [], "optimum": [], "random": []}
    optimum = best(where, repeats)
    for seed, selector in enumerate(selectors):
        policies = {
            "selection": iql.selects(selector, AT, encoding, RULES),
            "optimum": optimum,
            "random": play.uniform(len(AT)),
        }
        for name, policy in policies.items():
            talks = play.play(policy, where, recipe.TESTED + seed, repeats).talks
            arms[name].append(scores(talks, repeats))
    return {"of_optimum": share(arms, "selection", "optimum"), "random": share(arms, "random", "optimum")}


def inert(given: argparse.Namespace) -> dict[str, Any]:
    """Emotions that do nothing: the full recipe, and how often short ones and the check alone cry wolf."""
    full, _ = recipe.run(settings(inert=True, seeds=list(range(given.seeds))), print)
    _, test = scenarios.split(scenarios.synthetic())
    where = play.world(test, ["victim"], AT, RULES, inert=True)
    checks = [learnable(play.play(play.uniform(7), where, 5000 + s, 5).talks, s).found for s in range(200)]
    return {
        "full": full,
        "alarms": alarms(given.short, "onehot"),
        "check_alone": [sum(bool(c) for c in checks), len(checks)],
    }


def inert_history(given: argparse.Namespace) -> dict[str, Any]:
    """How often short trainings cry wolf with the state that remembers."""
    return {"alarms": alarms(given.short, "history")}


def alarms(count: int, encoding: str) -> dict[str, list[int]]:
    """Of so many short trainings in the inert mode, how many claim to have found something: name -> [claims, all]."""
    found: dict[str, list[bool]] = {"check": [], "played": [], "fqe": [], "dr": []}
    for seed in range(count):
        short = settings(inert=True, encoding=encoding, seeds=[seed + 1000], dialogues=400, learning={"steps": 100})
        one, _ = recipe.run(short)
        estimated = one["off_policy"][0]["selection, sampled"]
        found["check"].append(one["learnable"][0]["verdict"] != "no signal here")
        found["played"].append(clear(one["gain_of_selection_over"]["behaviour"]))
        for name in ("fqe", "dr"):
            found[name].append(clear(estimated[name]["gain"], above=True))
    return {name: [int(sum(a)), len(a)] for name, a in found.items()}


def clear(gain: dict[str, Any] | None, above: bool = False) -> bool:
    """Whether an interval excludes zero (`above`: lies above it)."""
    return gain is not None and (gain["ci95"][0] > 0 or (not above and gain["ci95"][1] < 0))


def variants(given: argparse.Namespace) -> dict[str, Any]:
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
        name: recipe.run(settings(**values, held_out=0, seeds=list(range(given.seeds))), print)[0]
        for name, values in arms.items()
    }


def domains(given: argparse.Namespace) -> dict[str, Any]:
    """Trained in one domain, tested in each, all four tactics, hidden."""
    if given.tables is None:
        raise SystemExit("the part 'domains' needs --tables DIR")
    found, transfer = {}, {}
    tests = {}
    for domain in DOMAINS:
        plain = {"tactics": list(TACTICS), "held_out": 0, "seeds": list(range(given.seeds))}
        config = settings(**HIDDEN["history, 8000"] | plain, scenario=domain, data=given.tables)
        found[domain], done = recipe.run(config, print)
        transfer[domain] = [t.selector for t in done]
        tests[domain] = play.world(scenarios.split(recipe.table(config))[1], TACTICS, AT, RULES)
    matrix = {a: {b: shares(transfer[a], tests[b], "history", 20, play.untold) for b in DOMAINS} for a in DOMAINS}
    return {"domains": found, "transfer": matrix}


def casino(given: argparse.Namespace) -> dict[str, Any]:
    """People's logs."""
    if given.casino is None:
        raise SystemExit("the part 'casino' needs --casino DIR")
    return {o: judge(given.casino, o, iql.IqlSettings()) for o in ("points", "satisfaction")}


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
    given = parser.parse_args()
    if given.what == "write":
        write(given.folder, given.page, PARTS)
        return
    import torch

    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    for part in given.only.split(",") if given.only else PARTS:
        path = given.folder / f"{part}.json"
        if not path.exists():
            path.write_text(json.dumps(PARTS[part](given), indent=1) + "\n", encoding="utf-8")
        print(f"{part}: {path}")


if __name__ == "__main__":
    main()
