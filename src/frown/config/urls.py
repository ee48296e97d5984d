"""Addresses of servers."""

from __future__ import annotations

from urllib.parse import urlsplit


def check_url(base_url: str, example: str, mend: str) -> None:
    """ValueError, which does not repeat it, for what is no plain address of a server."""
    try:
        url = urlsplit(base_url)
        host, _ = url.hostname, url.port
    except ValueError:
        host = None
    if not host or url.scheme not in ("http", "https"):
        raise ValueError(f'base_url is no URL; it reads like "{example}"')
    if url.username is not None or url.password is not None or url.query or url.fragment:
        raise ValueError(f"base_url holds a user, a password or a query; {mend}")
