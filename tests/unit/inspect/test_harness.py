"""Other people's benchmarks on models of ours: the command always, the programs themselves where they are installed."""

import json
import sys
from pathlib import Path

import pytest

from frown.cli.app import main
from frown.errors import FrownError
from frown.inspect.harness import command, exported, run_under
from tiny import byte_model

pytestmark = pytest.mark.slow


def test_a_harness_is_a_command():
    lm = command("lm-eval", Path("/m"), ["gsm8k", "arc_easy"], ["limit=5"], Path("/o"))
    assert lm[:4] == [sys.executable, "-m", "lm_eval", "run"]
    assert lm[lm.index("--tasks") + 1] == "gsm8k,arc_easy" and lm[-2:] == ["--limit", "5"]
    assert "pretrained=/m,dtype=float32" in lm
    inspect = command("inspect", Path("/m"), ["task.py"], ["max-tokens=4"], Path("/o"))
    assert inspect[3:5] == ["eval", "task.py"] and "model_path=/m" in inspect and inspect[-2:] == ["--max-tokens", "4"]
    for odd in ("limit", "--limit=5 --model x", "a b=1"):
        with pytest.raises(FrownError, match="KEY=VALUE"):
            command("lm-eval", Path("/m"), ["x"], [odd], Path("/o"))


def test_a_harness_that_is_not_there_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("frown.inspect.harness.find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        main(["eval", "lab:chains-0", "--task", "gsm8k", "--harness", "lm-eval", "--out", str(tmp_path)])
    assert "pip install lm-eval" in capsys.readouterr().err


def test_adapters_are_exported_as_a_whole_model(tmp_path):
    peft = pytest.importorskip("peft")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = byte_model(tmp_path / "base")
    assert exported(str(base), tmp_path / "unused") == base
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), peft.LoraConfig(target_modules=["q_proj"]))
    torch.nn.init.normal_(model.base_model.model.model.layers[0].self_attn.q_proj.lora_B["default"].weight)
    model.save_pretrained(tmp_path / "adapters")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "adapters")
    whole = exported(str(tmp_path / "adapters"), tmp_path / "whole")
    ids = torch.arange(10)[None]
    with torch.no_grad():
        ours = AutoModelForCausalLM.from_pretrained(whole)(ids).logits
        assert torch.allclose(ours, model(ids).logits, atol=1e-4)
        assert not torch.allclose(ours, AutoModelForCausalLM.from_pretrained(base)(ids).logits, atol=1e-2)


def test_under_lm_evaluation_harness(tmp_path):
    pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed")
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"question": "say 1", "answer": "1"}\n{"question": "say 2", "answer": "2"}\n')
    (tmp_path / "say.yaml").write_text(
        f"task: say\ndataset_path: json\ndataset_kwargs:\n  data_files: {{test: {rows}}}\ntest_split: test\n"
        'output_type: generate_until\ndoc_to_text: "{{question}}"\ndoc_to_target: "{{answer}}"\n'
        "generation_kwargs: {until: ['\\n'], max_gen_toks: 4, do_sample: false}\n"
        "metric_list:\n  - metric: exact_match\n"
    )
    model = byte_model(tmp_path / "model")
    run_under("lm-eval", str(model), ["say"], [f"include_path={tmp_path}", "device=cpu"], tmp_path / "out")
    [found] = (tmp_path / "out").rglob("results*.json")
    assert "exact_match,none" in json.loads(found.read_text())["results"]["say"]


def test_under_inspect(tmp_path, monkeypatch):
    pytest.importorskip("inspect_ai", reason="inspect_ai is not installed")
    (tmp_path / "say.py").write_text(
        "from inspect_ai import Task, task\nfrom inspect_ai.dataset import Sample\n"
        "from inspect_ai.scorer import match\nfrom inspect_ai.solver import generate\n\n\n@task\ndef say():\n"
        "    return Task(dataset=[Sample(input='say 1', target='1')], solver=generate(), scorer=match())\n"
    )
    model = byte_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path)  # it takes relative paths alone
    run_under("inspect", str(model), ["say.py"], ["max-tokens=4", "display=plain"], tmp_path / "out")
    assert list((tmp_path / "out").glob("*.eval"))
