"""`frown eval`: measure a model."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

from frown.cli.options import AsJson, TaskFlags, listed
from frown.errors import FrownError

NO_FLAGS = TaskFlags()


def evaluate(
    *words: str,
    flags: TaskFlags = NO_FLAGS,
    against: str | None = None,
    k: int | None = None,
    prompts: int | None = None,
    harness: Literal["lm-eval", "inspect"] | None = None,
    out: Path = Path("runs/eval"),
    json_: AsJson = False,
) -> None:
    """Measure any model on any task, alone or paired against another: `frown eval MODEL [KEY=VALUE ...]`.

    The model, here also a run (its newest checkpoint) or a folder of runs called seed*, is the first word or --model.
    The task is that of the run unless it is named.

    Parameters
    ----------
    words
        The model, unless --model names it, and settings as KEY=VALUE, e.g. max_new_tokens=512 temperature=0.6
        split=dev; `frown config --of eval` lists them.
    against
        Another model or run, to be compared with on the same prompts.
    k
        Answers to each prompt (default 12).
    prompts
        Prompts (default 60).
    harness
        Run under lm-evaluation-harness or inspect_ai instead, where that is installed, on its own tasks (--task
        gsm8k,arc_easy). KEY=VALUE becomes its --KEY VALUE.
    out
        Where everything is written. What is there of the same model, prompts and settings is used again.
    """
    from frown.store.files import check_folder

    model, overrides = flags.model, words
    if model is None:
        if not words:
            raise FrownError("name a model: frown eval MODEL")
        model, overrides = words[0], words[1:]
    check_folder(out)
    if harness is not None:
        if flags.task is None or any(x is not None for x in (flags.data, flags.columns, against, k, prompts)):
            raise FrownError("--harness runs its own tasks: give --task NAMES, and its options as KEY=VALUE")
        _under_harness(harness, model, listed(flags.task), overrides, out)
        return

    from rich.console import Console

    from frown.cli.output import plain, print_json, print_summary, typed_command
    from frown.inspect.evaluate import evaluate as evaluate_model
    from frown.report.html import write_report
    from frown.report.live import PromptBar
    from frown.runtime.processes import refuse_several

    refuse_several("eval")
    given = TaskFlags(None, flags.task, flags.data, flags.columns).overrides(data="task.test_data")
    given += [f"{key}={value}" for key, value in {"samples": k, "prompts": prompts}.items() if value is not None]
    console = Console(stderr=True)
    with PromptBar(console) as bar:
        summary = evaluate_model(
            model, out, against=against, overrides=[*given, *overrides],
            command=typed_command(), watch=bar.update, say=bar.say,
        )  # fmt: skip
    page = write_report(out)
    if json_:
        print_json(summary, indent=2)
    print_summary(console, summary)
    plain(console, f"\n{page} and {out / 'summary.json'}")


def _under_harness(
    harness: Literal["lm-eval", "inspect"], model: str, tasks: list[str], options: tuple[str, ...], out: Path
) -> None:
    from frown.inspect.harness import run_under
    from frown.inspect.subjects import subjects

    for subject in subjects(model):
        print(shlex.join(run_under(harness, subject.model, tasks, options, out)))
