"""A local page for runs of any size: this machine alone, read-only, behind a secret in the link.

What is answered, below /SECRET/:  the page;  api/overview;  api/page?at=I;  api/history?at=I;  api/search?q=TEXT.
Everything else is 404. A request must name this machine as its host, so that a page elsewhere cannot reach it through
a name of its own that resolves to 127.0.0.1 (DNS rebinding), and must not come from another site.
"""

from __future__ import annotations

import hmac
import re
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from frown.errors import FrownError, first_line
from frown.viewer.file import document
from frown.viewer.history import history
from frown.viewer.index import Index
from frown.viewer.overview import overview
from frown.viewer.page import as_json, page
from frown.viewer.search import search

_META = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]*)"')
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
QUERY = 1000
"""Characters that a search may have."""


class LookServer(ThreadingHTTPServer):
    """Serves one index on 127.0.0.1. `url` holds the secret. Use `serve_forever` and `shutdown`."""

    daemon_threads = True

    def __init__(self, index: Index, port: int = 0):
        """`port` 0: any free one. Raises FrownError where the port is taken."""
        self.index = index
        self.secret = secrets.token_urlsafe(24)
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            raise FrownError(f"cannot listen on port {port}: {error}; choose another --port") from None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader who went away in the middle of an answer is no error."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """The link to open."""
        return f"http://127.0.0.1:{self.server_port}/{self.secret}/"

    @cached_property
    def hosts(self) -> frozenset[str]:
        """What a request may call this machine."""
        return frozenset(f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost"))

    @cached_property
    def document(self) -> tuple[bytes, str]:
        """The page, and its content policy."""
        text = document(self.index.name, None, connect=True)
        policy = _META.search(text)
        assert policy is not None
        return text.encode(), policy[1].replace("&#x27;", "'") + "; frame-ancestors 'none'"

    @cached_property
    def overview(self) -> bytes:
        """The answer to api/overview, made once."""
        return as_json(overview(self.index)).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LookServer
    timeout = 60

    def do_GET(self) -> None:
        """Answer, or say why not."""
        self._send(*self._reply())

    do_HEAD = do_GET

    def _reply(self) -> tuple[HTTPStatus, bytes, str]:
        """Status, body and media type."""
        if not self._trusted():
            return HTTPStatus.FORBIDDEN, b"not from here", "text/plain"
        where = urlsplit(self.path)
        _, secret, path = [*where.path.split("/", 2), "", ""][:3]
        known = hmac.compare_digest(secret.encode(), self.server.secret.encode()) and where.path.count("/") >= 2
        answer = self._answers().get(path) if known else None
        if answer is None:
            return HTTPStatus.NOT_FOUND, b"nothing here; open the link that frown look printed", "text/plain"
        try:
            return HTTPStatus.OK, answer(parse_qs(where.query)), "application/json" if path else "text/html"
        except (ValueError, IndexError, KeyError, FrownError) as error:
            return HTTPStatus.BAD_REQUEST, first_line(error).encode("utf-8", "replace"), "text/plain"
        except OSError as error:
            return HTTPStatus.INTERNAL_SERVER_ERROR, first_line(error).encode("utf-8", "replace"), "text/plain"

    def _trusted(self) -> bool:
        """Whether this machine is asked under its own name, and by its own page or by nobody's."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        return (
            host in self.server.hosts
            and (origin is None or origin.removeprefix("http://") in self.server.hosts)
            and self.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
        )

    def _answers(self) -> dict[str, Callable[[dict[str, list[str]]], bytes]]:
        index = self.server.index
        return {
            "": lambda _: self.server.document[0],
            "api/overview": lambda _: self.server.overview,
            "api/page": lambda query: as_json(page(index, self._at(query))).encode(),
            "api/history": lambda query: as_json(history(index, self._at(query))).encode(),
            "api/search": lambda query: as_json(search(index, query.get("q", [""])[0][:QUERY])).encode(),
        }

    def _at(self, query: dict[str, list[str]]) -> int:
        text = query.get("at", [""])[0]
        if not (text.isascii() and text.isdigit() and int(text) < len(self.server.index)):
            raise ValueError(f"at is a position from 0 to {len(self.server.index) - 1}")
        return int(text)

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        policy = self.server.document[1] if kind == "text/html" else "default-src 'none'; frame-ancestors 'none'"
        for name, value in {**_HEADERS, "Content-Security-Policy": policy}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        """Say nothing about versions."""
        return "frown"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are nobody's business: the secret would stand in the log."""


def serve(index: Index, port: int, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C. `ready` is given the link. Raises FrownError where the port is taken."""
    with LookServer(index, port) as server:
        ready(server.url)
        with suppress(KeyboardInterrupt):
            server.serve_forever()
