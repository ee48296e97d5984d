"""A critic that says the same review whatever it is asked: a parrot in this process."""

from __future__ import annotations

from pathlib import Path

from frown.config import LocalModelConfig, ModelCriticConfig
from frown.critics.base import Comment, Request
from frown.critics.model.local import local_critic
from frown.types import Task

SAID = {
    "steps": [
        {"step": 1, "reason": "two and three are five", "right": True, "correction": ""},
        {"step": 2, "reason": "four fives", "right": False, "correction": "5*4 = 20"},
    ]
}
TASK = Task("t", ({"role": "user", "content": "What is 2+3, times 4?"},), "20")


def request(*steps: str, asked=(0, 1), verdict=None) -> Request:
    steps = steps or ("2+3 = 5", "5*4 = 45")
    return Request(TASK, "\n".join(steps), steps, asked, verdict)


COMMENTS = (
    Comment(0, True, "Step 1 is right: 2+3 = 5"),
    Comment(1, False, "Step 2 is wrong. It should be: 5*4 = 20"),
)


def here(folder: Path, *, max_new_tokens=32, **more):
    local = {"path": str(folder), "dtype": "float32", "device": "cpu"} | more.pop("local", {})
    return local_critic(ModelCriticConfig(local=LocalModelConfig(**local), max_new_tokens=max_new_tokens, **more))
