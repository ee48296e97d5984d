"""What `frown doctor` reports, in lines for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frown.plan.plan import in_words


def doctor_lines(report: Mapping[str, Any]) -> list[str]:
    """One line a fact; what is missing says what mends it."""
    lines = [f"python {report['python']}, {report['system']}"]
    for name in ("packages", "devices", "threads", "models", "extras"):
        part = report[name]
        if isinstance(part, Mapping) and "error" in part:
            lines.append(f"{name}: cannot be told: {part['error']}")
        elif name == "packages":
            lines.append(", ".join(f"{package} {version}" for package, version in part.items()))
        elif name == "devices":
            lines += [_device(device) for device in part]
        elif name == "threads":
            omp = part["OMP_NUM_THREADS"]
            setting = f"OMP_NUM_THREADS={omp}" if omp else "OMP_NUM_THREADS is not set"
            lines.append(f"threads: torch takes {part['torch']} of {part['cores']} cores ({setting})")
        elif name == "models":
            lines += [f"embedded model {model}: {state}" for model, state in part.items()]
        else:
            lines += [_extra(extra, state) for extra, state in part.items()]
    browser = report["browser"]
    lines.append(f"browser for the tests of reports: {browser if isinstance(browser, str) else 'none'}")
    if report["offline"] not in ("0", ""):
        lines.append(f"HF_HUB_OFFLINE={report['offline']}: hub names are looked up in the cache alone")
    return lines


def _device(device: Mapping[str, Any]) -> str:
    memory = "unknown memory" if device["bytes"] is None else in_words(device["bytes"])
    free = "" if device["free"] is None else f", {in_words(device['free'])} free"
    return f"device {device['kind']}: {device['name']}, {memory}{free}{'' if device['bfloat16'] else ', no bfloat16'}"


def _extra(extra: str, state: Mapping[str, Any]) -> str:
    if state["state"] == "installed":
        return f"extra {extra}: installed"
    what = [*state["missing"], *(f"{name} {why}" for name, why in state["wrong"].items())]
    return f"extra {extra}: {state['state']} ({', '.join(what)}); {state['mend']}"
