"""A cache of replies in a folder that several processes may share.

A file a reply, put in place whole: no lock that somebody could be kept waiting for (an SQLite file was locked for
seconds by four processes that wrote at once), nothing to repair after a crash, and nothing that is unpickled (as
diskcache does, which is no longer maintained: CVE-2025-69872).
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from frown.errors import FrownError


class ReplyCache:
    """Key (letters and digits) to text. Raises FrownError at the start when the folder cannot be used; later faults
    are the caller's to count: `get` and `put` raise OSError, `get` also ValueError for what is no text."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.expanduser()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            raise FrownError(f"cannot keep a critic's cache in {folder}: {error.strerror}; name a folder") from None

    def get(self, key: str) -> str | None:
        """The text under a key; None where there is none."""
        try:
            return self._file(key).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def put(self, key: str, text: str) -> None:
        """Store a text; readers find the old one or the new one, never a part."""
        file = self._file(key)
        file.parent.mkdir(exist_ok=True)
        handle, part = tempfile.mkstemp(dir=file.parent, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                out.write(text)
            os.replace(part, file)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise

    def _file(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"
