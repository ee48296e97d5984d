"""From settings to figures: make logs, ask whether they hold a signal, learn, play, and estimate off-policy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from frown.config import Config, Seeds
from frown.errors import FrownError
from frown.evals.figures import as_json, number
from frown.evals.wording import is_shown
from frown.recipes.negotiation import iql, off_policy, scenarios
from frown.recipes.negotiation import play as stage
from frown.recipes.negotiation.emotions import Taxonomy, cards, places
from frown.recipes.negotiation.evaluate import Scores, figures, gains, scores, share
from frown.recipes.negotiation.game import Rules
from frown.recipes.negotiation.learnable import Learnable, learnable
from frown.recipes.negotiation.logs import Logs, Reward, transitions, write_logs
from frown.recipes.negotiation.partner import Tactic
from frown.recipes.negotiation.state import Encoding
from frown.store.files import write_text

if TYPE_CHECKING:
    from rich.table import Table as RichTable

TESTED = 10_000
"""Added to a seed for the luck of the test dialogues, so that it is never that of the logs."""
HELD_OUT = 20_000
"""Added to a seed for the luck of the held-out logs."""

NOT_TOLD = "optimum, not told"
"""The best policy that knows which tactics there are, but not whose is which: an arm where they are mixed."""


def refuse_data(scenario: str, data: Path | None, without: str) -> None:
    """ValueError for a folder of tables where the scenario is the one `without` a table."""
    if data is not None and scenario == without:
        raise ValueError("--data is for a scenario table: give --scenario")


class NegotiationConfig(Config):
    """Which negotiation, who is played against, what is learnt from."""

    scenario: Literal["synthetic", "credit", "disaster", "hospital", "sleep"] = "synthetic"
    data: Path | None = None
    """The folder with the scenario tables; synthetic needs none."""
    taxonomy: Taxonomy = "ekman7"
    encoding: Encoding = "onehot"
    """What the selector knows. `history` where partners of several kinds are mixed and nobody says which is which; it
    wants more dialogues and a longer training."""
    reward: Reward = "utility"
    tactics: tuple[Tactic, ...] = Field(default=("victim",), min_length=1)
    """Of the partners in the logs, in turn over scenarios."""
    test_tactics: tuple[Tactic, ...] = ()
    """Of the partners in the test; none: those of the logs."""
    inert: bool = False
    """Emotions do nothing: what a learner finds here is an error."""
    behaviour: Literal["uniform", "habitual"] = "uniform"
    """Who holds the logged dialogues."""
    dialogues: int = Field(default=2000, ge=1)
    """In the logs, spread over the training scenarios (at least one for each)."""
    held_out: int = Field(default=400, ge=0)
    """Logged dialogues on test scenarios, for off-policy estimates; 0: none are made."""
    repeats: int = Field(default=20, ge=1)
    """Test dialogues a scenario."""
    seeds: Seeds = (0, 1, 2)
    """Each has its own logs, its own training and its own luck in the test."""
    learning: iql.IqlSettings = iql.IqlSettings()

    @model_validator(mode="after")
    def _data_is_read(self) -> NegotiationConfig:
        refuse_data(self.scenario, self.data, "synthetic")
        return self


@dataclass(frozen=True, eq=False)
class Trained:
    """What one seed ends with: scores by arm, the check, off-policy estimates with the truth, and the selector."""

    arms: dict[str, Scores]
    check: Learnable
    estimated: dict[str, dict[str, Any]]
    selector: iql.Selector
    logs: Logs


def table(config: NegotiationConfig) -> scenarios.Table:
    """The scenarios that a configuration names. FrownError where the tables are not there."""
    if config.scenario == "synthetic":
        return scenarios.synthetic()
    if config.data is None:
        raise FrownError(f"scenario {config.scenario!r} is read from a table: give its folder, data=DIR")
    path = config.data / scenarios.FILES[config.scenario]
    return scenarios.load_scenarios(path, config.scenario, scenarios.SCHEMAS[config.scenario])


def run(
    config: NegotiationConfig, say: Callable[[str], None] = lambda line: None
) -> tuple[dict[str, Any], list[Trained]]:
    """Everything a configuration asks for: the results as JSON data, and what each seed ended with."""
    known = table(config)
    train, test = scenarios.split(known)
    if not train or not test:
        raise FrownError(f"scenario {config.scenario!r} leaves {len(train)} rows to learn from and {len(test)} to test")
    done = []
    for seed in config.seeds:
        done.append(once(config, train, test, seed))
        say(f"seed {seed}: {done[-1].check.verdict}; utility {done[-1].arms['selection'].utility.mean():.3f}")
    return results(config, known, done), done


def once(
    config: NegotiationConfig, train: Sequence[scenarios.Scenario], test: Sequence[scenarios.Scenario], seed: int
) -> Trained:
    """One seed: logs, check, training, test."""
    rules, emotions = Rules(), cards(config.taxonomy)
    at, count = places(emotions), len(emotions)
    behaviour = stage.uniform(count) if config.behaviour == "uniform" else stage.habitual(at)
    learnt = stage.world(train, config.tactics, at, rules, inert=config.inert)
    tested = stage.world(test, config.test_tactics or config.tactics, at, rules, inert=config.inert)
    logged = stage.play(behaviour, learnt, seed, max(1, config.dialogues // len(train)))
    logs = transitions(logged, at, config.encoding, rules, config.reward)
    selector = iql.train(logs, count, config.learning, seed)
    select = iql.selects(selector, at, config.encoding, rules)
    policies = {
        "selection": select,
        "selection, sampled": iql.samples(selector, at, config.encoding, rules),
        "behaviour": behaviour,
        "random": stage.uniform(count),
        "best fixed": stage.fixed(stage.best_fixed(learnt), count),
        "optimum": stage.optimal(tested, config.repeats),
    }
    if len(set(config.test_tactics or config.tactics)) > 1:
        policies[NOT_TOLD] = stage.untold(tested, config.repeats)
    names = [card.name for card in emotions]
    if "neutral" in names:
        policies["vanilla"] = stage.fixed(names.index("neutral"), count)
    arms = {
        name: scores(stage.play(policy, tested, TESTED + seed, config.repeats).talks, config.repeats)
        for name, policy in policies.items()
    }
    estimated = {}
    if config.held_out:
        new = stage.play(behaviour, tested, HELD_OUT + seed, max(1, config.held_out // len(test)))
        held = transitions(new, at, config.encoding, rules, "utility")
        fitted_on = logs if config.reward == "utility" else transitions(logged, at, config.encoding, rules, "utility")
        for name, greedy in (("selection", True), ("selection, sampled", False)):
            estimated[name] = _estimated(selector, greedy, fitted_on, held, float(arms[name].utility.mean()))
    return Trained(arms, learnable(logged.talks, seed), estimated, selector, logs)


def _estimated(selector: iql.Selector, greedy: bool, train: Logs, held: Logs, truth: float) -> dict[str, Any]:
    def policy(states: Any) -> Any:
        chance = selector.chances(states)
        return np.eye(chance.shape[1])[chance.argmax(axis=1)] if greedy else chance

    found = off_policy.estimates(held, policy, off_policy.fit_q(train, policy))
    return {"truth": truth, **{name: estimate_json(e) for name, e in found.items()}}


def estimate_json(estimate: off_policy.Estimate) -> dict[str, Any]:
    """An estimate as JSON data."""
    return {
        "value": as_json(estimate.value),
        "gain": as_json(estimate.gain),
        "effective": number(estimate.effective),
        "total": estimate.total,
    }


def results(config: NegotiationConfig, known: scenarios.Table, done: Sequence[Trained]) -> dict[str, Any]:
    """The figures over seeds, as JSON data."""
    arms: Mapping[str, list[Scores]] = {name: [t.arms[name] for t in done] for name in done[0].arms}
    baselines = [name for name in ("behaviour", "best fixed", "vanilla") if name in arms]
    return {
        "config": config.model_dump(mode="json"),
        "scenarios": len(known.scenarios),
        "left_out": [left._asdict() for left in known.left_out],
        "arms": {name: figures(of) for name, of in arms.items()},
        "gain_of_selection_over": gains(arms, "selection", baselines),
        "share_of_optimum": share(arms, "selection", "optimum"),
        "share_of_optimum_not_told": share(arms, "selection", NOT_TOLD) if NOT_TOLD in arms else None,
        "learnable": [
            {"verdict": t.check.verdict, **{name: asdict(q) for name, q in t.check.questions.items()}} for t in done
        ],
        "off_policy": [t.estimated for t in done],
    }


def results_table(found: Mapping[str, Any]) -> RichTable:
    """One row a policy, the best first: utility, of deals alone, success and exchanges, with 95 % intervals."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    out = Table(box=box.SIMPLE_HEAD)
    for head in ("policy", "utility", "of deals", "success", "exchanges"):
        out.add_column(head, justify="left" if head == "policy" else "right")
    for name, arm in sorted(found["arms"].items(), key=lambda item: -item[1]["utility"]["mean"]):
        cells = [figure(arm[c]) for c in ("utility", "utility_of_deals", "success")]
        out.add_row(name, *(escape(c) for c in (*cells, figure(arm["rounds"], 1))))
    return out


