"""The selection half, from settings to results: logs, a check for a signal, training, play, off-policy estimates."""

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
from frown.recipes.negotiation.evaluate import Scores, scores, summarise, utility_gains, utility_share
from frown.recipes.negotiation.game import Rules
from frown.recipes.negotiation.logs import Logs, Reward, transitions, write_logs
from frown.recipes.negotiation.partner import Tactic
from frown.recipes.negotiation.signal_check import SignalCheck, check_signal
from frown.recipes.negotiation.state import Encoding
from frown.store.files import write_text

if TYPE_CHECKING:
    from rich.table import Table as RichTable

TESTED = 10_000
"""Added to a seed for the luck of the test dialogues, so that it is never that of the logs."""
HELD_OUT = 20_000
"""Added to a seed for the luck of the held-out logs."""

BELIEF_OPTIMUM = "optimum, tactic hidden"
"""The best policy that knows which tactics there are, but not who has which: an arm where they are mixed."""


def check_data_flag(scenario: str, data: Path | None, without: str) -> None:
    """ValueError for a folder of tables where the scenario is the one `without` a table."""
    if data is not None and scenario == without:
        raise ValueError("--data is for a scenario table: give --scenario")


class SelectionConfig(Config):
    """Settings: which negotiation, with whom, and what the selector learns from."""

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
    learning: iql.IqlConfig = iql.IqlConfig()

    @model_validator(mode="after")
    def _data_is_read(self) -> SelectionConfig:
        check_data_flag(self.scenario, self.data, "synthetic")
        return self


@dataclass(frozen=True, eq=False)
class SeedResult:
    """The results of one seed: scores by arm, the check, off-policy estimates with the truth, selector and logs."""

    arms: dict[str, Scores]
    check: SignalCheck
    estimate_policy: dict[str, dict[str, Any]]
    selector: iql.Selector
    logs: Logs


def load_table(config: SelectionConfig) -> scenarios.Table:
    """Load the scenarios that a configuration names. Raises FrownError where the tables are not there."""
    if config.scenario == "synthetic":
        return scenarios.synthetic()
    if config.data is None:
        raise FrownError(f"scenario {config.scenario!r} is read from a table: give its folder, data=DIR")
    path = config.data / scenarios.FILES[config.scenario]
    return scenarios.load_scenarios(path, config.scenario, scenarios.SCHEMAS[config.scenario])


def run(
    config: SelectionConfig, say: Callable[[str], None] = lambda line: None
) -> tuple[dict[str, Any], list[SeedResult]]:
    """Run every seed of a configuration: the results as JSON data, and those of each seed."""
    scenario_table = load_table(config)
    train, test = scenarios.split(scenario_table)
    if not train or not test:
        raise FrownError(f"scenario {config.scenario!r} leaves {len(train)} rows to learn from and {len(test)} to test")
    seed_results = []
    for seed in config.seeds:
        seed_results.append(seed_result := run_seed(config, train, test, seed))
        utility = seed_result.arms["selection"].utility.mean()
        say(f"seed {seed}: {seed_result.check.verdict}; utility {utility:.3f}")
    return results(config, scenario_table, seed_results), seed_results


