"""What is aimed at, and the measures as a table: for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Target(NamedTuple):
    """What a measure is aimed at, in words, and whether its result reaches it."""

    words: str
    met: Callable[[Mapping[str, Any]], bool]


TARGETS: dict[str, Target] = {
    "loss_memory": Target(
        "8x less, flat to 4x the tokens", lambda m: m["ratio"] >= 8 and m["growth_1x_to_4x_tokens"] <= 1.1
    ),
    "loss_time": Target(
        "2x faster, within 1.25x of the products", lambda m: m["ratio"] >= 2 and m["over_products"] <= 1.25
    ),
    "affect_cost": Target(
        "under 3% of the products, 4x cheaper", lambda m: m["share_of_products"] < 0.03 and m["ratio"] >= 4
    ),
    "step_forward_backward": Target(
        "3x faster, 1 and 4 prompts", lambda m: all(p["ratio"] >= 3 for p in m["prompts"].values())
    ),
    "step_lab": Target("3x faster", lambda m: m["ratio"] >= 3),
    "sampling": Target("2x faster", lambda m: m["ratio"] >= 2),
    "bf16_error": Target("100x smaller", lambda m: m["ratio"] >= 100),
    "growth": Target("drawn, with exponents", lambda m: True),
}

_BESIDE: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "loss_memory": lambda m: f"{m['growth_1x_to_4x_tokens']:.2f}x at 4x the tokens",
    "loss_time": lambda m: f"{m['over_products']:.2f}x the products",
    "affect_cost": lambda m: f"{m['share_of_products']:.1%} of the products",
    "step_forward_backward": lambda m: f"{m['prompts']['1']['ratio']:.2f}x at 1 prompt",
    "step_lab": lambda m: f"{m['five_steps']['ratio']:.2f}x on five steps alone",
    "sampling": lambda m: f"{m['five_steps']['ratio']:.2f}x on five steps alone",
}
HEAD = ("measure", "ours", "peer", "unit", "ratio", "beside", "target", "")


def verdict(name: str, measure: Mapping[str, Any]) -> str:
    """Whether the target is met, or why there is nothing to say."""
    if "skipped" in measure:
        return f"skipped: {measure['skipped']}"
    return "met" if TARGETS[name].met(measure) else "not met"


def rows(measures: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """One row a measure, as in `HEAD`."""
    out = []
    for name, m in measures.items():
        if "skipped" in m:
            out.append((name, "", "", "", "", "", TARGETS[name].words, verdict(name, m)))
            continue
        beside = _BESIDE[name](m) if name in _BESIDE else ""
        numbers = (_short(m["ours"]), _short(m["peer"]), m["unit"], f"{m['ratio']:.2f}")
        out.append((name, *numbers, beside, TARGETS[name].words, verdict(name, m)))
    return out


def plain(measures: Mapping[str, Mapping[str, Any]]) -> str:
    """The table for a terminal."""
    table = [HEAD, *rows(measures)]
    widths = [max(len(row[i]) for row in table) for i in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table)


def markdown(results: Mapping[str, Any]) -> str:
    """The table for a page, with the peers and the machine under it."""
    table = [HEAD, ("---",) * len(HEAD), *rows(results["measures"])]
    lines = ["| " + " | ".join(row) + " |" for row in table]
    peers = [f"- `{name}`: {m['peer_name']}" for name, m in results["measures"].items() if "peer_name" in m]
    machine = [f"{key} {value}" for key, value in results["environment"].items()]
    return "\n".join([*lines, "", "Peers:", "", *peers, "", "Measured with " + ", ".join(machine) + "."])


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
