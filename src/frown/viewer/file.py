"""The page: one HTML document with its style and script inside; and the same with the rollouts inside, too.

Nothing of the page comes from elsewhere, and its content policy says so: the one script and the one style are named
by their hashes, and without a server there is no connection that it may make.
"""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from frown.store.files import write_text
from frown.viewer.history import history
from frown.viewer.index import Index
from frown.viewer.overview import overview
from frown.viewer.page import as_json, page

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("source.js", "text.js", "colour.js", "list.js", "answer.js", "compare.js", "main.js")
MOST = 300
"""Rollouts in a file, by default."""


def document(title: str, data: Any, *, connect: bool = False) -> str:
    """The page as text. `data` is embedded; with `connect` the page asks its own server for what it lacks."""
    style = (ASSETS / "look.css").read_text(encoding="utf-8")
    modules = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'"use strict";(() => {{\n{modules}\n}})();'
    parts = {
        "policy": escape(content_policy(script, style, connect=connect)),
        "title": escape(title),
        "style": style,
        "script": script,
        "data": as_json(data),
    }
    template = (ASSETS / "look.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], template)


def content_policy(script: str, style: str, *, connect: bool) -> str:
    """What the page may do: run its one script, apply its one style, and at most ask its own server."""
    digests = (base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in (script, style))
    script_hash, style_hash = (f"'sha256-{d}'" for d in digests)
    return (
        f"default-src 'none'; script-src {script_hash}; style-src {style_hash}; "
        f"connect-src {chr(39)}{'self' if connect else 'none'}{chr(39)}; base-uri 'none'; form-action 'none'"
    )


def write_file(index: Index, target: Path, most: int = MOST) -> int:
    """Write a self-contained page of at most `most` rollouts and return how many it holds.

    Prompts are taken from the gravest answer on, each with all of its answers that still fit.

    Raises FrownError where the file cannot be written.
    """
    chosen = choose(index, most)
    data = {
        "overview": overview(index, chosen, left_out=len(index) - len(chosen)),
        "pages": [page(index, int(i)) for i in chosen],
        "fates": [{name: past[name] for name in ("all", "fates")} for past in (history(index, int(i)) for i in chosen)],
    }
    write_text(target, document(index.name, data), errors="xmlcharrefreplace")
    return len(chosen)


def choose(index: Index, most: int) -> np.ndarray:
    """Positions of at most `most` rollouts, in order: whole prompts, those with the gravest answer first."""
    if len(index) <= most:
        return np.arange(len(index))
    chosen: list[int] = []
    for task in dict.fromkeys(index.task[index.order].tolist()):
        chosen += np.flatnonzero(index.task == task).tolist()[: most - len(chosen)]
        if len(chosen) >= most:
            break
    return np.sort(np.array(chosen, np.int64))
