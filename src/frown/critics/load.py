"""Open the critic that a run asks: the task's own, or the one that its configuration names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from frown.config import CriticConfig
from frown.critics.base import Critic
from frown.critics.controls import with_controls
from frown.tasks.base import Environment


@contextmanager
def open_critic(config: CriticConfig, environment: Environment) -> Iterator[Critic | None]:
    """Open the critic of a run and close it at the end; None where the task has none and no other is named.

    Raises FrownError where it cannot be opened: no key, no package, no model folder, limits that do not hold.
    """
    if config.kind == "model":
        from frown.critics.model.critic import ModelCritic

        assert config.model is not None
        model: ModelCritic
        if config.model.endpoint is not None:
            from frown.critics.model.endpoint import endpoint_critic

            model = endpoint_critic(config.model)
        else:
            from frown.critics.model.local import local_critic

            model = local_critic(config.model)
        try:
            yield with_controls(model, config, environment)
        finally:
            model.close()
    elif config.kind == "unsafe_subprocess":
        from frown.critics.execution.critic import ExecutionCritic
        from frown.critics.execution.process import Limits

        execution = config.execution
        limits = Limits(execution.cpu_seconds, execution.wall_seconds, execution.memory_mb, execution.file_mb)
        critic = ExecutionCritic(
            unsafe_subprocess=execution.unsafe_subprocess, limits=limits, workers=execution.workers
        )
        yield with_controls(critic, config, environment)
    elif config.kind == "calculator":
        from frown.critics.calculator.critic import CalculatorCritic

        yield with_controls(CalculatorCritic(), config, environment)
    else:
        yield with_controls(environment.critic, config, environment)
