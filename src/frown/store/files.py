"""Files that appear whole or not at all, and errors of the disk as one line."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from frown.errors import FrownError, first_line

_DESCRIPTOR = re.compile(r"/dev/(?:(stdin|stdout|stderr)|fd/(\d+))|/proc/(self|thread-self|\d+)/fd/(\d+)")
_STANDARD = {"stdin": 0, "stdout": 1, "stderr": 2}


def write_text(path: Path, text: str, errors: str = "strict") -> None:
    """Write a whole text file or nothing. Raises FrownError where the disk refuses it."""
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8", errors=errors, newline=""))


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Make a file of what `write(part)` writes beside it; where that fails the old file stays as it was.

    A link is followed, and a file that was there keeps its mode. What is no regular file (a pipe, a device, a
    descriptor like /dev/stdout) is written into. Raises FrownError where the disk refuses it.
    """
    with disk_errors(path):
        if (descriptor := _descriptor(path)) is not None or _is_special(path):
            _write_through(path, descriptor, write)
        else:
            _replace(Path(os.path.realpath(path)), write)


def parse_json(text: str) -> Any:
    """A value from JSON that something can be computed with. Raises ValueError for what is no JSON, is nested too
    deeply, or has a whole number that no float can hold."""

    def whole(digits: str) -> int:
        if len(digits) > 300:
            raise ValueError(f"a number of {len(digits)} digits")
        return int(digits)

    try:
        return json.loads(text, parse_int=whole)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def check_target(path: Path, source: Path | None = None) -> None:
    """Raise FrownError where a file cannot be written to, or is the `source` that is being read."""
    with disk_errors(path):
        if source is not None and path.exists() and source.exists() and path.samefile(source):
            raise FrownError(f"{path} is the file being read; write elsewhere")
        if _descriptor(path) is not None or _is_special(path):
            return
        if path.is_dir():
            raise FrownError(f"{path} is a folder; name a file")
        target = Path(os.path.realpath(path))
        if not target.parent.is_dir():
            raise FrownError(f"cannot write {path}: the folder {target.parent} does not exist")
        _refuse_protected(target)
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise FrownError(f"cannot write {path}: the folder {target.parent} cannot be written to")


def check_folder(path: Path) -> None:
    """Raise FrownError where a path is no folder that can be written to, and cannot become one."""
    with disk_errors(path):
        if path.is_symlink() and not path.exists():
            raise FrownError(f"cannot write {path}: it is a link to {os.readlink(path)}, which does not exist")
        nearest = next(place for place in (path, *path.absolute().parents) if place.exists())
        if not nearest.is_dir():
            raise FrownError(f"cannot write {path}: {nearest} is no folder; name another with --out")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise FrownError(f"cannot write {path}: the folder {nearest} cannot be written to")


def is_regular(path: Path) -> bool:
    """Whether a path is a regular file, or would become one by being written."""
    return _descriptor(path) is None and not _is_special(path) and not path.is_dir()


def is_stdout(path: Path) -> bool:
    """Whether a path is a name of standard output."""
    return _descriptor(path) == 1


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
        if isinstance(error, BrokenPipeError) and is_stdout(path):
            raise  # whoever read it has read enough: no mistake
        raise FrownError(f"cannot write {path}: {error.strerror or first_line(error)}") from error


def _replace(target: Path, write: Callable[[Path], Any]) -> None:
    name = target.name if len(os.fsencode(target.name)) < 240 else target.name[:50]  # file systems allow 255 bytes
    part = target.with_name(f".{name}.part")
    mode = _refuse_protected(target)
    try:
        write(part)
        if mode is not None:
            os.chmod(part, mode)
        flush(part)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _refuse_protected(target: Path) -> int | None:
    """The mode of a file that is there; None where none is. Raises PermissionError for one that may not be written."""
    try:
        mode = stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return None
    if not os.access(target, os.W_OK):
        raise PermissionError(13, "the file is write-protected")
    return mode


def _write_through(path: Path, descriptor: int | None, write: Callable[[Path], Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="frown-") as folder:
        part = Path(folder) / "part"
        write(part)
        with part.open("rb") as source, _opened(path, descriptor) as target:
            shutil.copyfileobj(source, target)


def _opened(path: Path, descriptor: int | None) -> BinaryIO:
    if descriptor is None:
        return path.open("wb", buffering=0)
    for stream in (sys.stdout, sys.stderr):  # what was printed before stands before
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    # The descriptor itself: opened anew, a file that a shell has redirected it to would be written from its beginning.
    return os.fdopen(os.dup(descriptor), "wb")


def _is_special(path: Path) -> bool:
    """Whether something is there that is neither a file nor a folder."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _descriptor(path: Path) -> int | None:
    """The open descriptor of this process that a path, or what it links to, is a name of."""
    place = os.path.abspath(path)
    for _ in range(40):  # as many links as the system follows
        if match := _DESCRIPTOR.fullmatch(place):
            ours = match[3] in (None, "self", "thread-self", str(os.getpid()))
            return _STANDARD[match[1]] if match[1] else int(match[2] or match[4]) if ours else None
        try:
            place = os.path.abspath(os.path.join(os.path.dirname(place), os.readlink(place)))
        except OSError:
            return None
    return None
