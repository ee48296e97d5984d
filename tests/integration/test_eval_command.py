"""`frown eval`: what a word names, content-addressed samples, pairing, and the command itself."""

import json
import shutil

import numpy as np
import pytest

from frown.cli.app import main
from frown.config import EvaluationConfig, RunConfig, load
from frown.errors import FrownError
from frown.evals.summary import summarise
from frown.inspect.evaluate import assess, key, settings
from frown.inspect.subjects import Subject, fingerprint, newest_checkpoint, subjects
from frown.store.run_directory import RunDirectory
from tiny import byte_model

SMALL = EvaluationConfig(task={"kind": "lab:chains"}, prompts=6, samples=3, max_new_tokens=40)
LAB = Subject("lab:chains-0", 0, "lab:chains-0")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A real run of one step with LoRA, and its config."""
    from frown.training.run import train

    pytest.importorskip("peft")
    folder = tmp_path_factory.mktemp("runs") / "arm" / "seed3"
    overrides = ["seed=3", "optimiser.steps=1", "optimiser.lr=0.01", "model.lora.rank=2", "eval.prompts=2"]
    overrides += ["eval.samples=2", "sampling.prompts_per_step=2", "sampling.responses_per_prompt=2"]
    overrides += ["sampling.max_new_tokens=40", "method=opsd"]
    train(load(RunConfig, None, overrides), folder)
    return folder


def test_a_word_names_a_model_a_run_or_the_seeds_of_an_arm(run, tmp_path):
    assert subjects("lab:chains-0") == [LAB]
    folder = byte_model(tmp_path / "mine")
    assert subjects(str(folder)) == [Subject("mine", 0, str(folder))]
    one, arm = subjects(str(run)), subjects(str(run.parent))
    assert (one[0].name, one[0].seed, arm[0].name) == ("arm/seed3", 3, "arm") and one[0].config.seed == 3
    assert one[0].model == arm[0].model == str(newest_checkpoint(run))
    for word in ("nowhere", str(tmp_path)):
        with pytest.raises(FrownError):
            subjects(word)


def test_the_newest_checkpoint_in_either_layout(tmp_path):
    for step in (5, 10):
        model = tmp_path / "checkpoints" / f"step={step:06d}" / "model"
        model.mkdir(parents=True)
        (model / "model.safetensors").touch()
    assert newest_checkpoint(tmp_path).parent.name == "step=000010"
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "model.safetensors").touch()
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint"
    with pytest.raises(FrownError, match="no checkpoint"):
        newest_checkpoint(tmp_path / "checkpoints")


def test_the_bytes_of_a_model_decide_not_its_place(tmp_path):
    one = byte_model(tmp_path / "one")
    same = shutil.copytree(one, tmp_path / "same")
    assert fingerprint(str(one)) == fingerprint(str(same))
    other = byte_model(tmp_path / "other", seed=1)
    assert fingerprint(str(one)) != fingerprint(str(other))
    before = fingerprint(str(same))
    (same / "generation_config.json").write_text('{"eos_token_id": 7}')
    assert fingerprint(str(same)) != before
    tasks = [type("T", (), {"id": "a"})(), type("T", (), {"id": "b"})()]
    keys = {key(str(one), tasks, SMALL.model_copy(update=c)) for c in ({}, {"seed": 1}, {"samples": 4}, {"prompts": 9})}
    assert len(keys) == 3  # how many prompts were asked for is in the prompts themselves
    assert key(str(one), tasks[:1], SMALL) not in keys


def test_a_second_call_samples_nothing_and_says_so(tmp_path, monkeypatch):
    said, watched = [], []
    first = assess([LAB], [], SMALL, tmp_path / "out", command="x", watch=lambda *w: watched.append(w), say=said.append)
    assert said == [] and watched == [("lab:chains-0", 0, 6), ("lab:chains-0", 6, 6)]
    monkeypatch.setattr("frown.inspect.evaluate.sample", lambda *a: pytest.fail("it was sampled again"))
    again = assess([LAB], [], SMALL, tmp_path / "out", command="x", say=said.append)
    assert again == first and len(said) == 1 and "read back from" in said[0]
    arm = first["arms"]["lab:chains-0"]
    assert 0 < arm["avg_at_k"]["mean"] < 1 and arm["unscored"] == 0 and arm["length"]["mean"] > 5
    assert first["pairs"] == [] and "6 prompts with 3 samples" in first["compared"]
    [file] = (tmp_path / "out" / "samples").iterdir()
    file.write_bytes(b"broken")
    monkeypatch.undo()
    assert assess([LAB], [], SMALL, tmp_path / "out", command="x", say=said.append) == first
    assert "is made again" in said[-1]
    with pytest.raises(FrownError, match="holds no evaluation"):
        (tmp_path / "else").mkdir()
        (tmp_path / "else" / "thing").touch()
        assess([LAB], [], SMALL, tmp_path / "else", command="x")


def test_a_model_against_itself_shows_no_difference_and_against_a_run_is_paired(run, tmp_path):
    said = []
    itself = assess([LAB], [LAB], SMALL, tmp_path, command="x", say=said.append)
    assert list(itself["arms"]) == ["lab:chains-0", "lab:chains-0 (again)"]
    assert {p["difference"]["p"] for p in itself["pairs"]} == {1.0} and not any(p["shown"] for p in itself["pairs"])
    found = assess(subjects(str(run.parent)), [LAB], SMALL, tmp_path, command="x", say=said.append)
    assert found["baseline"] == "lab:chains-0" and found["arms"]["arm"]["seeds"] == [3]
    pair = next(p for p in found["pairs"] if p["metric"] == "avg_at_k")
    assert pair["seeds"] == [3] and pair["difference"] is not None
    assert not any(p["metric"] == "auc" for p in found["pairs"])  # one evaluation has no curve


def test_adapters_are_merged_into_their_base(run):
    import torch

    from frown.config import ModelConfig
    from frown.policy.load import load as load_model

    tuned = load_model(ModelConfig(path=str(newest_checkpoint(run)))).model
    base = load_model(ModelConfig(path="lab:chains-0")).model
    moved = [n for n, p in base.named_parameters() if not torch.equal(p, dict(tuned.named_parameters())[n])]
    assert moved and len(dict(tuned.named_parameters())) == len(dict(base.named_parameters()))


def test_settings_come_from_the_run_and_a_plain_model_needs_a_task(run):
    mine = subjects(str(run))
    assert settings(mine, ["samples=5"]).max_new_tokens == 40
    assert settings([LAB], ["task.kind=lab:chains"]).prompts == 60
    with pytest.raises(FrownError, match="name a task"):
        settings([LAB], [])
    with pytest.raises(FrownError, match="did you mean 'samples'"):
        settings(mine, ["sample=5"])


def test_pass_at_k_is_what_all_subsets_give():
    """Chen et al. 2021, eq. 1, against every choice of j samples, through the whole summary."""
    from itertools import combinations

    from summaries import run as made_up

    result = made_up("grpo", 0, prompts=7, k=5)
    right = result.last.right
    expected = [np.mean([right[n, list(c)].max() for c in combinations(range(5), 3)]) for n in range(7)]
    from frown.evals.accuracy import pass_at

    assert float(pass_at(right, j=3)) == pytest.approx(np.mean(expected))
    whole = summarise([result], baseline="grpo")["arms"]["grpo"]["pass_at_k"]["mean"]
    assert whole == pytest.approx(right.max(axis=1).mean(), abs=1e-6)


def test_the_command(run, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["eval", str(run), "--against", "lab:chains-0", "--k", "2", "--prompts", "3", "--out", str(out), "--json"]
    main(words)
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert "unscored" in told.err and "comments" not in told.err.split("baseline")[0]
    assert found == json.loads((out / "summary.json").read_text())
    assert sorted(p.name for p in out.iterdir()) == ["config.json", "report.html", "samples", "summary.json"]
    page = (out / "report.html").read_text()
    assert "Is arm/seed3 better than lab:chains-0 on lab:chains?" in page and "An evaluation trains nothing" in page
    with pytest.raises(SystemExit):
        main(["eval", "lab:chains-0", "--out", str(tmp_path / "x")])
    assert "name a task" in capsys.readouterr().err


def test_a_file_of_test_rows_is_used_whole(tmp_path, capsys):
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"question": f"say {i}", "answer": str(i)}) + "\n" for i in range(4)))
    model = byte_model(tmp_path / "model", context=256)
    words = ["eval", str(model), "--task", "exact", "--data", str(data), "--columns", "question=question,answer=answer"]
    main([*words, "--k", "2", "--out", str(tmp_path / "out"), "--json", "max_new_tokens=4"])
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert found["prompts"] == 4 and found["arms"]["model"]["truncated"]["mean"] > 0.5
    assert "fewer than the 60 asked for" in told.err


def test_a_run_is_reported_and_its_config_runs_again(run, tmp_path, capsys):
    main(["report", str(run), "--out", str(tmp_path / "page.html")])
    page = (tmp_path / "page.html").read_text()
    assert "What did training change in arm/seed3?" in page and "Settings that are not the defaults" in page
    assert "model.lora.rank" in page
    assert load(RunConfig, run / "config.json") == RunConfig.model_validate_json((run / "config.json").read_text())
    assert RunDirectory(run).status[0] == "finished"