def write(folder: Path, config: NegotiationConfig, found: Mapping[str, Any], last: Trained) -> None:
    """results.json, and of one seed logs.npz and the selector. FrownError where the folder cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "results.json", json.dumps(found, indent=2, allow_nan=False) + "\n")
        write_logs(last.logs, folder / "logs.npz")
        names = [card.name for card in cards(config.taxonomy)]
        iql.save(last.selector, folder, {"emotions": names, "encoding": config.encoding})
    except OSError as error:
        raise FrownError(f"cannot write to {folder}: {error}") from None


def figure(metric: Mapping[str, Any] | None, digits: int = 3, sign: bool = False) -> str:
    """A figure with its interval; a dash where there is none."""
    if metric is None:
        return "-"
    form = f"{{:{'+' if sign else ''}.{digits}f}}"
    low, high = (form.format(end) for end in metric["ci95"])
    return f"{form.format(metric['mean'])} [{low}, {high}]"


def gap(metric: Mapping[str, Any] | None, digits: int = 3) -> str:
    """A difference with its interval, and whether it is one."""
    told = "" if is_shown(metric) else ": no difference that these seeds could show"
    return f"{figure(metric, digits, sign=True)}{told}"


def sentences(found: Mapping[str, Any]) -> list[str]:
    """What the figures come to, in words."""
    verdicts = [check["verdict"] for check in found["learnable"]]
    lines = [f"Before training: {', '.join(verdicts)}."]
    lines += [f"Selection less {other}: {gap(gain)}." for other, gain in found["gain_of_selection_over"].items()]
    lines.append(f"Selection's share of the optimum: {figure(found['share_of_optimum'])}.")
    if found["share_of_optimum_not_told"] is not None:
        lines.append(f"Of the optimum that is not told the tactic: {figure(found['share_of_optimum_not_told'])}.")
    return lines
