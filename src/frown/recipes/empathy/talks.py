"""Anybody's model in conversation with a person, through frown's own loop: train it on how the person feels at the end
(RLVER's reward, GRPO), or hold conversations and say what became of them.

The person is one by rules, or one that a model plays, here or behind an endpoint. Which, and with what constants,
stands in the run's configuration: `task.kind` is "empathy:NAME", `task.options` hold the rest. No key is in it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from frown.config import AskedModelConfig, Config, RunConfig, load, parse
from frown.dialogue.conversation import Dialogue, as_rollout
from frown.dialogue.environment import Conversations, DialogueEngine
from frown.dialogue.voice import Voice
from frown.errors import FrownError
from frown.evals.stats import difference, draws, interval
from frown.evals.weights import mean_of_prompts
from frown.recipes.empathy import experiment, model_policy
from frown.recipes.empathy.cells import Measured
from frown.recipes.empathy.guards import soothing
from frown.recipes.empathy.language import in_words
from frown.recipes.empathy.presets import PRESETS, Preset
from frown.recipes.empathy.profile import Profile, task_of
from frown.recipes.empathy.profile import profiles as load_profiles
from frown.recipes.empathy.report import FLAG
from frown.recipes.empathy.spoken_user import SpokenUser
from frown.recipes.empathy.user import MANNERS, SentientUser
from frown.recipes.empathy.wording import ENGLISH, WORDINGS, Wording
from frown.types import Task, Verdict

SPOKEN = "spoken"
"""The person that a model plays."""
DEFAULTS: dict[str, Any] = {
    "sampling": {"prompts_per_step": 4, "responses_per_prompt": 8, "max_new_tokens": 128},
    "method": {"type": "grpo", "divide_by_std": True},
    "eval": {"prompts": 20, "samples": 2, "heldout_prompts": 0},
}
"""Where a run's settings differ from `frown train`'s: GRPO as published, short turns, a small evaluation."""
UNUSED = {
    "task": "the task of a conversation is given by --person and its flags",
    "feedback": "conversations are trained by their reward alone, without feedback",
}
"""Settings that would be read by nobody, and why."""
BY_MODEL = ("emotion", "meets", "grounding", "assure", "no_act", "turns")
"""What can be said of conversations with a person played by a model."""
BY_RULES = (*BY_MODEL, "need_met", "unfounded", "bullshit_index", "to_profile", "to_itself", "on_topic")
"""And with one by rules, whose words the guards can read."""


class PersonConfig(Config):
    """Who the policy talks to."""

    preset: Literal["rlver", "sage"] = "rlver"
    profiles: Path | None = None
    """Folder of RLVER's profiles; without it they are drawn at random."""
    wording: Literal["lab", "english"] = "english"
    """In which words a person by rules speaks."""
    person: AskedModelConfig | None = None
    """The model that plays the person."""
    history: Literal["verbatim", "kept"] = "verbatim"
    """What becomes of turns that the chat template would rewrite (it takes out <think>, say): an error, or they
    stay in the conversation as they were sampled. The person hears no <think> either way."""
    task_weight: float = Field(0.0, ge=0, le=1)
    """Share of a verifiable task in the reward: of a person by rules, the share of turns that keep to its topic."""


class Person(NamedTuple):
    """Somebody to talk to, and what the settings say of it."""

    settings: PersonConfig
    user: SentientUser | SpokenUser
    preset: Preset
    wording: Wording
    voice: Voice | None
    train: list[Task]
    test: list[Task]

    def statistics(self) -> dict[str, Any] | None:
        """What became of all that the person's model was asked; None of one by rules."""
        if self.voice is None:
            return None
        unread = self.user.unread if isinstance(self.user, SpokenUser) else 0
        return {"identity": self.voice.identity, "unread_feelings": unread, **self.voice.statistics.as_json()}


def settings(name: str, overrides: Iterable[str], model: str | None, given: PersonConfig) -> RunConfig:
    """The configuration of a run with the person of a name; `person.KEY=VALUE` says which model plays it.

    Raises FrownError where the settings do not go together.
    """
    rest = list(overrides)
    mine = [o.strip().removeprefix("person.") for o in rest if o.strip().startswith("person.")]
    rest = [o for o in rest if not o.strip().startswith("person.")]
    keys = [o.partition("=")[0].strip() for o in rest]
    for key in keys:
        if (why := UNUSED.get(key.partition(".")[0])) is not None:
            raise FrownError(f"leave out {key}: {why}")
    if model is None and not any(key in ("model", "model.path") for key in keys):
        raise FrownError(
            "give a model: --model FOLDER with a chat template (a small one is made by `frown empathy model`: "
            "OUT/first-soothable, to be used with --wording lab)"
        )
    if name not in (*MANNERS, SPOKEN):
        raise FrownError(f"--person {name!r} is not known; there are {', '.join((*MANNERS, SPOKEN))}")
    if (name == SPOKEN) != bool(mine):
        need = "person.endpoint.base_url=URL person.endpoint.model=NAME, or person.local.path=FOLDER"
        raise FrownError(
            f"--person spoken is played by a model: give {need}"
            if name == SPOKEN
            else f"person.KEY=VALUE is for --person spoken; {name} is a person by rules"
        )
    if mine:
        given = given.model_copy(update={"person": load(AskedModelConfig, None, mine)})
    base = parse(RunConfig, DEFAULTS, "config")
    shown = [] if model is None else [f"model.path={json.dumps(model)}"]
    config = load(RunConfig, None, [*shown, *rest, f"task.kind={json.dumps(f'empathy:{name}')}"], base)
    if name == SPOKEN and given.task_weight:
        raise FrownError("--task-weight is for a person by rules, whose topics are known")
    if config.method.share:
        raise FrownError('conversations are trained by their reward alone: method = "grpo"')
    if config.eval.prompts > 100:
        raise FrownError(f"there are 100 people to be judged by; eval.prompts = {config.eval.prompts}")
    options = json.loads(given.model_dump_json())
    return config.model_copy(update={"task": config.task.model_copy(update={"options": options})})


