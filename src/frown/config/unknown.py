"""The line about a key that does not exist: what it is called here, or the nearest key that does."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from frown.config import describe, names
from frown.config.base import Config
from frown.config.load import flat

MOST_NAMED = 24
"""Most keys that are listed where none is near."""


def unknown(kind: type[Config], path: Sequence[str], value: Any, values: Mapping[str, Any]) -> str:
    """The line about an unknown key of a configuration.

    `path`: the key, part by part; `value`: what was given for it; `values`: the whole configuration as it was given.
    """
    key, known = ".".join(path), describe.keys(kind)
    if types := describe.owners(kind, key):
        return _of_another_type(path, types, values)
    leaves = [f"{key}.{leaf}" for leaf in flat(value)] if isinstance(value, Mapping) and value else []
    for name in (*leaves, key):
        ours = names.answer(name)
        if ours is None:
            continue
        if places := _places(ours, known):
            return f"unknown key {name!r}; it is called {_either(places)} here"
        if " " in ours and _places("optimiser.lr", known):  # a sentence about runs
            return f"unknown key {name!r}; {ours}"
    return f"unknown key {key!r}{_near(key, known)}"


def _of_another_type(path: Sequence[str], types: Sequence[str], values: Mapping[str, Any]) -> str:
    """Of a key that other types of its table have."""
    table = ".".join(path[:-1])
    here: Any = values
    for part in path[:-1]:
        here = here.get(part) if isinstance(here, Mapping) else here
    given = here.get("type") if isinstance(here, Mapping) else here
    but = f", not with {given!r}" if isinstance(given, str) else ""
    return f"{'.'.join(path)!r} goes with {table}.type = {' or '.join(map(repr, types))}{but}"


def _places(ours: str, known: Sequence[str]) -> list[str]:
    """Where a key of a run lies in another configuration: there, below a table, or else under its last part."""
    return [k for k in known if k == ours or k.endswith(f".{ours}")] or [k for k in known if k == _last(ours)]


def _near(key: str, known: Sequence[str]) -> str:
    """The end of the line: keys of that name elsewhere, the nearest beside it or elsewhere, or all that lie there."""
    table, _, word = key.rpartition(".")
    beside = [k for k in known if k.rpartition(".")[0] == table]
    if close := _close(word, beside, 0.7):
        return f"; did you mean {close!r}?"
    if same := [k for k in known if _last(k) == word]:
        return f"; did you mean {_either(same)}?"
    if close := _close(word, beside, 0.6) or _close(word, known, 0.7) or _closest(key, known):
        return f"; did you mean {close!r}?"
    if table and beside:
        return f"; there are: {', '.join(_last(k) for k in beside[:MOST_NAMED])}"
    return "; `frown config` lists all there are"


def _close(word: str, keys: Sequence[str], cutoff: float) -> str | None:
    """The first key whose last part is nearest to a word."""
    by_last = {_last(k): k for k in reversed(keys)}
    close = difflib.get_close_matches(word, list(by_last), n=1, cutoff=cutoff)
    return by_last[close[0]] if close else None


def _closest(key: str, keys: Sequence[str]) -> str | None:
    """The key nearest as a whole."""
    close = difflib.get_close_matches(key, keys, n=1, cutoff=0.7)
    return close[0] if close else None


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _either(keys: Iterable[str]) -> str:
    return " or ".join(repr(k) for k in list(keys)[:3])
