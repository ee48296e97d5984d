"""The question, answered on the simulator: can a reward from emotion replace a coarse bonus?

Every arm starts from the same policy, takes as many turns, and is judged on the same people, by the simulator it was
trained on and by one it never met. What is reported of help comes from `guards`, not from what was paid.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from frown.evals.stats import Interval, difference, draws, interval
from frown.evals.weights import mean_of_prompts
from frown.recipes.empathy import act_policy, guards
from frown.recipes.empathy.acts import MEETS
from frown.recipes.empathy.cells import Cell, Measured, from_data, to_data
from frown.recipes.empathy.presets import Preset
from frown.recipes.empathy.profile import Profile
from frown.recipes.empathy.rewards import Kind, emotion
from frown.recipes.empathy.user import SCEPTIC, Manner
from frown.store.files import write_text
from frown.store.results import load_or_make

Start = Literal["uniform", "mixed"]
""""uniform": any act as likely. "mixed": imitates three policies at once, one that helps, one that soothes, and the
uniform one, as a model that was trained on people's dialogues does some of each."""
MEASURES = (
    "emotion", "need_met", "grounding", "assure", "turns", "bullshit_index", "unfounded", "to_profile", "to_itself",
)  # fmt: skip
EVAL_SEED = 271_828
EACH = 4
"""Conversations with each person in an evaluation."""
MARKS = 6
"""Parts of a training; after each but the last (the end is measured on everybody) some people are looked at."""
WATCHED = 25
"""How many people these are."""
WATCHES = ("emotion", "need_met")
"""What is followed through training."""

P = TypeVar("P")
Look = Callable[[P, int], None]
"""Told the policy and the turns taken, after each step of a training."""


class Arm(NamedTuple):
    """What a policy is paid."""

    kind: Kind
    task_weight: float = 0.0
    """The share of a verifiable task in it, in [0, 1]."""

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.kind if not self.task_weight else f"{self.kind}, task {self.task_weight:g}"


@dataclass(frozen=True)
class Settings:
    """One table of policies over acts."""

    kinds: tuple[Kind, ...]
    start: Start
    manner: Manner
    preset: Preset
    seeds: tuple[int, ...]
    training: act_policy.Training


def start_weights(start: Start, people: Sequence[Profile], manner: Manner, preset: Preset) -> act_policy.Array:
    """The policy that all arms and seeds begin with."""
    uniform = np.zeros((act_policy.FEATURES, len(act_policy.ACTS)))
    if start == "uniform":
        return uniform
    several = [act_policy.helper, act_policy.soother, act_policy.learnt(uniform)]
    return act_policy.cloned(several, people, manner, preset, seed=0)


def measured(policy: act_policy.Policy, people: Sequence[Profile], manner: Manner, preset: Preset) -> Measured:
    """What becomes of `EACH` conversations with each person; the same draws for every policy."""
    talks = act_policy.talk(policy, people, EACH, manner, preset, np.random.default_rng(EVAL_SEED))
    return audit([(d.person, d.scores[-1], d.exchanges) for d in talks], EACH, manner.candour)


Audited = tuple[Profile, int, Sequence[guards.Exchange]]
"""A conversation: the person, the last score, and what was said."""


def audit(conversations: Sequence[Audited | None], each: int, candour: float) -> Measured:
    """Conversations, `each` a person in order, as one value a person and measure; None is one that was lost."""

    def rows(one: Callable[[Profile, int, Sequence[guards.Exchange]], float]) -> NDArray[np.float64]:
        values = np.asarray([np.nan if h is None else one(*h) for h in conversations], np.float64).reshape(-1, each)
        known = np.isfinite(values)
        return np.where(known.any(1), np.where(known, values, 0).sum(1) / np.maximum(known.sum(1), 1), np.nan)

    out = {
        "emotion": rows(lambda p, s, e: emotion(s)),
        "need_met": rows(lambda p, s, e: guards.need_met(p, e)),
        "grounding": rows(lambda p, s, e: guards.grounding(e)),
        "assure": rows(lambda p, s, e: float(np.mean([x.act == "assure" for x in e]))),
        "turns": rows(lambda p, s, e: len(e)),
        "meets": rows(lambda p, s, e: float(np.mean([x.act == MEETS[p.need] for x in e]))),
        "no_act": rows(lambda p, s, e: float(np.mean([x.act is None for x in e]))),
        "on_topic": rows(lambda p, s, e: float(np.mean([x.specific for x in e]))),
        "unfounded": rows(lambda p, s, e: guards.claims_unfounded(guards.claims_and_beliefs(e, candour))),
        "to_profile": rows(lambda p, s, e: guards.consistency(p, [x.heard for x in e]).to_profile),
        "to_itself": rows(lambda p, s, e: guards.consistency(p, [x.heard for x in e]).to_itself),
    }
    # One conversation holds too few claims for a correlation: all of a person's are taken together.
    pairs = [[] if h is None else guards.claims_and_beliefs(h[2], candour) for h in conversations]
    together = [[x for of in pairs[i : i + each] for x in of] for i in range(0, len(pairs), each)]
    return out | {"bullshit_index": np.asarray([guards.bullshit_index(p) for p in together])}


