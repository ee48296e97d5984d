"""What is practised."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from frown.config.base import Config


class TaskConfig(Config):
    """What is practised and how an answer is judged."""

    kind: str = "lab:chains"
    """"lab:chains", "lab:columns", "math", "choice", "exact", "gym:NAME" for a reasoning-gym data set, or
    "conversation" (the section `conversation`)."""
    data: Path | None = None
    """Training rows (math, choice, exact): a JSONL, JSON, Parquet or CSV file, compressed or not, a folder of shards or
    one that `datasets` saved (of several splits one, "FOLDER@train"), a pattern ("FOLDER/train-*.parquet"), or a hub
    name, "org/name:config@split" (`frown.tasks.rows`)."""
    test_data: Path | None = None
    """Test rows, likewise; without them a part of `data` is held back."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Which column holds what: question (text, or a list of messages), answer, and optionally solution, system, and
    tests (of programs). Nested ones by dotted names, e.g. reward_model.ground_truth."""
    bad_rows: Literal["error", "skip"] = "error"
    """Rows that cannot be used: without a question or an answer, malformed, or too long for the model's context beside
    an answer of sampling.max_new_tokens. error: the first stops the run before it begins. skip: they are left out,
    counted and said."""
    steps: int = Field(5, ge=2, le=15)
    """Written-out steps a lab problem has."""
    reference: Literal["canonical", "reordered", "terse"] = "canonical"
    """The lab's worked solutions: as the student would write them; the same facts as loose statements in another order;
    or only every second one of those."""
    splitter: Literal["auto", "numbered", "tagged", "lines", "sentences"] = "auto"
    """What counts as a written-out step of a free-text answer."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Settings of a reasoning-gym data set, e.g. min_terms."""
