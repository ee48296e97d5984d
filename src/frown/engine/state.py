"""The engine's part of a checkpoint: student, teacher and optimiser, all in safetensors.

No random generator is among it: the sampler is given a seed for each batch.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

from frown.engine.local import LocalEngine
from frown.engine.model import resolve

MODEL, TEACHER, OPTIMISER = "model", "teacher.safetensors", "optimiser.safetensors"


def save_engine(engine: LocalEngine, folder: Path) -> dict[str, Any]:
    """Write student, teacher and optimiser to files in `folder`; what is left is returned as plain data."""
    from safetensors.torch import save_file

    engine.save(folder / MODEL)
    copy = engine.teacher.copied_weights()
    if copy is not None:
        save_file({name: p.detach().contiguous() for name, p in copy.items()}, folder / TEACHER)
    moments = engine.optimiser.state_dict()["state"]
    save_file({f"{i}.{name}": x.contiguous() for i, held in moments.items() for name, x in held.items()},
              folder / OPTIMISER)  # fmt: skip
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
            parameter.copy_(saved[name])
    moments: dict[int, dict[str, torch.Tensor]] = defaultdict(dict)
    for key, value in tensors(lambda: load_file(folder / OPTIMISER)).items():
        index, _, name = key.partition(".")
        moments[int(index)][name] = value
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
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(engine.model, saved)
        return
    for name, parameter in engine.model.named_parameters():
        parameter.copy_(saved[name])
