"""`frown probe`: would this policy learn from this feedback?"""

from __future__ import annotations

import json
from pathlib import Path

from frown.cli.options import AsJson, RunFlags, listed

NO_FLAGS = RunFlags()


def probe(
    *overrides: str,
    config: Path | None = None,
    flags: RunFlags = NO_FLAGS,
    kinds: str | None = None,
    prompts: int | None = None,
    out: Path | None = None,
    json_: AsJson = False,
) -> None:
    """Before training: would this policy learn from this feedback?

    Parameters
    ----------
    overrides
        Settings as KEY=VALUE, as of `frown train`.
    config
        A TOML file of settings.
    kinds
        Kinds of feedback, e.g. sibling,reference,critique. Default: those of the method.
    prompts
        Prompts to sample. Default: those of one training step.
    out
        Write everything to this JSON file, and a report beside it.
    """
    from rich.console import Console

    from frown.cli.output import plain, print_json, summary_stream, typed_command
    from frown.config import RunConfig, load
    from frown.inspect.probe import probe as probe_feedback
    from frown.report.probe import example_text, probe_table, profile_table, sentences
    from frown.runtime.processes import refuse_several
    from frown.store.files import check_target, is_regular, write_text

    refuse_several("probe")
    settings = load(RunConfig, config, [*flags.overrides(), *overrides])
    if out is not None:
        check_target(out)
    result = probe_feedback(settings, listed(kinds) if kinds else None, prompts=prompts)
    if out is not None:
        from frown.report.html import write_report
        from frown.store.machine import machine_record

        record = machine_record() | {"command": typed_command()}
        made = {"config": settings.model_dump(mode="json"), "environment": record}
        write_text(out, json.dumps({**result, **made}, allow_nan=False) + "\n")
        if is_regular(out):
            write_report(out)
    if json_:
        print_json(result)
        return
    console = Console(file=summary_stream(out))
    console.print(probe_table(result))
    if profile := profile_table(result):
        console.print(profile)
    if example := example_text(result):
        console.print(example)
    for line in sentences(result):
        plain(console, f"- {line}")
