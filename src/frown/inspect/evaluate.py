"""`frown eval`: any model on any task, measured with intervals, alone or paired against another.

The result is a folder:

config.json      what was measured, on what and how
samples/         KEY.parquet: every graded sample; KEY is made of the model's bytes, the prompts and the settings, so
                 that what was sampled once is read back, whatever it is compared with
summary.json     every figure (docs/summary.md)
report.html      the same to read
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from frown.config import EvaluationConfig, ModelConfig, SamplingConfig, TaskConfig, load
from frown.config.defaults import parameters, scale_of
from frown.errors import FrownError
from frown.evals.samples import GradedSamples
from frown.evals.summary import RunResult, summarise, to_json
from frown.inspect.subjects import Subject, fingerprint, subjects
from frown.store.files import write_text
from frown.store.machine import machine_record
from frown.store.samples import read_samples, write_samples
from frown.tasks.base import Environment
from frown.tasks.load import load_environment
from frown.training.context import fitting_models
from frown.types import Rollout, Task

AT_ONCE = 8
"""Prompts sampled between two words to whoever watches."""
Watch = Callable[[str, int, int], None]
"""Told the name of a model, how many of its prompts are done, and of how many."""


def evaluate(
    model: str | Path,
    out: Path | str,
    *,
    against: str | Path | None = None,
    overrides: Sequence[str] = (),
    command: str = "",
    watch: Watch = lambda name, done, of: None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure a model on a task, alone or paired against another; return the summary (docs/summary.md).

    `model` and `against`: a model folder, "lab:NAME", a run (its newest checkpoint), or a folder of runs called seed*.
    `overrides`: settings of `EvaluationConfig` as KEY=VALUE, e.g. "task.kind=math", "task.test_data=test.jsonl",
    "samples=12"; what is not given is that of the run, where there is one. `command` is for the record.

    Everything is written to `out`. Raises FrownError for a task or a model that cannot be used.
    """
    ours, theirs = subjects(str(model)), subjects(str(against)) if against is not None else []
    config = settings([*ours, *theirs], overrides)
    named = {o.partition("=")[0].strip() for o in overrides}
    if "max_new_tokens" not in named and all(s.config is None for s in (*ours, *theirs)):
        say(f"chosen by the model's size: max_new_tokens = {config.max_new_tokens}")
    return assess(ours, theirs, config, Path(out), command=command, watch=watch, say=say)


