"""The command that makes a run again, from its configuration alone."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from frown.config import RunConfig, flat

EMPATHY = "empathy:"
EMPATHY_OWN = frozenset({
    "sampling.prompts_per_step", "sampling.responses_per_prompt", "sampling.max_new_tokens",
    "objective.distillation", "objective.divide_by_std", "eval.prompts", "eval.samples", "eval.heldout_prompts",
})  # fmt: skip
"""Settings whose defaults `frown empathy train` has of its own: they are named whatever they are."""
LONGEST = 2000
"""Characters of a command that anybody would still copy."""


def command(path: Path, config: Mapping[str, Any]) -> str:
    """The command for a run in `path`; where none can be given, a comment that says so.

    Of a conversation with a person (`task.kind` begins with "empathy:"), the settings stand in the command, for
    `frown empathy train` reads no file.
    """
    again = f"{path}-again"
    task = config.get("task")
    kind = str(task.get("kind")) if isinstance(task, Mapping) else ""
    if not kind.startswith(EMPATHY):
        return shlex.join(["frown", "train", "--config", f"{path}/config.json", "--out", again])
    why = "hold what has no place in it"
    try:
        words = [*_empathy(kind.removeprefix(EMPATHY), config), "--out", again]
    except ValueError:
        words = None
    if words is not None and len(text := shlex.join(words)) <= LONGEST:
        return text
    if words is not None:
        why = "are too many for one line"
    return f"# Made by `frown empathy train`; the settings {why}: they are in {path}/config.json, and below."


def _empathy(person: str, config: Mapping[str, Any]) -> Iterator[str]:
    """The words of `frown empathy train`. Raises ValueError for a setting that cannot be written as KEY=VALUE."""
    usual, here = flat(RunConfig().model_dump(mode="json")), flat(config)
    yield from ("frown", "empathy", "train", "--model", str(here.pop("model.path", "")), "--person", person)
    options = {k: v for k, v in config["task"].get("options", {}).items() if v is not None}
    voice = options.pop("person", {})
    for key, value in options.items():
        yield from (f"--{key.replace('_', '-')}", str(value))
    yield from (f"person.{key}={_value(value)}" for key, value in flat(voice).items() if value is not None)
    for key, value in here.items():
        own = key == "task.kind" or key.partition(".options")[0] == "task"
        if not own and (key in EMPATHY_OWN or usual.get(key) != value):
            yield f"{key}={_value(value)}"


def _value(value: Any) -> str:
    """A value as TOML, which has no null and writes what is nested in another way."""
    if value is None or (isinstance(value, Mapping) and value):
        raise ValueError("no TOML value")
    return json.dumps(value, ensure_ascii=False)
