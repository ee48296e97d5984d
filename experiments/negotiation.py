"""Which emotion to show: every figure of docs/results/negotiation.md.

    python experiments/negotiation.py run runs/negotiation --tables DIR --casino DIR [--seeds 5] [--only state,inert]
    python experiments/negotiation.py write runs/negotiation docs/results/negotiation.md

`run` writes one JSON file a part and skips the parts that are there. `write` puts the tables between the marks of the
page and leaves its words alone.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from frown.config import parse
from frown.evals.figures import as_json
from frown.evals.stats import draws, interval
from frown.evals.weights import mean_of_samples
from frown.recipes.negotiation import belief, iql, play, recipe, scenarios
from frown.recipes.negotiation.emotions import cards, places
from frown.recipes.negotiation.evaluate import scores, share
from frown.recipes.negotiation.game import Rules, utility
from frown.recipes.negotiation.learnable import learnable
from frown.recipes.negotiation.partner import TACTICS, our_offers, replies
from frown.recipes.negotiation.people import judge
from frown.recipes.negotiation.recipe import NegotiationConfig, figure
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
    """One tactic at a time with the state that remembers, from as many dialogues as `state` has, and from more."""
    plain = {"held_out": 0, "seeds": list(range(given.seeds))}
    return {
        f"{tactic}, {name.split(', ')[1]}": recipe.run(settings(**HIDDEN[name] | plain, tactics=[tactic]), print)[0]
        for tactic in TACTICS
        for name in ("history, 2000, short training", "history, 8000")
    }


def shares(
    selectors: list[iql.Selector],
    where: play.World,
    encoding: Any,
    repeats: int = 20,
    best: Callable[[play.World, int], play.Policy] = play.optimal,
) -> dict[str, Any]:
    """What selectors, one a seed, reach of the best policy in a world, and what random choice does."""
    arms: dict[str, list[Any]] = {"selection": [], "optimum": [], "random": []}
    for seed, selector in enumerate(selectors):
        policies = {
            "selection": iql.selects(selector, AT, encoding, RULES),
            "optimum": best(where, repeats),
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


# ---- tables


def markdown(rows: list[list[str]]) -> str:
    """A Markdown table; the first row is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "| --- " * len(rows[0]) + "|", *lines[1:]])


def arms_rows(named: dict[str, dict[str, Any]]) -> list[list[str]]:
    """One row a setting: what each policy earns, and what selection gains."""
    arms = ("behaviour", "vanilla", "best fixed", "selection", "optimum")
    rows = [["", *arms, "over best fixed", "share of the optimum", "before training"]]
    for name, found in named.items():
        utility = [figure(found["arms"][a]["utility"]) if a in found["arms"] else "-" for a in arms]
        said = {v["verdict"] for v in found["learnable"]}
        over = figure(found["gain_of_selection_over"]["best fixed"], sign=True)
        rows.append([name, *utility, over, figure(found["share_of_optimum"]), "; ".join(sorted(said))])
    return rows


def hidden_rows(named: dict[str, dict[str, Any]]) -> list[list[str]]:
    """One row a setting where the tactic is hidden: what policies earn, and selection's share of both optima."""
    arms = ("behaviour", "best fixed", "selection", recipe.NOT_TOLD, "optimum")
    rows = [["", *arms[:-1], "optimum, told", "over best fixed", "share, not told", "share, told"]]
    for name, found in named.items():
        utility = [figure(found["arms"][a]["utility"]) for a in arms]
        over = figure(found["gain_of_selection_over"]["best fixed"], sign=True)
        of = [figure(found[f"share_of_optimum{which}"]) for which in ("_not_told", "")]
        rows.append([name, *utility, over, *of])
    return rows


def unseen_rows(found: dict[str, dict[str, Any]]) -> list[list[str]]:
    """The share of the optimum against a tactic that was in no log, by the state; and what random choice reaches."""
    rows = [["unseen", "onehot", "history", "random choice"]]
    for tactic, by_state in found.items():
        of = [figure(by_state[encoding]["of_optimum"]) for encoding in ("onehot", "history")]
        rows.append([tactic, *of, figure(by_state["history"]["random"])])
    return rows


