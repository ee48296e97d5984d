"""The engine's part of a checkpoint: student, teacher and optimiser, all in safetensors.

No random generator is among it: the sampler is given a seed for each batch.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import torch

from frown.learner.engine import LocalEngine
from frown.learner.shards import alike, collected, is_part
from frown.policy.load import resolve

MODEL, TEACHER, OPTIMISER = "model", "teacher.safetensors", "optimiser.safetensors"


class Tensors(NamedTuple):
    """What of an engine is saved as tensors, each of them whole, by name."""

    student: dict[str, torch.Tensor] | None
    """None where the model can be saved as it stands."""
    teacher: dict[str, torch.Tensor] | None
    optimiser: dict[str, torch.Tensor]


@torch.no_grad()
def tensors_of(engine: LocalEngine) -> Tensors:
    """What `save_engine` writes. Every process of a run asks, the first one alone gets it."""

    def of(named: dict[str, Any]) -> dict[str, torch.Tensor]:
        wholes = ((name, collected(x.detach())) for name, x in named.items())
        return {name: x for name, x in wholes if engine.ranks.first}

    adapters = hasattr(engine.model, "disable_adapter")
    learnt = {name for name, p in engine.model.named_parameters() if p.requires_grad}
    # The weights below adapters are not saved: their parts stay where they are.
    student = {n: x for n, x in engine.model.state_dict().items() if n in learnt or not (adapters and is_part(x))}
    copy = engine.teacher.copied_weights()
    moments = engine.optimiser.state_dict()["state"]
    return Tensors(
        of(student) if engine.sharded else None,
        None if copy is None else of(copy),
        of({f"{i}.{name}": x for i, held in moments.items() for name, x in held.items()}),
    )


def save_engine(engine: LocalEngine, tensors: Tensors, folder: Path) -> dict[str, Any]:
    """Write student, teacher and optimiser to files in `folder`; what is left is returned as plain data."""
    from safetensors.torch import save_file

    engine.save(folder / MODEL, tensors.student)
    if tensors.teacher is not None:
        save_file({name: x.contiguous() for name, x in tensors.teacher.items()}, folder / TEACHER)
    save_file({name: x.contiguous() for name, x in tensors.optimiser.items()}, folder / OPTIMISER)
    return {"steps_taken": engine.steps_taken, "teacher_frozen": engine.teacher.frozen}


@torch.no_grad()
def load_engine(engine: LocalEngine, folder: Path, rest: dict[str, Any]) -> None:
    """Put an engine of the same configuration into the state that `save_engine` wrote, bit for bit."""
    from safetensors.torch import load_file

    tensors = engine.ranks.tensors_from_first
    _load_student(engine, tensors(lambda: _read_student(engine, folder / MODEL)))
    engine.thaw_teacher()
    if rest["teacher_frozen"]:
        engine.freeze_teacher()
    copy = engine.teacher.copied_weights()
    if copy is not None:
        saved = tensors(lambda: load_file(folder / TEACHER))
        for name, parameter in copy.items():
            parameter.copy_(alike(saved[name], parameter))
    moments: dict[int, dict[str, torch.Tensor]] = defaultdict(dict)
    for key, value in tensors(lambda: load_file(folder / OPTIMISER)).items():
        index, _, name = key.partition(".")
        held = engine.parameters[int(index)]
        moments[int(index)][name] = alike(value, held) if value.shape == held.shape else value
    groups = engine.optimiser.state_dict()["param_groups"]
    engine.optimiser.load_state_dict({"state": dict(moments), "param_groups": groups})
    engine.optimiser.zero_grad(set_to_none=True)
    engine.steps_taken = int(rest["steps_taken"])


def _read_student(engine: LocalEngine, folder: Path) -> dict[str, torch.Tensor]:
    """The weights in a model folder by name, or the adapters in it."""
    if hasattr(engine.model, "disable_adapter"):
        from safetensors.torch import load_file

        return load_file(folder / "adapter_model.safetensors")
    from transformers import AutoModelForCausalLM

    saved: Any = AutoModelForCausalLM.from_pretrained(
        resolve(str(folder)), dtype=engine.model.dtype, use_safetensors=True, local_files_only=True
    )
    return dict(saved.named_parameters())


def _load_student(engine: LocalEngine, saved: dict[str, torch.Tensor]) -> None:
    if hasattr(engine.model, "disable_adapter"):
        from peft import get_peft_model_state_dict

        learnt = {name: p for name, p in engine.model.named_parameters() if p.requires_grad}
        held = get_peft_model_state_dict(engine.model, learnt, save_embedding_layers=False)  # by the names of the file
    else:
        held = dict(engine.model.named_parameters())
    for name, parameter in held.items():
        parameter.copy_(alike(saved[name], parameter))
