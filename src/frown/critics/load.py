"""Which critic a run asks: the task's own, or one that is named in the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from frown.config import CriticConfig
from frown.critics.base import Critic, Erring, Quoting
from frown.tasks.base import Environment


@contextmanager
def open_critic(config: CriticConfig, environment: Environment) -> Iterator[Critic | None]:
    """The critic of a run, let go of at the end; None where the task has none and no other is named.

    Raises FrownError where it cannot be had: no key, no package, no model folder, limits that do not hold.
    """
    if config.kind == "model":
        from frown.critics.model import ModelCritic

        assert config.model is not None
        model: ModelCritic
        if config.model.endpoint is not None:
            from frown.critics.endpoint import endpoint_critic

            model = endpoint_critic(config.model)
        else:
            from frown.critics.local import local_critic

            model = local_critic(config.model)
        try:
            yield under_control(model, config, environment)
        finally:
            model.close()
    elif config.kind == "unsafe_subprocess":
        from frown.critics.confined import Limits
        from frown.critics.execution import ExecutionCritic

        how = config.execution
        limits = Limits(how.cpu_seconds, how.wall_seconds, how.memory_mb, how.file_mb)
        critic = ExecutionCritic(unsafe_subprocess=how.unsafe_subprocess, limits=limits, workers=how.workers)
        yield under_control(critic, config, environment)
    elif config.kind == "calculator":
        from frown.critics.calculator import CalculatorCritic

        yield under_control(CalculatorCritic(), config, environment)
    else:
        yield under_control(environment.critic, config, environment)


def under_control(critic: Critic | None, config: CriticConfig, environment: Environment) -> Critic | None:
    """The critic under the controls of an experiment: one that errs, one that quotes errors."""
    if config.error_rate:
        critic = Erring(critic, config.error_rate)
    if config.quote_errors and critic is not None:
        critic = Quoting(critic, environment.wording.quoted)
    return critic
