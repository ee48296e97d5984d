"""Two real processes that sample from one vLLM server, against one that does: equal requests, answers and weights."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytest.importorskip("requests", reason="TRL's vLLM client needs requests")
pytest.importorskip("trl", reason="the vLLM engine is TRL's")

from frown.lab.base import model_path
from frown.store.run_directory import RunDirectory
from paths import HELPERS
from two_processes import differences, finished
from vllm_server import VLLMServer
from warm import Pair, Process

UPDATE = ["/start_weight_update", "/update_weights", "/finish_weight_update", "/reset_prefix_cache"]
SETTINGS = (
    "model.device=cpu", "distributed.timeout=600", "sampling.prompts_per_step=3", "sampling.responses_per_prompt=2",
    "sampling.max_new_tokens=40", "method=opsd", "optimiser.steps=3", "optimiser.lr=1e-3",
    "loss.importance_cap=2", "eval.every=3", "eval.prompts=1", "eval.samples=2", "checkpoint.every=1",
    "sampling.vllm.wait=0",
)  # fmt: skip
"""Shares that differ in size, in evaluations one that is empty."""


@pytest.fixture
def server():
    server = VLLMServer(model_path("chains-0"))
    yield server
    server.close()


def started(processes: int, server: VLLMServer, out: Path, *more: str) -> Process | Pair:
    url = f"sampling.vllm.base_url={server.url}"
    start = Pair if processes == 2 else Process
    return start("train", *SETTINGS, url, *more, "--out", str(out), script=HELPERS / "two_vllm.py")


def asked(server: VLLMServer) -> list:
    """What the server was asked, in order; what came between two updates of the weights in an order of its own."""
    blocks: list = []
    for path, said in server.asked:
        if path in UPDATE:
            blocks.append(path)
        elif path == "/v1/completions":
            if not blocks or isinstance(blocks[-1], str):
                blocks.append([])
            blocks[-1].append((said["seed"], said["n"], said["prompt"]))
    return [sorted(b) if isinstance(b, list) else b for b in blocks]


def slow(answer):
    """Weights that take their time."""
    time.sleep(0.3)
    return answer


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The run in one process, and what its server was asked."""
    out, server = tmp_path_factory.mktemp("one") / "run", VLLMServer(model_path("chains-0"))
    finished(started(1, server, out))
    server.close()
    return out, asked(server)


@pytest.mark.parametrize("sharding", ["none", "fsdp2"])
def test_two_processes_ask_and_learn_as_one(one, server, tmp_path, sharding):
    """All answers of a step come from the weights of that step, also where these are slow to arrive."""
    server.acts["/update_weights"].extend([slow] * 4)
    served: list = []
    server.acts["/v1/completions"].extend([lambda answer: served.append(answer) or answer] * 99)
    finished(started(2, server, tmp_path / "run", f"distributed.sharding={sharding}"))
    expected, requests = one
    assert asked(server) == requests
    counts = [len(b) for b in requests if isinstance(b, list)]
    assert counts[1:] == [3, 3, 1] and requests.count("/update_weights") == 4
    assert [b for b in requests if isinstance(b, str)] == UPDATE * 4
    assert differences(expected, tmp_path / "run") == []
    mismatch = [m["mismatch"] for m in RunDirectory(tmp_path / "run").metrics() if "mismatch" in m]
    assert len(mismatch) == 3 and max(mismatch) < 1e-5
    verbatim = {tuple(c["token_ids"]) for answer in served for c in answer["choices"]}
    files = sorted((tmp_path / "run" / "rollouts").iterdir())
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert len(rows) == 18 and {tuple(row["ids"]) for row in rows} <= verbatim


def test_adapters_in_parts_reach_the_server_merged(server, tmp_path):
    """Under FSDP2 beside one process: what vLLM answers depends on the weights it got."""
    pytest.importorskip("peft")
    lora = ("model.lora.rank=3", "optimiser.lr=1e-4")
    finished(started(1, server, tmp_path / "one", *lora))
    requests = asked(server)
    server.asked.clear()
    finished(started(2, server, tmp_path / "two", *lora, "distributed.sharding=fsdp2"))
    assert asked(server) == requests and requests.count("/update_weights") == 4
    assert differences(tmp_path / "one", tmp_path / "two") == []
    mismatch = [m["mismatch"] for m in RunDirectory(tmp_path / "two").metrics() if "mismatch" in m]
    assert len(mismatch) == 3 and max(mismatch) < 1e-5


@pytest.mark.parametrize(
    ("path", "act", "said"),
    [
        ("/v1/completions", 500, "failed when it was asked for answers: Request failed: 500"),
        ("/v1/completions", "hang", "silent too long when it was asked for answers"),
        ("/update_weights", 500, "failed when it was sent the policy's weights: Request failed: 500"),
        ("/health", 500, "/health says 500"),
    ],
)
def test_a_server_that_fails_one_process_ends_the_run_of_both_with_one_line(server, tmp_path, path, act, said):
    server.acts[path].append(act)
    process = started(2, server, tmp_path / "run", f"sampling.vllm.timeout={10 if act == 'hang' else 600}")
    _, told = process.communicate()
    assert process.returncode != 0
    [line] = [x for x in told.splitlines() if x.startswith("frown: ")]
    assert said in line, told
    if path != "/health":  # the run had begun
        status, why = RunDirectory(tmp_path / "run").status
        assert status == "failed" and why in line
