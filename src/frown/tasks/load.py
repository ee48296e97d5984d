"""From a task configuration to an environment."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from frown.config import ConversationConfig, TaskConfig
from frown.critics.base import Critic
from frown.errors import FrownError
from frown.tasks.base import Environment
from frown.tasks.data import DataReport, conversation_of, in_order, read_tasks, split_tasks
from frown.tasks.environment import DataEnvironment, Grader
from frown.tasks.grading.choice import ChoiceGrader
from frown.tasks.grading.exact import ExactGrader
from frown.tasks.grading.math import MathGrader, math_solution
from frown.tasks.steps import Splitter
from frown.types import Task

DATA_KINDS = ("math", "choice", "exact")
KINDS = ("lab:chains", "lab:columns", *DATA_KINDS, "gym:NAME", "conversation")
HELD_BACK = 0.1
"""Share of the training file held back for "dev", and again for "test" where no test file is given."""


def load_environment(
    config: TaskConfig,
    *,
    seed: int = 0,
    conversation: ConversationConfig | None = None,
) -> Environment:
    """The environment that a task configuration names.

    `seed` decides which rows are held back (see `split_tasks`) and which problems a gym tests on. `conversation`: who
    is talked to, for the kind "conversation". Raises FrownError with one line for an unknown kind, missing or bad data,
    a partner that cannot be had, and settings that the kind has no use for.
    """
    kind = config.kind
    if kind not in KINDS and not kind.startswith("gym:"):
        raise unknown_kind(kind, KINDS)
    if kind not in DATA_KINDS and (config.data or config.test_data or config.columns):
        raise FrownError(f"task.kind = {kind!r} makes its own problems: leave out data, test_data and columns")
    if kind not in DATA_KINDS and config.bad_rows != "error":
        raise FrownError(f"task.bad_rows is for rows of data; task.kind = {kind!r} makes its own problems")
    if config.options and not kind.startswith("gym:"):
        raise FrownError(f"task.options are settings of a reasoning-gym data set; task.kind = {kind!r} has none")
    if kind in DATA_KINDS:
        return _from_data(config, seed, config.splitter)
    if kind.startswith("gym:"):
        from frown.tasks.gym import GymEnvironment

        return GymEnvironment(kind.removeprefix("gym:"), config.options, seed=seed, splitter=config.splitter)
    if kind == "conversation":
        if conversation is None:
            raise FrownError('task.kind = "conversation" needs the section conversation, which says who is talked to')
        from frown.dialogue.environment import conversations

        return conversations(conversation)
    from frown.lab.environment import LabEnvironment

    return LabEnvironment(kind.removeprefix("lab:"), config.steps, config.reference)


def unknown_kind(kind: str, kinds: tuple[str, ...]) -> FrownError:
    """The error for a kind of task that does not exist, with the nearest that does."""
    close = difflib.get_close_matches(kind, kinds, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return FrownError(f"there is no task {kind!r}, only {', '.join(kinds)}{hint}")


def make_grader(kind: str) -> Grader:
    """The grader of a kind of data. Raises FrownError for kinds that are not judged from data."""
    if kind == "math":
        return MathGrader()
    if kind == "choice":
        return ChoiceGrader()
    if kind == "exact":
        return ExactGrader()
    raise unknown_kind(kind, DATA_KINDS)


def make_critic(kind: str) -> Critic | None:
    """The critic that a kind of data has of its own: of math, the calculator, which works out every equation."""
    if kind != "math":
        return None
    from frown.critics.calculator.critic import CalculatorCritic

    return CalculatorCritic()


def _from_data(config: TaskConfig, seed: int, splitter: Splitter) -> DataEnvironment:
    if config.data is None and config.test_data is None:
        raise FrownError(f"task.kind = {config.kind!r} needs task.data, rows with questions and answers")
    grader = make_grader(config.kind)
    worked: Callable[[str], str | None] = math_solution if config.kind == "math" else lambda raw: None
    skip = config.bad_rows == "skip"
    reports: list[DataReport] = []

    def read(path: Path | None) -> list[Task]:
        if path is None:
            return []
        tasks, report = read_tasks(path, config.columns, grader.gold, worked, skip=skip)
        reports.append(report)
        return tasks

    rows, test_rows = read(config.data), read(config.test_data)
    asked = {conversation_of(t) for t in test_rows}
    kept = [t for t in rows if conversation_of(t) not in asked]
    if kept != rows:
        reports[0] = replace(reports[0], in_test=len(rows) - len(kept))
    if config.data is not None and len(kept) < 3:
        raise FrownError(
            f"data {config.data} has {len(kept)} rows to train on, too few to hold some back: give 3 or more"
        )
    name = f"{config.kind}:{(config.data or config.test_data or Path()).stem}"
    train, tests = _splits(kept, test_rows, seed)
    return DataEnvironment(
        name, train, tests, grader, splitter=splitter, critic=make_critic(config.kind), reports=reports, skip=skip
    )


def _splits(rows: list[Task], test_rows: list[Task], seed: int) -> tuple[list[Task], dict[str, Sequence[Task]]]:
    """Training tasks, and those of "dev" and "test"; which row is held back is decided by `share` alone."""
    if not rows:
        return [], {"test": in_order(test_rows, seed)}
    if test_rows:
        train, dev = split_tasks(rows, seed, HELD_BACK)
        return train, {"dev": dev, "test": in_order(test_rows, seed)}
    rest, test = split_tasks(rows, seed, HELD_BACK)
    train, dev = split_tasks(rest, seed, 2 * HELD_BACK)  # the same shares: the second tenth of them
    return train, {"dev": dev, "test": test}
