"""One run from a configuration to a finished directory, whatever happens on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from frown.config import RunConfig
from frown.errors import first_line
from frown.feedback.compose import FeedbackFunction
from frown.feedback.critic import Critic
from frown.store import RunDirectory
from frown.tasks.base import Environment


def execute(
    config: RunConfig,
    path: Path,
    warn: Callable[[str], None] = lambda line: None,
    *,
    restart: bool = False,
    feedback: FeedbackFunction | None = None,
) -> None:
    """Load everything, train, and leave a readable directory that says how it ended.

    On Ctrl-C, on an error a person can mend and on any other error the directory keeps what was reached: metrics,
    rollouts and evaluations so far, and the last good checkpoint. `restart` begins a run again that is already there.
    `feedback`: what each rollout's teacher is told, by a function of one's own instead of `feedback.parts`; see
    `frown.feedback.compose.FeedbackFunction`.
    """
    from frown.critics import opened
    from frown.tasks.load import load_environment

    environment = load_environment(config.task)
    try:
        with opened(config.feedback.critique, environment) as critic:
            _execute(config, environment, critic, RunDirectory(path), warn, restart, feedback)
    finally:
        environment.close()


def _execute(
    config: RunConfig,
    environment: Environment,
    critic: Critic | None,
    run: RunDirectory,
    warn: Callable[[str], None],
    restart: bool,
    feedback: FeedbackFunction | None,
) -> None:
    import torch

    from frown.engine.local import LocalEngine
    from frown.loop import check, train
    from frown.threads import settle

    if feedback is None:
        check(config, critic)
    run.refuse_unless_free(config, restart=restart)
    torch.manual_seed(config.seed)
    engine = LocalEngine(config)
    threads = settle(engine.model)
    run.begin(
        config, restart=restart, threads=str(threads)
    )  # from here on the directory is this run's, and says how it ended
    started = time.monotonic()
    try:
        train(config, engine, environment, run, warn, critic, feedback)
    except KeyboardInterrupt:
        run.mark("interrupted", "stopped by hand", time.monotonic() - started)
        raise
    except Exception as error:
        run.mark("failed", first_line(error), time.monotonic() - started)
        raise
    run.mark("finished", seconds=time.monotonic() - started)
