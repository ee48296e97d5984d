"""A loopback server that speaks vLLM's protocol, as TRL's client uses it, around a small model on the CPU.

What stands in `acts` under a path happens to the next requests there instead, in order: a status, "hang", "truncate",
"html", "reset", or a function of the right answer. `asked` has what was asked, in order.
"""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections import defaultdict, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from urllib.parse import urlsplit

import numpy as np
import torch
from safetensors.torch import load
from transformers import AutoModelForCausalLM, AutoTokenizer

from frown.policy.load import end_ids
from frown.policy.sampling import Decoding, sample


class VLLMServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder: Path, *, room: int = 512):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.room = room
        self.config = {
            "model_config": {"logprobs_mode": "processed_logprobs"},
            "weight_transfer_config": {"backend": "nccl"},
        }
        self.acts: dict[str, deque] = defaultdict(deque)
        self.asked: list[tuple[str, dict]] = []
        self.wire: Queue = Queue()
        """What the trainer broadcast: (name, tensor)."""
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def close(self) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()

    def answer(self, path: str, said: dict) -> tuple[int, dict]:
        if path == "/v1/models":
            return 200, {"data": [{"id": "student", "max_model_len": self.room}]}
        if path == "/server_info":
            return 200, {"vllm_config": self.config}
        if path == "/get_world_size":
            return 200, {"world_size": 1}
        if path == "/tokenize":
            ids = self.tokenizer(said["prompt"], add_special_tokens=said["add_special_tokens"])["input_ids"]
            return 200, {"tokens": ids, "count": len(ids)}
        if path == "/v1/completions":
            with self.lock:
                return 200, self.complete(said)
        if path == "/wire":  # from another process; in this one, tests put into the queue themselves
            for item in load(base64.b64decode(said["tensors"])).items():
                self.wire.put(item)
            return 200, {}
        if path == "/update_weights":
            with self.lock:
                return self.update(said["update_info"])
        known = ("/health", "/start_weight_update", "/finish_weight_update", "/reset_prefix_cache")
        return (200, {}) if path in known else (404, {"detail": "Not Found"})

    def complete(self, said: dict) -> dict:
        assert said["return_token_ids"] and said["return_tokens_as_token_ids"] and said["logprobs"] == 0
        assert (
            said["top_p"] == 1.0 and said["top_k"] == 0 and said["min_p"] == 0.0 and said["repetition_penalty"] == 1.0
        )
        assert said["stop_token_ids"] == end_ids(self.model, self.tokenizer)
        prompts = [np.asarray(p) for p in said["prompt"]]
        decoding = Decoding(said["temperature"], said["max_tokens"], said["stop_token_ids"], 0)
        groups = sample(self.model, prompts, said["n"], decoding, seed=said["seed"], tokens_at_once=1 << 16)
        raw = self.config["model_config"]["logprobs_mode"] == "raw_logprobs"
        choices = []
        for prompt, group in zip(said["prompt"], groups, strict=True):
            for s in group:
                ids = s.ids.tolist()
                names = [f"token_id:{i}" for i in ids]
                logp = (s.logp * said["temperature"] if raw else s.logp).tolist()
                choices.append({
                    "index": len(choices),
                    "text": "not to be read",
                    "prompt_token_ids": prompt,
                    "token_ids": ids,
                    "finish_reason": "stop" if s.finished else "length",
                    "logprobs": {
                        "tokens": names,
                        "token_logprobs": logp,
                        "top_logprobs": [{n: p} for n, p in zip(names, logp, strict=True)],
                    },
                })  # fmt: skip
        return {"id": "cmpl-1", "choices": choices}

    def update(self, info: dict) -> tuple[int, dict]:
        own = dict(self.model.named_parameters())
        for name, dtype, shape in zip(info["names"], info["dtype_names"], info["shapes"], strict=True):
            sent, tensor = self.wire.get(timeout=600)
            if name != sent or name not in own or list(tensor.shape) != shape or list(own[name].shape) != shape:
                return 500, {"error": {"message": f"cannot load {name}"}}
            assert str(tensor.dtype) == f"torch.{dtype}"
            own[name].data.copy_(tensor)
        return 200, {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: VLLMServer

    def log_message(self, *args) -> None:
        pass

    def do_GET(self) -> None:
        self.respond({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.respond(json.loads(body) if body else {})

    def respond(self, said: dict) -> None:
        path = urlsplit(self.path).path
        self.server.asked.append((path, said))
        act = self.server.acts[path].popleft() if self.server.acts[path] else None
        if act == "hang":
            self.server.ended.wait()
            self.close_connection = True
            return
        if act == "reset":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        status, answer = self.server.answer(path, said)
        if callable(act):
            answer = act(answer)
        body, length = json.dumps(answer).encode(), None
        if isinstance(act, int):
            status, body = act, json.dumps({"error": {"message": f"told to say {act}\x1b[31m"}}).encode()
        elif act == "html":
            body = b"<html>hello</html>"
        elif act == "truncate":
            body, length = body[: len(body) // 2], len(body)
        elif act == "half":
            body = body[: len(body) // 2]
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = act == "truncate"