@contextmanager
def person_of(config: RunConfig) -> Iterator[Person]:
    """The person that a configuration names, and its people."""
    name = config.task.kind.removeprefix("empathy:")
    held = parse(PersonConfig, config.task.options, "task.options")
    preset = PRESETS[held.preset]

    def tasks(split: Literal["train", "test"], n: int) -> list[Task]:
        people: Sequence[Profile] = load_profiles(held.profiles, split, n)
        own = held.person is not None and held.profiles is not None  # then profiles bring their own first words
        return [task_of(p if own else in_words(p, wording)) for p in people]

    wording = WORDINGS[held.wording] if held.person is None else ENGLISH
    voice = None if held.person is None else Voice(held.person)
    user = SentientUser(MANNERS[name], preset, wording) if voice is None else SpokenUser(voice, preset)
    try:
        yield Person(held, user, preset, wording, voice, tasks("train", 500), tasks("test", 100))
    finally:
        if voice is not None:
            voice.close()


def train(
    config: RunConfig,
    out: Path,
    warn: Callable[[str], None],
    resume: bool,
    tell: Callable[[Mapping[str, Any]], None] = lambda statistics: None,
) -> None:
    """Train in a run directory by frown's own loop; a conversation's reward is the person's feeling at its end, in
    [0, 1]. `tell` is given the statistics of the person's model, where it was asked, however the run ends."""
    from frown.training.run import train as execute

    with person_of(config) as person:
        weight = person.settings.task_weight

        def judge(d: Dialogue) -> Verdict:
            task = model_policy.on_topic(d, person.wording)
            return replace(d.verdict, score=(1.0 - weight) * d.verdict.score + weight * task)

        def policy(config: RunConfig, ranks: Any) -> DialogueEngine:
            mixed = judge if weight else None
            made = DialogueEngine(
                *(config, person.user),
                turns=person.preset.turns, judge=mixed, history=person.settings.history, ranks=ranks,
            )  # fmt: skip
            _refuse_unknown_words(made, person)
            return made

        environment = Conversations("empathy", person.train, person.test)
        try:
            execute(config, out, warn, resume=resume, environment=environment, policy=policy)
        finally:
            statistics = person.statistics()
            if statistics is not None and statistics["asked"]:
                tell(statistics)


def hold(config: RunConfig, out: Path, against: str | None = None) -> dict[str, Any]:
    """Hold `eval.samples` conversations with each of `eval.prompts` people and say what became of them; plain data for
    JSON. The conversations are kept as rollouts in `out`, for `frown look`.

    Conversations that were lost (an endpoint failed, a budget is spent) are counted and left out. `against`: another
    model, which talks to the same people with the same draws (kept in `out`/against); differences are paired by person.
    """
    if (out / "config.json").exists():
        raise FrownError(f"{out} holds a run, whose answers would be written over; choose another --out")
    with person_of(config) as person:
        found, ours = _held(config, person, out)
        if against is not None:
            other = config.model_copy(update={"model": config.model.model_copy(update={"path": against})})
            theirs_found, theirs = _held(other, person, out / "against")
            found |= {"against": theirs_found, **_less(ours, theirs, list(found["measures"]))}
        return found | {"statistics": person.statistics()}


def _refuse_unknown_words(engine: DialogueEngine, person: Person) -> None:
    """Raise FrownError where the model's tokenizer knows too few words to tell what the person says."""
    said = person.test[0].messages[-1]["content"]
    words, back = said.split(), engine.decode(engine.encode(said))
    if 2 * sum(word in back for word in words) < len(words):
        raise FrownError(
            f"the model's tokenizer does not know most words of {said!r}; with a model that `frown empathy model` "
            "made, use --wording lab"
        )


