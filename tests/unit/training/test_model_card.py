"""The card beside the saved weights: what was run and what it reached, and nothing in it can break out of its place."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frown.config import RunConfig, load, parse
from frown.evals.accuracy import row_means
from frown.store.run_directory import RunDirectory
from frown.training import model_card as cards
from frown.training.model_card import _code, _text, model_card
from frown.training.run import train

pytestmark = pytest.mark.slow

HOSTILE = 'a`b*c|d\n---\nlicense: mit\n<script>alert("x")</script>```\n# [head](http://x)'


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = parse(
        RunConfig,
        {
            "sampling": {"prompts_per_step": 2, "responses_per_prompt": 2, "max_new_tokens": 40},
            "optimiser": {"steps": 2},
            "eval": {"every": 1, "prompts": 5, "samples": 3},
        },
        "test",
    )
    path = tmp_path_factory.mktemp("run") / "run"
    train(config, path)
    return config, RunDirectory(path)


def test_the_card_of_a_run_holds_its_figures_and_its_settings(run):
    from huggingface_hub import ModelCard

    config, directory = run
    card = ModelCard.load(directory.path / "checkpoint" / "README.md")
    assert card.data.to_dict() == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["frown", "self-distillation"],
    }
    lines = card.text.splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| test ")]
    assert [row[1] for row in table] == ["0", "1", "2"]
    for row, samples in zip(table, directory.evals("test"), strict=True):
        mean = float(np.nanmean(row_means(samples.score)))
        low, high = (float(x) for x in row[3].strip("[]").split(","))
        assert float(row[2]) == pytest.approx(mean, abs=5e-4) and low <= mean + 1e-3 and high >= mean - 1e-3
    command = next(line for line in lines if line.startswith("frown train"))
    assert load(RunConfig, None, shlex.split(command)[2:]) == config
    whole = card.text[card.text.index("<details>") :]
    assert json.loads(whole[whole.index("{") : whole.rindex("}") + 1]) == config.model_dump(mode="json")


def test_nothing_breaks_out(run):
    from huggingface_hub import ModelCard

    config, directory = run
    hostile = config.model_copy(
        update={
            "model": config.model.model_copy(update={"path": HOSTILE}),
            "task": config.task.model_copy(update={"kind": HOSTILE}),
        }
    )
    text = model_card(hostile, directory)
    card = ModelCard(text)
    assert "license" not in card.data.to_dict() and "base_model" not in card.data.to_dict()
    assert text.count("\n---\n") == 1  # the end of the head
    outside = "\n".join(part for i, part in enumerate(text.split("````")) if i % 2 == 0)
    assert "<script>" not in outside and "\n# [" not in outside
    named = model_card(
        hostile.model_copy(update={"model": config.model.model_copy(update={"path": "org/a@v1"})}), directory
    )
    assert ModelCard(named).data.base_model == "org/a"


@given(st.text())
def test_a_block_of_code_ends_where_it_should(text):
    fence, *_, end = _code(text)
    assert fence == end and fence not in text


@given(st.text())
def test_a_text_stays_one_line_without_markup(text):
    shown = _text(text)
    assert len(shown.splitlines()) <= 1 and "<" not in shown
    assert all(shown[i - 1] == "\\" for i, c in enumerate(shown) if c in "`*_[]|")


@pytest.mark.parametrize(
    "words",
    [
        ["method=aimed"],
        [
            "method.type=aimed",
            "method.aim=random",
            "teacher.temperature=1.0",
            "practice.replay=0",
            "sampling.responses_per_prompt=4",
        ],
        ["method=grpo", "optimiser.lr=1e-6", "model.lora.rank=4"],
        ["method.type=opsd", "task.kind=lab:columns", "model.path=lab:columns-1", "seed=3", "guard.length=[0.5, 3.0]"],
    ],
    ids=lambda words: words[0],
)
def test_the_command_of_a_card_makes_the_same_run_again(words):
    config = load(RunConfig, None, words)
    assert load(RunConfig, None, cards._overrides(config)) == config
