"""`frown negotiate` and `frown express`: the experiments of this recipe. Nothing heavy is imported before one runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def negotiate(
    *overrides: str,
    scenario: Literal["synthetic", "credit", "disaster", "hospital", "sleep"] | None = None,
    data: Path | None = None,
    config: Path | None = None,
    out: Path = Path("runs/negotiate"),
    json_: Annotated[bool, Parameter("--json")] = False,
) -> None:
    """Learn offline which emotion to show in a negotiation, and test it against the best there is.

    Parameters
    ----------
    overrides
        Settings as KEY=VALUE, e.g. tactics=["threat"] inert=true learning.steps=500 seeds=[0]
    scenario
        A scenario table, or synthetic (no table).
    data
        The folder with the scenario tables.
    config
        A TOML file of settings.
    out
        Where results.json and, for the last seed, logs and selector are written.
    json_
        Print the results as JSON on standard output.
    """
    from frown.config import load
    from frown.recipes.negotiation.recipe import NegotiationConfig, results_table, run, sentences, write
    from frown.runtime.processes import refuse_several

    refuse_several("negotiate")
    settings = load(NegotiationConfig, config, [*_flags({"scenario": scenario, "data": data}), *overrides])
    console = _console(json_)
    found, trained = run(settings, lambda line: console.print(line, markup=False, highlight=False))
    write(out, settings, found, trained[-1])
    _show(console, found, [results_table(found)], sentences(found), out, json_)


def express(
    *overrides: str,
    model: str | None = None,
    scenario: Literal["varied", "credit", "disaster", "hospital", "sleep"] | None = None,
    data: Path | None = None,
    config: Path | None = None,
    out: Path = Path("runs/express"),
    json_: Annotated[bool, Parameter("--json")] = False,
) -> None:
    """Learn how to say it in a negotiation: SFT, then Judge Policy Optimization and DPO, through LoRA.

    Parameters
    ----------
    overrides
        Settings as KEY=VALUE, e.g. tactics=["threat"] seeds=[0] arms=["jpo"] learning.kl_bound=0.05
    model
        A chat model's folder or hub name. Without it a small one that speaks the game's language is made.
    scenario
        A scenario table, or varied (no table).
    data
        The folder with the scenario tables.
    config
        A TOML file of settings.
    out
        Where results.json, the first models and the adapters are written.
    json_
        Print the results as JSON on standard output.
    """
    from frown.config import load
    from frown.recipes.negotiation.express import ExpressConfig, run, write
    from frown.recipes.negotiation.measure import judged_table, play_table, sentences
    from frown.runtime.processes import refuse_several

    refuse_several("express")
    flags = _flags({"model": model, "scenario": scenario, "data": data})
    settings = load(ExpressConfig, config, [*flags, *overrides])
    console = _console(json_)
    found, _ = run(settings, out, lambda line: console.print(line, markup=False, highlight=False))
    write(out, found)
    _show(console, found, [judged_table(found), play_table(found)], sentences(found), out, json_)


def _flags(given: Mapping[str, str | Path | None]) -> list[str]:
    """Flags as KEY=VALUE, those that were given."""
    return [f"{key}={json.dumps(str(value))}" for key, value in given.items() if value is not None]


def _console(as_json: bool) -> Console:
    from rich.console import Console

    return Console(stderr=as_json)


def _show(
    console: Console,
    found: Mapping[str, Any],
    tables: Sequence[Table],
    sentences: Sequence[str],
    out: Path,
    as_json: bool,
) -> None:
    if as_json:
        print(json.dumps(found, indent=2, allow_nan=False))
        return
    for table in tables:
        console.print(table)
    for line in sentences:
        console.print(f"- {line}", markup=False, highlight=False)
    console.print(f"\n{out / 'results.json'}", markup=False, highlight=False)
