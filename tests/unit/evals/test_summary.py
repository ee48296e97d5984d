"""Graded samples, and the summary from runs to JSON, on runs made up to look like real ones."""

import json
from dataclasses import replace

import numpy as np
import pytest

from frown.errors import FrownError
from frown.evals.metrics import metrics
from frown.evals.samples import GradedSamples
from frown.evals.summary import summarise, to_json
from paths import ROOT
from summaries import STEPS, experiment, full_summary, run, samples

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def summary():
    return full_summary()


# --- graded samples -----------------------------------------------------------------------------------------


def test_parquet_round_trip_keeps_everything(tmp_path):
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    before = samples(0.6, 30, rng, "aimed", prompts=7, k=5)
    before.score[2, 3] = before.process_right[0, 0] = float("nan")
    pq.write_table(before.to_table(), tmp_path / "eval.parquet")
    after = GradedSamples.from_table(pq.read_table(tmp_path / "eval.parquet"))
    for name in GradedSamples.__dataclass_fields__:
        a, b = getattr(before, name), getattr(after, name)
        if isinstance(a, np.ndarray) and a.dtype != object:
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
        elif isinstance(a, np.ndarray):
            assert a.tolist() == b.tolist()
        else:
            assert a == b and type(a) is type(b), name


def test_rows_may_come_in_any_order_and_unscored_is_null():
    before = samples(0.6, 0, np.random.default_rng(0), prompts=4, k=3)
    before.score[1, 1] = float("nan")
    table = before.to_table()
    assert table["score"].null_count == 1
    mixed = table.take(np.random.default_rng(1).permutation(12))
    np.testing.assert_array_equal(GradedSamples.from_table(mixed).score, before.score)


def test_broken_tables_say_what_is_wrong():
    table = samples(0.6, 0, np.random.default_rng(0), prompts=4, k=3).to_table()
    for broken, what in (
        (table.replace_schema_metadata({}), "no graded samples"),
        (table.drop_columns(["score"]), "lacks the columns score"),
        (table.slice(1), "lacks or doubles rows of its 4 x 3"),
    ):
        with pytest.raises(FrownError, match=what) as error:
            GradedSamples.from_table(broken, "runs/x/eval.parquet")
        assert str(error.value).startswith("runs/x/eval.parquet") and "\n" not in str(error.value)


def test_shapes_and_ranges_are_checked():
    good = samples(0.6, 0, np.random.default_rng(0), prompts=4, k=3)
    with pytest.raises(ValueError, match="tokens is"):
        replace(good, tokens=np.ones((4, 2)))
    with pytest.raises(ValueError, match="score lies in"):
        replace(good, score=good.score + 1)


# --- the summary --------------------------------------------------------------------------------------------


def test_same_runs_same_bytes(summary):
    again = to_json(full_summary())
    assert to_json(summary) == again
    assert json.loads(again) == summary  # plain data: no NaN, no tuples, no numpy


def test_figures_are_the_means_over_seeds_with_an_interval_around(summary):
    for name, arm in summary["arms"].items():
        runs = [r for r in experiment() if r.arm == name]
        assert arm["avg_at_k"]["mean"] == pytest.approx(np.mean([r.last.score.mean() for r in runs]), abs=1e-6)
        assert arm["pass_at_k"]["mean"] == pytest.approx(
            np.mean([r.last.score.max(axis=1).mean() for r in runs]), abs=1e-6
        )
        assert arm["well_formed"]["mean"] == pytest.approx(np.mean([r.last.well_formed.mean() for r in runs]), abs=1e-6)
        for metric in ("avg_at_k", "maj_at_k", "brier", "auroc_min_probability", "entropy", "auc"):
            low, high = arm[metric]["ci95"]
            assert low < arm[metric]["mean"] < high
            assert arm[metric]["mean"] == pytest.approx(np.mean([r[metric] for r in arm["runs"]]), abs=2e-6)
        assert [p["step"] for p in arm["curve"]] == list(STEPS)
        assert arm["curve"][-1]["mean"] == arm["avg_at_k"]["mean"]
        assert arm["curve"][-1]["ece"] == arm["ece"]
        assert arm["seeds"] == [0, 1, 2] and arm["unscored"] == 0
        assert arm["seconds"]["mean"] == 19.0 and arm["counters"] == {"skipped_groups": 15}


