"""Settings describe themselves, and the pages of the docs that are made of it are what the source says."""

from __future__ import annotations

import pytest

from frown.config import CompareConfig, EvaluationConfig, RunConfig, flat
from frown.config.describe import keys, matching, owners, settings, toml
from paths import ROOT


@pytest.mark.parametrize("kind", [RunConfig, CompareConfig, EvaluationConfig])
def test_every_setting_is_explained(kind):
    each = settings(kind)
    assert [s.key for s in each if not s.text] == []
    assert len({(s.key, s.of) for s in each}) == len(each)


def test_every_key_of_a_run_is_described():
    config = RunConfig.model_validate({"model": {"lora": {}}, "sampling": {"vllm": {}}})
    tables = {s.key for s in settings(RunConfig) if s.is_table}
    assert set(flat(config.model_dump())) <= set(keys(RunConfig))
    assert {"model", "model.lora", "method", "critic.model.endpoint"} <= tables


def test_types_defaults_and_ranges():
    by_key = {s.key: s for s in settings(RunConfig)}
    lora = by_key["model.lora.rank"]
    assert (lora.type, lora.default, lora.range) == ("whole number", "16", "at least 1")
    assert by_key["model.lora"].is_table and "Absent" in by_key["model.lora"].text
    assert by_key["teacher.ema_rate"].range == "above 0, at most 1"
    assert by_key["optimiser.schedule"].type == '"constant" | "linear" | "cosine"'
    assert by_key["feedback.max_tokens"].default == "none"
    assert by_key["critic.model.endpoint.base_url"].default == "required"
    assert by_key["critic.model.endpoint.temperature"].range == "at least 0"
    assert by_key["guard.length"].default == "[0.5, 2.0]"


def test_what_is_chosen_by_size_and_what_a_method_recommends_is_said():
    by_key = {s.key: s for s in settings(RunConfig)}
    assert by_key["optimiser.lr"].default.startswith("by the model's size: 0.001 below 5 M parameters")
    assert "LoRA" in by_key["optimiser.lr"].default
    assert by_key["sampling.max_new_tokens"].default.startswith("by the model's size: 96 below")
    (other,) = by_key["teacher.temperature"].others
    assert (other.value, other.when) == ("0.5", 'method.type = "aimed"')


def test_keys_of_a_method_say_whose_they_are():
    assert owners(RunConfig, "method.aim") == ("aimed",)
    assert {"sdpo", "aimed"} <= set(owners(RunConfig, "method.feedback")) and owners(RunConfig, "seed") == ()
    (feedback,) = matching(RunConfig, "method.feedback")
    assert feedback.default == '["sibling"]' and {o.type: o.value for o in feedback.others}["opsd"] == '["reference"]'


def test_a_prefix_ends_at_a_dot():
    assert {s.key for s in matching(RunConfig, "model.lora.")} == {
        "model.lora", "model.lora.rank", "model.lora.alpha", "model.lora.targets"
    }  # fmt: skip
    assert matching(RunConfig, "mod") == []
    assert len(matching(RunConfig, "")) == len(settings(RunConfig))


def test_values_are_written_as_toml():
    import tomllib

    for value in (True, 3, 0.5, 'a"b', ["x", "y"], {"a": 1}):
        assert tomllib.loads(f"x = {toml(value)}")["x"] == value
    assert toml(None) == "none"


@pytest.mark.parametrize("name", ["config", "methods"])
def test_the_page_in_docs_is_what_the_source_says(name):
    from frown.cli import config, methods

    page = {"config": config, "methods": methods}[name].page()
    assert (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") == page, f"make docs writes docs/{name}.md anew"
