"""One run from a configuration to a finished directory, whatever happens on the way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from frown.config import RunConfig
from frown.config.defaults import learning_rate_warning
from frown.critics.base import Critic
from frown.errors import first_line
from frown.runtime.processes import Ranks, joined
from frown.store.run_directory import RunDirectory, SilentRunDirectory
from frown.tasks.base import Environment

if TYPE_CHECKING:
    from frown.feedback.aim import SignalFunction
    from frown.feedback.compose import FeedbackFunction
    from frown.learner.objective import ObjectiveFunction
    from frown.training.session import Hooks

Warn = Callable[[str], None]


def train(
    config: RunConfig,
    path: Path | str,
    warn: Warn = lambda line: None,
    *,
    resume: bool = False,
    note: Warn = lambda line: None,
    feedback: FeedbackFunction | None = None,
    critic: Critic | None = None,
    signal: SignalFunction | None = None,
    objective: ObjectiveFunction | None = None,
    environment: Environment | None = None,
) -> None:
    """Load everything, train, and leave a readable directory that says how it ended.

    On Ctrl-C, on an error a person can mend and on any other error the directory keeps what was reached: metrics,
    rollouts and evaluations so far, and the last checkpoints. `resume` goes on from the newest of these where the
    directory holds this very run, to the same end as if it had never stopped: on the CPU everything that is written
    afterwards is equal, but for seconds. Where there is no checkpoint yet it begins; a finished run is left alone.

    Where a launcher started several processes, this is one of them, and all call it alike; the first one alone writes.

    `warn` is told what is wrong, `note` what was chosen for the model, a line each.

    Of one's own, each instead of what the configuration names: `feedback`, `signal` and `objective` as of
    `frown.training.session.Hooks`; `critic`, who comments on steps (`frown.critics.base.Critic`); `environment`, which
    is closed at the end.
    """
    from frown.critics.load import open_critic
    from frown.dialogue.environment import Conversations
    from frown.dialogue.statistics import keep_statistics
    from frown.tasks.load import load_environment
    from frown.training.session import Hooks

    path = Path(path)
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
            environment = environment or load_environment(config.task, conversation=config.conversation)
            ending.callback(environment.close)
            if isinstance(environment, Conversations) and ranks.first:
                ending.callback(keep_statistics, environment, path, warn)
            if critic is None and ranks.first:
                critic = ending.enter_context(open_critic(config.critic, environment))
            hooks = Hooks(feedback, signal, objective)
            _train(config, ranks, environment, critic, run, warn, note, hooks, resume=resume)


def _train(
    config: RunConfig,
    ranks: Ranks,
    environment: Environment,
    critic: Critic | None,
    run: RunDirectory,
    warn: Warn,
    note: Warn,
    hooks: Hooks,
    *,
    resume: bool,
) -> None:
    import torch

    from frown.learner.learner import Learner
    from frown.policy.load import context_length
    from frown.policy.policy import policy_of
    from frown.practice.prompts import flow_of
    from frown.runtime.threads import settle
    from frown.store.trackers import tracking
    from frown.training import loop, state
    from frown.training.context import Room, demonstrable, fitting, long_solutions
    from frown.training.session import Session

    if hooks.feedback is None:
        ranks.from_first(lambda: loop.check(config, critic))
    checkpoint = ranks.from_first(lambda: run.newest_checkpoint(warn)) if resume else None
    torch.manual_seed(config.seed)
    policy = policy_of(config, ranks)
    room = Room(context_length(policy.model), config.sampling.max_new_tokens)
    environment = fitting(environment, policy.tokenizer, room, ranks)
    if config.method.demonstrated:
        environment = demonstrable(environment, policy.tokenizer, room, ranks)
    flow = flow_of(config.practice, environment)
    session = Session(config, policy, Learner(policy, config), environment, run, critic, hooks, flow, warn)
    if checkpoint is None:
        run.begin(config, threads=str(settle(policy.model)))  # from here on the directory says how the run ended
        say_settings(config, sum(p.numel() for p in policy.model.parameters()), run, warn, note)
        long = ranks.from_first(lambda: long_solutions(config, environment, policy.tokenizer, room))
        if long is not None:
            warn(long)
            run.log({"step": 0, "warning": long})
    else:
        # As many as before, so that sums are rounded alike.
        torch.set_num_threads(ranks.from_first(lambda: run.threads))
        run.go_on(warn)
    try:
        first_step = checkpoint.step + 1 if checkpoint else 0
        with tracking(config, run.path, warn, first_step) as run.hear, ranks.talking():
            loop.train(session, state.load(checkpoint, session) if checkpoint else None)
    except KeyboardInterrupt:
        run.mark("interrupted", "stopped by hand")
        raise
    except Exception as error:
        run.mark("failed", first_line(error))
        raise
    run.mark("finished")


def say_settings(config: RunConfig, size: int, run: RunDirectory, warn: Warn, note: Warn) -> None:
    """Write down the settings that were chosen by what the model is, and warn of a learning rate far from what has
    worked for a model of so many parameters."""
    if config.chosen:
        line = f"chosen for this model: {', '.join(config.chosen)}"
        note(line)
        run.log({"step": 0, "note": line})
    lora = config.model.lora is not None
    warning = learning_rate_warning(config.optimiser.lr, size, lora=lora, factor=config.method.lr_factor)
    if warning is not None:
        warn(warning)
        run.log({"step": 0, "warning": warning})