def test_pairs_and_sentences(summary):
    pairs = {(p["arm"], p["baseline"], p["metric"]): p for p in summary["pairs"]}
    assert len(pairs) == 4 * 6  # three arms against the baseline, one named pair; six metrics
    full = pairs["full critique", "grpo", "avg_at_k"]
    assert full["excludes_zero"] and full["difference"]["ci95"][0] > 0
    assert "the interval excludes zero: full critique is better." in full["sentence"]
    gap = pairs["aimed", "full critique", "avg_at_k"]
    arms = summary["arms"]
    assert gap["difference"]["mean"] == pytest.approx(
        arms["aimed"]["avg_at_k"]["mean"] - arms["full critique"]["avg_at_k"]["mean"], abs=2e-6
    )
    for p in summary["pairs"]:
        assert p["excludes_zero"] == ("excludes zero" in p["sentence"])
        assert p["shown"] == (p["excludes_zero"] and p["difference"]["p"] <= 0.05)
        assert ("no difference is shown" in p["sentence"]) != p["shown"]


def test_the_change_from_the_untrained_policy_is_the_difference_of_its_first_and_last_evaluation(summary):
    for name, arm in summary["arms"].items():
        for metric, found in arm["change"].items():
            ends = [(r.evals[0], r.last) for r in experiment() if r.arm == name]
            value = metrics(ends[0][0].k)[metric].of
            assert found["before"] == pytest.approx(np.mean([value(a) for a, _ in ends]), abs=1e-6)
            assert found["mean"] == pytest.approx(np.mean([value(b) - value(a) for a, b in ends]), abs=2e-6)
    late = [replace(run("grpo", s), evals=run("grpo", s).evals[1:]) for s in range(3)]
    assert summarise(late, baseline="grpo")["arms"]["grpo"]["change"] is None


def test_an_arm_like_the_baseline_shows_no_difference():
    results = [run("grpo", s) for s in range(3)]
    twins = [replace(r, arm="twin") for r in results]
    pairs = summarise([*results, *twins], baseline="grpo")["pairs"]
    assert [p["difference"] for p in pairs] == [{"mean": 0.0, "ci95": [0.0, 0.0], "p": 1.0}] * 6
    assert pairs[0]["sentence"].endswith("+.00 [.00, .00]; the interval includes zero, so no difference is shown.")


def test_threshold_costs_are_censored_not_invented(summary):
    full, grpo = summary["arms"]["full critique"], summary["arms"]["grpo"]
    steps = full["steps_to_threshold"]
    assert 10 < steps["mean"] < 30 and steps["reached"] == 1.0
    assert full["comments_to_threshold"]["mean"] == pytest.approx(80 * steps["mean"], abs=1e-3)
    high = summarise(experiment(), baseline="grpo", threshold=0.99)["arms"]["grpo"]
    assert high["steps_to_threshold"] == {"mean": None, "ci95": None, "reached": 0.0}
    assert grpo["runs"][0]["steps_to_threshold"] is not None
    curve = (0.47, 0.6, 0.65, 0.7, 0.72)
    mixed = summarise([run("grpo", 0), run("grpo", 1, curve)], baseline="grpo", threshold=0.76)
    found = mixed["arms"]["grpo"]["steps_to_threshold"]
    assert found["reached"] == 0.5 and found["mean"] is None
    assert found["ci95"][0] is not None and found["ci95"][1] is None
    assert summarise(experiment(), baseline="grpo")["arms"]["grpo"]["steps_to_threshold"] is None


def test_unscored_samples_are_counted_and_left_out():
    results = experiment()
    clean = summarise(results, baseline="grpo")
    for r in results:
        if r.arm == "aimed":
            r.last.score[5, :3] = float("nan")
    found = summarise(results, baseline="grpo")
    assert found["arms"]["aimed"]["unscored"] == 9
    kept = np.mean([np.nanmean(r.last.score, axis=1).mean() for r in results if r.arm == "aimed"])
    assert found["arms"]["aimed"]["avg_at_k"]["mean"] == pytest.approx(kept, abs=1e-6)
    assert found["arms"]["grpo"] == clean["arms"]["grpo"]
    assert any("9 of 2160 final samples could not be scored" in w for w in found["warnings"])


