"""The command line. torch is imported only by the commands that need it, and only when they run."""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

import frown
from frown.cli.layers import layers
from frown.errors import Elsewhere, FrownError
from frown.recipes.empathy.command import app as empathy
from frown.recipes.negotiation.command import app as negotiation
from frown.runtime.threads import wait_asleep

if TYPE_CHECKING:
    from frown.config import CompareConfig, RunConfig

app = App(
    name="frown",
    help="Emotion-augmented self-distillation: post-train a language model on what it was unsure about.",
    version=frown.__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # `main` says where things stand
)

PRESETS = Path(frown.__file__).parent / "config" / "presets"


@app.command
def compare(
    *overrides: str,
    preset: str | None = None,
    config: Path | None = None,
    arms: str | None = None,
    out: Path | None = None,
    workers: int | None = None,
    json_: Annotated[bool, Parameter("--json")] = False,
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
    json_
        Print the summary as JSON on standard output.
    """
    from rich.console import Console

    from frown.comparison.cells import begin, run_all, summary
    from frown.config import CompareConfig, load, only
    from frown.report.html import write_report
    from frown.report.live import LiveView, Watched
    from frown.report.table import summary_table
    from frown.runtime.processes import refuse_several

    refuse_several("compare")
    if (preset is None) == (config is None):
        raise FrownError("give either --preset NAME or --config FILE")
    file = config if config is not None else _preset(str(preset))
    settings = load(CompareConfig, file, overrides)
    if arms is not None:
        settings = only(settings, [name.strip() for name in arms.split(",")])
    folder = out or Path("runs") / file.stem
    if workers is not None and workers < 1:
        raise FrownError(f"--workers is at least 1, got {workers}")
    cells = begin(settings, folder)

    console = Console(stderr=json_)
    runs = [Watched(c.arm, c.path, c.config.optimiser.steps) for c in cells]
    with LiveView(runs, console) as view:
        run_all(cells, workers or _workers(settings), view.update)
    found = summary(settings, cells, folder, _command())
    page = write_report(folder)
    if json_:
        print(json.dumps(found, indent=2, allow_nan=False))
    console.print(summary_table(found, console.width))
    for line in found["warnings"]:
        console.print(f"warning: {line}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    for pair in found["pairs"]:
        if pair["metric"] == "avg_at_k":
            console.print(f"- {pair['sentence']}", markup=False, highlight=False)
    console.print(f"\n{page} and {folder / 'summary.json'}", markup=False, highlight=False)
    failed = [c for c in cells if not _is_finished(c.path)]
    if failed:
        raise FrownError(f"{len(failed)} of {len(cells)} runs failed; {failed[0].path / 'status.json'} says why")


@app.command
def train(
    *overrides: str,
    config: Path | None = None,
    model: str | None = None,
    task: str | None = None,
    data: Path | None = None,
    columns: str | None = None,
    track: str | None = None,
    out: Path = Path("runs/train"),
    resume: Annotated[bool, Parameter(negative="")] = False,
    plan: bool = False,
    processes: int | None = None,
    sharded: bool = False,
    card: float | None = None,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> None:
    """Train one model.

    Parameters
    ----------
    overrides
        Settings as KEY=VALUE, e.g. optimiser.lr=1e-5 model.lora.rank=16 sampling.max_new_tokens=512
    config
        A TOML file of settings.
    model
        A Hugging Face causal-LM folder with a chat template, one of LoRA adapters, a hub name, or lab:NAME.
    task
        math, choice, exact, gym:NAME, lab:chains or lab:columns.
    data
        Training rows: a JSONL, JSON, Parquet or CSV file, a folder saved by datasets, or org/name:config@split.
    columns
        Which column holds what, e.g. question=problem,answer=final
    track
        Who is told the metrics besides metrics.jsonl: tensorboard, trackio, wandb.
    out
        The run directory.
    resume
        Go on with the run that the directory holds, from its last checkpoint, to the same end as if it had not been
        stopped; begin it where there is none.
    plan
        Train nothing: say what the run would take in memory, disk and time, and how its batch comes out.
    processes
        With --plan: as many processes side by side.
    sharded
        With --plan: layers with their gradients, moments and teacher dealt out over them, as
        distributed.sharding=fsdp2 does.
    card
        With --plan: GiB of memory of the CUDA cards that are planned for, instead of this machine, without times.
    json_
        Print the final evaluation (or the plan) as JSON on standard output.
    """
    from rich.console import Console

    from frown.config import RunConfig, load
    from frown.inspect.grade import parse_columns
    from frown.report.live import LiveView, Watched

    given: dict[str, object] = {"model.path": model, "task.kind": task, "task.data": data}
    flags = [f"{key}={json.dumps(str(value))}" for key, value in given.items() if value is not None]
    if columns is not None:
        flags += [f"task.columns.{k}={json.dumps(v)}" for k, v in parse_columns(columns).items()]
    if track is not None:
        flags.append(f"track={json.dumps([name.strip() for name in track.split(',')])}")
    settings = load(RunConfig, config, [*flags, *overrides])
    if plan:
        _plan(settings, 1 if processes is None else processes, sharded, card, json_)
        return
    if processes is not None or sharded or card is not None:
        raise FrownError("--processes, --sharded and --card go with --plan")

    console = Console(stderr=True)

    def warn(line: str) -> None:
        console.print(f"warning: {line}", style="yellow", markup=False, highlight=False, soft_wrap=True)

    from frown.runtime.processes import is_first
    from frown.training.run import train as execute

    if not is_first():
        execute(settings, out, resume=resume)
        return
    with LiveView([Watched("train", out, settings.optimiser.steps)], console).in_background():
        execute(settings, out, warn, resume=resume)
    final = _last_evaluation(out)
    if json_:
        print(json.dumps(final, indent=2, allow_nan=False))
    else:
        before, after = ("nothing scored" if v is None else f"{v:.3f}" for v in final.values())
        console.print(f"accuracy {before} before, {after} after; everything is in {out}", highlight=False)


@app.command(name="eval")
def eval_(
    model: str,
    *overrides: str,
    task: str | None = None,
    data: Path | None = None,
    columns: str | None = None,
    against: str | None = None,
    k: int | None = None,
    prompts: int | None = None,
    harness: Literal["lm-eval", "inspect"] | None = None,
    out: Path = Path("runs/eval"),
    json_: Annotated[bool, Parameter("--json")] = False,
) -> None:
    """Measure any model on any task, alone or paired against another.

    Parameters
    ----------
    model
        A local Hugging Face causal-LM folder (or its LoRA adapters), lab:NAME, a run (its newest checkpoint), or a
        folder of runs called seed*.
    overrides
        Settings as KEY=VALUE, e.g. max_new_tokens=512 temperature=0.6 split=dev task.steps=6
    task
        math, choice, exact, gym:NAME, lab:chains or lab:columns. Default: that of the run.
    data
        JSONL file of test rows, all of which are used.
    columns
        Which column holds what, e.g. question=problem,answer=final
    against
        Another model or run, to be compared with on the same prompts.
    k
        Answers to each prompt (default 12).
    prompts
        Prompts (default 60).
    harness
        Run under lm-evaluation-harness or inspect_ai instead, where that is installed, on its own tasks (--task
        gsm8k,arc_easy); KEY=VALUE becomes --KEY VALUE of it.
    out
        Where everything is written; what is there already of the same model, prompts and settings is read back.
    json_
        Print the summary as JSON on standard output.
    """
    if harness is not None:
        from frown.inspect.harness import run_under
        from frown.inspect.subjects import subjects

        if task is None or any(x is not None for x in (data, columns, against, k, prompts)):
            raise FrownError("--harness runs its own tasks: give --task NAMES, and its options as KEY=VALUE")
        for one in subjects(model):
            done = run_under(harness, one.model, task.split(","), overrides, out)
            print(shlex.join(done))
        return

    from rich.console import Console

    from frown.inspect.evaluate import assess, settings
    from frown.inspect.grade import parse_columns
    from frown.inspect.subjects import subjects
    from frown.report.html import write_report
    from frown.report.live import PromptBar
    from frown.report.table import summary_table
    from frown.runtime.processes import refuse_several

    refuse_several("eval")
    ours, theirs = subjects(model), subjects(against) if against is not None else []
    given: dict[str, object] = {"task.kind": task, "task.test_data": data, "samples": k, "prompts": prompts}
    flags = [f"{key}={json.dumps(v if isinstance(v, int) else str(v))}" for key, v in given.items() if v is not None]
    if columns is not None:
        flags += [f"task.columns.{c}={json.dumps(v)}" for c, v in parse_columns(columns).items()]
    config = settings([*ours, *theirs], [*flags, *overrides], new_task=task is not None or data is not None)

    console = Console(stderr=True)
    with PromptBar(console) as bar:
        found = assess(ours, theirs, config, out, command=_command(), watch=bar.update, say=bar.say)
    page = write_report(out)
    if json_:
        print(json.dumps(found, indent=2, allow_nan=False))
    console.print(summary_table(found, console.width))
    for pair in found["pairs"]:
        if pair["metric"] == "avg_at_k":
            console.print(f"- {pair['sentence']}", markup=False, highlight=False)
    console.print(f"\n{page} and {out / 'summary.json'}", markup=False, highlight=False)


@app.command
def grade(
    file: Path,
    *,
    task: str,
    columns: str,
    out: Path | None = None,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> None:
    """Grade the completions in a file.

    Parameters
    ----------
    file
        JSONL, JSON, Parquet or CSV with a completion and a reference answer in each row.
    task
        math, choice or exact.
    columns
        Which column holds what, e.g. completion=response,answer=gold
    out
        Write a scored copy here.
    json_
        Print {"n", "right", "wrong", "unscored"} as JSON.
    """
    from frown.inspect.grade import grade_file, parse_columns

    counts = grade_file(file, task=task, columns=parse_columns(columns), out=out)
    if json_:
        print(json.dumps(counts))
    else:
        print(", ".join(f"{count} {name}" for name, count in counts.items()))


@app.command
def probe(
    *overrides: str,
    config: Path | None = None,
    kinds: str | None = None,
    prompts: int | None = None,
    out: Path | None = None,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> None:
    """Before spending compute: would this policy learn from this feedback?

    Parameters
    ----------
    overrides
        Settings as KEY=VALUE, e.g. model.path=DIR task.kind=math task.data=train.jsonl
    config
        A TOML file of settings.
    kinds
        Kinds of feedback, e.g. sibling,reference,critique. Default: those of the configuration.
    prompts
        Prompts to sample. Default: those of one training step.
    out
        Write everything to this JSON file, and a report beside it.
    json_
        Print everything as JSON on standard output.
    """
    from rich.console import Console

    from frown.config import RunConfig, load
    from frown.inspect.probe import probe as probe_feedback
    from frown.report.probe import example_text, probe_table, profile_table, sentences
    from frown.runtime.processes import refuse_several

    refuse_several("probe")
    settings = load(RunConfig, config, overrides)
    found = probe_feedback(settings, kinds.split(",") if kinds else None, prompts=prompts)
    if out is not None:
        from frown.report.html import write_report
        from frown.store.files import write_text
        from frown.store.machine import machine_record

        made = {"config": settings.model_dump(mode="json"), "environment": {**machine_record(), "command": _command()}}
        write_text(out, json.dumps({**found, **made}, allow_nan=False) + "\n")
        write_report(out)
    if json_:
        print(json.dumps(found, allow_nan=False))
        return
    console = Console()
    console.print(probe_table(found))
    if profile := profile_table(found):
        console.print(profile)
    if drawn := example_text(found):
        console.print(drawn)
    for line in sentences(found):
        console.print(f"- {line}", markup=False, highlight=False)


@app.command
def report(path: Path, *, out: Path | None = None) -> None:
    """Draw the report of a run, a comparison, an evaluation or a probe: one HTML file, to open or to send.

    Parameters
    ----------
    path
        A run directory, the folder of a comparison or an evaluation, or the JSON file of a probe.
    out
        Where to write it. Default: report.html in the folder, or beside the file.
    """
    from frown.report.html import write_report

    print(write_report(path, out))


@app.command
def read(
    what: str,
    *,
    prompt: str | None = None,
    prompt_file: Path | None = None,
    completion: str | None = None,
    completion_file: Path | None = None,
    temperature: float = 1.0,
    steps: Literal["auto", "tagged", "numbered", "lines", "sentences"] = "auto",
    json_: Annotated[bool, Parameter("--json")] = False,
) -> None:
    """Show what a model's distribution says, token by token, about a completion; or how calibrated logged answers are.

    Parameters
    ----------
    what
        A Hugging Face causal-LM folder with a chat template, one of LoRA adapters, a hub name, or lab:NAME; or, without
        a prompt and a completion, a run, a file of rollouts, a chat log (.jsonl) or TRL's completions.
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
    json_
        Print tokens, ids, signals and spans, or the measures of the log, as JSON.
    """
    from rich.console import Console

    if Path(what).exists() and all(x is None for x in (prompt, prompt_file, completion, completion_file)):
        from frown.interchange.imports import as_run
        from frown.interchange.measures import measure, table
        from frown.viewer.index import read_index

        with as_run(Path(what)) as path:
            measured = measure(read_index(path))
        if json_:
            print(json.dumps(measured, allow_nan=False))
        else:
            Console().print(table(measured))
        return

    from frown.inspect.read import read as read_signals

    texts = [_text("prompt", prompt, prompt_file), _text("completion", completion, completion_file)]
    found = read_signals(what, *texts, temperature=temperature, steps=steps)
    if json_:
        print(json.dumps(found, allow_nan=False))
        return
    from frown.report.reading import render

    Console().print(render(found))


@app.command
def look(
    run: Path,
    *,
    text: bool = False,
    out: Path | None = None,
    most: int | None = None,
    signal: str = "surprisal",
    port: int = 0,
    open_: Annotated[bool, Parameter("--open")] = True,
) -> None:
    """Look at rollouts: what was asked, answered, doubted, said and learnt, token by token.

    Serves a page on this machine alone until Ctrl-C, for runs of any size.

    Parameters
    ----------
    run
        A run, a comparison, a file of rollouts, a chat log (.jsonl) or TRL's completions.
    text
        Show it in the terminal instead.
    out
        Write one self-contained HTML file instead, to send to somebody.
    most
        Rollouts in the file (default 300) or in the terminal (default 10), the gravest first.
    signal
        What the terminal's colours show.
    port
        Port of the page. Default: any free one.
    open_
        Open a browser.
    """
    from rich.console import Console

    from frown.interchange.imports import as_run
    from frown.viewer.index import read_index

    if most is not None and most < 1:
        raise FrownError(f"--most is at least 1, got {most}")
    if text and out is not None:
        raise FrownError("--text shows rollouts here and --out writes a page; give one of them")
    with as_run(run) as path:
        index = read_index(path)
        for line in index.unread:
            print(f"frown: not read: {line}", file=sys.stderr)
        if text:
            from frown.viewer.text import render

            chosen = index.order[: most or 10].tolist()
            console = Console()
            for i in chosen:
                console.print(render(index, i, signal))
            console.print(f"{len(chosen)} of {len(index)} rollouts, the gravest first", highlight=False)
        elif out is not None:
            from frown.viewer.file import MOST, write_file

            held = write_file(index, out, most or MOST)
            print(f"{out}: {held} of {len(index)} rollouts")
        else:
            from frown.viewer.server import serve

            def ready(url: str) -> None:
                print(f"{len(index)} rollouts at {url}\nOnly this machine can open it. Ctrl-C ends it.", flush=True)
                if open_ and _has_display():
                    import webbrowser

                    webbrowser.open(url)

            serve(index, port, ready)


app.command(layers)


@app.command(name="import")
def import_(source: Path, *, out: Path, score: str | None = None) -> None:
    """Make a run directory of answers that another program logged, for look, read and export.

    Parameters
    ----------
    source
        Chat logs of an OpenAI-style server or vLLM (.jsonl), TRL's completions (.parquet), or TRL's output folder.
    out
        Where to write it.
    score
        Of TRL's rewards, the one that says whether an answer is right.
    """
    from frown.interchange.imports import import_rollouts

    counts = import_rollouts(source, out, score=score)
    print(f"{out}: " + ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.items()))


@app.command
def export(run: Path, *, to: Literal["parquet", "inspect"], out: Path) -> None:
    """Write the rollouts of a run or comparison for other programs.

    Parameters
    ----------
    run
        A run, a comparison or a file of rollouts.
    to
        parquet (one file) or inspect (a folder with one log a run, for inspect_ai).
    out
        Where to write it.
    """
    from frown.interchange.exports import to_inspect, to_parquet
    from frown.interchange.imports import as_run
    from frown.viewer.index import read_index

    with as_run(run) as path:
        index = read_index(path)
        if to == "parquet":
            print(f"{out}: {to_parquet(index, out)} rollouts")
        else:
            print("\n".join(str(log) for log in to_inspect(index, out)))


@app.command
def doctor(*, json_: Annotated[bool, Parameter("--json")] = False) -> None:
    """Say what is installed and what is missing for which extra.

    Parameters
    ----------
    json_
        Print everything as JSON.
    """
    from frown.plan.doctor import examine
    from frown.report.doctor import doctor_lines

    found = examine()
    print(json.dumps(found) if json_ else "\n".join(doctor_lines(found)))


recipe = App(name="recipe", help="Run the experiments of a recipe.")
recipe.command(negotiation)
app.command(recipe)
app.command(empathy)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. A mistake is one line on standard error and status 2; Ctrl-C is status 130."""
    wait_asleep()
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _fail(" ".join(str(error).split()))
    except Elsewhere:
        sys.exit(2)
    except FrownError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        print(
            "frown: stopped; where there is a run directory it holds what was reached, and --resume (of a comparison "
            "or an experiment: the same command) goes on",
            file=sys.stderr,
        )
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _has_display() -> bool:
    """Whether a browser would have somewhere to show itself."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _plan(settings: RunConfig, processes: int, sharded: bool, card: float | None, as_json: bool) -> None:
    from rich.console import Console

    from frown.plan.plan import make
    from frown.report.plan import plan_table

    found = make(settings, processes=processes, sharded=sharded, card=card)
    if as_json:
        print(json.dumps(found.as_json(), allow_nan=False))
        return
    console = Console()
    console.print(plan_table(found))
    for line in found.warnings:
        console.print(f"warning: {line}", style="yellow", markup=False, highlight=False, soft_wrap=True)


def _command() -> str:
    """What was typed, for the record."""
    return shlex.join(["frown", *sys.argv[1:]])


def _fail(message: str) -> None:
    print(f"frown: {message}", file=sys.stderr)
    sys.exit(2)


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


def _preset(name: str) -> Path:
    file = PRESETS / f"{name}.toml"
    if not file.is_file():
        raise FrownError(
            f"no preset is called {name!r}; there are: {', '.join(sorted(p.stem for p in PRESETS.glob('*.toml')))}"
        )
    return file


def _workers(settings: CompareConfig) -> int:
    """One run a core, or a core's worth of the container's time; one alone where runs would share a GPU."""
    from frown.runtime.threads import cpu_quota, own_cores

    if settings.run(settings.baseline, 0).model.device != "cpu" and Path("/dev/nvidia0").exists():
        return 1
    return max(1, int(min(len(own_cores()), cpu_quota() or math.inf)))


def _is_finished(path: Path) -> bool:
    from frown.store.run_directory import RunDirectory

    return RunDirectory(path).status[0] == "finished"


def _last_evaluation(path: Path) -> dict[str, float | None]:
    from frown.store.run_directory import RunDirectory

    scores = [m["avg_at_k"] for m in RunDirectory(path).metrics() if m.get("split") == "test"]
    return {"before": scores[0], "after": scores[-1]}


if __name__ == "__main__":
    main()
