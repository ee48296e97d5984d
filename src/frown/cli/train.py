"""`frown train`: one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from frown.cli.options import AsJson, Resume, RunFlags, listed
from frown.errors import FrownError

if TYPE_CHECKING:
    from frown.config import RunConfig

NO_FLAGS = RunFlags()


def train(
    *overrides: str,
    config: Path | None = None,
    flags: RunFlags = NO_FLAGS,
    track: str | None = None,
    out: Path = Path("runs/train"),
    resume: Resume = False,
    plan: bool = False,
    processes: int | None = None,
    sharded: bool = False,
    card: float | None = None,
    json_: AsJson = False,
) -> None:
    """Train one model.

    Parameters
    ----------
    overrides
        Settings as KEY=VALUE, e.g. optimiser.lr=1e-5 model.lora.rank=16 sampling.max_new_tokens=512; `frown config`
        lists them.
    config
        A TOML file of settings.
    track
        Send the metrics to these, too: tensorboard, trackio, wandb.
    out
        The run directory.
    resume
        Go on with the run that the directory holds, from its last checkpoint, to the same end as if it had not been
        stopped. Begin it where there is none.
    plan
        Train nothing. Say what the run would take in memory, disk and time, and how its batch comes out.
    processes
        With --plan: number of processes side by side.
    sharded
        With --plan: layers with their gradients, moments and teacher are spread over the processes, as by
        distributed.sharding=fsdp2.
    card
        With --plan: GiB of memory of the CUDA cards that are planned for, instead of this machine; without times.
    """
    from frown.config import RunConfig, load
    from frown.store.files import check_folder

    words = [] if track is None else [f"track={listed(track)}"]
    settings = load(RunConfig, config, [*flags.overrides(), *words, *overrides])
    if plan:
        _plan(settings, 1 if processes is None else processes, sharded, card, json_)
    elif processes is not None or sharded or card is not None:
        raise FrownError("--processes, --sharded and --card go with --plan")
    else:
        check_folder(out)
        _train(settings, out, resume, json_)


def _train(settings: RunConfig, out: Path, resume: bool, as_json: bool) -> None:
    from rich.console import Console

    from frown.cli.output import plain, print_json, warner
    from frown.report.live import LiveView, RunRow
    from frown.runtime.processes import is_first
    from frown.training.run import train as train_model

    if not is_first():
        train_model(settings, out, resume=resume)
        return
    console = Console(stderr=True)
    with LiveView([RunRow("train", out, settings.optimiser.steps)], console).in_background():
        train_model(settings, out, warner(console), resume=resume, note=lambda line: plain(console, line))
    scores = _scores(out)
    if as_json:
        print_json(scores)
    else:
        before, after = ("nothing scored" if v is None else f"{v:.3f}" for v in scores.values())
        console.print(f"accuracy {before} before, {after} after; everything is in {out}", highlight=False)


def _plan(settings: RunConfig, processes: int, sharded: bool, card: float | None, as_json: bool) -> None:
    from rich.console import Console

    from frown.cli.output import print_json, warner
    from frown.plan.plan import make
    from frown.report.plan import plan_table

    plan = make(settings, processes=processes, sharded=sharded, card=card)
    if as_json:
        print_json(plan.as_json())
        return
    console = Console()
    console.print(plan_table(plan))
    for line in plan.warnings:
        warner(console)(line)


def _scores(path: Path) -> dict[str, float | None]:
    """Test accuracy before and after training."""
    from frown.store.run_directory import RunDirectory

    scores = [m["avg_at_k"] for m in RunDirectory(path).metrics() if m.get("split") == "test"]
    return {"before": scores[0], "after": scores[-1]}