def run(
    settings: Settings,
    train: Sequence[Profile],
    test: Sequence[Profile],
    folder: Path,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train every arm of act policies with every seed, and compare; plain data for JSON. Cells are kept in a folder."""
    manner, preset, how = settings.manner, settings.preset, settings.training
    begun = start_weights(settings.start, train, manner, preset)
    references = {
        "before": act_policy.learnt(begun),
        "soother by rules": act_policy.soother,
        "helper by rules": act_policy.helper,
    }

    def trained(arm: Arm, seed: int, look: Look[act_policy.Policy]) -> tuple[act_policy.Policy, int]:
        def watched(weights: act_policy.Array, taken: int) -> None:
            look(act_policy.learnt(weights), taken)

        weights, taken = act_policy.train(arm.kind, begun, train, manner, preset, how, seed, watched)
        return act_policy.learnt(weights), taken

    def judge(policy: act_policy.Policy, people: Sequence[Profile], manner: Manner) -> Measured:
        return measured(policy, people, manner, preset)

    about = {
        "policy": "dialogue acts", "start": settings.start, "trained_on": manner.name, "preset": preset.name,
        **of_people(train, test), "training": how._asdict(),
    }  # fmt: skip
    return over_arms(
        [Arm(k) for k in settings.kinds], settings.seeds, about, {m.name: m for m in (manner, SCEPTIC)}, how.turns,
        test, references, trained, judge, folder / f"{settings.start}-{manner.name}", say,
    )  # fmt: skip


def of_people(train: Sequence[Profile], test: Sequence[Profile]) -> dict[str, Any]:
    """How many people there are, and a hash of who they are; plain data."""
    who = json.dumps([[repr(p) for p in some] for some in (train, test)])
    return {"people": [len(train), len(test)], "profiles": hashlib.sha256(who.encode()).hexdigest()[:16]}


def over_arms(
    arms: Sequence[Arm],
    seeds: Sequence[int],
    about: Mapping[str, Any],
    simulators: Mapping[str, Manner],
    turns: int,
    test: Sequence[Profile],
    references: Mapping[str, P],
    train: Callable[[Arm, int, Look[P]], tuple[P, int]],
    judge: Callable[[P, Sequence[Profile], Manner], Measured],
    folder: Path,
    say: Callable[[str], None],
    measures: Sequence[str] = MEASURES,
) -> dict[str, Any]:
    """Train arms x seeds, look at each on its way and at its end, and compare; plain data for JSON.

    `about`: what all of it depends on. `simulators`: who judges, first the one that is trained on. `references`:
    policies that are not trained, "before" among them. `folder`: where cells are kept.
    """
    own = next(iter(simulators))
    marks = [turns * k // MARKS for k in range(1, MARKS)]
    some = test[:WATCHED]
    measurements = {
        name: {s: [judge(p, test, m)] * len(seeds) for s, m in simulators.items()} for name, p in references.items()
    }
    first = judge(references["before"], some, simulators[own])
    courses: dict[str, list[Cell]] = {}

    def cell(arm: Arm, seed: int) -> Cell:
        course: list[tuple[int, Measured]] = []

        def look(policy: P, taken: int) -> None:
            passed = [m for m in marks[len(course) :] if taken >= m]
            if passed and taken < turns:
                values = judge(policy, some, simulators[own])
                course.extend([(taken, {m: values[m] for m in WATCHES})] * len(passed))

        policy, taken = train(arm, seed, look)
        say(f"{about['start']} {own} {arm.name} seed {seed}: {taken} turns")
        return Cell(taken, {s: judge(policy, test, m) for s, m in simulators.items()}, course)

    for arm in arms:
        each = []
        for seed in seeds:
            facts = {**about, "arm": arm.name, "seed": seed}
            file = folder / "cells" / f"{arm.kind}-{arm.task_weight:g}-seed{seed}.json"
            each.append(load_or_make(file, facts, partial(cell, arm, seed), to_data, from_data))
        measurements[arm.name] = {s: [c.end[s] for c in each] for s in simulators}
        courses[arm.name] = each
    out = compared(measurements, own, len(test), measures)
    for name, each in courses.items():
        out["arms"][name]["course"] = course_of(each, first, marks)
    taken = {name: [c.turns for c in each] for name, each in courses.items()}
    return {**about, "seeds": list(seeds), "turns_taken": taken, **out}


def course_of(cells: Sequence[Cell], before: Measured, marks: Sequence[int]) -> list[dict[str, Any]]:
    """How an arm went: at each mark that all seeds passed on their way, what is followed and whether it soothes."""
    using = draws(len(cells), len(before["emotion"]))
    start = {m: (np.stack([before[m]] * len(cells)),) for m in WATCHES}
    out: list[dict[str, Any]] = []
    for k, mark in enumerate(marks):
        if any(len(c.course) <= k for c in cells):
            break
        now = {m: (np.stack([c.course[k][1][m] for c in cells]),) for m in WATCHES}
        gained = {m: difference(mean_of_prompts, now[m], start[m], using=using) for m in WATCHES}
        means = {m: plain(interval(mean_of_prompts, *now[m], using=using)) for m in WATCHES}
        taken = [c.course[k][0] for c in cells]
        out.append({"mark": mark, "turns": taken, **means, "soothing": guards.soothing(*gained.values())})
    return out


def compared(
    measurements: Mapping[str, Mapping[str, Sequence[Measured]]],
    manner: str,
    people: int,
    measures: Sequence[str] = MEASURES,
) -> dict[str, Any]:
    """Every measure of every arm with its interval over people and seeds, against `before`, against the bonus and,
    where a task is mixed in, against the same reward without, and whether an arm soothes instead of helping.

    `found`: arm -> simulator -> a measurement a seed."""
    seeds = len(measurements["before"][manner])
    using = draws(seeds, people)

    def stacked(arm: str, simulator: str, measure: str) -> tuple[NDArray[np.float64]]:
        return (np.stack([m[measure] for m in measurements[arm][simulator]]),)

    def against(arm: str, other: str, simulator: str, measure: str) -> Interval | None:
        return difference(
            mean_of_prompts, stacked(arm, simulator, measure), stacked(other, simulator, measure), using=using
        )

    arms: dict[str, Any] = {}
    for arm, of_arm in measurements.items():
        arms[arm] = {
            simulator: {m: plain(interval(mean_of_prompts, *stacked(arm, simulator, m), using=using)) for m in measures}
            for simulator in of_arm
        }
        if arm == "before":
            continue
        arms[arm]["against_before"] = {
            s: {m: plain(against(arm, "before", s, m)) for m in ("emotion", "need_met")} for s in of_arm
        }
        if "bonus" in measurements and arm != "bonus":
            arms[arm]["against_bonus"] = {
                s: {m: plain(against(arm, "bonus", s, m)) for m in ("emotion", "need_met")} for s in of_arm
            }
        unmixed = arm.partition(", task ")[0]
        if unmixed != arm and unmixed in measurements:
            arms[arm]["against_unmixed"] = {
                s: {m: plain(against(arm, unmixed, s, m)) for m in ("emotion", "need_met", "on_topic")} for s in of_arm
            }
        arms[arm]["soothing"] = guards.soothing(
            against(arm, "before", manner, "emotion"), against(arm, "before", manner, "need_met")
        )
    return {"arms": arms, "measures": list(measures)}


def plain(value: Interval | None) -> list[float] | None:
    """Mean, low and high, as JSON takes them."""
    return None if value is None else [float(value.mean), float(value.low), float(value.high)]


def write(results: Sequence[Mapping[str, Any]], folder: Path, command: str) -> None:
    """results.json, tables.md and report.html in a folder."""
    from frown.recipes.empathy.report import page, tables

    folder.mkdir(parents=True, exist_ok=True)
    whole = {"command": command, "tables": list(results)}
    write_text(folder / "results.json", json.dumps(whole, indent=1, allow_nan=False))
    write_text(folder / "tables.md", tables(results))
    write_text(folder / "report.html", page(results, command))
