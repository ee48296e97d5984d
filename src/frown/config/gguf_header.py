"""The tensors of a GGUF file by their names and shapes, read without its weights and no further than the file goes.

The gguf package believes what a damaged file says of its own lengths, and may go on for ever or until memory ends.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a number, by the type that the file names."""
_STRING, _ARRAY = 8, 9


def tensor_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape. Raises OSError or ValueError for a file that is no GGUF file, or whose header is not whole."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        cursor = _Cursor(data)
        if cursor.skip(4) != b"GGUF":
            raise ValueError("no GGUF file")
        if cursor.whole(4) & 0xFFFF == 0:
            cursor.order = ">"
        tensors, fields = cursor.whole(8), cursor.whole(8)
        for _ in range(fields):
            cursor.text()
            cursor.value(cursor.whole(4))
        shapes = {}
        for _ in range(tensors):
            name = cursor.text().decode("utf-8")
            dimensions = cursor.whole(4)
            if dimensions > 8:
                raise ValueError(f"a tensor of {dimensions} dimensions")
            shapes[name] = tuple(cursor.whole(8) for _ in range(dimensions))
            cursor.skip(12)  # how it is stored, and where
        return shapes


class _Cursor:
    """A place in a file, which never leaves it."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at, self.order = data, 0, "<"

    def skip(self, n: int) -> bytes:
        """Go on by n bytes and return the first few of them."""
        if n > len(self.data) - self.at:
            raise ValueError("the file ends within its header")
        start = self.at
        self.at += n
        return self.data[start : start + min(n, 1024)]

    def whole(self, size: int) -> int:
        return int(struct.unpack(self.order + {4: "I", 8: "Q"}[size], self.skip(size))[0])

    def text(self) -> bytes:
        return self.skip(self.whole(8))

    def value(self, kind: int, depth: int = 0) -> None:
        """Go on behind a value."""
        if kind in _SIZES:
            self.skip(_SIZES[kind])
        elif kind == _STRING:
            self.text()
        elif kind == _ARRAY and depth < 4:
            inner, n = self.whole(4), self.whole(8)
            if inner in _SIZES:
                self.skip(n * _SIZES[inner])
                return
            for _ in range(n):
                self.value(inner, depth + 1)
        else:
            raise ValueError(f"a value of the type {kind}")
