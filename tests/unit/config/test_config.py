"""Configuration: what is accepted, and what a mistake is answered with."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frown.config import CompareConfig, RunConfig, load, only, parse, to_json
from frown.errors import FrownError
from paths import ROOT


def message(*overrides: str, kind=RunConfig, file=None) -> str:
    with pytest.raises(FrownError) as error:
        load(kind, file, overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optimiser.lrr=3", "unknown key 'optimiser.lrr'; did you mean 'optimiser.lr'?"),
        ("optimizer.lr=3", "unknown key 'optimizer'; did you mean 'optimiser'?"),
        ("model.lora.rnk=3", "unknown key 'model.lora.rnk'; did you mean 'model.lora.rank'?"),
        ("feedback.leek=1", "did you mean 'feedback.leak'?"),
        ("optimiser.lr=-1", "optimiser.lr = -1: input should be greater than 0"),
        ("loss.alpha=1.5", "less than or equal to 1"),
        ("seed=abc", "seed = 'abc': input should be a valid integer"),
        ("lr", "an override is written KEY=VALUE"),
        ("teacher.weights=emma", "'live', 'frozen', 'ema' or 'trust_region'"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key_and_the_mend(override, expected):
    assert expected in message(override)


def test_a_group_of_one_is_refused_for_grpo_and_for_siblings():
    assert "gives GRPO no group" in message("method=grpo", "sampling.responses_per_prompt=1")
    assert "no sibling" in message("sampling.responses_per_prompt=1")
    load(RunConfig, None, ["sampling.responses_per_prompt=1", "method=opsd"])


def test_files_that_are_absent_or_no_toml(tmp_path):
    assert "no config file" in message(file=tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = = 1")
    assert "is not TOML" in message(file=tmp_path / "bad.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    assert "cannot read config" in message(file=tmp_path / "bytes.toml")


def test_overrides_win_over_the_file_and_leave_the_rest(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("seed = 3\n[optimiser]\nlr = 0.5\nsteps = 7\n")
    config = load(RunConfig, file, ["optimiser.lr=1e-4"])
    assert (config.seed, config.optimiser.lr, config.optimiser.steps) == (3, 1e-4, 7)


@given(st.integers(0, 2**31), st.floats(1e-8, 1.0), st.integers(2, 64), st.sampled_from(["live", "frozen", "ema"]))
def test_a_saved_configuration_reads_back_the_same(seed, lr, responses, weights):
    config = load(
        RunConfig,
        None,
        [
            f"seed={seed}",
            f"optimiser.lr={lr!r}",
            f"sampling.responses_per_prompt={responses}",
            f"teacher.weights={weights}",
        ],
    )
    assert RunConfig.model_validate_json(to_json(config)) == config


ARMS = {"arms": {"a": {"method": "grpo"}, "b": {}}, "baseline": "a"}


def test_arms_are_the_base_with_changes():
    config = parse(CompareConfig, ARMS | {"base": {"optimiser": {"steps": 3}}}, "x")
    assert config.run("a", 5).method.type == "grpo"
    assert config.run("b", 5) == parse(RunConfig, {"seed": 5, "optimiser": {"steps": 3}}, "x")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"baseline": "c"}, "no arm is called 'c'"),
        ({"pairs": [["a", "z"]]}, "no arm is called 'z'"),
        ({"arms": {"a": {"optimiser": {"steps": 9}}, "b": {}}}, "equal optimiser steps"),
        ({"arms": {"a": {"sampling": {"prompts_per_step": 9}}, "b": {}}}, "equal rollouts a step"),
        ({"arms": {"a": {"eval": {"samples": 3}}, "b": {}}}, "the same task and evaluation"),
        ({"arms": {"a": {"loss": {"alfa": 0}}, "b": {}}}, "arm 'a': unknown key 'loss.alfa'"),
        ({"arms": {"a": {}, "../b": {}}}, "an arm's name"),
        ({"arms": {}}, "arms"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [0, 0]}, "seeds are different whole numbers from 0 up"),
        ({"seeds": [-1]}, "seeds are different whole numbers from 0 up"),
    ],
)
def test_arms_that_could_not_be_compared_are_refused(change, expected):
    with pytest.raises(FrownError, match=None) as error:
        parse(CompareConfig, ARMS | change, "x")
    assert expected in str(error.value)


def test_presets_are_sound():
    from frown.config.compare import PRESETS

    files = sorted(PRESETS.glob("*.toml"))
    assert {f.stem for f in files} >= {"smoke", "demo", "full"}
    for file in files:
        load(CompareConfig, file)


def test_a_comparison_of_some_of_its_arms():
    whole = load(
        CompareConfig, None, ["arms.a={}", "arms.b={}", "arms.c={}", "baseline=a", 'pairs=[["b","c"],["a","c"]]']
    )
    some = only(whole, ["c", "a", "c"])
    assert list(some.arms) == ["a", "c"] and some.pairs == (("a", "c"),) and some.run("c", 1) == whole.run("c", 1)
    with pytest.raises(FrownError, match="no arm is called 'd'"):
        only(whole, ["a", "d"])
    with pytest.raises(FrownError, match="no arm is called 'a'"):
        only(whole, ["b"])  # the baseline is gone


def test_the_settings_in_the_readme_are_settings():
    import tomllib

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        parse(RunConfig, tomllib.loads(block), "README.md")
