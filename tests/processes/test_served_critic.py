"""A real language model as a critic, served by `transformers serve` in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from frown.config import EndpointConfig, ModelCriticConfig
from parrot import parrot
from parrot_critic import COMMENTS, SAID, here, request


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return parrot(tmp_path_factory.mktemp("parrot"), json.dumps(SAID))


@pytest.fixture(scope="module")
def served(folder):
    for package in ("openai", "fastapi", "uvicorn"):
        pytest.importorskip(package, reason='serving needs pip install "frown[critics,dev]"')
    program = Path(sys.executable).with_name("transformers")
    process = subprocess.Popen(
        [str(program), "serve", "--host", "127.0.0.1", "--port", "0", "--device", "cpu", str(folder)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", line):
            break
    else:
        pytest.fail("transformers serve did not start:\n" + "".join(lines))
    yield f"{found[1]}/v1"
    process.kill()
    process.wait()
    process.stderr.close()


def there(served: str, folder: Path, **more):
    from frown.critics.endpoint import endpoint_critic

    endpoint = {
        "base_url": served,
        "model": str(folder),
        "key_variable": "",
        "timeout": 600.0,
        "deadline": 600.0,
        "backoff": 0.01,
    }
    endpoint |= more.pop("endpoint", {})
    return endpoint_critic(ModelCriticConfig(endpoint=EndpointConfig(**endpoint), max_new_tokens=32, **more))


def test_a_served_model_and_the_same_model_here_say_the_same_and_cost_the_same(served, folder):
    far, near = there(served, folder), here(folder)
    requests = [request(), request("2+3 = 5", asked=(0,)), request("a", "b", "c", asked=(2,))]
    said = far.review(requests)
    assert said == near.review(requests)
    assert said[0].comments == COMMENTS and [c.step for c in said[1].comments] == [0]
    assert "step 3 is not judged" in said[2].lost
    assert far.statistics == near.statistics
    found = far.statistics
    assert (found.calls, found.answered, found.lost, found.reasked) == (4, 2, {"unreadable": 1}, 1)
    assert found.completion_tokens == 4 * 2 and found.tokens == found.prompt_tokens + found.completion_tokens


def test_a_served_model_is_asked_once_for_the_same_review(served, folder, tmp_path):
    first = there(served, folder, cache=tmp_path / "cache")
    again = there(served, folder, cache=tmp_path / "cache")
    assert first.review([request()]) == again.review([request()])
    assert first.statistics.calls == 1 and again.statistics.calls == again.statistics.tokens == 0


def test_a_model_that_a_server_does_not_serve_is_named(served, folder):
    one = there(served, folder, endpoint={"model": "another"})
    assert "HTTP 400: Server is pinned to" in one.review([request()])[0].lost
    assert one.statistics.calls == 2 and one.statistics.tokens == 0


def test_budgets_hold_against_a_real_server(served, folder):
    one = there(served, folder, call_budget=3, endpoint={"concurrency": 4})
    reviews = one.review([request("2+3 = 5", f"5*4 = {n}") for n in range(30, 38)])
    assert one.statistics.calls == 3 == sum(bool(r.comments) for r in reviews)
    assert one.statistics.lost == {"budget": 5}
