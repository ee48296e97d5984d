"""TRL's completions: the Parquet files that `log_completions=True` writes (trl 1.16: `GRPOTrainer.log`).

Columns: step, prompt and completion (text or messages), one number a reward function, what reward functions logged
besides, and `advantage`. There are no log-probabilities, so there is nothing to colour: text and rewards alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frown.errors import FrownError, first_line
from frown.interchange.answer import Answer, step_of
from frown.interchange.forms import BAD_FORM, why
from frown.interchange.messages import clean, content_text, message_text, messages_of
from frown.interchange.omissions import Omissions

COLUMNS = {"prompt", "completion"}


def read_completions(path: Path, omissions: Omissions, score: str | None = None) -> list[Answer]:
    """The answers of one file. `score`: the reward that says whether an answer is right, in [0, 1]. A row that cannot
    be read is left out and counted.

    Without it, the only reward there is counts; where there are several, or it leaves [0, 1], answers are unscored.
    Raises FrownError for a file of other columns, or without the named reward.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        rows = table.to_pylist()
    except Exception as error:  # whatever a broken file makes pyarrow raise
        raise FrownError(f"{path} cannot be read: {first_line(error)}") from None
    if not set(table.column_names) >= COLUMNS:
        raise FrownError(
            f"{path} holds no completions: it lacks {', '.join(sorted(COLUMNS - set(table.column_names)))}"
        )
    numbers = [f.name for f in table.schema if pa.types.is_floating(f.type) or pa.types.is_integer(f.type)]
    rewards = [name for name in numbers if name not in ("step", "advantage")]
    if score is not None and score not in rewards:
        raise FrownError(f"{path} has no reward {score!r}; there are {', '.join(rewards) or 'none'}")
    counted = score or (rewards[0] if len(rewards) == 1 else None)
    answers = []
    for number, row in enumerate(rows, start=1):
        omissions.place = f"{path.name}, row {number}"
        try:
            answers.append(_answer(row, rewards, counted))
        except BAD_FORM as error:
            omissions.add("rows", why(error))
    return answers


def _answer(row: Mapping[str, Any], rewards: list[str], counted: str | None) -> Answer:
    value = row[counted] if counted else None
    verdict = [f"{name} {row[name]:g}" for name in (*rewards, "advantage") if isinstance(row.get(name), int | float)]
    return Answer(
        messages=messages_of(_without_nulls(row["prompt"])),
        text=clean(_text(_without_nulls(row["completion"]))),
        score=float(value) if value is not None and 0.0 <= value <= 1.0 else None,
        verdict=", ".join(verdict),
        step=step_of(row.get("step")),
    )


def _text(completion: Any) -> str:
    turns = [completion] if isinstance(completion, Mapping) else completion
    if isinstance(turns, list):
        return "\n".join(message_text(t) if isinstance(t, Mapping) else content_text(t) for t in turns)
    return content_text(turns)


def _without_nulls(value: Any) -> Any:
    """A value without its null fields: Parquet gives each call of a tool the arguments of all others, as null."""
    if isinstance(value, Mapping):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return [_without_nulls(v) for v in value] if isinstance(value, list) else value
