"""The arithmetic of one optimiser step: prompts, answers, rows, micro-batches and processes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from frown.config import RunConfig


class Lengths(NamedTuple):
    """Tokens."""

    prompt: int
    """The longest prompt."""
    answer: int
    """The most an answer may have."""
    context: int
    """The longest the teacher is shown before the answer; 0 where nothing is distilled."""
    measured: bool
    """Whether `prompt` was measured on the first prompts of the data."""

    @property
    def row(self) -> int:
        """Of a row of the trainer, the longer of student's and teacher's."""
        return max(self.prompt, self.context) + self.answer

    @property
    def student(self) -> int:
        """Of a row as the student sees it."""
        return self.prompt + self.answer


@dataclass(frozen=True)
class Batch:
    """prompts x answers = rollouts = rows x accumulation x processes, all for one optimiser step."""

    prompts: int
    answers: int
    replayed: int
    """Rows of earlier steps that are learnt from again."""
    rows: int
    """In one micro-batch at most, when all rows are as long as they can be."""
    accumulation: int
    """Micro-batches of one process whose gradients are added up."""
    processes: int

    @property
    def total(self) -> int:
        """Rows to learn from, all processes together."""
        return self.prompts * self.answers + self.replayed

    @property
    def faults(self) -> list[str]:
        """What does not come out, in words."""
        if self.prompts % self.processes == 0:
            return []
        return [
            f"{self.prompts} prompts do not divide among {self.processes} processes: make sampling.prompts_per_step a "
            f"multiple of {self.processes}"
        ]

    @property
    def sentence(self) -> str:
        """The identity, as it is printed."""
        again = f" + {self.replayed} replayed" if self.replayed else ""
        room = self.rows * self.accumulation * self.processes
        return (
            f"{self.prompts} prompts x {self.answers} answers{again} = {self.total} rollouts "
            f"{'=' if room == self.total else '<='} {_many(self.rows, 'row')} x "
            f"{_many(self.accumulation, 'micro-batch', 'es')} x {_many(self.processes, 'process', 'es')}"
            + ("" if room == self.total else f" = {room} places")
        )


def _many(count: int, name: str, ending: str = "s") -> str:
    return f"{count} {name}{ending if count != 1 else ''}"


def batch_of(config: RunConfig, lengths: Lengths, processes: int) -> Batch:
    """The arithmetic of one optimiser step, for rows as long as they can be."""
    prompts, answers = config.sampling.prompts_per_step, config.sampling.responses_per_prompt
    replayed = config.practice.replay
    rows = max(1, config.micro_batch_tokens // lengths.row)
    each = math.ceil((prompts * answers + replayed) / processes)
    rows = min(rows, each)
    return Batch(prompts, answers, replayed, rows, math.ceil(each / rows), processes)
