"""How time and memory of a training step grow with answer length, group size and vocabulary."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import peer
from benchmarks.measuring import cpu_seconds, in_fresh_process, peak_mib
from benchmarks.training_step import Group, Own, Padded, Shape, save_model

PATHS = {"ours": Own, "peer": Padded}
MOST_PEER_GIB = 6.0
"""A cell whose padded logits alone would take the peer beyond this is left out for the peer, and said so."""


class Cell(NamedTuple):
    """One size of a step. Answers are evenly spread from a quarter of `length` to all of it."""

    length: int = 256
    group: int = 4
    vocabulary: int = 4_096

    @property
    def peer_gib(self) -> float:
        """About what TRL's full logits take: 14 copies of [rows, length, vocabulary] in float32, 8 rows at a time."""
        return 14 * min(8, self.group) * self.length * self.vocabulary * 4 / 2**30


SWEEPS: dict[str, tuple[Cell, ...]] = {
    "length": tuple(Cell(length=n, group=2, vocabulary=2_048) for n in (128, 256, 512, 1_024, 2_048, 4_096, 8_192)),
    "group": tuple(Cell(group=n) for n in (2, 4, 8, 16, 32)),
    "vocabulary": tuple(
        Cell(length=96, group=2, vocabulary=n) for n in (4_096, 8_192, 16_384, 32_768, 65_536, 151_936)
    ),
}
QUICK: dict[str, tuple[Cell, ...]] = {
    "length": tuple(Cell(length=n, group=2, vocabulary=512) for n in (32, 64)),
    "group": tuple(Cell(length=32, group=n, vocabulary=512) for n in (2, 4)),
    "vocabulary": tuple(Cell(length=32, group=2, vocabulary=n) for n in (512, 1_024)),
}
SHAPE = Shape(width=128, layers=2)


def group_of(cell: Cell) -> Group:
    """One prompt of 64 tokens, a context of 192, and the answers."""
    rng = np.random.default_rng(0)

    def ids(n: int) -> np.ndarray:
        return rng.integers(5, cell.vocabulary, n).astype(np.int64)

    return Group(ids(64), ids(192), tuple(ids(int(n)) for n in np.linspace(cell.length / 4, cell.length, cell.group)))


def measured(path: str, cell: Cell) -> dict[str, float]:
    """CPU-seconds and peak MiB (above the loaded model) of a step, the second of two in a process of its own."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        side = PATHS[path](save_model(Path(name), SHAPE._replace(vocabulary=cell.vocabulary)))
        groups = [group_of(cell)]
        side.run([group_of(cell._replace(length=8))] if cell.group > 1 else groups)  # what is made once, is made here
        seconds: list[float] = []
        memory = peak_mib(lambda: seconds.append(cpu_seconds(lambda: side.run(groups))))
    return {"seconds": seconds[0], "mib": memory}


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """k of the least-squares fit y = c x^k, over the larger half of x, where constant costs weigh little."""
    half = len(x) // 2 if len(x) > 3 else 0
    return float(np.polyfit(np.log(x[half:]), np.log(y[half:]), 1)[0])


def growth(quick: bool) -> dict[str, Any]:
    """Both paths along three axes. The headline is the exponent of time in answer length."""
    peer.required()
    sweeps: dict[str, Any] = {}
    for axis, cells in (QUICK if quick else SWEEPS).items():
        points: dict[str, list[dict[str, float]]] = {"ours": [], "peer": []}
        left_out: list[int] = []
        for cell in cells:
            at = getattr(cell, axis)
            for path in PATHS:
                if path == "peer" and cell.peer_gib > MOST_PEER_GIB:
                    left_out.append(at)
                    continue
                points[path].append({"at": at, **in_fresh_process(measured, path, cell)})
        fits = {
            path: {
                what: exponent([p["at"] for p in of_path], [p[what] for p in of_path]) for what in ("seconds", "mib")
            }
            for path, of_path in points.items()
        }
        sweeps[axis] = {"points": points, "exponents": fits, "peer_left_out_at": left_out, "else": cells[0]._asdict()}
    fits = sweeps["length"]["exponents"]
    return {
        "ours": fits["ours"]["seconds"],
        "peer": fits["peer"]["seconds"],
        "ratio": fits["peer"]["seconds"] / fits["ours"]["seconds"],
        "unit": "exponent of time in answer length",
        "peer_name": "TRL SDPOTrainer's padded path",
        "model": SHAPE._asdict(),
        "sweeps": sweeps,
    }


def draw(result: dict[str, Any], file: Path) -> None:
    """Both paths along each axis, logarithmic, with the fitted exponents in the legend."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    labels = {"length": "longest answer, tokens", "group": "answers a prompt", "vocabulary": "vocabulary"}
    figure, axes = plt.subplots(2, 3, figsize=(11, 6), layout="constrained")
    looks = {"ours": ("frown", "#0b6e99", "o-"), "peer": ("TRL SDPO", "#b4451f", "s--")}
    for column, (axis, sweep) in enumerate(result["sweeps"].items()):
        for row, (what, unit) in enumerate((("seconds", "CPU-seconds"), ("mib", "peak memory, MiB"))):
            at = axes[row][column]
            for path, (name, colour, style) in looks.items():
                of_path = sweep["points"][path]
                at.loglog(
                    [p["at"] for p in of_path],
                    [p[what] for p in of_path],
                    style,
                    color=colour,
                    label=f"{name}, exponent {sweep['exponents'][path][what]:.2f}",
                )
            at.set(xlabel=labels[axis], ylabel=unit)
            sizes = [p["at"] for p in sweep["points"]["ours"]]
            at.set_xticks(sizes, [f"{n:,}" for n in sizes], fontsize=7)
            at.minorticks_off()
            at.grid(alpha=0.25)
            at.legend(frameon=False, fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
