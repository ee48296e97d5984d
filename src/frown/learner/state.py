"""The learner's part of a checkpoint: student, teacher and optimiser, all in safetensors.

No random generator is among it: the sampler is given a seed for each batch.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import torch

from frown.learner.learner import Learner
from frown.policy.folder import resolve
from frown.policy.parts import collected, distributed_like, is_part

MODEL, TEACHER, OPTIMISER = "model", "teacher.safetensors", "optimiser.safetensors"


class Tensors(NamedTuple):
    """What of a learner is saved as tensors, each of them whole, by name."""

    student: dict[str, torch.Tensor] | None
    """None where the model can be saved as it stands."""
    teacher: dict[str, torch.Tensor] | None
    optimiser: dict[str, torch.Tensor]


class LearnerState(NamedTuple):
    """What of a learner is saved beside its tensors."""

    steps_taken: int
    teacher_frozen: bool


@torch.no_grad()
def tensors_of(learner: Learner) -> Tensors:
    """What `save_learner` writes. Every process of a run asks, the first one alone gets it."""

    def of(named: dict[str, Any]) -> dict[str, torch.Tensor]:
        wholes = ((name, collected(x.detach())) for name, x in named.items())
        return {name: x for name, x in wholes if learner.policy.ranks.first}

    model = learner.policy.model
    adapters = hasattr(model, "disable_adapter")
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    # The weights below adapters are not saved: their parts stay where they are.
    student = {n: x for n, x in model.state_dict().items() if n in trained or not (adapters and is_part(x))}
    copy = learner.teacher.copied_weights()
    moments = learner.optimiser.state_dict()["state"]
    return Tensors(
        of(student) if learner.sharded else None,
        None if copy is None else of(copy),
        of({f"{i}.{name}": x for i, of_one in moments.items() for name, x in of_one.items()}),
    )


def save_learner(learner: Learner, tensors: Tensors, folder: Path) -> LearnerState:
    """Write student, teacher and optimiser to files in `folder`; what is left is returned."""
    from safetensors.torch import save_file

    learner.save(folder / MODEL, tensors.student)
    if tensors.teacher is not None:
        save_file({name: x.contiguous() for name, x in tensors.teacher.items()}, folder / TEACHER)
    save_file({name: x.contiguous() for name, x in tensors.optimiser.items()}, folder / OPTIMISER)
    return LearnerState(learner.policy.steps_taken, learner.teacher.frozen)


@torch.no_grad()
def load_learner(learner: Learner, folder: Path, state: LearnerState) -> None:
    """Put a learner of the same configuration into the state that `save_learner` wrote, bit for bit."""
    from safetensors.torch import load_file

    tensors = learner.policy.ranks.tensors_from_first
    _load_student(learner, tensors(lambda: _read_student(learner, folder / MODEL)))
    learner.thaw_teacher()
    if state.teacher_frozen:
        learner.freeze_teacher()
    copy = learner.teacher.copied_weights()
    if copy is not None:
        saved = tensors(lambda: load_file(folder / TEACHER))
        for name, parameter in copy.items():
            parameter.copy_(distributed_like(saved[name], parameter))
    moments: dict[int, dict[str, torch.Tensor]] = defaultdict(dict)
    for key, value in tensors(lambda: load_file(folder / OPTIMISER)).items():
        index, _, name = key.partition(".")
        parameter = learner.parameters[int(index)]
        like = value.shape == parameter.shape
        moments[int(index)][name] = distributed_like(value, parameter) if like else value
    groups = learner.optimiser.state_dict()["param_groups"]
    learner.optimiser.load_state_dict({"state": dict(moments), "param_groups": groups})
    learner.optimiser.zero_grad(set_to_none=True)
    learner.policy.steps_taken = state.steps_taken


def _read_student(learner: Learner, folder: Path) -> dict[str, torch.Tensor]:
    """The weights in a model folder by name, or the adapters in it."""
    if hasattr(learner.policy.model, "disable_adapter"):
        from safetensors.torch import load_file

        return load_file(folder / "adapter_model.safetensors")
    from transformers import AutoModelForCausalLM

    saved: Any = AutoModelForCausalLM.from_pretrained(
        resolve(str(folder)), dtype=learner.policy.model.dtype, use_safetensors=True, local_files_only=True
    )
    return dict(saved.named_parameters())


def _load_student(learner: Learner, saved: dict[str, torch.Tensor]) -> None:
    model = learner.policy.model
    if hasattr(model, "disable_adapter"):
        from peft import get_peft_model_state_dict

        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        present = get_peft_model_state_dict(model, trained, save_embedding_layers=False)  # by the names of the file
    else:
        present = dict(model.named_parameters())
    for name, parameter in present.items():
        parameter.copy_(distributed_like(saved[name], parameter))
