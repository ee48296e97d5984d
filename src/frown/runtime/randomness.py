"""Streams of random numbers: what feedback draws must not change which prompts are seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

PROMPTS, FEEDBACK, PREFLIGHT, SAMPLING, PRACTICE = range(5)
"""What is drawn from a stream of its own."""
_CARRIED = (PROMPTS, FEEDBACK, PRACTICE)
"""Streams that run through all steps. The others are seeded anew at each (`seed_of`), the sampler's among them."""

States = Mapping[int, Mapping[str, Any]]
"""Stream -> the state of its generator, as plain data."""


def beginning(seed: int) -> States:
    """The streams of a run before it has drawn anything."""
    return states({stream: np.random.default_rng([seed, stream]) for stream in _CARRIED})


Generators = dict[int, np.random.Generator]
"""Stream -> its generator."""


def generators(at: States) -> Generators:
    """Generators that go on from these states."""
    made = {stream: np.random.default_rng() for stream in at}
    for stream, generator in made.items():
        generator.bit_generator.state = dict(at[stream])
    return made


def states(made: Mapping[int, np.random.Generator]) -> States:
    """Where these generators are."""
    return {stream: generator.bit_generator.state for stream, generator in made.items()}


def seed_of(run: int, step: int, purpose: int = SAMPLING) -> int:
    """A 63-bit seed for one purpose at one step of one run."""
    return int(np.random.SeedSequence([run, step, purpose]).generate_state(1, np.uint64)[0] >> np.uint64(1))
