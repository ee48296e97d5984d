"""`frown look`: rollouts in a browser, in a file or in the terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from frown.errors import FrownError

if TYPE_CHECKING:
    from frown.viewer.index import Index


def look(
    run: Path,
    *,
    text: bool = False,
    out: Path | None = None,
    most: int | None = None,
    signal: str = "surprisal",
    port: int = 0,
    open_: Annotated[bool, Parameter("--open")] = True,
) -> None:
    """Look at rollouts, token by token: the question, the answer, its doubts, the feedback and what was learnt.

    Serves a page on this machine alone until Ctrl-C, for runs of any size.

    Parameters
    ----------
    run
        A run, a comparison, a file of rollouts, a chat log (.jsonl) or TRL's completions.
    text
        Show it in the terminal instead.
    out
        Write one self-contained HTML file instead, to send to somebody.
    most
        Rollouts in the file (default 300) or in the terminal (default 10), the gravest first.
    signal
        What the terminal's colours show.
    port
        Port of the page. Default: any free one.
    open_
        Open a browser.
    """
    from frown.cli.output import print_omissions, summary_stream
    from frown.interchange.imports import as_run
    from frown.store.files import check_target
    from frown.viewer.index import read_index

    if most is not None and most < 1:
        raise FrownError(f"--most is at least 1, got {most}")
    if text and out is not None:
        raise FrownError("--text shows rollouts here and --out writes a page; give one of them")
    if out is not None:
        check_target(out, run)
    with as_run(run) as source:
        index = read_index(source.path)
        print_omissions(source.omissions)
        for line in index.unread:
            print(f"frown: not read: {line}", file=sys.stderr)
        if text:
            _show(index, most or 10, signal)
        elif out is not None:
            from frown.viewer.file import MOST, write_file

            written = write_file(index, out, most or MOST)
            print(f"{out}: {written} of {len(index)} rollouts", file=summary_stream(out))
        else:
            _serve(index, port, open_)


def _show(index: Index, most: int, signal: str) -> None:
    """Rollouts in the terminal."""
    from rich.console import Console

    from frown.viewer.text import render

    console, chosen = Console(), index.order[:most].tolist()
    for i in chosen:
        console.print(render(index, i, signal))
    console.print(f"{len(chosen)} of {len(index)} rollouts, the gravest first", highlight=False)


def _serve(index: Index, port: int, open_browser: bool) -> None:
    """Rollouts on a page, until Ctrl-C."""
    from frown.viewer.server import serve

    def ready(url: str) -> None:
        print(f"{len(index)} rollouts at {url}\nOnly this machine can open it. Ctrl-C ends it.", flush=True)
        if open_browser and _has_display():
            import webbrowser

            webbrowser.open(url)

    serve(index, port, ready)


def _has_display() -> bool:
    """Whether a browser would have somewhere to show itself."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
