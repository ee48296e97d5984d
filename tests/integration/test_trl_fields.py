"""Which TRL is accepted, and what becomes of every field of its `SDPOConfig`."""

from __future__ import annotations

from dataclasses import fields

import pytest

from paths import ROOT

pytest.importorskip("trl")
from importlib.metadata import PackageNotFoundError

from trl.experimental.sdpo import SDPOConfig

from frown.errors import FrownError
from frown.trl import pin
from frown.trl.fields import BY_FEEDBACK, COMPOSED, OURS, PASSED, REFUSED, WORDING, check, table
from trl_setup import settings

DOCS = ROOT / "docs" / "trl.md"
AWAY = {
    "beta": 0.01,
    "label_smoothing_factor": 0.1,
    "train_sampling_strategy": "group_by_length",
    "length_column_name": "size",
    "data_seed": 3,
    "use_teacher_server": True,
    "torch_compile": True,
    "torch_compile_backend": "eager",
    "torch_compile_mode": "default",
    "fsdp": "full_shard",
    "fsdp_config": {"min_num_params": 1},
    "ds3_gather_for_generation": False,
    "parallelism_config": object(),
    "use_successful_as_teacher": False,
    "dont_reprompt_on_self_success": False,
    "include_environment_feedback": True,
    "environment_feedback_only_without_solution": True,
    "remove_thinking_from_demonstration": True,
    "reprompt_template": "{prompt}",
    "solution_template": "{successful_previous_attempt}",
    "feedback_template": "{feedback_raw}",
}
WORDED = {name for name, why in COMPOSED.items() if why == WORDING}


def test_every_field_of_the_installed_config_is_classified_once():
    known = [*PASSED, *OURS, *COMPOSED, *BY_FEEDBACK, *REFUSED]
    assert sorted(known) == sorted(f.name for f in fields(SDPOConfig))


def test_the_defaults_are_accepted(tmp_path):
    check(settings(tmp_path), composed=True, environment=True)


@pytest.mark.parametrize("name", [*REFUSED, *BY_FEEDBACK, *sorted(WORDED)])
def test_a_refused_field_is_named_with_its_reason(name, tmp_path):
    args = settings(tmp_path)
    setattr(args, name, AWAY[name])  # where the config itself allows it: some need packages that are not here
    with pytest.raises(FrownError, match=rf"SDPOConfig\.{name} = "):
        check(args, composed=True, environment=True)
    if name not in REFUSED:
        check(args, composed=False, environment=False)  # as long as TRL composes the feedback, it is TRL's


def test_an_alpha_at_which_the_divergence_vanishes_is_refused(tmp_path):
    for alpha in (1e-4, 1 - 1e-4):
        args = settings(tmp_path, distillation_mode="full_logits", distillation_alpha=alpha)
        with pytest.raises(FrownError, match="distillation_alpha"):
            check(args, composed=False, environment=False)


def test_top_k_and_its_mode_go_together(tmp_path):
    for changes in ({"distillation_mode": "topk_logits"}, {"distillation_topk": 4}):
        with pytest.raises(FrownError, match="distillation_topk"):
            check(settings(tmp_path, **changes), composed=False, environment=False)


def test_the_guide_shows_the_table_of_the_code():
    assert table() in DOCS.read_text(encoding="utf-8"), "docs/trl.md has the command that prints its table"


@pytest.mark.parametrize(
    ("version", "fits"), [("1.16.0", True), ("1.16.3.dev0", True), ("1.15.9", False), ("1.17", False), ("2.0.0", False)]
)
def test_versions_of_trl(version, fits):
    if fits:
        pin.check(version)
    else:
        with pytest.raises(FrownError, match=rf"trl >= 1\.16, < 1\.17, and {version} is installed: pip install"):
            pin.check(version)


def test_the_range_is_the_one_of_the_package():
    text = (ROOT / "pyproject.toml").read_text()
    low, high = (".".join(map(str, bound)) for bound in (pin.AT_LEAST, pin.BELOW))
    assert f'"trl>={low},<{high}"' in text


def test_without_trl_the_import_says_what_to_install(monkeypatch):
    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(pin, "version", version)
    with pytest.raises(FrownError, match=r'frown.trl needs TRL, which is not installed: pip install "frown\[trl\]"'):
        pin.check_installed()
