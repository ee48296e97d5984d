"""`frown doctor`: what is here, and what is missing for which extra. Changes nothing, asks no network, never raises."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import frown
from frown.errors import FrownError, first_line

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
"""For the tests of the report and the site alone."""


def examine() -> dict[str, Any]:
    """Everything as plain values. A check that fails says why under its own name, as {"error": why}."""
    checks: dict[str, Callable[[], Any]] = {
        "packages": packages,
        "extras": extras,
        "devices": devices,
        "threads": threads,
        "models": models,
        "browser": lambda: next((path for name in BROWSERS if (path := shutil.which(name))), None),
        "offline": lambda: os.environ.get("HF_HUB_OFFLINE", "0"),
    }
    results: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    for name, check in checks.items():
        try:
            results[name] = check()
        except Exception as error:  # a broken package raises whatever it likes
            results[name] = {"error": first_line(error)}
    return results


def packages() -> dict[str, str]:
    """Version of frown and of everything it needs without an extra; "missing" where it is not there."""
    needed = [r for r in _requirements() if r.marker is None]
    return {"frown": metadata.version("frown"), **{r.name: _version(r.name) or "missing" for r in needed}}


def extras() -> dict[str, dict[str, Any]]:
    """For each extra: "installed", "missing" or "wrong version", what of it is, and the line that mends it."""
    states: dict[str, dict[str, Any]] = {}
    for extra in metadata.metadata("frown").get_all("Provides-Extra") or []:
        needed = [r for r in _requirements() if r.marker is not None and r.marker.evaluate({"extra": extra})]
        needed = [r for r in needed if r.name != "frown"]
        if not needed:
            continue  # an extra made of others
        missing = [str(r.name) for r in needed if _version(r.name) is None]
        wrong = {r.name: _version(r.name) for r in needed if _is_wrong(r)}
        state = "missing" if missing else "wrong version" if wrong else "installed"
        states[extra] = {
            "state": state,
            "missing": missing,
            "wrong": {name: f"{version}, needs {_specifier(needed, name)}" for name, version in wrong.items()},
            "mend": None if state == "installed" else f'pip install "frown[{extra}]"',
        }
    return states


def devices() -> list[dict[str, Any]]:
    """Each CUDA device with its memory (bytes) and whether it computes in bfloat16; then the processor."""
    import torch

    cards = []
    for i in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(i)
        free, total = torch.cuda.mem_get_info(i)
        # Whole in hardware from compute capability 8 on.
        cards.append({"name": card.name, "kind": "cuda", "bytes": total, "free": free, "bfloat16": card.major >= 8})
    from frown.plan.pace import device_of

    memory = device_of("cpu").bytes
    return [*cards, {"name": platform.machine(), "kind": "cpu", "bytes": memory, "free": None, "bfloat16": True}]


def threads() -> dict[str, Any]:
    """Cores that may be used, and how many threads torch takes of them."""
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cores": usable, "torch": torch.get_num_threads(), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS")}


def models() -> dict[str, str]:
    """The embedded models, and whether each is whole: "whole", or what is wrong."""
    folder = Path(frown.__file__).parent / "lab" / "models"
    return {path.name: _state_of(path) for path in sorted(folder.iterdir()) if path.is_dir()}


def _state_of(path: Path) -> str:
    from safetensors import safe_open

    from frown.policy.folder import fault_of

    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors"):
        if not (path / name).is_file():
            return f"{name} is missing"
        if (fault := fault_of(path / name)) is not None:
            return f"{name} {fault}"
    try:
        with safe_open(path / "model.safetensors", framework="np") as weights:  # refuses a file that was cut
            finite = all(bool((abs(weights.get_tensor(key)) < float("inf")).all()) for key in weights.keys())
    except Exception as error:
        return f"model.safetensors: {first_line(error)}"
    return "whole" if finite else "model.safetensors: not all weights are finite"


def _requirements() -> list[Any]:
    try:
        from packaging.requirements import Requirement
    except ImportError:
        raise FrownError("the packaging package is missing: pip install packaging") from None
    return [Requirement(line) for line in metadata.requires("frown") or []]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _is_wrong(requirement: Any) -> bool:
    version = _version(requirement.name)
    return version is not None and not requirement.specifier.contains(version, prereleases=True)


def _specifier(needed: list[Any], name: str) -> str:
    return next(str(r.specifier) for r in needed if r.name == name)
