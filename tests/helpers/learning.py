"""A learner as a run makes one."""

from frown.config import RunConfig, parse
from frown.learner.learner import Learner
from frown.policy.policy import policy_of


def learner_of(config: RunConfig) -> Learner:
    return Learner(policy_of(config), config)


def parsed(values: dict) -> Learner:
    return learner_of(parse(RunConfig, values, "test"))
