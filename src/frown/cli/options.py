"""Flags that several commands share, and the settings they stand for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

AsJson = Annotated[bool, Parameter("--json", negative="", help="Print the result as JSON on standard output.")]
"""The flag --json."""
Resume = Annotated[bool, Parameter(negative="")]
"""A flag that is on or not given."""


@Parameter(name="*")
@dataclass(frozen=True)
class TaskFlags:
    """Which model, and what it is asked: the same for `train`, `probe`, `eval` and `compare`."""

    model: Annotated[
        str | None,
        Parameter(
            help="A Hugging Face causal-LM folder with a chat template, a folder of LoRA adapters, a hub name, or "
            "lab:NAME."
        ),
    ] = None
    task: Annotated[str | None, Parameter(help="math, choice, exact, gym:NAME, lab:chains or lab:columns.")] = None
    data: Annotated[
        Path | None,
        Parameter(
            help="Rows: a JSONL, JSON, Parquet or CSV file, compressed or not, a folder of shards or one saved by "
            "datasets (FOLDER@split), a pattern like 'FOLDER/train-*.parquet', or org/name:config@split. `eval` takes "
            "them as test rows, the others as training rows."
        ),
    ] = None
    columns: Annotated[
        str | None, Parameter(help="Which column holds what, e.g. question=prompt,answer=reward_model.ground_truth")
    ] = None

    def overrides(self, before: str = "", data: str = "task.data") -> list[str]:
        """The given flags as KEY=VALUE; `before`: the table that the keys lie in; `data`: the key of the rows."""
        from frown.inspect.grade import parse_columns

        given = {"model.path": self.model, "task.kind": self.task, data: self.data}
        words = [f"{before}{key}={quoted(value)}" for key, value in given.items() if value is not None]
        if self.columns is not None:
            words += [f"{before}task.columns.{k}={quoted(v)}" for k, v in parse_columns(self.columns).items()]
        return words


@Parameter(name="*")
@dataclass(frozen=True)
class RunFlags(TaskFlags):
    """The same, and how the model learns."""

    method: Annotated[str | None, Parameter(help="How the model learns; `frown methods` lists what there is.")] = None

    def overrides(self, before: str = "", data: str = "task.data") -> list[str]:
        """The given flags as KEY=VALUE."""
        method = [] if self.method is None else [f"{before}method.type={quoted(self.method)}"]
        return method + super().overrides(before, data)


def quoted(value: object) -> str:
    """A value as a TOML string."""
    return json.dumps(str(value))


def listed(text: str) -> list[str]:
    """The names of a list that is written a,b,c."""
    return [name.strip() for name in text.split(",")]
