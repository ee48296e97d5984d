"""`frown recipe negotiation`: the experiments of this recipe. Nothing heavy is imported before one runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


app = App(
    name="negotiation",
    help="Negotiation over one number (EmoDistill): which emotion to show at each turn, and how to say it.",
)


@app.command
def select(
    *overrides: str,
    scenario: Literal["synthetic", "credit", "disaster", "hospital", "sleep"] | None = None,
    data: Path | None = None,
    config: Path | None = None,
    out: Path = Path("runs/negotiation-select"),
    json_: Annotated[bool, Parameter("--json")] = False,
) -> None:
    """Learn offline which emotion to show, and test it against the optimum (implicit Q-learning).

    Parameters
    ----------
    overrides
        Settings as KEY=VALUE, e.g. tactics=["threat"] inert=true learning.steps=500 seeds=[0]
    scenario
        A scenario table, or synthetic (no table). Default: synthetic.
    data
        The folder with the scenario tables.
    config
        A TOML file of settings.
    out
        Folder for results.json and, of the last seed, logs and selector.
    json_
        Print the results as JSON on standard output.
    """
    from frown.config import load
    from frown.recipes.negotiation.selection import SelectionConfig, policy_table, run, sentences, write
    from frown.runtime.processes import refuse_several
    from frown.store.files import check_folder

    refuse_several("recipe negotiation select")
    check_folder(out)
    settings = load(SelectionConfig, config, [*_flags({"scenario": scenario, "data": data}), *overrides])
    console = _console(json_)
    results, trained = run(settings, lambda line: console.print(line, markup=False, highlight=False))
    write(out, settings, results, trained[-1])
    _show(console, results, [policy_table(results)], sentences(results), out, json_)


@app.command
def express(
    *overrides: str,
    model: str | None = None,
    scenario: Literal["varied", "credit", "disaster", "hospital", "sleep"] | None = None,
    data: Path | None = None,
    config: Path | None = None,
    out: Path = Path("runs/negotiation-express"),
    json_: Annotated[bool, Parameter("--json")] = False,
) -> None:
    """Train a model to say it: SFT, then Judge Policy Optimization (JPO) and DPO, with LoRA.

    Parameters
    ----------
    overrides
        Settings as KEY=VALUE, e.g. tactics=["threat"] seeds=[0] arms=["jpo"] learning.kl_bound=0.05
    model
        A chat model's folder or hub name. Default: a small model is made that speaks the game's language.
    scenario
        A scenario table, or varied (no table). Default: varied.
    data
        The folder with the scenario tables.
    config
        A TOML file of settings.
    out
        Folder for results.json, the first models and the adapters.
    json_
        Print the results as JSON on standard output.
    """
    from frown.config import load
    from frown.recipes.negotiation.expression import ExpressionConfig, run, write
    from frown.recipes.negotiation.speaker_scores import play_table, scores_table, sentences
    from frown.runtime.processes import refuse_several
    from frown.store.files import check_folder

    refuse_several("recipe negotiation express")
    check_folder(out)
    flags = _flags({"model": model, "scenario": scenario, "data": data})
    settings = load(ExpressionConfig, config, [*flags, *overrides])
    console = _console(json_)
    results, _ = run(settings, out, lambda line: console.print(line, markup=False, highlight=False))
    write(out, results)
    _show(console, results, [scores_table(results), play_table(results)], sentences(results), out, json_)


def _flags(flags: Mapping[str, str | Path | None]) -> list[str]:
    """Flags as KEY=VALUE, those that were given."""
    return [f"{key}={json.dumps(str(value))}" for key, value in flags.items() if value is not None]


def _console(as_json: bool) -> Console:
    from rich.console import Console

    return Console(stderr=as_json)


def _show(
    console: Console,
    results: Mapping[str, Any],
    tables: Sequence[Table],
    sentences: Sequence[str],
    out: Path,
    as_json: bool,
) -> None:
    if as_json:
        print(json.dumps(results, indent=2, allow_nan=False))
        return
    for table in tables:
        console.print(table)
    for line in sentences:
        console.print(f"- {line}", markup=False, highlight=False)
    console.print(f"\n{out / 'results.json'}", markup=False, highlight=False)
