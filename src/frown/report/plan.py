"""The plan of a run as a table for the terminal."""

from __future__ import annotations

import math

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from frown.plan.memory import Item
from frown.plan.plan import Plan, in_words


def plan_table(plan: Plan) -> RenderableType:
    """Batch, memory, disk and time of a planned run."""
    memory = Table(title=Text(f"memory of one process, {plan.device}"), title_justify="left")
    memory.add_column("when")
    memory.add_column("what")
    memory.add_column("bytes", justify="right")
    memory.add_column("why")
    for phase in ("always", "sampling", "learning", "stepping"):
        _add(memory, phase, getattr(plan.memory, phase))
    memory.add_section()
    memory.add_row("peak", f"always + {plan.memory.phase}", in_words(plan.memory.peak), "")
    disk = Table(title="disk", title_justify="left")
    for name in ("what", "bytes", "why"):
        disk.add_column(name, justify="right" if name == "bytes" else "left")
    for item in plan.disk:
        disk.add_row(item.name, in_words(item.bytes), item.why)
    return Group(Text("\n".join(_lines(plan))), memory, disk)


def _lines(plan: Plan) -> list[str]:
    shapes, lengths = plan.shapes, plan.lengths
    return [
        f"{plan.model}: {shapes.architecture}, {shapes.parameters:,} parameters, {shapes.trainable:,} of them learnt",
        f"a step: {plan.batch.sentence}",
        f"a row: {lengths.prompt} tokens of prompt (the teacher's: {lengths.context}) and {lengths.answer} of answer",
        f"work: {plan.work.flop / 1e12:.3g} TFLOP a step",
        _time_of(plan),
        "",
    ]


def _time_of(plan: Plan) -> str:
    if math.isnan(plan.seconds):
        return f"time: {plan.pace}"
    each, whole = duration(plan.seconds_per_step), duration(plan.seconds)
    return f"time: {each} a step, {whole} in all, if every answer runs to its limit ({plan.pace})"


def _add(table: Table, phase: str, items: tuple[Item, ...]) -> None:
    table.add_section()
    for i, item in enumerate(items):
        table.add_row(phase if i == 0 else "", item.name, in_words(item.bytes), item.why)


def duration(seconds: float) -> str:
    """Seconds in the largest unit of which there are two."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.2g} s"
