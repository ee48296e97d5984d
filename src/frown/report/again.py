"""The command that makes a run again."""

from __future__ import annotations

import shlex
from pathlib import Path


def command(path: Path) -> str:
    """The command for a run in `path`, from the configuration that it keeps."""
    return shlex.join(["frown", "train", "--config", f"{path}/config.json", "--out", f"{path}-again"])
