"""A real language model as a critic, in this process."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from frown.config import LocalModelConfig
from frown.critics.model.local import LocalModel
from frown.errors import FrownError
from frown.types import Verdict
from parrot import parrot
from parrot_critic import COMMENTS, SAID, here, request
from tiny import byte_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return parrot(tmp_path_factory.mktemp("parrot"), json.dumps(SAID))


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
