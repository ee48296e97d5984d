"""What `frown doctor` reports, in lines for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frown.config.defaults import in_words as parameters_in_words
from frown.plan.chat_format import ChatFormat
from frown.plan.model_doctor import ModelReport, Suggestion
from frown.plan.plan import in_words
from frown.report.plan import duration

WAYS = {
    "flex": "rows are packed and shared beginnings computed once (flex attention)",
    "blocks": "rows are packed and shared beginnings computed once (SDPA)",
    "side by side": "rows are packed, nothing is shared",
    "padded": "rows are padded, nothing is shared",
}
KINDS = {"embedded": "an embedded base model", "folder": "a folder", "gguf": "a GGUF file"}


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


def model_lines(report: ModelReport) -> list[str]:
    """A line a fact, then what is wrong, then what to know before training."""
    kind = KINDS.get(report.kind) or f"LoRA adapters on {report.base}, merged into it"
    stored = ", ".join(report.stored)
    tied = "shares the embedding's weight" if report.tied else "has a weight of its own"
    context = "not known" if report.context is None else f"{report.context:,} tokens"
    lines = [
        f"{report.model}: {report.architecture}, {parameters_in_words(report.parameters)} parameters; {kind}, stored "
        f"as {stored}",
        f"head: {report.vocabulary:,} rows; it {tied}",
        f"context: {context}",
        *([] if report.chat is None else _chat_lines(report.chat)),
    ]
    if report.packing is not None:
        lines.append(f"packing: {WAYS[report.packing]}")
    if (speed := report.speed) is not None:
        lines.append(
            f"speed on {report.device}, threads {speed.threads}: {speed.sampling:.3g} tokens a second sampled, "
            f"{speed.learning:.3g} learnt ({speed.basis})"
        )
    lines += [_suggestion_line(suggestion) for suggestion in report.suggestions]
    lines += [f"cannot be trained as it is: {fault}" for fault in report.faults]
    lines += [f"warning: {warning}" for warning in report.warnings]
    return lines if report.faults or report.warnings else [*lines, "nothing to mend"]


def _chat_lines(chat: ChatFormat) -> list[str]:
    if not chat.template:
        template = "none"
    else:
        system = {None: "", "own turn": "; a system message is a turn of its own"}
        place = system.get(chat.system, f"; a system message is {chat.system}")
        template = f"closes an answer with {chat.closing or 'no token of its own'}{place}"
    ends = " or ".join(chat.ends) or "nothing"
    pad = "none, an end token stands in" if chat.pad is None else chat.pad
    return [
        f"chat template: {template}",
        f"tokens: {chat.vocabulary:,}; an answer ends with {ends}; padding (masked): {pad}",
    ]


def _suggestion_line(s: Suggestion) -> str:
    what = f"adapters of rank {s.lora}" if s.lora else "all weights"
    time = "" if s.seconds_per_step is None else f", {duration(s.seconds_per_step)} if every answer runs to its limit"
    words = f" ({' '.join(s.overrides)})" if s.overrides else ""
    return (
        f"{what}{words}: {s.trained:,} numbers learnt, lr {s.lr:g}, answers of at most {s.max_new_tokens} tokens; a "
        f"step: {s.batch}, {in_words(s.memory)}{time}"
    )