def run_seed(
    config: SelectionConfig, train: Sequence[scenarios.Scenario], test: Sequence[scenarios.Scenario], seed: int
) -> SeedResult:
    """Run one seed: logs, check, training, test."""
    rules, emotions = Rules(), cards(config.taxonomy)
    at, count = places(emotions), len(emotions)
    behaviour = stage.uniform(count) if config.behaviour == "uniform" else stage.habitual(at)
    train_world = stage.world(train, config.tactics, at, rules, inert=config.inert)
    test_world = stage.world(test, config.test_tactics or config.tactics, at, rules, inert=config.inert)
    episodes = stage.play(behaviour, train_world, seed, max(1, config.dialogues // len(train)))
    logs = transitions(episodes, at, config.encoding, rules, config.reward)
    selector = iql.train(logs, count, config.learning, seed)
    select = iql.greedy_policy(selector, at, config.encoding, rules)
    policies = {
        "selection": select,
        "selection, sampled": iql.sampling_policy(selector, at, config.encoding, rules),
        "behaviour": behaviour,
        "random": stage.uniform(count),
        "best fixed": stage.fixed(stage.best_fixed(train_world), count),
        "optimum": stage.optimal(test_world, config.repeats),
    }
    if len(set(config.test_tactics or config.tactics)) > 1:
        policies[BELIEF_OPTIMUM] = stage.belief_optimal(test_world, config.repeats)
    names = [card.name for card in emotions]
    if "neutral" in names:
        policies["vanilla"] = stage.fixed(names.index("neutral"), count)
    arms = {
        name: scores(stage.play(policy, test_world, TESTED + seed, config.repeats).dialogues, config.repeats)
        for name, policy in policies.items()
    }
    estimate_policy = {}
    if config.held_out:
        new = stage.play(behaviour, test_world, HELD_OUT + seed, max(1, config.held_out // len(test)))
        test_logs = transitions(new, at, config.encoding, rules, "utility")
        fitted_on = logs if config.reward == "utility" else transitions(episodes, at, config.encoding, rules, "utility")
        for name, greedy in (("selection", True), ("selection, sampled", False)):
            estimate_policy[name] = _estimated(selector, greedy, fitted_on, test_logs, float(arms[name].utility.mean()))
    return SeedResult(arms, check_signal(episodes.dialogues, seed), estimate_policy, selector, logs)


def _estimated(selector: iql.Selector, greedy: bool, train: Logs, test_logs: Logs, truth: float) -> dict[str, Any]:
    def policy(states: Any) -> Any:
        chance = selector.chances(states)
        return np.eye(chance.shape[1])[chance.argmax(axis=1)] if greedy else chance

    estimate_policy = off_policy.estimate_policy(test_logs, policy, off_policy.fit_q(train, policy))
    return {"truth": truth, **{name: estimate_json(e) for name, e in estimate_policy.items()}}


def estimate_json(estimate: off_policy.Estimate) -> dict[str, Any]:
    """An estimate as JSON data."""
    return {
        "value": as_json(estimate.value),
        "gain": as_json(estimate.gain),
        "effective": number(estimate.effective),
        "total": estimate.total,
    }


def results(
    config: SelectionConfig, scenario_table: scenarios.Table, seed_results: Sequence[SeedResult]
) -> dict[str, Any]:
    """The figures over seeds, as JSON data."""
    arms: Mapping[str, list[Scores]] = {name: [t.arms[name] for t in seed_results] for name in seed_results[0].arms}
    baselines = [name for name in ("behaviour", "best fixed", "vanilla") if name in arms]
    return {
        "config": config.model_dump(mode="json"),
        "scenarios": len(scenario_table.scenarios),
        "skipped": [row._asdict() for row in scenario_table.skipped],
        "arms": {name: summarise(of) for name, of in arms.items()},
        "gain_of_selection_over": utility_gains(arms, "selection", baselines),
        "share_of_optimum": utility_share(arms, "selection", "optimum"),
        "share_of_belief_optimum": utility_share(arms, "selection", BELIEF_OPTIMUM) if BELIEF_OPTIMUM in arms else None,
        "signal_check": [
            {"verdict": t.check.verdict, **{name: asdict(q) for name, q in t.check.questions.items()}}
            for t in seed_results
        ],
        "off_policy": [t.estimate_policy for t in seed_results],
    }


def policy_table(results: Mapping[str, Any]) -> RichTable:
    """One row a policy, the best first: utility, of deals alone, success and exchanges, with 95 % intervals."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    out = Table(box=box.SIMPLE_HEAD)
    for head in ("policy", "utility", "of deals", "success", "exchanges"):
        out.add_column(head, justify="left" if head == "policy" else "right")
    for name, arm in sorted(results["arms"].items(), key=lambda item: -item[1]["utility"]["mean"]):
        cells = [figure(arm[c]) for c in ("utility", "utility_of_deals", "success")]
        out.add_row(name, *(escape(c) for c in (*cells, figure(arm["rounds"], 1))))
    return out


def write(folder: Path, config: SelectionConfig, results: Mapping[str, Any], last: SeedResult) -> None:
    """Write results.json, and of one seed logs.npz and the selector. Raises FrownError where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "results.json", json.dumps(results, indent=2, allow_nan=False) + "\n")
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
    suffix = "" if is_shown(metric) else ": no difference that these seeds could show"
    return f"{figure(metric, digits, sign=True)}{suffix}"


def sentences(results: Mapping[str, Any]) -> list[str]:
    """The results in sentences."""
    verdicts = [check["verdict"] for check in results["signal_check"]]
    lines = [f"Before training: {', '.join(verdicts)}."]
    lines += [f"Selection less {other}: {gap(gain)}." for other, gain in results["gain_of_selection_over"].items()]
    lines.append(f"Selection's share of the optimum: {figure(results['share_of_optimum'])}.")
    if results["share_of_belief_optimum"] is not None:
        lines.append(f"Of the optimum with the tactic hidden: {figure(results['share_of_belief_optimum'])}.")
    return lines
