"""Whose weights the self-teacher has: the student's own, those at the start, or a running mean of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from frown.config import TeacherConfig


class Teacher:
    """The self-teacher of one student.

    `live` costs nothing. `frozen` costs a copy of the weights, or nothing with LoRA, whose adapters are switched
    off for the teacher. `ema` costs a copy; with LoRA the copy holds the *merged* weights, because averaging the
    two factors of an adapter separately is not the average of their product.
    """

    def __init__(self, student: Any, config: TeacherConfig):
        self._student, self._config = student, config
        self._adapters = hasattr(student, "disable_adapter")
        self._copy: Any = None
        if config.weights == "ema" or (config.weights == "frozen" and not self._adapters):
            source = student.get_base_model() if self._adapters else student
            self._copy = copy.deepcopy(source).requires_grad_(False)
            if self._adapters:
                self._copy = _without_adapters(self._copy)
            if config.weights == "ema":
                self._copy.float()  # steps of a running mean are far below what half precision can hold
                self._follow(1.0)  # adapters that were trained before are part of where the mean begins

    @contextmanager
    def model(self) -> Iterator[Any]:
        """The teacher's model, for forward passes without gradient."""
        if self._copy is not None:
            yield self._copy
        elif self._config.weights == "frozen":
            with self._student.disable_adapter():
                yield self._student
        else:
            yield self._student

    def update(self) -> None:
        """Move a running mean one step towards the student: teacher <- (1 - rate) teacher + rate student."""
        if self._config.weights == "ema":
            self._follow(self._config.ema_rate)

    @torch.no_grad()
    def _follow(self, rate: float) -> None:
        merged = _merged_weights(self._student) if self._adapters else dict(self._student.named_parameters())
        for name, parameter in self._copy.named_parameters():
            parameter.lerp_(merged[name].to(parameter.dtype), rate)


def _without_adapters(model: Any) -> Any:
    """A plain model again: every adapted layer replaced by the layer it wraps."""
    for name, module in list(model.named_modules()):
        if hasattr(module, "get_base_layer") and hasattr(module, "lora_A"):
            parent = model.get_submodule(name.rpartition(".")[0]) if "." in name else model
            layer = module.get_base_layer()
            if layer.weight is model.get_input_embeddings().weight and layer is not model.get_input_embeddings():
                # A head with an adapter is no longer the embedding, even where its base weight is.
                layer.weight = torch.nn.Parameter(layer.weight.clone(), requires_grad=False)
            setattr(parent, name.rpartition(".")[2], layer)
    return model


def _merged_weights(student: Any) -> dict[str, torch.Tensor]:
    """Base weight plus adapter product for every adapted layer, by the plain model's parameter names."""
    merged = {}
    base = student.get_base_model()
    for name, parameter in base.named_parameters():
        if "lora_" not in name:
            merged[name.replace(".base_layer", "")] = parameter
    for name, module in base.named_modules():
        if hasattr(module, "get_delta_weight") and hasattr(module, "lora_A"):
            weight = module.get_base_layer().weight.float()
            merged[f"{name}.weight"] = weight + sum(module.get_delta_weight(a).float() for a in module.active_adapters)
    return merged
