"""Between rows of a data set, as TRL's trainers take them, and frown's tasks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from frown.types import Message, Task

TASK_COLUMN = "frown_task"
"""JSON of a task's id, data and the steps an expert would look at, for tasks that an environment drew."""


def rows_of(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """Tasks of an environment as rows for `datasets.Dataset.from_list`: prompt, answer, solution, and `frown_task`."""
    return [
        {
            "prompt": [dict(m) for m in t.messages],
            "answer": t.answer,
            "solution": t.solution,
            TASK_COLUMN: json.dumps({"id": t.id, "data": dict(t.data), "expert_steps": t.expert_steps}),
        }
        for t in tasks
    ]


def task_of(row: Mapping[str, Any]) -> Task:
    """A row as a task: its prompt (a text or messages), its `answer` and `solution` where there are such columns.

    Other columns become the task's data, where a feedback function finds them, unless an environment drew the task.
    """
    prompt, answer, solution = row["prompt"], row.get("answer"), row.get("solution")
    messages: tuple[Message, ...] = ({"role": "user", "content": prompt},)
    if not isinstance(prompt, str):
        messages = tuple(Message(role=m["role"], content=m["content"]) for m in prompt)
    if row.get(TASK_COLUMN):
        known = json.loads(row[TASK_COLUMN])
    else:
        digest = hashlib.sha256(json.dumps(messages).encode()).hexdigest()[:16]
        rest = {k: v for k, v in row.items() if k not in ("prompt", "answer", "solution", TASK_COLUMN)}
        known = {"id": digest, "data": rest}
    steps = known.get("expert_steps")
    return Task(
        known["id"],
        messages,
        "" if answer is None else str(answer),
        solution or None,
        known["data"],
        None if steps is None else tuple(steps),
    )