def matrix_rows(matrix: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Trained in a row, tested in a column: the share of the optimum; below it what random choice reaches."""
    columns = list(matrix)
    rows = [["trained on \\ tested on", *columns]]
    rows += [[a, *(figure(matrix[a][b]["of_optimum"]) for b in columns)] for a in columns]
    return [*rows, ["random choice", *(figure(matrix[columns[0]][b]["random"]) for b in columns)]]


def estimates_rows(found: dict[str, dict[str, Any]]) -> list[list[str]]:
    """How near the off-policy estimates of the sampled and the greedy selector come to what it earns when it plays."""
    rows = [["policy", "estimate", "error", "mean absolute error", "truth in the interval", "dialogues it is made of"]]
    for policy in ("selection, sampled", "selection"):
        each = [e[policy] for one in found.values() for e in one["off_policy"]]
        for name in ("wis", "dr", "fqe"):
            known = [(e[name], e["truth"]) for e in each if e[name]["value"] is not None]
            errors = np.array([e["value"]["mean"] - truth for e, truth in known])
            inside = [e["value"]["ci95"][0] <= truth <= e["value"]["ci95"][1] for e, truth in known]
            made = np.mean([e[name]["effective"] for e in each])
            shown = interval(mean_of_samples, errors[None, :, None], using=draws(1, len(errors))) if known else None
            row = [figure(as_json(shown), sign=True), f"{np.abs(errors).mean():.3f}"] if known else ["-", "-"]
            rows.append(
                [policy, name, *row, f"{sum(inside)} of {len(each)}", f"{made:.1f} of {each[0][name]['total']}"]
            )
    return rows


def hidden_estimates_rows(found: dict[str, dict[str, Any]]) -> list[list[str]]:
    """The same where the tactic is hidden, for each state that made estimates."""
    rows: list[list[str]] = []
    for name, one in found.items():
        if any(one["off_policy"]):
            head, *each = estimates_rows({name: one})
            rows += [["state", *head]] if not rows else []
            rows += [[name.split(",")[0], *row] for row in each]
    return rows


def people_rows(found: dict[str, Any]) -> list[list[str]]:
    """Gains over what people earned, by three estimates."""
    rows = [["policy", "wis", "made of", "dr", "fqe"]]
    for name, policy in found["policies"].items():
        made = f"{policy['wis']['effective']:.0f} of {policy['wis']['total']}"
        cells = {e: figure(policy[e]["gain"], sign=True) for e in ("wis", "dr", "fqe")}
        rows.append([name, cells["wis"], made, cells["dr"], cells["fqe"]])
    return rows


def tables(folder: Path) -> dict[str, str]:
    """Every table by the name of its mark."""
    found = {part: json.loads((folder / f"{part}.json").read_text(encoding="utf-8")) for part in PARTS}
    of_state, wolf, people = found["state"], found["inert"], found["casino"]
    cups = sorted(of_state["tournament"].items(), key=lambda item: -item[1]["points"])
    rated = [["player", "strength, nats", "points", "utility", "deals"]]
    rated += [
        [name, figure(r["strength"], 2, True), f"{r['points']:.3f}", f"{r['utility']:.3f}", f"{r['deals']:.3f}"]
        for name, r in cups
    ]
    claims = [["who is asked", "onehot", "history"]]
    claims += [
        [name, *("{} of {}".format(*part["alarms"][name]) for part in (wolf, found["inert_history"]))]
        for name in wolf["alarms"]
    ]
    claims.append(["check, 100 dialogues", "{} of {}".format(*wolf["check_alone"]), ""])
    secret = found["hidden"]["found"]
    about = [["", "train", "test"]]
    about += [[k, *(str(people["points"][k][s]) for s in ("train", "test"))] for k in ("people", "messages")]
    about += [[f"messages that show {k}", f"{rate:.3f}", ""] for k, rate in people["points"]["shown"].items()]
    nats = {"their habit": "habit_nats", "base rates": "base_rate_nats"}
    about += [
        [f"surprisal of a message's emoticon by {k}, nats", "", f"{people['points'][v]:.3f}"] for k, v in nats.items()
    ]
    return {
        "state": markdown(arms_rows(of_state["tactics"])),
        "tactics": markdown(matrix_rows(of_state["transfer"])),
        "tournament": markdown(rated),
        "estimates": markdown(estimates_rows(of_state["tactics"])),
        "inert": markdown(arms_rows({"inert": wolf["full"]})),
        "alarms": markdown(claims),
        "variants": markdown(arms_rows(found["variants"])),
        "hidden": markdown(hidden_rows(secret)),
        "hidden_estimates": markdown(hidden_estimates_rows(secret)),
        "known": markdown(arms_rows(found["known"])),
        "unseen": markdown(unseen_rows(found["unseen"])),
        "domains": markdown(hidden_rows(found["domains"]["domains"])),
        "transfer": markdown(matrix_rows(found["domains"]["transfer"])),
        "people": markdown(about),
        "points": markdown(people_rows(people["points"])),
        "satisfaction": markdown(people_rows(people["satisfaction"])),
    }


def write(folder: Path, page: Path) -> None:
    """Put the tables between the marks of the page."""
    text = page.read_text(encoding="utf-8")
    for name, table in tables(folder).items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text, count = re.subn(pattern, lambda m, t=table: f"{m[1]}\n{t}\n\n{m[2]}", text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"{page} has {count} places for the table {name!r}, not one")
    page.write_text(text, encoding="utf-8")


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
        write(given.folder, given.page)
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
