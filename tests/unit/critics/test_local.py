"""A real language model as a critic: served by `transformers serve` in a process of its own, and in this process."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from frown.config import EndpointConfig, LocalModelConfig, ModelCriticConfig
from frown.critics.base import Comment, Request
from frown.critics.local import LocalModel, local_critic
from frown.errors import FrownError
from frown.types import Task, Verdict
from parrot import parrot
from tiny import byte_model

SAID = {
    "steps": [
        {"step": 1, "reason": "two and three are five", "right": True, "correction": ""},
        {"step": 2, "reason": "four fives", "right": False, "correction": "5*4 = 20"},
    ]
}
TASK = Task("t", ({"role": "user", "content": "What is 2+3, times 4?"},), "20")


def request(*steps: str, asked=(0, 1), verdict=None) -> Request:
    steps = steps or ("2+3 = 5", "5*4 = 45")
    return Request(TASK, "\n".join(steps), steps, asked, verdict)


COMMENTS = (
    Comment(0, True, "Step 1 is right: 2+3 = 5"),
    Comment(1, False, "Step 2 is wrong. It should be: 5*4 = 20"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return parrot(tmp_path_factory.mktemp("parrot"), json.dumps(SAID))


def here(folder: Path, *, max_new_tokens=32, **more):
    local = {"path": str(folder), "dtype": "float32", "device": "cpu"} | more.pop("local", {})
    return local_critic(ModelCriticConfig(local=LocalModelConfig(**local), max_new_tokens=max_new_tokens, **more))


# -- behind an endpoint ------------------------------------------------------------------------------------------


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

    endpoint = {"base_url": served, "model": str(folder), "key_variable": "", "deadline": 20.0, "backoff": 0.01}
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


# -- in this process ---------------------------------------------------------------------------------------------


def test_a_model_that_talks_nonsense_is_asked_twice_and_lost(tmp_path):
    one = here(byte_model(tmp_path, context=8192), max_new_tokens=8)
    reviews = one.review([request(), request("x")])
    assert all("cut off after 8 tokens" in r.lost for r in reviews)
    found = one.statistics
    assert (found.calls, found.reasked, found.completion_tokens) == (4, 2, 32) and found.lost == {"unreadable": 2}


def test_a_batch_says_what_each_prompt_alone_would(tmp_path):
    config = LocalModelConfig(path=str(byte_model(tmp_path)), dtype="float32", device="cpu")
    model = LocalModel(config, (), 12)
    prompts = [np.arange(n, dtype=np.int64) % 250 for n in (3, 40, 17)]
    together = model._continuations(prompts)
    for ids, found in zip(prompts, together, strict=True):
        (alone,) = model._continuations([ids])
        assert alone.tolist() == found.tolist()
        out = model._model.generate(torch.from_numpy(ids)[None], do_sample=False, max_new_tokens=12)[0, len(ids) :]
        assert out.tolist() == found.tolist()


@pytest.mark.parametrize("batch_tokens", [1, 6000, 10**6])
def test_batches_of_any_size_give_the_same_reviews_in_order(folder, batch_tokens, monkeypatch):
    sizes = []
    plain = LocalModel._continuations
    monkeypatch.setattr(LocalModel, "_continuations", lambda m, p: sizes.append(len(p)) or plain(m, p))
    one = here(folder, local={"batch_tokens": batch_tokens})
    steps = [("2+3 = 5" + " " * n + f"!{n}", "5*4 = 45") for n in range(7)]
    reviews = one.review([request(*s) for s in steps])
    assert [r.comments[0].text for r in reviews] == [f"Step 1 is right: {s[0]}" for s in steps]
    assert sizes == {1: [1] * 7, 6000: sizes, 10**6: [7]}[batch_tokens] and sum(sizes) == 7
    assert batch_tokens != 6000 or 1 < max(sizes) < 7


def test_budgets_hold_here_too(folder):
    calls = here(folder, call_budget=2)
    assert [bool(r.comments) for r in calls.review([request(f"a{i}", "b") for i in range(5)])].count(True) == 2
    assert calls.statistics.lost == {"budget": 3} and calls.statistics.calls == 2
    probe = here(folder)
    probe.review([request("a0", "b")])
    one_review = probe.statistics.tokens
    tokens = here(folder, token_budget=3 * one_review)
    tokens.review([request(f"a{i}", "b") for i in range(9)])
    # Each may take 30 tokens more than it does, so that the third does not fit any more.
    found = tokens.statistics
    assert (found.tokens, found.answered, found.lost) == (2 * one_review, 2, {"budget": 7})


def test_a_prompt_that_does_not_fit_is_lost_and_others_are_not(folder):
    one = here(folder, max_new_tokens=8000)
    long, short = one.review([request("2" * 9000, "b"), request()])
    assert "does not fit the model's context" in long.lost and short.comments == COMMENTS
    assert one.statistics.lost == {"too long": 1}


def test_a_model_that_breaks_down_costs_its_batch_and_no_more(folder, monkeypatch):
    one = here(folder, local={"batch_tokens": 1})
    plain, calls = LocalModel._continuations, []

    def breaks(model, prompts):
        calls.append(len(prompts))
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate much")
        return plain(model, prompts)

    monkeypatch.setattr(LocalModel, "_continuations", breaks)
    lost, fine = one.review([request("2+3 = 5, to be sure", "5*4 = 45"), request()])
    assert "out of memory" in lost.lost and "\n" not in lost.lost and fine.comments
    assert one.statistics.lost == {"failed": 1}


def test_an_interrupt_leaves_the_budget_in_order(folder, monkeypatch):
    one = here(folder, token_budget=20_000)
    plain = LocalModel._continuations

    def interrupted(model, prompts):
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalModel, "_continuations", interrupted)
    with pytest.raises(KeyboardInterrupt):
        one.review([request()])
    monkeypatch.setattr(LocalModel, "_continuations", plain)
    assert one.review([request()])[0].comments == COMMENTS


def test_a_template_without_system_turns_is_no_matter(folder, tmp_path):
    plain = shutil.copytree(folder, tmp_path / "plain")
    template = plain / "chat_template.jinja"
    template.write_text(
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + template.read_text()
    )
    assert here(plain).review([request()])[0].comments == COMMENTS
    template.write_text("{{ raise_exception('nothing at all') }}")
    with pytest.raises(FrownError, match="chat template failed"):
        here(plain)


def test_what_is_cached_belongs_to_these_very_weights(folder, tmp_path):
    cache = tmp_path / "cache"
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert here(copy, cache=cache).review([request()])[0].comments == COMMENTS
    same = here(copy, cache=cache)
    assert same.review([request()])[0].comments == COMMENTS and same.statistics.calls == 0
    now = time.time() + 10
    os.utime(copy / "model.safetensors", (now, now))
    other = here(copy, cache=cache)
    assert other.review([request()])[0].comments == COMMENTS and other.statistics.calls == 1


def test_half_the_weights_size_will_do(folder):
    one = here(folder, local={"dtype": "bfloat16"})
    assert one._backend._model.dtype == torch.bfloat16 and not any(
        p.requires_grad for p in one._backend._model.parameters()
    )
    assert one.review([request(verdict=Verdict(0.0))])[0].comments == COMMENTS


def test_asking_changes_no_random_draw(folder):
    torch.manual_seed(3)
    one = here(folder)
    before = torch.get_rng_state()
    one.review([request()])
    assert torch.equal(before, torch.get_rng_state())


def test_a_closed_critic_holds_no_weights(folder):
    one = here(folder)
    one.close()
    one.close()
    assert one._backend._model is None and "closed" in one.review([request()])[0].lost


def test_folders_that_cannot_be_loaded_are_refused_in_one_line(tmp_path):
    with pytest.raises(FrownError, match="does not exist"):
        here(tmp_path / "none")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(FrownError, match="pickled weights are not loaded"):
        here(tmp_path)
