"""What a gym worker does: score one answer with the data set's own function.

Runs in a worker process only (tasks/workers.py). The entry comes pickled from the parent process, because its
metadata (tuples, integer keys) would not survive JSON; nothing pickled is ever read from elsewhere.
"""

from __future__ import annotations

import base64
import functools
import pickle
from typing import Any

import reasoning_gym


def score(payload: dict[str, Any]) -> float:
    """The score in [0, 1] that `score_answer` gives; its exceptions pass through to the caller's `Failure`."""
    name, options, entry = pickle.loads(base64.b64decode(payload["data"]))
    dataset = _dataset(name, pickle.dumps(options))
    return float(dataset.score_answer(answer=payload["answer"], entry=entry))


@functools.lru_cache(maxsize=8)
def _dataset(name: str, options: bytes) -> Any:
    return reasoning_gym.create_dataset(name, seed=0, size=1, **pickle.loads(options))