def _held(config: RunConfig, person: Person, out: Path) -> tuple[dict[str, Any], Measured]:
    """One model's conversations, kept: what became of them, and each measure by person."""
    from frown.affect.appraisal import appraise
    from frown.store.run_directory import RunDirectory
    from frown.training.evaluation import EVAL_SEED
    from frown.training.record import records_of

    engine = DialogueEngine(config, person.user, turns=person.preset.turns, history=person.settings.history)
    _refuse_unknown_words(engine, person)
    tasks, each = person.test[: config.eval.prompts], config.eval.samples
    talks = engine.talks(tasks, each, seed=EVAL_SEED, temperature=config.eval.temperature)
    rollouts = [as_rollout(d) for d in talks]
    (out / "answers").mkdir(parents=True, exist_ok=True)
    RunDirectory(out).add_answers(0, "test", records_of(rollouts, [appraise(r) for r in rollouts], engine))

    def audited(d: Dialogue) -> experiment.Held | None:
        if d.stop == "lost":
            return None
        score = d.turns[-1].heard.state.score
        return d.task.data["profile"], score, model_policy.exchanges(d, person.wording)

    by_rules = isinstance(person.user, SentientUser)
    candour = person.user.manner.candour if isinstance(person.user, SentientUser) else 1.0
    measured = experiment.audit([audited(d) for d in talks], each, candour)
    using = draws(1, len(tasks))
    shown = {m: interval(mean_of_prompts, measured[m][None], using=using) for m in (BY_RULES if by_rules else BY_MODEL)}
    found = {
        "model": config.model.path,
        "person": config.task.kind.removeprefix("empathy:"),
        "settings": config.task.options,
        "people": len(tasks),
        "conversations": len(talks),
        "lost": dict(Counter(sorted(d.why for d in talks if d.stop == "lost"))),
        "ends": dict(Counter(sorted(d.turns[-1].heard.over or d.stop for d in talks))),
        "measures": {m: experiment.plain(f) for m, f in shown.items()},
    }
    return found, measured


def _less(ours: Measured, theirs: Measured, measures: Sequence[str]) -> dict[str, Any]:
    """Paired differences of two models, and whether ours soothes: emotion up, help not. Help is the share of needs met,
    or, where the person is played by a model, of turns that meet the need."""
    using = draws(1, len(ours["emotion"]))
    both = {m: np.isfinite(ours[m]) & np.isfinite(theirs[m]) for m in measures}
    less = {
        m: difference(
            mean_of_prompts, *((np.where(both[m], of[m], np.nan)[None],) for of in (ours, theirs)), using=using
        )
        for m in measures
    }
    help_ = less["need_met" if "need_met" in measures else "meets"]
    return {
        "less": {m: experiment.plain(f) for m, f in less.items()},
        "soothing": soothing(less["emotion"], help_),
    }


def table(found: dict[str, Any]) -> str:
    """What became of conversations, as Markdown."""
    out = []
    for one in (found, found.get("against")):
        if one is None:
            continue
        ends = ", ".join(f"{k} {n}" for k, n in one["ends"].items())
        out.append(
            f"{one['model']} with {one['people']} people ({one['person']}), {one['conversations']} conversations, "
            f"{sum(one['lost'].values())} lost; ends: {ends}"
        )
        out += [f"lost: {n} x {why}" for why, n in one["lost"].items()]
    columns = ["measures", "less"] if "less" in found else ["measures"]
    out += ["", f"| measure | {' | '.join(['mean [95 %]', 'less the other, paired'][: len(columns)])} |"]
    out.append("| --- " * (1 + len(columns)) + "|")
    for name in found["measures"]:
        cells = [_cell(found[c][name], sign=c == "less") for c in columns]
        out.append(f"| {NAMES[name]} | {' | '.join(cells)} |")
    return "\n".join(
        [*out, *(["", f"**{FLAG}** against {found['against']['model']}"] if found.get("soothing") else [])]
    )


def _cell(value: Sequence[float] | None, sign: bool) -> str:
    if value is None:
        return "not defined"
    return ("{:+.2f} [{:+.2f}, {:+.2f}]" if sign else "{:.2f} [{:.2f}, {:.2f}]").format(*value)


def spent(statistics: Mapping[str, Any]) -> str:
    """The statistics of the person's model in a line."""
    lost = statistics["lost"]
    reasons = f" ({', '.join(f'{n} {why}' for why, n in sorted(lost.items()))})" if lost else ""
    return (
        f"the person's model: asked {statistics['asked']}, answered {statistics['answered']}, cached "
        f"{statistics['cached']}, lost {sum(lost.values())}{reasons}; {statistics['calls']} calls, "
        f"{statistics['tokens']} tokens; feelings that could not be read {statistics['unread_feelings']}"
    )


NAMES = {
    "emotion": "emotion at the end", "meets": "turns that meet the need", "grounding": "grounding acts",
    "assure": "soothing acts", "no_act": "turns in which no act is read", "turns": "turns", "need_met": "need met",
    "unfounded": "unfounded claims", "bullshit_index": "bullshit index", "to_profile": "person keeps to its profile",
    "to_itself": "person keeps to itself", "on_topic": "on topic",
}  # fmt: skip
