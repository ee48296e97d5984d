"""Serve a GGUF file on this machine by llama.cpp, e.g. as a critic: OpenAI's protocol, no key, this machine alone.

pip install xllamacpp
python examples/serve_gguf.py critic.gguf --port 8000
"""

from __future__ import annotations

import argparse
import os
import threading
from pathlib import Path
from typing import Any


def settings(file: Path, port: int, context: int, answers: int, threads: int) -> Any:
    """llama.cpp's settings of a server for one model."""
    from xllamacpp import CommonParams

    chosen = CommonParams()
    chosen.model.path = str(file)
    chosen.model_alias = {file.stem}
    chosen.hostnames, chosen.port = ["127.0.0.1"], port
    chosen.n_ctx, chosen.n_parallel = context * answers, answers
    chosen.cpuparams.n_threads = chosen.cpuparams_batch.n_threads = threads
    return chosen


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Serve a GGUF file by llama.cpp.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--port", type=int, default=8000, help="0: any free one")
    parser.add_argument("--context", type=int, default=4096, help="tokens of one conversation")
    parser.add_argument("--answers", type=int, default=2, help="conversations at once")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    given = parser.parse_args()
    if not given.file.is_file():
        parser.error(f"{given.file} is no file")
    from xllamacpp import Server

    server = Server(settings(given.file, given.port, given.context, given.answers, given.threads))
    print(f"{server.listening_address}/v1 serves {given.file.stem}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
