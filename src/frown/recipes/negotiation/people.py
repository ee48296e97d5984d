"""Selection trained on people's logs (CaSiNo) and estimated off-policy on other people's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from frown.evals.figures import number
from frown.recipes.negotiation import iql
from frown.recipes.negotiation.behaviour import behaviour_nats, fit_behaviour, with_behaviour_chances
from frown.recipes.negotiation.casino import ACTIONS, Outcome, load_casino
from frown.recipes.negotiation.off_policy import Chances, estimate_policy, fit_q
from frown.recipes.negotiation.selection import estimate_json

CAUTION = 0.3
"""Beta of the cautious selector: an advantage of one standard deviation makes an action a third more likely."""


def evaluate_people(folder: Path, outcome: Outcome, settings: iql.IqlConfig, seed: int = 0) -> dict[str, Any]:
    """Trained on train.json, estimated on test.json: every policy with its four estimates, as JSON data.

    Policies: the selector, greedy and sampled; a cautious one, sampled, whose low beta keeps it near what people did,
    so that more of their dialogues say something about it; people's own habit (its gain ought to be zero: a check of
    the estimates); never an emoticon; always joy. Intervals resample dialogues, with both people in them.
    """
    train, test = (load_casino(folder / f"{name}.json", outcome) for name in ("train", "test"))
    count = len(ACTIONS)
    habit = fit_behaviour(train.logs, count)
    selector = iql.train(train.logs, count, settings, seed)
    cautious = iql.train(train.logs, count, settings.model_copy(update={"beta": CAUTION}), seed)

    def always(action: int) -> Chances:
        return lambda states: np.tile(np.eye(count)[action], (len(states), 1))

    policies: dict[str, Callable[..., Any]] = {
        "selection": lambda states: np.eye(count)[selector.chances(states).argmax(axis=1)],
        "selection, sampled": selector.chances,
        "cautious, sampled": cautious.chances,
        "people's habit": habit.chances,
        "never": always(0),
        "always joy": always(1),
    }
    test_logs = with_behaviour_chances(test.logs, habit)
    estimates_by_policy = {
        name: {
            k: estimate_json(e)
            for k, e in estimate_policy(test_logs, policy, fit_q(train.logs, policy), test.dialogues).items()
        }
        for name, policy in policies.items()
    }
    rates = np.bincount(train.logs.actions, minlength=count) / len(train.logs.actions)
    base = float(-np.log(rates[test.logs.actions]).mean())
    return {
        "outcome": outcome,
        "people": {"train": train.logs.episodes, "test": test.logs.episodes},
        "messages": {"train": len(train.logs.actions), "test": len(test.logs.actions)},
        "mixed_emoticons": train.mixed + test.mixed,
        "shown": {name: number(rate) for name, rate in zip(ACTIONS, rates, strict=True)},
        "habit_nats": number(behaviour_nats(test.logs, habit)),
        "base_rate_nats": number(base),
        "policies": estimates_by_policy,
    }
