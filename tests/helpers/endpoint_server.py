"""The misbehaving endpoint of `hostile_server.py` in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request

from paths import HELPERS

KEY = "sk-test-0a1B2c3D4e5F6g7H8"


class Server:
    def __init__(self) -> None:
        program = HELPERS / "hostile_server.py"
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.root = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        self.url = f"{self.root}/v1"

    def log(self) -> dict:
        with urllib.request.urlopen(f"{self.root}/log") as response:
            return json.load(response)

    def calls(self, script: str) -> list[dict]:
        return [call for call in self.log()["calls"] if call["body"]["model"] == script]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
