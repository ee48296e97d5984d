"""One run from a configuration to a finished directory, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frown.config import RunConfig
from frown.critics.base import Critic
from frown.errors import first_line
from frown.feedback.compose import FeedbackFunction
from frown.runtime.processes import Ranks, joined
from frown.store.run_directory import RunDirectory, SilentRunDirectory
from frown.tasks.base import Environment

if TYPE_CHECKING:
    from frown.learner.engine import LocalEngine, ObjectiveFunction
    from frown.train.lesson import SignalFunction

EngineFunction = Callable[[RunConfig, Ranks], "LocalEngine"]


def execute(
    config: RunConfig,
    path: Path,
    warn: Callable[[str], None] = lambda line: None,
    *,
    resume: bool = False,
    feedback: FeedbackFunction | None = None,
    critic: Critic | None = None,
    signal: SignalFunction | None = None,
    objective: ObjectiveFunction | None = None,
    environment: Environment | None = None,
    engine: EngineFunction | None = None,
) -> None:
    """Load everything, train, and leave a readable directory that says how it ended.

    On Ctrl-C, on an error a person can mend and on any other error the directory keeps what was reached: metrics,
    rollouts and evaluations so far, and the last checkpoints. `resume` goes on from the newest of these where the
    directory holds this very run, to the same end as if it had never stopped: on the CPU everything that is written
    afterwards is equal, but for seconds. Where there is no checkpoint yet it begins; a finished run is left alone.

    Where a launcher started several processes, this is one of them, and all call it alike; the first one alone writes.

    Of one's own, each instead of what the configuration names: `feedback`, what each rollout's teacher is told
    (`frown.feedback.compose.FeedbackFunction`); `critic`, who comments on steps (`frown.critics.base.Critic`);
    `signal`, a value a token by which steps are chosen to be asked about, for `feedback.critique.ask = "own"`
    (`frown.train.lesson.SignalFunction`); `objective`, the loss of each token
    (`frown.learner.engine.ObjectiveFunction`); `environment`, which is closed at the end; `engine`, what makes the
    engine of a configuration.
    """
    from frown.critics.load import opened
    from frown.tasks.load import load_environment

    with joined(config) as ranks:
        run = RunDirectory(path)
        if not ranks.first:  # it writes nothing, tells nobody and asks no critic
            run, warn, config = SilentRunDirectory(path), lambda line: None, config.model_copy(update={"track": ()})
        ranks.from_first(run.claim)
        with ExitStack() as ending:
            ending.callback(run.release)
            ranks.from_first(lambda: run.refuse_unless_free(config, resume=resume))
            if ranks.from_first(lambda: run.status[0]) == "finished":
                return
            environment = environment or load_environment(config.task)
            ending.callback(environment.close)
            given = critic is not None or not ranks.first
            asked = ending.enter_context(
                nullcontext(critic) if given else opened(config.feedback.critique, environment)
            )
            own = {"feedback": feedback, "signal": signal, "objective": objective}
            _execute(config, ranks, environment, asked, run, warn, resume, own, engine)


def _execute(
    config: RunConfig,
    ranks: Ranks,
    environment: Environment,
    critic: Critic | None,
    run: RunDirectory,
    warn: Callable[[str], None],
    resume: bool,
    own: dict[str, Any],
    made_by: EngineFunction | None,
) -> None:
    import torch

    from frown.learner.engine import LocalEngine
    from frown.runtime.threads import settle
    from frown.store.trackers import tracking
    from frown.train.loop import check, train
    from frown.train.state import load

    if own["feedback"] is None:
        ranks.from_first(lambda: check(config, critic))
    found = ranks.from_first(lambda: run.newest_checkpoint(warn)) if resume else None
    torch.manual_seed(config.seed)
    engine = (made_by or LocalEngine)(config, ranks)
    if found is None:
        run.begin(config, threads=str(settle(engine.model)))  # from here on the directory says how the run ended
    else:
        # As many as before, so that sums are rounded alike.
        torch.set_num_threads(ranks.from_first(lambda: run.threads))
        run.go_on(warn)
    try:
        first_step = found.step + 1 if found else 0
        with tracking(config, run.path, warn, first_step) as run.hear, ranks.talking():
            state = load(found, engine, critic, run) if found else None
            train(config, engine, environment, run, warn, critic, state=state, **own)
    except KeyboardInterrupt:
        run.mark("interrupted", "stopped by hand")
        raise
    except Exception as error:
        run.mark("failed", first_line(error))
        raise
    run.mark("finished")
