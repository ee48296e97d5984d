"""`frown read`: one completion, token by token, or a log as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from frown.cli.options import AsJson
from frown.errors import FrownError


def read(
    what: str,
    *,
    prompt: str | None = None,
    prompt_file: Path | None = None,
    completion: str | None = None,
    completion_file: Path | None = None,
    temperature: float = 1.0,
    steps: Literal["auto", "tagged", "numbered", "lines", "sentences"] = "auto",
    json_: AsJson = False,
) -> None:
    """Show what a model's distribution says, token by token, about a completion; or how calibrated logged answers are.

    Parameters
    ----------
    what
        A Hugging Face causal-LM folder with a chat template, a folder of LoRA adapters, a hub name, or lab:NAME.
        Without a prompt and a completion: a run, a file of rollouts, a chat log (.jsonl) or TRL's completions.
    prompt
        The question, as a user turn.
    prompt_file
        A file to read it from instead.
    completion
        The answer to be read.
    completion_file
        A file to read it from instead.
    temperature
        Temperature of the distribution.
    steps
        What counts as a written-out step.
    """
    if Path(what).exists() and all(x is None for x in (prompt, prompt_file, completion, completion_file)):
        _read_log(Path(what), json_)
        return

    from rich.console import Console

    from frown.cli.output import print_json
    from frown.inspect.read import read as read_signals
    from frown.report.reading import render

    texts = [_text("prompt", prompt, prompt_file), _text("completion", completion, completion_file)]
    reading = read_signals(what, *texts, temperature=temperature, steps=steps)
    if json_:
        print_json(reading)
    else:
        Console().print(render(reading))


def _read_log(file: Path, as_json: bool) -> None:
    """The measures of logged answers."""
    from rich.console import Console

    from frown.cli.output import print_json, print_omissions
    from frown.interchange.imports import as_run
    from frown.interchange.measures import measure, table
    from frown.viewer.index import read_index

    with as_run(file) as run:
        measures = measure(read_index(run.path))
    print_omissions(run.omissions)
    if as_json:
        print_json({**measures, "left_out": run.omissions.counts})
    else:
        Console().print(table(measures))


def _text(name: str, given: str | None, file: Path | None) -> str:
    """A text from a flag or from a file, exactly one of which is given."""
    if (given is None) == (file is None):
        raise FrownError(f"give either --{name} TEXT or --{name}-file FILE")
    if given is not None:
        return given
    assert file is not None
    try:
        return file.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FrownError(f"cannot read {file}: {error}") from None
