"""Several processes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from frown.config.base import Config


class DistributedConfig(Config):
    """What concerns runs in several processes (docs/scaling.md). How many there are is the launcher's business."""

    sharding: Literal["none", "fsdp2"] = "none"
    """none: each process holds the whole model. fsdp2: decoder layers with their adapters, gradients, moments and the
    teacher's copy are spread over the processes; embedding and head are not, and while answers are sampled all layers
    are put together (docs/scaling.md)."""
    timeout: float = Field(900.0, gt=0)
    """Seconds for which processes wait for one that says nothing, before all end. The slowest critic, judge or answer
    takes less. One that has ended is noticed at once."""
