"""`frown recipe empathy train` and `eval`: anybody's model in conversation with a person.

The settings of a run with `task.kind = "conversation"` whose partner is a person (`frown.recipes.empathy.person`), as
its flags name them; and conversations that are held to say what became of them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from frown.config import RunConfig, flat, load
from frown.dialogue.conversation import Dialogue
from frown.dialogue.environment import Conversations, conversations
from frown.errors import FrownError
from frown.evals.stats import difference, draws, interval
from frown.evals.weights import mean_of_prompts
from frown.recipes.empathy import experiment, model_policy
from frown.recipes.empathy.cells import Measured
from frown.recipes.empathy.guards import soothing
from frown.recipes.empathy.person import PEOPLE, PersonConfig
from frown.recipes.empathy.report import FLAG
from frown.recipes.empathy.user import MANNERS

SPOKEN = "spoken"
"""The person that a model plays."""
DEFAULTS: dict[str, Any] = {
    "sampling": {"prompts_per_step": 4, "responses_per_prompt": 8, "max_new_tokens": 128},
    "method": {"type": "grpo", "divide_by_std": True},
    "eval": {"prompts": 20, "samples": 2, "heldout_prompts": 0},
    "task": {"kind": "conversation"},
    "conversation": {"partner": {"type": "person"}},
}
"""Where a run's settings differ from `frown train`'s: GRPO as published, short turns, a small evaluation."""
UNUSED = {
    "task": "the task of a conversation is given by --person and its flags",
    "feedback": "conversations are trained by their reward alone, without feedback",
    "critic": "conversations are trained by their reward alone, without a critic",
}
"""Settings that would be read by nobody, and why."""
BY_MODEL = ("emotion", "meets", "grounding", "assure", "no_act", "turns")
"""What can be said of conversations with a person played by a model."""
BY_RULES = (*BY_MODEL, "need_met", "unfounded", "bullshit_index", "to_profile", "to_itself", "on_topic")
"""And with one by rules, whose words the guards can read."""


def settings(name: str, overrides: Iterable[str], model: str | None, flags: Mapping[str, Any]) -> RunConfig:
    """The configuration of a run with the person of a name.

    `overrides`: KEY=VALUE of a run; `person.KEY=VALUE` says which model plays the person. `flags`: keys of the section
    `conversation` and what they are; None: not given. Raises FrownError where the settings do not go together.
    """
    if name not in (*MANNERS, SPOKEN):
        raise FrownError(f"--person {name!r} is not known; there are {', '.join((*MANNERS, SPOKEN))}")
    by_model, given = "conversation.partner.model", []
    for override in overrides:
        key, equals, value = override.strip().partition("=")
        key = key.strip()
        if (why := UNUSED.get(key.partition(".")[0])) is not None:
            raise FrownError(f"leave out {key}: {why}")
        given.append(
            (f"{by_model}.{key.removeprefix('person.')}" if key.startswith("person.") else key) + equals + value
        )
    if model is None and not any(o.startswith(("model=", "model.path=")) for o in given):
        raise FrownError(
            "give a model: --model FOLDER with a chat template (a small one is made by `frown recipe empathy model`: "
            "OUT/first-soothable, to be used with --wording lab)"
        )
    if (name == SPOKEN) != any(o.startswith(by_model) for o in given):
        need = "person.endpoint.base_url=URL person.endpoint.model=NAME, or person.local.path=FOLDER"
        raise FrownError(
            f"--person spoken is played by a model: give {need}"
            if name == SPOKEN
            else f"person.KEY=VALUE is for --person spoken; {name} is a person by rules"
        )
    named = {**flat(DEFAULTS), **{f"conversation.{key}": value for key, value in flags.items()}, "model.path": model}
    if name != SPOKEN:
        named["conversation.partner.manner"] = name
    shown = [f"{key}={json.dumps(value, default=str)}" for key, value in named.items() if value is not None]
    config = load(RunConfig, None, [*shown, *given])
    if config.eval.prompts > PEOPLE["test"]:
        raise FrownError(f"there are {PEOPLE['test']} people to be judged by; eval.prompts = {config.eval.prompts}")
    return config


def evaluate(config: RunConfig, out: Path, against: str | None = None) -> dict[str, Any]:
    """Hold `eval.samples` conversations with each of `eval.prompts` people and say what became of them; plain data for
    JSON. The conversations are kept as rollouts in `out`, for `frown look`.

    Conversations that were lost (an endpoint failed, a budget is spent) are counted and left out. `against`: another
    model, which talks to the same people with the same draws (kept in `out`/against); differences are paired by person.
    """
    if (out / "config.json").exists():
        raise FrownError(f"{out} holds a run, whose answers would be written over; choose another --out")
    assert config.conversation is not None
    with closing(conversations(config.conversation)) as environment:
        report, ours = _evaluated(config, environment, out)
        if against is not None:
            other = config.model_copy(update={"model": config.model.model_copy(update={"path": against})})
            other_report, theirs = _evaluated(other, environment, out / "against")
            report |= {"against": other_report, **_less(ours, theirs, list(report["measures"]))}
        return report | {"statistics": environment.statistics}


def _evaluated(config: RunConfig, environment: Conversations, out: Path) -> tuple[dict[str, Any], Measured]:
    """One model's conversations, kept: what became of them, and each measure by person."""
    from frown.affect.appraisal import appraise
    from frown.policy.policy import policy_of
    from frown.store.run_directory import RunDirectory
    from frown.training.evaluation import EVAL_SEED
    from frown.training.record import records_of

    assert config.conversation is not None
    person = config.conversation.partner
    assert isinstance(person, PersonConfig)
    policy, each = policy_of(config), config.eval.samples
    tasks = environment.test_tasks("test", config.eval.prompts)
    dialogues = environment.dialogues(policy, tasks, each, seed=EVAL_SEED, temperature=config.eval.temperature)
    rollouts = environment.as_rollouts(dialogues)
    (out / "answers").mkdir(parents=True, exist_ok=True)
    RunDirectory(out).add_answers(0, "test", records_of(rollouts, [appraise(r) for r in rollouts], policy))

    def audited(d: Dialogue) -> experiment.Audited | None:
        if d.stop == "lost":
            return None
        score = d.turns[-1].heard.state.score
        return d.task.data["profile"], score, model_policy.exchanges(d, person.words)

    by_rules = person.model is None
    measured = experiment.audit(
        [audited(d) for d in dialogues], each, MANNERS[person.manner].candour if by_rules else 1.0
    )
    using = draws(1, len(tasks))
    names = BY_RULES if by_rules else BY_MODEL
    report = {
        "model": config.model.path,
        "person": person.manner if by_rules else SPOKEN,
        "settings": config.conversation.model_dump(mode="json"),
        "people": len(tasks),
        "conversations": len(dialogues),
        "lost": dict(Counter(sorted(d.why for d in dialogues if d.stop == "lost"))),
        "ends": dict(Counter(sorted(d.turns[-1].heard.over or d.stop for d in dialogues))),
        "measures": {m: experiment.plain(interval(mean_of_prompts, measured[m][None], using=using)) for m in names},
    }
    return report, measured


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


def table(report: dict[str, Any]) -> str:
    """What became of conversations, as Markdown."""
    out = []
    for one in (report, report.get("against")):
        if one is None:
            continue
        ends = ", ".join(f"{k} {n}" for k, n in one["ends"].items())
        out.append(
            f"{one['model']} with {one['people']} people ({one['person']}), {one['conversations']} conversations, "
            f"{sum(one['lost'].values())} lost; ends: {ends}"
        )
        out += [f"lost: {n} x {why}" for why, n in one["lost"].items()]
    columns = ["measures", "less"] if "less" in report else ["measures"]
    out += ["", f"| measure | {' | '.join(['mean [95 %]', 'less the other, paired'][: len(columns)])} |"]
    out.append("| --- " * (1 + len(columns)) + "|")
    for name in report["measures"]:
        cells = [_cell(report[c][name], sign=c == "less") for c in columns]
        out.append(f"| {NAMES[name]} | {' | '.join(cells)} |")
    return "\n".join(
        [*out, *(["", f"**{FLAG}** against {report['against']['model']}"] if report.get("soothing") else [])]
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
