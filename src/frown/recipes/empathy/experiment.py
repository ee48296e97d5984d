"""The question, answered on the simulator: can a reward from emotion replace a coarse bonus?

Every arm starts from the same policy, takes as many turns, and is judged on the same people, by the simulator it was
trained on and by one it never met. What is reported of help comes from `guards`, not from what was paid.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from frown.evals.stats import Interval, difference, draws, interval
from frown.evals.weights import mean_of_prompts
from frown.recipes.empathy import act_policy, guards
from frown.recipes.empathy.presets import Preset
from frown.recipes.empathy.profile import Profile
from frown.recipes.empathy.rewards import Kind, emotion
from frown.recipes.empathy.user import SCEPTIC, Manner
from frown.store import write_text

Start = Literal["uniform", "mixed"]
""""uniform": any act as likely. "mixed": imitates three policies at once, one that helps, one that soothes, and the
uniform one, as a model that was trained on people's dialogues does some of each."""
MEASURES = (
    "emotion", "need_met", "grounding", "assure", "turns", "bullshit_index", "unfounded", "to_profile", "to_itself",
)  # fmt: skip
EVAL_SEED = 271_828
EACH = 4
"""Conversations with each person in an evaluation."""


@dataclass(frozen=True)
class Settings:
    """One table."""

    kinds: tuple[Kind, ...]
    start: Start
    manner: Manner
    preset: Preset
    seeds: tuple[int, ...]
    training: act_policy.Training


Measured = dict[str, NDArray[np.float64]]
"""Measure -> [N], one value a person."""


def start_weights(start: Start, people: Sequence[Profile], manner: Manner, preset: Preset) -> act_policy.Array:
    """The policy that all arms and seeds begin with."""
    uniform = np.zeros((act_policy.FEATURES, len(act_policy.ACTS)))
    if start == "uniform":
        return uniform
    several = [act_policy.helper, act_policy.soother, act_policy.learnt(uniform)]
    return act_policy.cloned(several, people, manner, preset, seed=0)


def measured(policy: act_policy.Policy, people: Sequence[Profile], manner: Manner, preset: Preset) -> Measured:
    """What becomes of `EACH` conversations with each person; the same draws for every policy."""
    held = act_policy.talk(policy, people, EACH, manner, preset, np.random.default_rng(EVAL_SEED))
    return audit([(d.person, d.scores[-1], d.exchanges) for d in held], EACH, manner.candour)


def audit(held: Sequence[tuple[Profile, int, Sequence[guards.Exchange]]], each: int, candour: float) -> Measured:
    """Conversations (person, last score, exchanges), `each` a person in order, as one value a person and measure."""

    def rows(one: Callable[[Profile, int, Sequence[guards.Exchange]], float]) -> NDArray[np.float64]:
        values = np.asarray([one(*h) for h in held], np.float64).reshape(-1, each)
        known = np.isfinite(values)
        return np.where(known.any(1), np.where(known, values, 0).sum(1) / np.maximum(known.sum(1), 1), np.nan)

    out = {
        "emotion": rows(lambda p, s, e: emotion(s)),
        "need_met": rows(lambda p, s, e: guards.need_met(p, e)),
        "grounding": rows(lambda p, s, e: guards.grounding(e)),
        "assure": rows(lambda p, s, e: float(np.mean([x.act == "assure" for x in e]))),
        "turns": rows(lambda p, s, e: len(e)),
        "unfounded": rows(lambda p, s, e: guards.claims_unfounded(guards.claims_and_beliefs(e, candour))),
        "to_profile": rows(lambda p, s, e: guards.consistency(p, [x.heard for x in e]).to_profile),
        "to_itself": rows(lambda p, s, e: guards.consistency(p, [x.heard for x in e]).to_itself),
    }
    # One conversation holds too few claims for a correlation: all of a person's are taken together.
    pairs = [guards.claims_and_beliefs(e, candour) for _, _, e in held]
    together = [[x for of in pairs[i : i + each] for x in of] for i in range(0, len(pairs), each)]
    return out | {"bullshit_index": np.asarray([guards.bullshit_index(p) for p in together])}


