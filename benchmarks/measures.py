"""The measures by name, each taken in a process of its own."""

from __future__ import annotations

import importlib
from typing import Any

from benchmarks.measuring import Skip

MEASURES = {
    "loss_memory": "loss_layer",
    "loss_time": "loss_layer",
    "affect_cost": "loss_layer",
    "step_forward_backward": "training_step",
    "step_lab": "lab_step",
    "sampling": "sampling",
    "bf16_error": "loss_layer",
    "growth": "growth",
}
"""Which file takes which measure, by a function of its name."""


def take(name: str, quick: bool) -> dict[str, Any]:
    """One measure, or why it was skipped."""
    import torch

    torch.set_num_threads(1)
    try:
        measure = getattr(importlib.import_module(f"benchmarks.{MEASURES[name]}"), name)
        return dict(measure(quick))
    except Skip as reason:
        return {"skipped": str(reason)}
