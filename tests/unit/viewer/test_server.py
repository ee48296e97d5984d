"""The local server: this machine alone, read-only, behind a secret; and what it answers."""

import http.client
import json
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from frown.errors import FrownError
from frown.viewer.history import history
from frown.viewer.index import read_index
from frown.viewer.page import page
from frown.viewer.server import LookServer
from look_runs import comparison


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    found = LookServer(read_index(comparison(tmp_path_factory.mktemp("look") / "demo")))
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


def ask(server, path, method="GET", **headers):
    """Status, headers and body of one request; `path` without a leading slash stands behind the secret."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
    named = {k.replace("_", "-"): v for k, v in headers.items()}
    connection.request(method, path if path.startswith("/") else f"/{server.secret}/{path}", headers=named)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.headers, body


def test_the_page_and_its_headers(server):
    status, headers, body = ask(server, "")
    assert status == 200 and body.startswith(b"<!doctype html>")
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store" and headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers and "Python" not in headers["Server"]


def test_what_it_answers(server):
    assert json.loads(ask(server, "api/overview")[2])["count"] == len(server.index)
    assert json.loads(ask(server, "api/page?at=3")[2]) == json.loads(json.dumps(page(server.index, 3)))
    assert json.loads(ask(server, "api/history?at=3")[2]) == json.loads(json.dumps(history(server.index, 3)))
    assert len(json.loads(ask(server, "api/search?q=what%20is%20T9")[2])) == 12


def test_it_listens_on_this_machine_alone(server):
    assert server.server_address[0] == "127.0.0.1" and server.url.startswith("http://127.0.0.1:")
    assert len(server.secret) >= 32
    with pytest.raises(FrownError, match="choose another --port"):
        LookServer(server.index, server.server_port)


@pytest.mark.parametrize("path", ["/", "/api/overview", "/x/api/overview", "/favicon.ico", "//", "/%2e%2e/etc/passwd"])
def test_nothing_without_the_secret(server, path):
    status, headers, body = ask(server, path)
    assert status == 404 and b"demo" not in body and server.secret.encode() not in body
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_no_file_is_served(server):
    for path in ("../../etc/passwd", "api/../../x", "config.json", "api/page/../../x", "look.js"):
        assert ask(server, path)[0] == 404


@pytest.mark.parametrize("query", ["", "?at=", "?at=-1", "?at=999999", "?at=1e3", "?at=%D9%A1", "?at=../x"])
def test_positions_that_are_none(server, query):
    for what in ("page", "history"):
        status, _, body = ask(server, f"api/{what}{query}")
        assert status == 400 and b"position from 0" in body


def test_another_name_or_origin_is_refused(server):
    for headers in (
        {"Host": f"evil.example:{server.server_port}"},
        {"Host": "127.0.0.1"},
        {"Host": ""},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ):
        status, _, body = ask(server, "", **headers)
        assert (status, body) == (403, b"not from here"), headers
    assert ask(server, "", Host=f"localhost:{server.server_port}", Sec_Fetch_Site="same-origin")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_only_reads(server, method):
    assert ask(server, "api/overview", method)[0] == 501


def test_head_has_no_body(server):
    status, headers, body = ask(server, "api/overview", "HEAD")
    assert status == 200 and body == b"" and int(headers["Content-Length"]) > 100


@pytest.mark.slow
def test_many_ask_at_once(server):
    """The browser opens a group's answers side by side; one file is read by all of them."""
    expected = [json.loads(json.dumps(page(server.index, i))) for i in range(len(server.index))]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda k: ask(server, f"api/page?at={k % len(expected)}"), range(300)))
    assert all(status == 200 for status, _, _ in found)
    assert [json.loads(body) for _, _, body in found] == [expected[k % len(expected)] for k in range(300)]


def test_a_reader_who_goes_away_is_no_error(server, capsys):
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.server_port)) as link:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset, not closed
            link.sendall(
                f"GET /{server.secret}/ HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode() * 50
            )
    assert ask(server, "api/page?at=0")[0] == 200
    time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_a_file_that_goes_away_is_an_answer(tmp_path):
    index = read_index(comparison(tmp_path / "demo"))
    found = LookServer(index)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    index.files[index.file[0]].path.unlink()
    assert ask(found, "api/page?at=0")[0] == 500
    assert ask(found, f"api/page?at={len(index) - 1}")[0] == 200
    found.shutdown()
    found.server_close()
