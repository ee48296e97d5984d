"""TRL's completions: the Parquet files that `log_completions=True` writes (trl 1.16: `GRPOTrainer.log`).

Columns: step, prompt and completion (text or messages), one number a reward function, what reward functions logged
besides, and `advantage`. There are no log-probabilities, so there is nothing to colour: text and rewards alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frown.errors import FrownError
from frown.interchange.answer import Answer, clean
from frown.types import Message

COLUMNS = {"prompt", "completion"}


def read_completions(path: Path, score: str | None = None) -> list[Answer]:
    """The answers of one file. `score`: the reward that says whether an answer is right, in [0, 1].

    Without it, the only reward there is counts; where there are several, or it leaves [0, 1], answers are unscored.
    Raises FrownError for a file of other columns, or without the named reward.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, ValueError) as error:
        raise FrownError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    if not set(table.column_names) >= COLUMNS:
        raise FrownError(
            f"{path} holds no completions: it lacks {', '.join(sorted(COLUMNS - set(table.column_names)))}"
        )
    numbers = [f.name for f in table.schema if pa.types.is_floating(f.type) or pa.types.is_integer(f.type)]
    rewards = [name for name in numbers if name not in ("step", "advantage")]
    if score is not None and score not in rewards:
        raise FrownError(f"{path} has no reward {score!r}; there are {', '.join(rewards) or 'none'}")
    counted = score or (rewards[0] if len(rewards) == 1 else None)
    return [_answer(row, rewards, counted) for row in table.to_pylist()]


def _answer(row: Mapping[str, Any], rewards: list[str], counted: str | None) -> Answer:
    completion = row["completion"]
    text = completion if isinstance(completion, str) else "\n".join(str(m["content"]) for m in completion or ())
    value = row[counted] if counted else None
    verdict = [f"{name} {row[name]:g}" for name in (*rewards, "advantage") if isinstance(row.get(name), int | float)]
    return Answer(
        messages=_messages(row["prompt"]),
        text=clean(text),
        score=float(value) if value is not None and 0.0 <= value <= 1.0 else None,
        verdict=", ".join(verdict),
        step=int(row.get("step") or 0),
    )


def _messages(prompt: Any) -> tuple[Message, ...]:
    if isinstance(prompt, str):
        return ({"role": "user", "content": clean(prompt)},)
    return tuple({"role": m["role"], "content": clean(m["content"])} for m in prompt or ())
