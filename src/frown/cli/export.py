"""`frown export`: rollouts for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def export(run: Path, *, to: Literal["parquet", "inspect"], out: Path) -> None:
    """Write the rollouts of a run or comparison for other programs.

    Parameters
    ----------
    run
        A run, a comparison or a file of rollouts.
    to
        parquet (one file) or inspect (a folder with one log a run, for inspect_ai).
    out
        Where to write it.
    """
    from frown.interchange.exports import to_inspect, to_parquet
    from frown.interchange.imports import as_run
    from frown.viewer.index import read_index

    with as_run(run) as path:
        index = read_index(path)
        if to == "parquet":
            print(f"{out}: {to_parquet(index, out)} rollouts")
        else:
            print("\n".join(str(log) for log in to_inspect(index, out)))
