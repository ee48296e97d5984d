"""`frown empathy`: what stands behind the command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from frown.errors import FrownError
from frown.recipes.empathy import experiment
from frown.recipes.empathy.act_policy import Training
from frown.recipes.empathy.presets import PRESETS
from frown.recipes.empathy.profile import profiles
from frown.recipes.empathy.rewards import KINDS, Kind
from frown.recipes.empathy.user import MANNERS


def acts(
    rewards: Sequence[str],
    seeds: int,
    preset: str,
    simulators: Sequence[str],
    starts: Sequence[str],
    turns: int,
    folder: Path | None,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """The experiment with the dialogue-act policy: a table for each start and simulator to train on."""
    kinds: tuple[Kind, ...] = tuple(k for k in KINDS if k in rewards)
    for what, given, known in (
        ("--reward", rewards, KINDS), ("--preset", [preset], list(PRESETS)),
        ("--simulators", simulators, list(MANNERS)), ("--starts", starts, ["uniform", "mixed"]),
    ):  # fmt: skip
        if unknown := [g for g in given if g not in known]:
            raise FrownError(f"{what} {unknown[0]!r} is not known; there are {', '.join(known)}")
    if seeds < 1 or turns < 1:
        raise FrownError(f"--seeds and --turns are at least 1, got {seeds} and {turns}")
    train, test = profiles(folder, "train", 500), profiles(folder, "test", 100)
    out = []
    for start in starts:
        for name in simulators:
            settings = experiment.Settings(
                kinds, "mixed" if start == "mixed" else "uniform", MANNERS[name], PRESETS[preset], tuple(range(seeds)),
                Training(turns=turns),
            )  # fmt: skip
            out.append(experiment.run(settings, train, test, say))
    return out
