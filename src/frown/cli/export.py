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
    from frown.cli.output import print_omissions, summary_stream
    from frown.interchange.exports import to_inspect, to_parquet
    from frown.interchange.imports import as_run
    from frown.store.files import check_folder, check_target
    from frown.viewer.index import read_index

    if to == "parquet":
        check_target(out, run)
    else:
        check_folder(out)
    with as_run(run) as source:
        index = read_index(source.path)
        print_omissions(source.omissions)
        if to == "parquet":
            print(f"{out}: {to_parquet(index, out)} rollouts", file=summary_stream(out))
        else:
            print("\n".join(str(log) for log in to_inspect(index, out)))
