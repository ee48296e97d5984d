"""Files that appear whole or not at all, and errors of the disk as one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from frown.errors import FrownError, first_line


def write_text(path: Path, text: str) -> None:
    """Write a whole text file or nothing. Raises FrownError where the disk refuses it."""
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Make a file of what `write(part)` writes beside it; where that fails the old file stays as it was.

    Raises FrownError where the disk refuses it.
    """
    part = path.with_name(f".{path.name}.part")
    with disk_errors(path):
        try:
            write(part)
            flush(part)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def lfs_pointer(path: Path) -> str | None:
    """What a file is, in words, where it is only the pointer that Git LFS leaves in place of one; else None."""
    with path.open("rb") as opened:
        head = opened.read(512)
    if not head.startswith(b"version https://git-lfs.github.com/spec/"):
        return None
    return f"is a Git LFS pointer of {path.stat().st_size} bytes and not the file itself: run git lfs pull there"


def is_part(path: Path) -> bool:
    """Whether this is what a killed process left of a file it was writing."""
    return path.name.startswith(".") and path.name.endswith(".part")


def flush(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on the disk."""
    if path.is_dir() and os.name != "posix":
        return  # only there can a folder be opened
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into a FrownError that says what could not be written."""
    try:
        yield
    except OSError as error:
        raise FrownError(f"cannot write {path}: {error.strerror or first_line(error)}") from error
