"""`frown report`: one HTML file."""

from __future__ import annotations

from pathlib import Path


def report(path: Path, *, out: Path | None = None) -> None:
    """Draw the report of a run, a comparison, an evaluation or a probe: one HTML file, to open or to send.

    Parameters
    ----------
    path
        A run directory, the folder of a comparison or an evaluation, or the JSON file of a probe.
    out
        Where to write it. Default: report.html in the folder, or beside the file.
    """
    from frown.cli.output import summary_stream
    from frown.report.html import write_report
    from frown.store.files import check_target

    if out is not None:
        check_target(out, path)
    print(write_report(path, out), file=summary_stream(out))