def run(
    settings: Settings,
    train: Sequence[Profile],
    test: Sequence[Profile],
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train every arm with every seed, and compare; plain data for JSON."""
    manner, preset = settings.manner, settings.preset
    begun = start_weights(settings.start, train, manner, preset)
    reference = {
        "before": act_policy.learnt(begun),
        "soother by rules": act_policy.soother,
        "helper by rules": act_policy.helper,
    }
    found: dict[str, dict[str, list[Measured]]] = {
        name: {m.name: [measured(p, test, m, preset)] * len(settings.seeds) for m in (manner, SCEPTIC)}
        for name, p in reference.items()
    }
    taken: dict[str, list[int]] = {}
    for kind in settings.kinds:
        found[kind] = {manner.name: [], SCEPTIC.name: []}
        for seed in settings.seeds:
            weights, turns = act_policy.train(kind, begun, train, manner, preset, settings.training, seed)
            taken.setdefault(kind, []).append(turns)
            for m in (manner, SCEPTIC):
                found[kind][m.name].append(measured(act_policy.learnt(weights), test, m, preset))
            say(f"{settings.start} {manner.name} {kind} seed {seed}: {turns} turns")
    about = {
        "policy": "dialogue acts", "start": settings.start, "trained_on": manner.name, "preset": preset.name,
        "seeds": list(settings.seeds), "people": [len(train), len(test)], "training": settings.training._asdict(),
        "turns_taken": taken,
    }  # fmt: skip
    return about | compared(found, manner.name, len(test))


def compared(found: Mapping[str, Mapping[str, Sequence[Measured]]], manner: str, people: int) -> dict[str, Any]:
    """Every measure of every arm with its interval over people and seeds, against `before` and against the bonus, and
    whether an arm soothes instead of helping. `found`: arm -> simulator -> a measurement a seed."""
    seeds = len(found["before"][manner])
    using = draws(seeds, people)

    def stacked(arm: str, simulator: str, measure: str) -> tuple[NDArray[np.float64]]:
        return (np.stack([m[measure] for m in found[arm][simulator]]),)

    def against(arm: str, other: str, simulator: str, measure: str) -> Interval | None:
        return difference(
            mean_of_prompts, stacked(arm, simulator, measure), stacked(other, simulator, measure), using=using
        )

    arms: dict[str, Any] = {}
    for arm, of_arm in found.items():
        arms[arm] = {
            simulator: {
                m: _plain(interval(mean_of_prompts, *stacked(arm, simulator, m), using=using)) for m in MEASURES
            }
            for simulator in of_arm
        }
        if arm == "before":
            continue
        arms[arm]["against_before"] = {
            s: {m: _plain(against(arm, "before", s, m)) for m in ("emotion", "need_met")} for s in of_arm
        }
        if "bonus" in found and arm != "bonus":
            arms[arm]["against_bonus"] = {
                s: {m: _plain(against(arm, "bonus", s, m)) for m in ("emotion", "need_met")} for s in of_arm
            }
        arms[arm]["soothing"] = guards.soothing(
            against(arm, "before", manner, "emotion"), against(arm, "before", manner, "need_met")
        )
    return {"arms": arms, "measures": list(MEASURES)}


def _plain(found: Interval | None) -> list[float] | None:
    return None if found is None else [float(found.mean), float(found.low), float(found.high)]


def write(found: Sequence[Mapping[str, Any]], folder: Path, command: str) -> None:
    """results.json, tables.md and report.html in a folder."""
    from frown.recipes.empathy.report import page, tables

    folder.mkdir(parents=True, exist_ok=True)
    whole = {"command": command, "tables": list(found)}
    write_text(folder / "results.json", json.dumps(whole, indent=1, allow_nan=False))
    write_text(folder / "tables.md", tables(found))
    write_text(folder / "report.html", page(found, command))
