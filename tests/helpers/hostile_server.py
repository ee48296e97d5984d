"""An HTTP server of the standard library that does what it is told to, most of it bad. Run as a program.

The model's name in a request is a script: "503,503,right" answers two calls with status 503 and all further ones as
it should; what stands behind a colon only tells scripts apart. `GET /log` gives what was asked, one entry a call. The
first line of its output is its port.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOG: list[dict] = []
CALLS: Counter[str] = Counter()
LOCK = threading.Lock()
BUSY = [0, 0]
"""Calls under way, and the most there were at once."""
FOUR, EIGHT = threading.Barrier(4), threading.Barrier(8)
"""Calls that are answered when so many are under way."""
MEGABYTE = 1 << 20


def judgements(prompt: str, right: bool, correction: str = "x = 1") -> list[dict]:
    """A judgement of every step asked about, and nothing else."""
    asked = re.search(r"Judge steps? ([\d, ]+)\.", prompt)
    assert asked, prompt
    return [
        {"step": int(n), "reason": "checked", "right": right, "correction": "" if right else correction}
        for n in asked[1].split(",")
    ]


def completion(content: object, finish: str = "stop", usage: object = None) -> bytes:
    """A chat completion that says this."""
    usage = {"prompt_tokens": 100, "completion_tokens": 20} if usage is None else usage
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content}}
    return json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        with LOCK:
            self.reply(200, json.dumps({"calls": LOG, "most_at_once": BUSY[1]}).encode())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        script = body["model"].partition(":")[0].split(",")
        with LOCK:
            act = script[min(CALLS[body["model"]], len(script) - 1)]
            CALLS[body["model"]] += 1
            LOG.append({"act": act, "path": self.path, "at": time.monotonic(), "body": body})
            BUSY[0] += 1
            BUSY[1] = max(BUSY)
        try:
            self.act(act, body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the caller has gone
        finally:
            with LOCK:
                BUSY[0] -= 1

    def reply(self, status, body, **headers):
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def error(self, status, message, **headers):
        self.reply(status, json.dumps({"error": {"message": message}}).encode(), **headers)

    def say(self, steps, **more):
        self.reply(200, completion(json.dumps({"steps": steps}), **more))

    def act(self, act, body):
        prompt = body["messages"][1]["content"]
        if act == "right":
            self.say(judgements(prompt, True))
        elif act == "wrong":
            self.say(judgements(prompt, False))
        elif act == "four_at_once":
            FOUR.wait()
            self.say(judgements(prompt, True))
        elif act == "slowly":
            time.sleep(0.15)
            self.say(judgements(prompt, True))
        elif act == "repeats":  # the correction is what the student wrote
            wrote = re.findall(r"begin step \d+\]\n(.*?)\n\[", prompt, re.S)
            self.say([j | {"correction": f"No, {wrote[j['step'] - 1]}"} for j in judgements(prompt, False)])
        elif act == "stray":
            self.say([*judgements(prompt, True), {"step": 99, "reason": "", "right": True, "correction": ""}])
        elif act == "some":  # the first of the steps asked about, alone
            self.say(judgements(prompt, True)[:1])
        elif act == "chatty":
            verdict = json.dumps({"steps": judgements(prompt, True)})
            self.reply(200, completion(f'<think>Is {{"a": [1]}} it?</think>Here:\n```json\n{verdict}\n```\nDone.'))
        elif act == "cut":
            self.reply(200, completion('{"steps": [{"step": 1, "reas', finish="length"))
        elif act == "prose":
            self.reply(200, completion("All of it looks fine to me."))
        elif act == "nobody":
            self.reply(200, completion(None))
        elif act == "string_types":
            self.say([{"step": "1", "reason": 3, "right": "yes", "correction": []}])
        elif act == "surrogate":
            self.reply(200, completion('{"steps": [{"step": 1, "right": false, "correction": "\\ud800"}]}'))
        elif act == "usage_missing":
            self.say(judgements(prompt, True), usage={})
        elif act == "usage_absurd":
            self.say(judgements(prompt, True), usage={"prompt_tokens": -5, "completion_tokens": True})
        elif act == "empty":
            self.reply(200, b"")
        elif act == "html":
            self.reply(200, b"<html><body>Sign in</body></html>", Content_Type="text/html")
        elif act == "malformed":
            self.reply(200, b'{"choices": [{"message": ')
        elif act == "wrong_types":
            self.reply(200, b'{"choices": "none", "usage": 7}')
        elif act == "nested":
            self.reply(200, b'{"choices": ' + b"[" * 200_000)
        elif act == "nested_reply":
            self.reply(200, completion('{"a":' * 50_000))
        elif act in ("huge", "huge_error"):
            self.send_response(200 if act == "huge" else 500)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(10 * MEGABYTE))
            self.end_headers()
            for _ in range(10):
                self.wfile.write(b" " * MEGABYTE)
        elif act == "packed":  # ten megabytes in ten kilobytes
            self.reply(200, gzip.compress(b" " * (10 * MEGABYTE)), Content_Encoding="gzip")
        elif act in ("no_schema", "no_schema_to_eight"):
            if "response_format" in body:
                if act == "no_schema_to_eight":
                    EIGHT.wait()
                self.error(400, "'response_format.type' must be 'text'")
            else:
                self.say(judgements(prompt, True))
        elif act == "redirect":
            self.reply(307, b"", Location=f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        elif act == "leaks":  # the key in the status line, a header and, over and over, in the message
            key = self.headers["Authorization"]
            body = json.dumps({"error": {"message": f"see {key.split()[1]} " * 30}}).encode()
            self.send_response(401, key)
            self.send_header("X-Key", key)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        elif act == "leaks_reply":
            key = self.headers["Authorization"].split()[1]
            correction = "".join(f"\\u{ord(c):04x}" for c in key)  # hidden from whoever searches the bytes alone
            step = f'"step": 1, "right": false, "reason": "{key}", "correction": "use {correction}"'
            self.reply(200, completion('{"steps": [{' + step + "}]}"))
        elif act == "later":
            self.error(429, "slow down", Retry_After="1")
        elif act == "much_later":
            self.error(429, "slow down", Retry_After="3600")
        elif act == "at_a_date":
            self.error(503, "gone", Retry_After="Wed, 21 Oct 2015 07:28:00 GMT")
        elif act == "quota":
            body = {"error": {"message": "no money left", "code": "insufficient_quota"}}
            self.reply(429, json.dumps(body).encode())
        elif act.isdigit():
            self.error(int(act), "as told")
        elif act == "hang":
            time.sleep(3600)
        elif act == "drip":  # never silent for long, and never done
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            while True:
                self.wfile.write(b" ")
                time.sleep(0.05)
        elif act == "drip_headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while True:
                self.wfile.write(b"X-A: b\r\n")
                time.sleep(0.05)
        elif act == "drop":  # in the middle of the body
            whole = completion(json.dumps({"steps": judgements(prompt, True)}))
            self.send_response(200)
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            self.wfile.write(whole[: len(whole) // 2])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif act == "reset":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        else:
            raise ValueError(act)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()  # ends with its parent
    server.serve_forever()


if __name__ == "__main__":
    main()
