"""Whose weights the self-teacher has: the student's own, those at the start, or a running mean of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from frown.config import TeacherConfig


class Teacher:
    """The self-teacher of one student.

    `live` costs nothing. `frozen` and `trust_region` cost a copy of the weights, or nothing with LoRA, whose adapters
    are switched off for the teacher. `ema` costs a copy; with LoRA the copy holds the *merged* weights, because
    averaging the two factors of an adapter separately is not the average of their product.

    `trust_region` here is its half at the start: the student looks for itself, and the two are mixed where the logits
    are (`frown.policy.head.mixed`). Whoever asks for one model gets that half, and so does a run whose teacher is
    frozen on the way.
    """

    def __init__(self, student: Any, config: TeacherConfig, copied: Callable[[Any], Any] | None = None):
        """`copied`: makes the model that holds weights of its own, where `plain_copy` cannot; what is in it does not
        matter."""
        self._student, self._weights, self._rate = student, config.weights, config.ema_rate
        self._copied = copied or plain_copy
        self.frozen = config.weights == "frozen"
        """Whether it stays as it is."""
        self._adapters = hasattr(student, "disable_adapter")
        self._copy: Any = None
        self._starts = config.weights in ("frozen", "trust_region")
        if config.weights == "ema":
            self._hold(torch.float32)  # steps of a running mean are far below what half precision can hold
        elif self._starts and not self._adapters:
            self._hold()

    @contextmanager
    def model(self) -> Iterator[Any]:
        """The teacher's model, for forward passes without gradient."""
        if self._copy is not None:
            yield self._copy
        elif self._starts:
            with self._student.disable_adapter():
                yield self._student
        else:
            yield self._student

    @property
    def mixes(self) -> bool:
        """Whether the student's own word is mixed in."""
        return self._weights == "trust_region" and not self.frozen

    def update(self) -> None:
        """Move a running mean one step towards the student: teacher <- (1 - rate) teacher + rate student."""
        if self._weights == "ema" and not self.frozen:
            self._follow(self._rate)

    def freeze(self) -> None:
        """Stay as it is now, whatever becomes of the student."""
        if self._weights == "live" and not self.frozen:
            self._hold(torch.float32)
        self.frozen = True

    def thaw(self) -> None:
        """Go with the student again, as configured."""
        self.frozen = self._weights == "frozen"
        if self._weights == "live":
            self._copy = None

    def copied_weights(self) -> dict[str, Tensor] | None:
        """The weights it holds of its own, by name; None where it has the student's, or the student's start."""
        return None if self._copy is None else dict(self._copy.named_parameters())

    def _hold(self, dtype: torch.dtype | None = None) -> None:
        """A copy of the student's present weights, adapters merged into them."""
        weights = self._copied(self._student)
        self._copy = weights if dtype is None else weights.to(dtype)
        self._follow(None)

    @torch.no_grad()
    def _follow(self, rate: float | None) -> None:
        """Move by this share of the way to the student; None: be where it is, wherever one was."""
        averages = dict(self._copy.named_parameters())
        for name, weight in merged_weights(self._student) if self._adapters else self._student.named_parameters():
            if rate is None:
                averages[name].copy_(weight)
            else:
                averages[name].lerp_(weight.to(averages[name].dtype), rate)


def plain_copy(student: Any, *, empty: bool = False) -> Any:
    """A copy of the student that is not trained; of one with adapters, the model below them.

    An `empty` one has the shapes of the parameters alone: they are on torch's device "meta".
    """
    adapted = hasattr(student, "disable_adapter")
    shapes = student.parameters() if empty else ()
    known = {id(p): torch.nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=False) for p in shapes}
    copied = copy.deepcopy(student.get_base_model() if adapted else student, known).requires_grad_(False)
    return _without_adapters(copied) if adapted else copied


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


def merged_weights(student: Any, *, rounded: bool = False) -> Iterator[tuple[str, Tensor]]:
    """Name and weight of each parameter of a model with adapters, these merged, by the plain model's names; a tied head
    with an adapter by its own name.

    Merged weights are float32, or `rounded` to the type they are stored in. The model is not touched: to add adapters
    to half-precision weights and to take them off again leaves other weights.
    """
    base = student.get_base_model()
    weights = {name.replace(".base_layer", ""): p for name, p in base.named_parameters() if "lora_" not in name}
    adapted = {
        f"{name}.weight": module
        for name, module in base.named_modules()
        if hasattr(module, "get_delta_weight") and hasattr(module, "lora_A")
    }
    weights |= {name: module.get_base_layer().weight for name, module in adapted.items()}
    for name, parameter in weights.items():
        weight = parameter.data
        if name in adapted:
            module = adapted[name]
            weight = weight.float() + sum(module.get_delta_weight(a).float() for a in module.active_adapters)
        yield name, weight.to(parameter.dtype) if rounded else weight