def test_failed_runs_are_listed_and_left_out(summary):
    assert summary["failures"] == [
        {
            "arm": "aimed",
            "seed": 3,
            "status": "failed",
            "message": "loss is not finite at step 12",
            "last_step": None,
        }
    ]
    assert summary["arms"]["aimed"] == summarise(experiment(), baseline="grpo", threshold=0.8)["arms"]["aimed"]


def test_only_shared_seeds_are_compared_and_it_says_so():
    results = [run("grpo", s) for s in (0, 1)] + [run("aimed", s) for s in (1, 2, 3)]
    found = summarise(results, baseline="grpo")
    assert all(p["seeds"] == [1] for p in found["pairs"])
    assert "Only seeds that finished in both count here: 1." in found["pairs"][0]["sentence"]
    apart = summarise([run("grpo", 0), run("aimed", 1)], baseline="grpo")
    assert all(p["difference"] is None and not p["excludes_zero"] for p in apart["pairs"])
    assert "no seed finished in both" in apart["pairs"][0]["sentence"]
    assert sum("one seed" in w for w in apart["warnings"]) == 2
    assert apart["arms"]["aimed"]["seconds"]["ci95"] is None


def test_nothing_finished_is_a_summary_too():
    broken = [replace(r, status="interrupted", message="ctrl-c") for r in experiment((0,))]
    found = summarise(broken, baseline="grpo")
    assert all(arm["avg_at_k"] is None and arm["curve"] == [] for arm in found["arms"].values())
    assert len(found["failures"]) == 4 and found["failures"][0]["last_step"] == 40
    assert len(found["warnings"]) == 4 and "Avg@k: no comparison" in found["pairs"][0]["sentence"]
    to_json(found)


def test_runs_that_cannot_be_compared_are_refused():
    good = run("grpo", 0)
    for results, what in (
        ([], "no runs"),
        ([good, good], "'grpo' seed 0 is there twice"),
        ([good, run("aimed", 0, prompts=50)], "'aimed' seed 0 was evaluated on other main prompts"),
        ([good, run("aimed", 0, k=4)], "another number of samples"),
        ([replace(good, evals=())], "finished without an evaluation"),
        ([replace(good, evals=good.evals[::-1])], "they should rise"),
        ([run("aimed", 0)], "no arm 'grpo'"),
    ):
        with pytest.raises(FrownError, match=what) as error:
            summarise(results, baseline="grpo")
        assert "\n" not in str(error.value)


def test_unequal_evaluations_are_warned_of():
    short = run("aimed", 0)
    short = replace(short, evals=short.evals[:3])
    found = summarise([run("grpo", 0), short], baseline="grpo")
    assert found["steps"] == [0, 10, 20]
    assert any("Runs end at different steps (grpo 40, aimed 20)" in w for w in found["warnings"])
    assert any("different steps: areas" in w for w in found["warnings"])
    assert len(found["arms"]["grpo"]["curve"]) == 5


def test_settings_become_plain_json():
    from pathlib import Path

    strange = {
        "a": float("inf"),
        "b": (1, np.float32(2)),
        "c": {3: Path("x")},
        "d": np.arange(2),
        "e": {"y", "x"},
    }
    found = summarise([run("grpo", 0)], baseline="grpo", config=strange)
    assert found["config"] == {"a": None, "b": [1, 2.0], "c": {"3": "x"}, "d": [0, 1], "e": ["x", "y"]}
    again = summarise([run("grpo", 0)], baseline="grpo", config=dict(reversed(strange.items())))
    assert found["config_digest"] == again["config_digest"] and len(found["config_digest"]) == 12


def test_every_key_is_documented(summary):

    text = (ROOT / "docs" / "summary.md").read_text()
    arm = summary["arms"]["aimed"]
    keys = {*summary, *arm, *arm["runs"][0], *arm["curve"][0], *summary["pairs"][0], *summary["failures"][0]}
    assert {k for k in keys if f"`{k}`" not in text} == set()
