"""What `frown doctor` found, in lines for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frown.plan.plan import in_words


def doctor_lines(found: Mapping[str, Any]) -> list[str]:
    """One line a fact; what is missing says what mends it."""
    lines = [f"python {found['python']}, {found['system']}"]
    for name in ("packages", "devices", "threads", "models", "extras"):
        part = found[name]
        if isinstance(part, Mapping) and "error" in part:
            lines.append(f"{name}: cannot be told: {part['error']}")
        elif name == "packages":
            lines.append(", ".join(f"{package} {version}" for package, version in part.items()))
        elif name == "devices":
            lines += [_device(device) for device in part]
        elif name == "threads":
            omp = part["OMP_NUM_THREADS"]
            told = f"OMP_NUM_THREADS={omp}" if omp else "OMP_NUM_THREADS is not set"
            lines.append(f"threads: torch takes {part['torch']} of {part['cores']} cores ({told})")
        elif name == "models":
            lines += [f"embedded model {model}: {state}" for model, state in part.items()]
        else:
            lines += [_extra(extra, told) for extra, told in part.items()]
    browser = found["browser"]
    lines.append(f"browser for the tests of reports: {browser if isinstance(browser, str) else 'none'}")
    if found["offline"] not in ("0", ""):
        lines.append(f"HF_HUB_OFFLINE={found['offline']}: hub names are looked up in the cache alone")
    return lines


def _device(device: Mapping[str, Any]) -> str:
    memory = "unknown memory" if device["bytes"] is None else in_words(device["bytes"])
    free = "" if device["free"] is None else f", {in_words(device['free'])} free"
    return f"device {device['kind']}: {device['name']}, {memory}{free}{'' if device['bfloat16'] else ', no bfloat16'}"


def _extra(extra: str, told: Mapping[str, Any]) -> str:
    if told["state"] == "installed":
        return f"extra {extra}: installed"
    what = [*told["missing"], *(f"{name} {why}" for name, why in told["wrong"].items())]
    return f"extra {extra}: {told['state']} ({', '.join(what)}); {told['mend']}"