def assess(
    models: Sequence[Subject],
    against: Sequence[Subject],
    config: EvaluationConfig,
    out: Path,
    *,
    command: str,
    watch: Watch = lambda name, done, of: None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure `models` (the seeds of one arm), paired against `against` where that is not empty; return the summary.

    Everything is written to `out`. `say` hears what a person should know. Raises FrownError for a task or a model that
    cannot be used, and for a folder that holds something else.
    """
    _refuse_unless_free(out)
    sides = dict(_named(models, against))
    task_environment = load_environment(config.task, conversation=config.conversation)
    try:
        asked = [(s.model, config.max_new_tokens) for s in (*models, *against)]
        task_environment = fitting_models(task_environment, asked, split=config.split)
        for line in task_environment.notes:
            say(line)
        tasks = task_environment.test_tasks(config.split, config.prompts)
        if not tasks:
            raise FrownError(f"task {config.task.kind} has no {config.split} tasks; try another split")
        if len(tasks) < config.prompts:
            say(f"the {config.split} split has {len(tasks)} tasks, fewer than the {config.prompts} asked for")
        samples_of = {
            name: [(s, _samples(name, s, tasks, task_environment, config, out, watch, say)) for s in group]
            for name, group in sides.items()
        }
    finally:
        task_environment.close()
    results = [RunResult(name, s.seed, (samples,)) for name, group in samples_of.items() for s, samples in group]
    settings = {
        **config.model_dump(mode="json"),
        "models": {name: [{"path": s.model, "seed": s.seed} for s in group] for name, group in sides.items()},
    }
    summary = summarise(
        _paired(results, say),
        baseline=list(sides)[-1],
        config=settings,
        environment={**machine_record(), "command": command},
    )
    summary["compared"] = _compared(list(sides), results, config)
    write_text(out / "config.json", json.dumps(settings, indent=2) + "\n")
    write_text(out / "summary.json", to_json(summary))
    return summary


def settings(models: Sequence[Subject], overrides: Sequence[str]) -> EvaluationConfig:
    """The settings of an evaluation: those of the first run among the models, or the defaults, then the overrides.

    A task that the overrides name takes the place of the run's; test rows that they name, that of its rows.
    """
    named = {o.partition("=")[0].strip() for o in overrides}
    new_task = "task.kind" in named
    run = next((s.config for s in models if s.config is not None), None)
    if run is not None:
        task = run.task.model_copy(update={"data": None} if "task.test_data" in named else {})
        base = EvaluationConfig(
            task=TaskConfig() if new_task else task,
            conversation=None if new_task else run.conversation,
            temperature=run.eval.temperature,
            max_new_tokens=run.sampling.max_new_tokens,
        )
    elif not new_task:
        raise FrownError("name a task (--task math, lab:chains, ...); only a run brings its own")
    else:
        longest = max(scale_of(parameters(s.model)).max_new_tokens for s in models)
        base = EvaluationConfig(max_new_tokens=longest)
    return load(EvaluationConfig, None, overrides, base)


def key(model: str, tasks: Sequence[Task], config: EvaluationConfig) -> str:
    """Under which name samples are kept: the same model, prompts, settings and versions give the same."""
    settings = config.model_dump(mode="json", exclude={"prompts", "sampling_batch_tokens", "task"})
    grader = config.task.model_dump(mode="json", exclude={"data", "test_data"})
    made_of = [fingerprint(model), [t.id for t in tasks], settings, grader, machine_record()["packages"]]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:24]


def _samples(
    name: str,
    subject: Subject,
    tasks: Sequence[Task],
    task_environment: Environment,
    config: EvaluationConfig,
    out: Path,
    watch: Watch,
    say: Callable[[str], None],
) -> GradedSamples:
    """The graded samples of one model, read back where they are kept already."""
    file = out / "samples" / f"{key(subject.model, tasks, config)}.parquet"
    if file.is_file():
        try:
            kept = read_samples(file)
        except FrownError as error:
            say(f"it is made again: {error}")
        else:
            say(f"{name}: the same model, prompts and settings were sampled before; read back from {file}")
            return kept
    samples = sample(subject.model, tasks, task_environment, config, lambda done: watch(name, done, len(tasks)))
    write_samples(file, samples)
    return samples


def sample(
    model: str,
    tasks: Sequence[Task],
    task_environment: Environment,
    config: EvaluationConfig,
    watch: Callable[[int], None] = lambda done: None,
) -> GradedSamples:
    """Graded samples of one model. The draws for a prompt do not depend on how many prompts follow."""
    from frown.policy.policy import Policy
    from frown.training.evaluation import Cost, graded

    policy = Policy(
        ModelConfig(path=model, device=config.device),
        SamplingConfig(max_new_tokens=config.max_new_tokens),
        sampling_batch_tokens=config.sampling_batch_tokens,
    )
    rollouts: list[Rollout] = []
    for first in range(0, len(tasks), AT_ONCE):
        watch(first)
        some = tasks[first : first + AT_ONCE]
        seed = int(np.random.SeedSequence([config.seed, first]).generate_state(1)[0])
        answers = task_environment.rollouts(policy, some, config.samples, seed=seed, temperature=config.temperature)
        before = len(rollouts)  # more than the episodes before: no number comes twice
        rollouts += [r if r.episode is None else replace(r, episode=before + r.episode) for r in answers]
    watch(len(tasks))
    return graded(rollouts, [t.id for t in tasks], step=0, split=config.split, cost=Cost())


def _named(models: Sequence[Subject], against: Sequence[Subject]) -> list[tuple[str, Sequence[Subject]]]:
    """Both sides under different names."""
    ours = models[0].name
    if not against:
        return [(ours, models)]
    theirs = against[0].name
    if ours == theirs:
        ours, theirs = models[0].model, against[0].model
    return [(ours, models), (f"{theirs} (again)" if ours == theirs else theirs, against)]


def _paired(results: Sequence[RunResult], say: Callable[[str], None]) -> list[RunResult]:
    """Results with the same seeds on both sides, where one of them has a single model: it is paired with each."""
    by_arm: dict[str, list[RunResult]] = {}
    for r in results:
        by_arm.setdefault(r.arm, []).append(r)
    seeds = max(([r.seed for r in group] for group in by_arm.values()), key=len)
    out = []
    for name, group in by_arm.items():
        if len(group) == 1 and len(by_arm) > 1 and [r.seed for r in group] != seeds:
            if len(seeds) > 1:
                say(f"{name} is one model: it is paired with each of the {len(seeds)} seeds")
            group = [RunResult(name, seed, group[0].evals) for seed in seeds]
        out += group
    return out


def _compared(names: Sequence[str], results: Sequence[RunResult], config: EvaluationConfig) -> str:
    """One sentence: which models, on what, how often asked."""
    first = results[0].last
    counts = {name: sum(r.arm == name for r in results) for name in names}
    who = " against ".join(f"{name}{f' ({n} seeds)' if n > 1 else ''}" for name, n in counts.items())
    return (
        f"{who} on the {config.split} split of {config.task.kind}: {first.prompts} prompts with {first.k} samples "
        f"each, at temperature {config.temperature:g}."
    )


def _refuse_unless_free(out: Path) -> None:
    """A folder with something else in it is left alone."""
    try:
        if out.is_dir() and any(out.iterdir()) and not (out / "samples").is_dir():
            raise FrownError(f"{out} is not empty and holds no evaluation; choose another --out")
        (out / "samples").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FrownError(f"cannot write {out}: {error.strerror}") from None
