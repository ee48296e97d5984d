"""`frown layers`: planted labels, labels that mean nothing, and what cannot be read."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from frown.cli.app import main
from frown.errors import FrownError
from frown.inspect.layers import Readout, layer_scores, layers, rows_to_test
from tiny import byte_model, write_jsonl

WORDS = ("glad", "sad", "calm", "cross", "proud", "bored")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(byte_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Texts that end in ! where they are labelled glad, and otherwise in a point."""
    file = tmp_path_factory.mktemp("data") / "rows.jsonl"
    rows = [
        {"said": f"{i} {WORDS[i % 6]}{'!' if i % 2 else '.'}", "feels": ("sad", "glad")[i % 2], "question": i // 4}
        for i in range(80)
    ]
    return write_jsonl(file, rows)


@pytest.mark.slow
def test_a_label_that_the_last_token_tells_is_read_and_shuffled_ones_are_not(model, rows, capsys):
    columns = "text=said,label=feels,group=question"
    main(["layers", model, "--data", str(rows), "--columns", columns, "--positive", "glad", "--json"])
    scores = json.loads(capsys.readouterr().out)
    assert (scores["label"], scores["positive"], scores["rows"], scores["with_label"]) == ("feels", "glad", 80, 40)
    assert scores["test_rows"] == 24  # six of twenty questions, whole
    areas = [row["auroc"] for row in scores["layers"]]
    assert [row["layer"] for row in scores["layers"]] == list(range(len(areas))) and scores["layers"][-1][
        "depth"
    ] == 1.0
    assert min(areas) > 0.95 and scores["best"] is not None
    shuffled = [a for row in scores["layers"] for a in row["shuffled"]]
    assert len(shuffled) == 3 * len(areas) and abs(np.mean(shuffled) - 0.5) < 0.2
    main(["layers", model, "--data", str(rows), "--columns", columns, "--positive", "glad"])
    table = capsys.readouterr().out
    assert "feels = glad: 40 of 80 rows" in table and "shuffled labels" in table


@pytest.mark.parametrize(
    ("columns", "positive", "says"),
    [
        ({"text": "said"}, None, "say where label stands"),
        ({"text": "said", "label": "feels", "prompt": "x"}, None, "no 'prompt', only text, label, group"),
        ({"text": "said", "label": "mood"}, None, "no column 'mood'"),
        ({"text": "said", "label": "feels"}, "gald", "labelled 'gald'; there are"),
        ({"text": "said", "label": "question"}, None, "20 labels"),
        ({"text": "said", "label": "question"}, "3", "4 rows labelled '3' of 80; give 10"),
    ],
)
def test_what_cannot_be_read_is_one_line(model, rows, columns, positive, says):
    with pytest.raises(FrownError, match=says) as error:
        layers(model, rows, columns, positive=positive)
    assert "\n" not in str(error.value)


def test_a_text_beyond_the_context_is_named(tmp_path, rows):
    small = str(byte_model(tmp_path / "small", context=8))
    with pytest.raises(FrownError, match="does not fit the model's context of 8"):
        layers(small, rows, {"text": "said", "label": "feels"})


def test_the_layer_that_knows_is_named_and_the_control_knows_nothing():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 6))
    y = (x[:, 0] - x[:, -1] + 0.7 * rng.normal(size=400) > 0).astype(float)
    hidden = torch.tensor(np.stack([rng.normal(size=x.shape), x, rng.normal(size=x.shape)]), dtype=torch.float32)
    test = rows_to_test([i // 4 for i in range(400)], 0.3, rng)
    scores = layer_scores(hidden, y, test, "step_wrong", Readout(controls=5))
    assert [s.layer for s in scores] == [0, 1, 2] and [s.depth for s in scores] == [0.0, 0.5, 1.0]
    assert scores[1].auroc > 0.85
    assert all(abs(s.auroc - 0.5) < 0.15 for s in (scores[0], scores[2]))
    assert all(len(s.shuffled) == 5 and abs(np.mean(s.shuffled) - 0.5) < 0.12 for s in scores)


def test_siblings_never_straddle_so_a_mark_of_the_prompt_is_worth_nothing():
    # One unit a prompt and a label a prompt: a split by rows would read 1.0 off it.
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 6)
    hidden = torch.nn.functional.one_hot(torch.tensor(groups)).float()
    labels = rng.permutation(np.arange(30) % 2)[groups].astype(float)
    test = rows_to_test(groups.tolist(), 0.3, rng)
    [score] = layer_scores(hidden[None], labels, test, "answer_wrong", Readout(controls=0))
    assert abs(score.auroc - 0.5) < 0.2 and score.depth == 0.0


@given(st.lists(st.integers(0, 9), min_size=2, max_size=60), st.floats(0.05, 0.95), st.integers(0, 9))
def test_groups_are_tested_on_whole(groups, share, seed):
    rng = np.random.default_rng(seed)
    if len(set(groups)) < 2:
        with pytest.raises(FrownError, match="two groups"):
            rows_to_test(groups, share, rng)
        return
    test = rows_to_test(groups, share, rng)
    inside = {g for g, t in zip(groups, test, strict=True) if t}
    outside = {g for g, t in zip(groups, test, strict=True) if not t}
    assert inside and outside and not inside & outside
