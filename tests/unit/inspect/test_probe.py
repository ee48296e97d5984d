"""The probe: closed forms of what it measures, its verdicts, and that it sees what a run's first step sees."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from rich.console import Console

from frown.config import RunConfig, parse
from frown.errors import FrownError
from frown.evals.correlation import foretells, pearson, spearman
from frown.evals.profile import JudgedAnswer, judged_steps, profile
from frown.inspect.probe import KINDS, advantage, headroom, judgement, localisation, probe
from frown.policy.policy import policy_of
from frown.report.probe import example_text, probe_table, profile_table, sentences
from frown.store.run_directory import RunDirectory
from frown.training.run import train
from frown.types import Rollout, Step, Task, Verdict
from tiny import byte_model, gsm8k_rows, write_jsonl

pytestmark = pytest.mark.slow

# -- what the teacher's word is worth ------------------------------------------------------------------------------


def rollout(group, score, right=None, steps=((0, 2), (2, 4), (4, 6)), tokens=6):
    verdict = Verdict.unscored("no idea") if score is None else Verdict(score, step_right=right)
    return Rollout(
        Task(str(group), (), ""), group, np.arange(3), np.arange(tokens), np.zeros(tokens, np.float32), 1.0, "eos", "",
        tuple(Step(*s) for s in steps), None, verdict,
    )  # fmt: skip


def test_advantage_and_localisation_by_hand():
    rollouts = [
        rollout(0, 0.0, (True, False, False)),
        rollout(0, 1.0, (True, True, True)),
        rollout(1, 0.0, (True, True)),  # a verdict too few: nobody knows which step is which
        rollout(1, None),
        rollout(2, 0.0, (False, True, True)),
    ]
    ratios = [
        np.array(a, np.float32) for a in ([1, -1, -4, -2, -3, 1], [0.5] * 6, [-1] * 6, [9] * 6, [-2, 0, 1, -1, 1, 1])
    ]
    seen = advantage(rollouts, ratios)
    assert seen["wrong_steps"]["mean"] == pytest.approx((-6 - 2 - 2) / 6)
    assert seen["right_steps"]["mean"] == pytest.approx((0 + 3 + 0 + 2) / 12, abs=1e-6)
    assert seen["wrong_answers"]["mean"] == pytest.approx((-8 - 6 + 0) / 18, abs=1e-6)
    assert seen["right_answers"]["mean"] == pytest.approx(0.5)
    assert seen["negative_on_right_steps"]["mean"] == pytest.approx((1 + 1) / (1 + 6 + 3 + 2 + 1), abs=1e-6)
    assert seen["tokens_on_right_steps"]["mean"] == pytest.approx(12 / 18, abs=1e-6)
    place = localisation(rollouts, ratios)
    assert place["share"]["mean"] == pytest.approx((6 + 2) / (12 + 6), abs=1e-6)
    assert place["share_of_tokens"]["mean"] == pytest.approx(4 / 12, abs=1e-6)
    assert place["auroc"]["mean"] == 1.0  # -6 below 0; -2 below 0 and 2
    low, high = seen["right_steps"]["ci95"]
    assert low < seen["right_steps"]["mean"] < high
    assert seen["right_answers"]["ci95"] is None  # of one prompt alone: a figure, no interval


def test_the_profile_by_hand():
    rollouts = [
        rollout(0, 0.0, (True, False, False)),
        rollout(1, 1.0, (True,) * 3),
        rollout(2, 0.0, (False, True, True)),
    ]
    ratios = [np.array(a, np.float32) for a in ([1, -1, -4, -2, -3, 1], [9] * 6, [-2, 0, 1, -1, 1, 3])]
    found = profile([JudgedAnswer(r.group, judged_steps(r), a) for r, a in zip(rollouts, ratios, strict=True)])
    means = {k: m["mean"] for k, m in found["steps"].items() if m}
    assert means == {"-1": 0.0, "0": pytest.approx((-6 - 2) / 4), "1": pytest.approx((-2 + 0) / 4), "2": 2.0}
    assert found["size_before"]["mean"] == 1.0 and found["size_at"]["mean"] == pytest.approx((6 + 2) / 4)
    assert found["size_after"]["mean"] == pytest.approx((4 + 2 + 4) / 6, abs=1e-6)
    assert list(found["steps"]) == ["-3", "-2", "-1", "0", "1", "2", "3"]
    assert all(m is None for m in profile([])["steps"].values())


def test_where_no_step_is_judged_the_answers_are_still_told_apart():
    seen = advantage([rollout(0, 0.0), rollout(1, 1.0)], [np.full(6, -1, np.float32), np.full(6, 2, np.float32)])
    assert seen["wrong_steps"] is None and seen["negative_on_right_steps"] is None
    place = localisation([rollout(0, 0.0)], [np.ones(6, np.float32)])
    assert place == {"share": None, "share_of_tokens": None, "auroc": None}
    assert advantage([], [])["wrong_answers"] is None


def test_headroom_counts_prompts_by_their_outcomes():
    rollouts = [rollout(g, s) for g, scores in enumerate([(1, 1), (0, 1), (0, 0), (None, 1), (None, None)])
                for s in scores]  # fmt: skip
    found = headroom(rollouts)
    assert found == {"accuracy": pytest.approx(4 / 7, abs=1e-6), "mixed": 0.25, "all_right": 0.5, "all_wrong": 0.25,
                     "unscored": 3}  # fmt: skip
    assert headroom([rollout(0, None)])["accuracy"] is None


ROOM = {"accuracy": 0.4, "mixed": 0.8, "all_right": 0.1, "all_wrong": 0.1, "unscored": 0}


def found(difference=0.3, error=0.05, coverage=1.0, wrong=-0.5, right=0.1):
    seen = dict.fromkeys(("wrong_steps", "right_steps", "wrong_answers", "right_answers"))
    seen |= {"wrong_steps": {"mean": wrong}, "right_steps": {"mean": right}}
    gap = {"student": 0.4, "teacher": 0.4 + difference, "difference": difference, "standard_error": error, "n": 64}
    return {"coverage": coverage, "gap": gap, "advantage": seen}


@pytest.mark.parametrize(
    ("verdict", "room", "seen"),
    [
        ("worth trying", {}, found()),
        ("unclear", {}, found(0.08)),
        ("teacher not better", {}, found(0.05)),
        ("teacher not better", {}, found(0.0, 0.0)),
        ("teacher not better", {}, found(-0.1)),
        ("teacher worse", {}, found(-0.11)),
        ("points the wrong way", {}, found(wrong=0.2)),
        ("no headroom", {"accuracy": 0.96}, found()),
        ("nothing to tell", {}, {**found(), "coverage": 0.0, "gap": None}),
        ("cannot tell", {"accuracy": None}, found()),
        ("cannot tell", {}, {**found(), "gap": None}),
    ],
)
def test_verdicts(verdict, room, seen):
    told, reason = judgement("sibling", ROOM | room, seen)
    assert told == verdict and reason.endswith(".") and len(reason) > 20


# -- on models -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    from frown.lab.base import new_model, save

    folder = tmp_path_factory.mktemp("lab")
    save(new_model(0), folder)
    return folder


def lab_config(folder, **changes) -> RunConfig:
    values = {
        "model": {"path": str(folder)},
        "task": {"kind": "lab:chains"},
        "sampling": {"prompts_per_step": 4, "responses_per_prompt": 2, "max_new_tokens": 40},
        "optimiser": {"steps": 1},
        "eval": {"prompts": 2, "samples": 2},
    }
    return parse(RunConfig, values | changes, "test")


def test_an_untrained_lab_model_is_not_worth_training_this_way(lab):
    seen = probe(lab_config(lab), KINDS, prompts=6)
    assert json.loads(json.dumps(seen, allow_nan=False)) == seen
    assert seen["prompts"] == 6 and seen["answers"] == 12 and set(seen["kinds"]) == set(KINDS)
    assert seen["headroom"]["all_wrong"] == 1.0
    for kind in ("reference", "outcome"):
        k = seen["kinds"][kind]
        assert k["verdict"] in ("teacher not better", "teacher worse") and k["coverage"] == 1.0
        assert k["gap"]["n"] >= 12 and k["cost"]["teacher_tokens"] > k["cost"]["context_tokens"] > 0
    assert seen["kinds"]["sibling"]["verdict"] == "nothing to tell"
    assert "in 100% of the prompts no sibling is right" in seen["kinds"]["sibling"]["reason"]
    assert seen["kinds"]["reference"]["cost"]["comments"] == 0
    console = Console(width=140, record=True)
    console.print(probe_table(seen))
    text = console.export_text()
    assert all(kind in text for kind in KINDS) and "12 answers to 6 prompts" in text
    assert len(sentences(seen)) == len(KINDS)


def test_the_profile_is_shown_where_steps_are_judged():
    def kind(steps):
        return {"profile": {"steps": {str(k): steps.get(k) for k in range(-3, 4)}}}

    seen = {
        "kinds": {
            "critique": kind({0: {"mean": -1.5, "ci95": None}, 1: {"mean": 0.25, "ci95": None}}),
            "outcome": kind({}),
        }
    }
    console = Console(width=100, record=True)
    console.print(profile_table(seen))
    text = console.export_text()
    assert "critique" in text and "-1.500" in text and "+.250" in text and "+1" in text and "-3" not in text
    assert profile_table({"kinds": {"outcome": kind({})}}) is None


def test_an_answer_is_drawn_token_by_token_for_each_kind(lab):
    config = parse(RunConfig, {**lab_config(lab).model_dump(), "model": {"path": "lab:chains-0"}}, "test")
    seen = probe(config, ["reference", "critique"], prompts=4)
    drawn = seen["example"]
    assert set(drawn["advantage"]) == {"reference", "critique"} and False in drawn["step_right"]
    assert all(len(a) == len(drawn["tokens"]) for a in drawn["advantage"].values())
    start, end = drawn["steps"][drawn["step_right"].index(False)]
    assert min(drawn["advantage"]["critique"][start:end]) < -0.5, "the critic speaks against the wrong step"
    console = Console(width=140, record=True)
    console.print(example_text(seen))
    text = console.export_text()
    assert text.count("".join(drawn["tokens"])[:20]) == 2 and "wrong at step" in text
    assert example_text({**seen, "example": None}) is None


def test_the_probe_sees_what_the_first_step_of_a_run_sees(lab, tmp_path):
    """All answers of an untrained model are wrong, so their mean advantage is the log-ratio that the loss saw."""
    config = lab_config(lab, method="opsd", keep_rollouts=False)
    seen = probe(config)["kinds"]["reference"]
    train(config, tmp_path / "run")
    lines = list(RunDirectory(tmp_path / "run").metrics())
    step = next(m for m in lines if "loss" in m)
    assert seen["advantage"]["wrong_answers"]["mean"] == pytest.approx(step["log_ratio"], abs=2e-6)
    first = next(m for m in lines if "teacher_gap" in m)["teacher_gap"]
    assert (seen["gap"]["teacher"], seen["gap"]["n"]) == (first["teacher"], first["n"])
    assert seen["coverage"] * 8 == step["views"]


def test_a_probe_moves_no_weight_and_repeats(lab):
    from frown.inspect.probe import examine
    from frown.tasks.load import load_environment

    config = lab_config(lab, method="grpo")  # probed as distillation all the same
    policy, environment = policy_of(config), load_environment(config.task)
    before = {k: v.clone() for k, v in policy.model.state_dict().items()}
    first = examine(config, ["reference", "critique"], policy, environment, environment.critic)
    assert examine(config, ["reference", "critique"], policy, environment, environment.critic) == first
    assert all(torch.equal(v, before[k]) for k, v in policy.model.state_dict().items())
    assert first["kinds"]["reference"]["coverage"] == 1.0


def test_word_problems_without_judged_steps(tmp_path):
    rows = write_jsonl(tmp_path / "rows.jsonl", gsm8k_rows(40))
    config = parse(
        RunConfig,
        {
            "model": {"path": str(byte_model(tmp_path / "model"))},
            "task": {"kind": "math", "data": str(rows)},
            "sampling": {"prompts_per_step": 2, "responses_per_prompt": 2, "max_new_tokens": 16},
        },
        "test",
    )
    seen = probe(config, ["reference", "critique"])
    k = seen["kinds"]["reference"]
    assert k["advantage"]["wrong_steps"] is None and k["localisation"]["auroc"] is None
    assert np.isfinite(k["advantage"]["wrong_answers"]["mean"])
    assert seen["kinds"]["critique"]["verdict"] == "nothing to tell"
    assert "there is no critic" in seen["kinds"]["critique"]["reason"]


def test_a_kind_that_does_not_exist_and_too_few_prompts(lab):
    with pytest.raises(FrownError, match="no feedback 'praise' to probe, only outcome, sibling"):
        probe(lab_config(lab), ["praise"])
    with pytest.raises(FrownError, match="at least 2 prompts, got 1"):
        probe(lab_config(lab), prompts=1)


# -- does the gap foretell the gain? -------------------------------------------------------------------------------


def test_correlations_are_scipys_also_in_a_resample():
    from scipy import stats

    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, 15) / 10, rng.integers(0, 6, 15) / 3
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    counts = rng.multinomial(15, np.full(15, 1 / 15), size=20)
    for row, p, s in zip(counts, pearson(x, y, counts), spearman(x, y, counts), strict=True):
        a, b = np.repeat(x, row), np.repeat(y, row)
        assert p == pytest.approx(stats.pearsonr(a, b).statistic)
        assert s == pytest.approx(stats.spearmanr(a, b).statistic)


def test_a_gap_that_foretells_and_one_that_does_not():
    rng = np.random.default_rng(1)
    gap = rng.random(30)
    told = foretells([*zip(gap, gap**3 + rng.normal(0, 0.05, 30), strict=True), (float("nan"), 0.2)])
    assert told["n"] == 30 and told["left_out"] == 1
    assert told["spearman"]["ci95"][0] > 0.6 and told["pearson"]["ci95"][0] > 0.6
    none = foretells([(x, x**2) for x in range(-15, 16)])
    for name in ("pearson", "spearman"):
        assert none[name]["mean"] == pytest.approx(0, abs=1e-6)
        assert none[name]["ci95"][0] < -0.2 and none[name]["ci95"][1] > 0.2
    exact = foretells([(0.1 * i, -0.3 * i) for i in range(12)])
    assert exact["pearson"]["mean"] == -1 and exact["spearman"]["ci95"] == [-1, -1]
    assert foretells([(0.1, 0.2), (0.2, 0.3)])["pearson"] is None
    assert foretells([(0.1, float(i)) for i in range(9)])["spearman"] is None
    assert foretells([])["n"] == 0
