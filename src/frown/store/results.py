"""Results in files, each with the settings it was made with, so that an experiment continues where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from frown.errors import FrownError, first_line
from frown.store.files import write_text

Result = TypeVar("Result")


def load_or_make(
    file: Path,
    settings: Mapping[str, Any],
    make: Callable[[], Result],
    to_data: Callable[[Result], Any],
    from_data: Callable[[Any], Result],
) -> Result:
    """Load the result in a file, or make one and write it there.

    Args:
        file: JSON of settings and result; its folder is made.
        settings: all that the result depends on, as plain data.
        make: makes the result.
        to_data: a result as plain data without NaN.
        from_data: the same, read back; may raise KeyError, TypeError, ValueError or AttributeError.

    Raises FrownError where the file cannot be read or written, or holds a result of other settings.
    """
    if not file.exists():
        result = make()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FrownError(f"cannot write to {file.parent}: {error}") from None
        write_text(file, json.dumps({"settings": settings, "result": to_data(result)}, allow_nan=False) + "\n")
        return result
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        stored, result = data["settings"], from_data(data["result"])
        if not isinstance(stored, dict):
            raise TypeError("its settings are no object")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise FrownError(f"{file} cannot be read: {first_line(error)}; delete it to make it anew") from None
    wanted = json.loads(json.dumps(settings))
    if stored != wanted:
        names = sorted(k for k in {*wanted, *stored} if wanted.get(k) != stored.get(k))
        raise FrownError(f"{file} is of other settings ({', '.join(names)}); choose another --out")
    return result
