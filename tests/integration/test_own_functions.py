"""A critic, a signal and an objective of one's own, given to a run in Python."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from frown.config import RunConfig, parse
from frown.critics.base import Comment, Review
from frown.errors import FrownError
from frown.store.run_directory import RunDirectory
from frown.training.run import train


def config(**changes) -> RunConfig:
    values = {
        "sampling": {"prompts_per_step": 2, "responses_per_prompt": 2},
        "method": {"type": "aimed", "aim": "custom"},
        "optimiser": {"steps": 1},
        "eval": {"every": 1, "prompts": 1, "samples": 1},
    }
    return parse(RunConfig, values | changes, "test")


class Noting:
    """Remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def review(self, requests):
        self.asked += [q.asked for q in requests]
        return [Review(tuple(Comment(i, False, f"look at {i}") for i in q.asked)) for q in requests]


def test_a_signal_says_which_step_a_critic_is_asked_about(tmp_path):
    critic = Noting()
    train(config(), tmp_path / "run", critic=critic, signal=lambda r: np.arange(len(r.ids)))
    rollouts = _rollouts(tmp_path / "run")
    assert critic.asked == [(len(r["steps"]) - 1,) for r in rollouts if r["steps"]]  # the largest value comes last
    assert {p["text"] for r in rollouts for p in r["feedback"]} == {f"look at {i}" for (i,) in critic.asked}


def test_without_a_signal_or_with_a_wrong_one_it_is_one_line(tmp_path):
    with pytest.raises(FrownError, match=r"train\(\.\.\., signal=function\)"):
        train(config(), tmp_path / "none")
    with pytest.raises(FrownError, match="a signal has one value a token"):
        train(config(), tmp_path / "wrong", signal=lambda r: np.zeros(3))


def test_the_built_in_objective_written_out_gives_the_same_run(tmp_path):
    def same(leaves, weight, advantage):
        loss = -advantage * (leaves.logp - leaves.logp.detach()).exp()
        return loss if leaves.divergence is None else loss + weight * leaves.divergence

    changes = {"method": {"type": "opsd", "distillation": 0.5}}
    losses = []
    for name, own in (
        ("built-in", None),
        ("own", same),
        ("nothing", lambda leaves, w, a: torch.zeros_like(leaves.logp)),
    ):
        train(config(**changes), tmp_path / name, objective=own)
        losses.append(next(m["loss"] for m in RunDirectory(tmp_path / name).metrics() if "loss" in m))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6) and losses[0] != 0 == losses[2]


def _rollouts(path):
    import pyarrow.parquet as pq

    return pq.read_table(path / "rollouts" / "step=000001.parquet").to_pylist()
