"""Replies that were paid for once, in an SQLite file that several processes may share.

SQLite from the standard library rather than diskcache: the latter is no longer maintained and unpickles what it finds
on disk (CVE-2025-69872), and all that is kept here is text.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from frown.errors import FrownError

_WAIT = 2.0
"""Seconds to wait for another process that writes."""


class ReplyCache:
    """Key to text. A connection is opened for each use: so threads, forks and forgotten files are no matter.

    Raises FrownError at the start when the file cannot be used. Later faults are the caller's to count: `get` and
    `put` raise sqlite3.Error.
    """

    def __init__(self, file: Path) -> None:
        self._file = file.expanduser()
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._open()) as db, db:
                db.execute("CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, critic TEXT, reply TEXT)")
                db.execute("SELECT key, critic, reply FROM replies LIMIT 0")
        except (OSError, sqlite3.Error) as error:
            raise FrownError(
                f"cannot use {file} as a critic's cache: {error}; delete it or name another file"
            ) from None

    def get(self, key: str) -> str | None:
        """What is kept under a key."""
        with closing(self._open()) as db:
            row = db.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        return row[0] if row and isinstance(row[0], str) else None

    def put(self, key: str, critic: str, reply: str) -> None:
        """Keep a text, and for the record which critic wrote it."""
        with closing(self._open()) as db, db:
            db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?)", (key, critic, reply))

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._file, timeout=_WAIT)
