"""Arms against each other, at matched budgets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from frown.config.base import Config, NestedKeys
from frown.config.load import merge, nearest, parse
from frown.config.run import RunConfig
from frown.errors import FrownError


def _different(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError("seeds are different whole numbers from 0 up")
    return seeds


Seeds = Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_different)]
"""Those of an experiment; one given twice would pass for more evidence."""


PRESETS = Path(__file__).parent / "presets"
"""Comparisons that come with frown."""


def preset(name: str) -> Path:
    """The TOML file of a comparison that comes with frown. Raises FrownError for a name that does not exist."""
    names = sorted(p.stem for p in PRESETS.glob("*.toml"))
    if name not in names:
        raise FrownError(f"no preset is called {name!r}; there are: {', '.join(names)}")
    return PRESETS / f"{name}.toml"


Figure = Literal["avg_at_k", "auc", "ece", "brier", "suppression"]
"""What arms are compared in."""


class CompareConfig(Config):
    """Arms against each other, at matched rollouts and optimiser steps."""

    arms: dict[str, dict[str, Any]] = Field(min_length=1)
    """Name of each arm and what it changes in `base`, as nested keys of a run."""
    baseline: str
    """The arm every other arm is compared with."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Further comparisons: (arm, other arm)."""
    seeds: Seeds = (0, 1, 2)
    """Each arm is trained once with each of them."""
    question: str = ""
    """What the comparison is to answer, for the first screen of its report. "": is an arm better than the baseline?"""
    answers: tuple[tuple[Figure, str, str], ...] = ()
    """What answers it, a sentence each: (figure, arm, other arm). Figures: avg_at_k (accuracy), auc (area under the
    learning curve: convergence), ece, brier (calibration), suppression (doubts that vanished from answers that stayed
    wrong). Each two arms are a pair, or one of them is the baseline. (): accuracy, for every pair."""
    threshold: float = Field(0.8, gt=0, le=1)
    """Avg@k to be reached, for steps, tokens and seconds to threshold."""
    base: Annotated[dict[str, Any], NestedKeys(RunConfig)] = Field(default_factory=dict)
    """What all arms share, as nested keys of a run. What a method recommends lies beneath it."""

    @model_validator(mode="after")
    def _arms_are_sound(self) -> CompareConfig:
        pairs = {*self.pairs, *((arm, self.baseline) for arm in self.arms)}
        for name in {self.baseline, *(n for pair in self.pairs for n in pair)} - set(self.arms):
            raise ValueError(f"no arm is called {name!r}{nearest(name, self.arms)}")
        for _, arm, other in self.answers:
            if (arm, other) not in pairs:
                raise ValueError(f"answers: {arm!r} and {other!r} are not compared: add them to pairs")
        for name in self.arms:
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"an arm's name is letters, digits, '-' and '_'; got {name!r}")
        runs = [self.run(name, self.seeds[0]) for name in self.arms]
        if len({(r.answers_per_step, r.optimiser.steps) for r in runs}) > 1:
            raise ValueError("arms are compared at equal rollouts a step and equal optimiser steps; these differ")
        if len({(r.task.model_dump_json(), r.eval.model_dump_json()) for r in runs}) > 1:
            raise ValueError("arms are compared on the same task and evaluation; these differ")
        return self

    def run(self, arm: str, seed: int) -> RunConfig:
        """The resolved configuration of one run."""
        nested = merge(self.base, self.arms[arm])
        return parse(RunConfig, {**nested, "seed": seed}, f"arm {arm!r}")


def only(config: CompareConfig, arms: Iterable[str]) -> CompareConfig:
    """The comparison with these of its arms alone, and the pairs that are left. FrownError for an arm it has not."""
    wanted = list(dict.fromkeys(arms))
    for name in wanted:
        if name not in config.arms:
            raise FrownError(f"no arm is called {name!r}{nearest(name, config.arms)}")
    values = config.model_dump()
    values["arms"] = {name: spec for name, spec in config.arms.items() if name in wanted}
    values["pairs"] = [pair for pair in config.pairs if set(pair) <= set(wanted)]
    values["answers"] = [answer for answer in config.answers if set(answer[1:]) <= set(wanted)]
    return parse(CompareConfig, values, "--arms")
