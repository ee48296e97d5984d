"""`frown compare`: arms against each other."""

from __future__ import annotations

from pathlib import Path

from frown.cli.options import AsJson, TaskFlags, listed
from frown.errors import FrownError

NO_FLAGS = TaskFlags()


def compare(
    *overrides: str,
    preset: str | None = None,
    config: Path | None = None,
    flags: TaskFlags = NO_FLAGS,
    arms: str | None = None,
    out: Path | None = None,
    workers: int | None = None,
    json_: AsJson = False,
) -> None:
    """Train arms against each other at matched budgets and report what differs.

    A comparison that was stopped goes on where it was when the same command is given again.

    Parameters
    ----------
    overrides
        Settings as KEY=VALUE, e.g. base.optimiser.steps=80 seeds=[0,1]
    preset
        smoke (half a minute), demo (minutes) or full (hours).
    config
        A TOML file instead of a preset.
    arms
        Only these of its arms, e.g. aimed,random (the baseline must be among them).
    out
        Where everything is written. Default: runs/NAME of the preset or file.
    workers
        Runs at a time. Default: one for each core, or one on a GPU.
    """
    from rich.console import Console

    from frown import config as configuration
    from frown.cli.output import plain, print_json, print_summary, typed_command
    from frown.comparison.cells import begin, is_finished, summary
    from frown.comparison.workers import run_all, worker_count
    from frown.config.compare import preset as preset_file
    from frown.report.html import write_report
    from frown.report.live import LiveView, RunRow
    from frown.runtime.processes import refuse_several
    from frown.store.files import check_folder

    refuse_several("compare")
    if (preset is None) == (config is None):
        raise FrownError("give either --preset NAME or --config FILE")
    if workers is not None and workers < 1:
        raise FrownError(f"--workers is at least 1, got {workers}")
    file = config if config is not None else preset_file(str(preset))
    settings = configuration.load(configuration.CompareConfig, file, [*flags.overrides("base."), *overrides])
    if arms is not None:
        settings = configuration.only(settings, listed(arms))
    folder = out or Path("runs") / file.stem
    check_folder(folder)
    cells = begin(settings, folder)

    console = Console(stderr=json_)
    with LiveView([RunRow(c.arm, c.path, c.config.optimiser.steps) for c in cells], console) as view:
        run_all(cells, workers or worker_count(cells), view.update)
    result = summary(settings, cells, folder, typed_command())
    page = write_report(folder)
    if json_:
        print_json(result, indent=2)
    print_summary(console, result)
    plain(console, f"\n{page} and {folder / 'summary.json'}")
    failed = [c for c in cells if not is_finished(c)]
    if failed:
        raise FrownError(f"{len(failed)} of {len(cells)} runs failed; {failed[0].path / 'status.json'} says why")
