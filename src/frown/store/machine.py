"""The machine and the versions that a run was made with, for the record."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

PACKAGES = ("frown", "torch", "transformers", "numpy", "peft", "math-verify", "reasoning-gym")


def machine_record() -> dict[str, Any]:
    """Versions and machine. Nothing about the person or the network."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": versions,
    }
