"""A key that does not exist is answered with ours: as other libraries call it, as it was called, or the nearest."""

from __future__ import annotations

import pytest

from frown.config import CompareConfig, EvaluationConfig, RunConfig, load, parse
from frown.config.describe import keys
from frown.config.names import EARLIER, LIBRARIES, VALUES, answer
from frown.errors import FrownError


def message(source=None, *overrides: str, kind=RunConfig) -> str:
    with pytest.raises(FrownError) as error:
        load(kind, source, overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("learning_rate=1", "unknown key 'learning_rate'; it is called 'optimiser.lr' here"),
        ("optimiser.learning_rate=1", "it is called 'optimiser.lr' here"),
        ("num_generations=1", "'sampling.responses_per_prompt'"),
        ("max_completion_length=1", "'sampling.max_new_tokens'"),
        ("per_device_train_batch_size=1", "'sampling.prompts_per_step'"),
        ("report_to=wandb", "'track'"),
        ("beta=0.1", "'loss.kl_anchor'"),
        ("model.lora.r=3", "'model.lora.rank'"),
        ("top_p=0.9", "answers are sampled from the whole distribution"),
        ("output_dir=x", "it is a flag, --out DIR"),
        ("objective.distillation=0", "'objective.distillation'; it is called 'method.distillation' here"),
        ("feedback.critique.ask=doubt", "'method.aim'"),
        ("feedback.critique.model.endpoint.base_url=x", "'critic.model.endpoint.base_url'"),
        ("affect.practice.rehearse=3", "'practice.replay'"),
        ("lr=1", "did you mean 'optimiser.lr'?"),
        ("steps=1", "did you mean 'task.steps' or 'optimiser.steps'?"),
        ("responses_per_promt=1", "did you mean 'sampling.responses_per_prompt'?"),
        ("method=sdpo method.aim=random", "'method.aim' goes with method.type = 'aimed', not with 'sdpo'"),
        ("method=aimed method.aimm=random", "did you mean 'method.aim'?"),
        ("method=aimed method.aim=doubt", "it is called 'surprisal' now"),
        ("method=amied", "there is no type 'amied'; did you mean 'aimed'?"),
        ("xyzzy=1", "`frown config` lists all there are"),
    ],
)
def test_the_answer_to_an_unknown_key(override, expected):
    assert expected in message(None, *override.split())


def test_toml_and_dicts_are_answered_alike(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[optimiser]\nlearning_rate = 1e-5\n")
    for source in (file, {"optimiser": {"learning_rate": 1e-5}}):
        assert "'optimiser.learning_rate'; it is called 'optimiser.lr' here" in message(source)
    with pytest.raises(FrownError, match="'optimiser.lr'"):
        parse(RunConfig, {"learning_rate": 1e-5}, "x")


def test_other_configurations_are_answered_with_their_own_keys():
    arms = ("arms.a={}", "baseline=a")
    assert "it is called 'base.optimiser.lr' here" in message(None, "learning_rate=1", *arms, kind=CompareConfig)
    assert "arm 'a': unknown key 'learning_rate'; it is called 'optimiser.lr' here" in message(
        None, "base.learning_rate=1", *arms, kind=CompareConfig
    )
    assert "did you mean 'baseline'?" in message(None, "basline=a", "arms.a={}", kind=CompareConfig)
    assert "it is called 'max_new_tokens' here" in message(None, "max_completion_length=9", kind=EvaluationConfig)
    assert "optimiser" not in message(None, "learning_rate=9", kind=EvaluationConfig)


def test_every_name_is_answered_with_a_key_that_exists():
    known = set(keys(RunConfig))
    for name, ours in {**LIBRARIES, **EARLIER}.items():
        assert " " in ours or ours in known, name
        assert answer(name) == ours
    for (key, _), value in VALUES.items():
        load(RunConfig, None, ["method=aimed", f"{key}={value}"])


def test_no_earlier_key_is_a_key_of_today():
    assert not set(EARLIER) & set(keys(RunConfig))
