"""What is chosen by what the model is, where nobody gave it: learning rate and answer length.

Both fit a size or ruin a model: 1e-3 trains a third of a million parameters and destroys half a billion. The table
holds what has worked in published small-model recipes (full fine-tuning: 3e-6 at .6 B, 1e-6 from 1 B up; LoRA: 5e-5 at
1.5 B, 2e-5 at 4 B) and, for the smallest, on the lab.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from frown.config.gguf_header import tensor_shapes


class Scale(NamedTuple):
    """What fits models of fewer parameters than `below`."""

    below: float
    lr: float
    """Learning rate when all weights are trained."""
    lora_lr: float
    """Learning rate of adapters."""
    max_new_tokens: int


SCALES = (
    Scale(5e6, 1e-3, 1e-3, 96),
    Scale(5e7, 1e-4, 5e-4, 512),
    Scale(1e9, 3e-6, 1e-4, 512),
    Scale(3e9, 1e-6, 5e-5, 512),
    Scale(math.inf, 1e-6, 2e-5, 512),
)
HIGHEST = 1e-3
"""No learning rate above this is chosen, whatever the method."""
FAR = 10.0
"""A learning rate more than so many times above what has worked, or below it, is warned of."""
EMBEDDED = 334_752
"""Parameters of the lab's models."""


def chosen(model: Mapping[str, Any], factor: float = 1.0) -> dict[str, dict[str, Any]]:
    """The settings that are chosen for a model, as nested keys of a run; `model`: the keys given of its section;
    `factor`: as of `usual_rate`."""
    scale = scale_of(parameters(str(model.get("path", "lab:"))))
    return fitting(scale, lora=model.get("lora") is not None, factor=factor)


def fitting(scale: Scale, *, lora: bool, factor: float = 1.0) -> dict[str, dict[str, Any]]:
    """The settings that fit models of a size, as nested keys of a run; `lora`: only adapters are trained."""
    lr = usual_rate(scale, lora=lora, factor=factor)
    return {"optimiser": {"lr": lr}, "sampling": {"max_new_tokens": scale.max_new_tokens}}


def usual_rate(scale: Scale, *, lora: bool, factor: float = 1.0) -> float:
    """The learning rate that has worked for models of a size; `factor`: `Method.lr_factor`."""
    rate = scale.lora_lr if lora else scale.lr
    return float(f"{max(rate, min(rate * factor, HIGHEST)):g}")


def scale_of(parameters: int | None) -> Scale:
    """What fits a model of so many parameters; of one of unknown size, what fits the largest."""
    return SCALES[-1] if parameters is None else next(s for s in SCALES if parameters < s.below)


def learning_rate_warning(lr: float, size: int, *, lora: bool, factor: float = 1.0) -> str | None:
    """One line where a learning rate is far from what has worked for a model of so many parameters, else None."""
    usual = usual_rate(scale_of(size), lora=lora, factor=factor)
    if usual / FAR <= lr <= usual * FAR:
        return None
    side, end = ("above", "ruin the model") if lr > usual else ("below", "teach it nothing")
    how = "LoRA on" if lora else "full fine-tuning of"
    return (
        f"optimiser.lr = {lr:g} is far {side} what has worked for {how} {in_words(size)} parameters (around "
        f"{usual:g}) and may {end}"
    )


def parameters(path: str) -> int | None:
    """How many parameters a model has: read from the headers of its safetensors files or its GGUF file, without its
    weights.

    None where that cannot be told: a hub name, a folder of adapters, another format.
    """
    if path.startswith("lab:"):
        return EMBEDDED
    place = Path(path).expanduser()
    files = sorted(place.glob("*.safetensors")) if place.is_dir() else []
    if not files:
        quantised = [place] if place.is_file() else sorted(place.glob("*.gguf"))
        return _gguf_elements(quantised[0]) if len(quantised) == 1 else None
    if any(f.name.startswith("adapter") for f in files):
        return None
    try:
        return sum(_elements(file) for file in files)
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None


def _gguf_elements(file: Path) -> int | None:
    try:
        return sum(math.prod(shape) for shape in tensor_shapes(file).values())
    except (OSError, ValueError):  # whoever loads it says so
        return None


def in_words(size: int) -> str:
    """A number of parameters as people say it: 0.5 B, 135 M."""
    return f"{size / 1e9:.2g} B" if size >= 1e9 else f"{size / 1e6:.3g} M"


def _elements(file: Path) -> int:
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        if length > 1 << 27:
            raise ValueError("no safetensors header")
        header = json.loads(opened.read(length))
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
