"""What a partner's model was asked, kept with a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from frown.dialogue.environment import Conversations
from frown.errors import first_line
from frown.store.files import write_text


def keep_statistics(environment: Conversations, folder: Path, warn: Callable[[str], None]) -> None:
    """Add what became of all that a partner's model was asked to `partner.json` in a run's folder: one entry for each
    attempt at the run in which it was asked anything."""
    statistics = environment.statistics
    if statistics is not None and statistics["asked"]:
        file = folder / "partner.json"
        write_text(file, json.dumps([*_attempts(file, warn), statistics], indent=1) + "\n")


def _attempts(file: Path, warn: Callable[[str], None]) -> list[Any]:
    """What was kept of earlier attempts at a run. It is read as one ends, maybe by an error: a file that cannot be
    read is a warning and no attempts, not another error in that one's place."""
    if not file.exists():
        return []
    try:
        attempts = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(attempts, list):
            raise ValueError("it is no list")
    except (OSError, ValueError) as error:
        warn(f"{file} cannot be read: {first_line(error)}; it is begun anew")
        return []
    return attempts
