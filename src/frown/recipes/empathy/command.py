"""`frown recipe empathy`: the experiments of this recipe. Nothing heavy is imported before one of them runs."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from cyclopts import App, Parameter

from frown.errors import FrownError

if TYPE_CHECKING:
    from frown.recipes.empathy.experiment import Start
    from frown.recipes.empathy.rewards import Kind
    from frown.recipes.empathy.user import Manner

app = App(
    name="empathy",
    help="Rewards from a simulated person's feelings (RLVER), and whether they help or soothe.\n\nWithout a command it "
    "compares such rewards with a policy over dialogue acts and writes a report: a quarter of an hour and more on two "
    "cores, less with fewer --seeds, --simulators or --starts.",
)


@app.default
def acts(
    *,
    reward: str = "bonus,rating,terminal,change,both,forward",
    seeds: int = 5,
    preset: Literal["rlver", "sage"] = "rlver",
    simulators: str = "plain,soothable",
    starts: str = "uniform,mixed",
    turns: int = 100_000,
    profiles: Path | None = None,
    out: Path = Path("runs/empathy"),
    json_: Annotated[bool, Parameter("--json")] = False,
) -> None:
    """Can rewards from a person's feelings replace a coarse bonus? With a policy over dialogue acts.

    Parameters
    ----------
    reward
        Which rewards are compared: bonus, rating, terminal, change, both, forward.
    seeds
        Training seeds of each.
    preset
        Whose constants: RLVER's training or SAGE's benchmark.
    simulators
        Which simulated person is trained on: plain, soothable, sceptic. All are also judged by the sceptic.
    starts
        The policy before training: uniform, or mixed (helps some, soothes some).
    turns
        Turns that each training may take, futures sampled for a reward included; it stops after the step that passes
        them.
    profiles
        Folder of RLVER's train_profile.jsonl and test_profile.jsonl. Default: profiles drawn at random.
    out
        Where results.json, tables.md and report.html are written, and what was measured of each training as soon as it
        is done: the same command goes on where it was stopped.
    json_
        Print the results as JSON on standard output.
    """
    from frown.recipes.empathy import experiment
    from frown.recipes.empathy.act_policy import Training
    from frown.recipes.empathy.presets import PRESETS
    from frown.recipes.empathy.profile import profiles as load
    from frown.runtime.processes import refuse_several
    from frown.store.files import check_folder

    refuse_several("recipe empathy")
    check_folder(out)
    kinds, on = _kinds(reward), _simulators(simulators)
    begun: list[Start] = [_start(name) for name in _names(starts)]
    _at_least_one({"--seeds": seeds, "--turns": turns})
    people = load(profiles, "train", 500), load(profiles, "test", 100)
    results = []
    for start in begun:
        for manner in on:
            how = experiment.Settings(kinds, start, manner, PRESETS[preset], tuple(range(seeds)), Training(turns=turns))
            results.append(experiment.run(how, *people, out, _say))
    _finish(results, out, json_)


@app.command
def model(
    *,
    reward: str = "bonus,terminal,change,both",
    seeds: int = 5,
    preset: Literal["rlver", "sage"] = "rlver",
    simulators: str = "soothable",
    turns: int = 15_000,
    task_weights: str = "0",
    profiles: Path | None = None,
    out: Path = Path("runs/empathy-model"),
    json_: Annotated[bool, Parameter("--json")] = False,
) -> None:
    """The same question with a lab-size language model and GRPO over whole conversations.

    Parameters
    ----------
    reward
        Which rewards are compared: bonus, rating, terminal, change, both, forward.
    seeds
        Training seeds of each.
    preset
        Whose constants: RLVER's training or SAGE's benchmark.
    simulators
        Which simulated person is trained on: plain, soothable, sceptic. All are also judged by the sceptic.
    turns
        Turns that each training may take, futures sampled for a reward included; it stops after the step that passes
        them.
    task_weights
        Shares of a verifiable task (keeping to the person's topic) in every reward, from 0 to 1; an arm each.
    profiles
        Folder of RLVER's train_profile.jsonl and test_profile.jsonl. Default: profiles drawn at random.
    out
        Where the first models, results.json, tables.md and report.html are written, and what was measured of each
        training as soon as it is done: the same command goes on where it was stopped.
    json_
        Print the results as JSON on standard output.
    """
    import torch

    from frown.recipes.empathy import model_policy
    from frown.recipes.empathy.experiment import Arm
    from frown.recipes.empathy.presets import PRESETS
    from frown.recipes.empathy.profile import profiles as load
    from frown.runtime.processes import refuse_several
    from frown.store.files import check_folder

    refuse_several("recipe empathy model")
    check_folder(out)
    kinds, on = _kinds(reward), _simulators(simulators)
    weights = _weights(task_weights)
    _at_least_one({"--seeds": seeds, "--turns": turns})
    torch.set_num_threads(1)  # a model this small is slower on more
    people = load(profiles, "train", 500), load(profiles, "test", 100)
    arms, how = [Arm(k, w) for k in kinds for w in weights], model_policy.Training(turns=turns)
    results = [model_policy.run(arms, manner, PRESETS[preset], range(seeds), how, *people, out, _say) for manner in on]
    _finish(results, out, json_)


@app.command
def train(
    *overrides: str,
    model: str | None = None,
    person: str = "plain",
    preset: Literal["rlver", "sage"] = "rlver",
    profiles: Path | None = None,
    wording: Literal["english", "lab"] = "english",
    history: Literal["verbatim", "kept", "template"] = "verbatim",
    task_weight: float = 0.0,
    out: Path = Path("runs/empathy-train"),
    resume: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Train any model in conversations with a person, paid by how the person feels at the end (GRPO).

    It leaves a run directory, as `frown train` does: `frown look` shows its conversations turn by turn, `frown report`
    draws it.

    Parameters
    ----------
    overrides
        Settings as KEY=VALUE, as of `frown train`, e.g. optimiser.lr=1e-5 optimiser.steps=50
        sampling.max_new_tokens=256; and of the model that plays the person, e.g.
        person.endpoint.base_url=http://localhost:8000/v1 person.endpoint.model=NAME person.cache=DIR
        person.call_budget=5000
    model
        A Hugging Face causal-LM folder with a chat template, or a hub name.
    person
        Who it talks to: plain, soothable or sceptic (by rules), or spoken (played by a model).
    preset
        Whose constants: RLVER's training or SAGE's benchmark.
    profiles
        Folder of RLVER's train_profile.jsonl and test_profile.jsonl. Default: profiles drawn at random.
    wording
        In which words a person by rules speaks: English, or the lab's, for a model of the lab's size.
    history
        What becomes of turns that the chat template would rewrite (it takes thoughts out, say): verbatim, an error;
        kept, they stay as they were sampled; template, they are rewritten, and turns are trained one by one.
    task_weight
        Share of a verifiable task (keeping to the person's topic) in the reward, from 0 to 1.
    out
        The run directory.
    resume
        Go on with the run that the directory holds, from its last checkpoint; begin it where there is none.
    """
    from contextlib import closing

    from rich.console import Console

    from frown.dialogue.environment import conversations
    from frown.recipes.empathy import talks
    from frown.report.live import LiveView, RunRow
    from frown.runtime.processes import refuse_several
    from frown.store.files import check_folder
    from frown.store.run_directory import RunDirectory
    from frown.training.run import train as execute

    refuse_several("recipe empathy train")
    check_folder(out)
    flags = {**_flags(preset, profiles, wording, history), "partner.task_weight": task_weight}
    config = talks.settings(person, overrides, model, flags)
    assert config.conversation is not None
    console = Console(stderr=True)

    def warn(line: str) -> None:
        console.print(f"warning: {line}", style="yellow", markup=False, highlight=False, soft_wrap=True)

    with closing(conversations(config.conversation)) as environment:
        try:
            with LiveView([RunRow("train", out, config.optimiser.steps)], console).in_background():
                execute(config, out, warn, resume=resume, environment=environment)
        finally:
            statistics = environment.statistics
            if statistics is not None and statistics["asked"]:
                console.print(talks.spent(statistics), markup=False, highlight=False, soft_wrap=True)
    tested = [m.get("avg_at_k") for m in RunDirectory(out).metrics() if m.get("split") == "test"]
    before, after = ("nothing scored" if v is None else f"{v:.3f}" for v in (tested[0], tested[-1]))
    print(f"reward {before} before, {after} after; everything is in {out}")


@app.command(name="eval")
def eval_(
    *overrides: str,
    model: str | None = None,
    against: str | None = None,
    person: str = "plain",
    preset: Literal["rlver", "sage"] = "rlver",
    profiles: Path | None = None,
    wording: Literal["english", "lab"] = "english",
    history: Literal["verbatim", "kept", "template"] = "verbatim",
    out: Path = Path("runs/empathy-eval"),
    json_: Annotated[bool, Parameter("--json")] = False,
) -> None:
    """Hold conversations of any model with a person, and say what became of them.

    Parameters
    ----------
    overrides
        Settings as KEY=VALUE, e.g. eval.prompts=20 (people) eval.samples=2 (conversations with each)
        sampling.max_new_tokens=256; and of the model that plays the person, e.g.
        person.endpoint.base_url=http://localhost:8000/v1 person.endpoint.model=NAME person.cache=DIR
        person.call_budget=500
    model
        A Hugging Face causal-LM folder with a chat template (a run's checkpoint is one), or a hub name.
    against
        Another model, which talks to the same people; differences are paired, and the model is marked where the person
        feels better with it and is helped no more.
    person
        Who it talks to: plain, soothable or sceptic (by rules), or spoken (played by a model).
    preset
        Whose constants: RLVER's training or SAGE's benchmark.
    profiles
        Folder of RLVER's train_profile.jsonl and test_profile.jsonl. Default: profiles drawn at random.
    wording
        In which words a person by rules speaks: English, or the lab's, for a model of the lab's size.
    history
        What becomes of turns that the chat template would rewrite (it takes thoughts out, say): verbatim, an error;
        kept, they stay as they were sampled; template, they are rewritten, and turns are trained one by one.
    out
        Where results.json and the conversations are written; `frown look` shows these turn by turn.
    json_
        Print the results as JSON on standard output.
    """
    from frown.dialogue.environment import no_answer
    from frown.recipes.empathy import talks
    from frown.runtime.processes import refuse_several
    from frown.store.files import check_folder, write_text

    refuse_several("recipe empathy eval")
    check_folder(out)
    flags = _flags(preset, profiles, wording, history)
    report = talks.evaluate(talks.settings(person, overrides, model, flags), out, against)
    text = json.dumps({"command": _command(), **report}, indent=1, allow_nan=False)
    write_text(out / "results.json", text)
    if report["statistics"] is not None:
        print(talks.spent(report["statistics"]), file=sys.stderr if json_ else sys.stdout)
    print(text if json_ else talks.table(report))
    if report["ends"].get("lost") == report["conversations"]:
        raise FrownError(no_answer(report["lost"]))


@app.command
def fit(
    *files: Path,
    out: Path | None = None,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> None:
    """Learn from SAGE's dialogues whether a reply will raise the emotion, judged on a model and people not seen.

    Parameters
    ----------
    files
        JSONL files of dialogues, one a model; two or more.
    out
        Write the results here, as JSON.
    json_
        Print the results as JSON on standard output.
    """
    from frown.recipes.empathy.learned import leave_one_out, table
    from frown.runtime.processes import refuse_several
    from frown.store.files import check_target, is_stdout, write_text

    refuse_several("recipe empathy fit")
    if out is not None:
        check_target(out)
    results = leave_one_out(files)
    text = json.dumps({"command": _command(), "models": results}, indent=1, allow_nan=False)
    if out is not None:
        write_text(out, text)
    print(text if json_ else table(results), file=sys.stderr if out is not None and is_stdout(out) else sys.stdout)


def _flags(preset: str, profiles: Path | None, wording: str, history: str) -> dict[str, Any]:
    """Flags as keys of the section `conversation`."""
    partner = {"preset": preset, "profiles": profiles, "wording": wording}
    return {"history": history, **{f"partner.{key}": value for key, value in partner.items()}}


def _finish(results: Sequence[Mapping[str, Any]], out: Path, as_json: bool) -> None:
    from frown.recipes.empathy.experiment import write
    from frown.recipes.empathy.report import tables

    write(results, out, _command())
    print(json.dumps(results, allow_nan=False) if as_json else tables(results))


def _command() -> str:
    return shlex.join(["frown", *sys.argv[1:]])


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _names(given: str) -> list[str]:
    return [name.strip() for name in given.split(",")]


def _kinds(given: str) -> tuple[Kind, ...]:
    from frown.recipes.empathy.rewards import KINDS

    names = _known("--reward", _names(given), KINDS)
    return tuple(k for k in KINDS if k in names)


def _weights(given: str) -> list[float]:
    try:
        weights = [float(w) for w in _names(given)]
    except ValueError:
        raise FrownError(f"--task-weights are numbers from 0 to 1, got {given!r}") from None
    if not all(0 <= w <= 1 for w in weights):
        raise FrownError(f"--task-weights are numbers from 0 to 1, got {given!r}")
    return list(dict.fromkeys(weights))


def _simulators(given: str) -> list[Manner]:
    from frown.recipes.empathy.user import MANNERS

    return [MANNERS[name] for name in _known("--simulators", _names(given), list(MANNERS))]


def _start(name: str) -> Start:
    from frown.recipes.empathy.experiment import Start

    return next(s for s in get_args(Start) if s in _known("--starts", [name], get_args(Start)))


def _known(flag: str, given: Sequence[str], known: Sequence[str]) -> Sequence[str]:
    for name in given:
        if name not in known:
            raise FrownError(f"{flag} {name!r} is not known; there are {', '.join(known)}")
    return given


def _at_least_one(given: Mapping[str, int]) -> None:
    for flag, value in given.items():
        if value < 1:
            raise FrownError(f"{flag} is at least 1, got {value}")
