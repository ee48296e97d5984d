"""The teacher under LoRA: a running mean of the merged weights from the first step on, kept in checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import TrainerCallback

from frown.config import TeacherConfig
from frown.errors import FrownError
from frown.teacher.weights import Teacher

FILE = "frown_teacher.safetensors"


class LoraTeacher(TrainerCallback):
    """A float32 copy of the model that follows a student with adapters, as `SDPOConfig` says how fast and how often."""

    def __init__(self, student: Any, rate: float) -> None:
        self._teacher = Teacher(student, TeacherConfig(weights="ema", ema_rate=rate))
        with self._teacher.model() as copy:
            self.model = copy.eval()
        base = student.get_base_model()
        self._adapted = {f"{name}.weight" for name, module in base.named_modules() if hasattr(module, "lora_A")}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The student has just moved."""
        if state.global_step % args.teacher_sync_steps == 0:
            self._teacher.update()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the weights of the adapted layers beside the trainer's own checkpoint; the others never move."""
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            save_file({name: p.detach().cpu().contiguous() for name, p in self._moving()}, folder / FILE)

    @torch.no_grad()
    def load(self, folder: Path) -> None:
        """Go on from a checkpoint. Raises FrownError where it holds no teacher."""
        if not (folder / FILE).is_file():
            raise FrownError(f"{folder} has no {FILE}: it was not saved with this teacher, which would begin anew")
        saved = load_file(folder / FILE)
        for name, parameter in self._moving():
            parameter.copy_(saved[name])

    def _moving(self) -> Iterator[tuple[str, Tensor]]:
        return ((name, p) for name, p in self.model.named_parameters() if name in self._adapted)
