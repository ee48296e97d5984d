"""The teacher's weights under LoRA: a running mean of the merged weights, from the first step on."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from frown.teacher.weights import Teacher


class TeacherFollows(TrainerCallback):
    """Moves the running mean after every `teacher_sync_steps` optimiser steps, as `SDPOConfig` says."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The student has just moved."""
        if state.global_step % args.teacher_sync_steps == 0:
            self._teacher.update()
