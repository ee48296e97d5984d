"""`frown doctor --model` says what a model is, and what of it training would stumble over."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from families import family_model
from frown.cli.app import main
from frown.errors import FrownError
from frown.plan import model_doctor, pace
from frown.plan.model_doctor import examine_model
from frown.plan.pace import Device
from frown.report.doctor import model_lines
from gguf_files import gguf_file
from tiny import byte_model

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(model_doctor, "TIMED_TOKENS", 4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return family_model("llama-tied", tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "model")


def change(file, **values) -> None:
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | values), encoding="utf-8")


def test_a_model_that_is_as_training_needs_it(folder, capsys):
    main(["doctor", "--model", str(folder), "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["trainable"] and report["faults"] == report["warnings"] == []
    assert (report["kind"], report["architecture"], report["context"]) == ("folder", "LlamaForCausalLM", 2048)
    assert report["tied"] and report["packing"] == "blocks" and set(report["stored"]) == {"F32"}
    assert sum(report["stored"].values()) == report["parameters"]
    assert report["chat"]["closing"] == "<|eot_id|>" == report["chat"]["ends"][0]
    assert report["chat"]["system"] == "own turn" and report["chat"]["pad"] == "<|finetune_pad|>"
    assert report["speed"]["sampling"] > 0 and report["speed"]["learning"] > 0 and report["speed"]["threads"]
    every, adapters = report["suggestions"]
    assert (every["lr"], every["max_new_tokens"], every["lora"]) == (1e-3, 96, None) and every["fits"]
    assert every["batch"].startswith("16 prompts x 8 answers = 128 rollouts")
    assert adapters["lora"] == 16 and adapters["overrides"] == ["model.lora.rank=16", "model.dtype=float32"]
    assert 0 < adapters["trained"] and adapters["seconds_per_step"] > 0
    main(["doctor", "--model", str(folder)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "nothing to mend" and any(line.startswith("speed on ") for line in lines)


@pytest.mark.parametrize(
    ("name", "system", "closing"),
    [
        ("qwen3-untied", "own turn", "<|im_end|>"),
        ("gemma3", "in front of the question", "<end_of_turn>"),
        ("olmo2", "own turn", "<|endoftext|>"),
    ],
)
def test_families_end_answers_as_their_templates_do(name, system, closing, tmp_path):
    report = examine_model(str(family_model(name, tmp_path)))
    assert report.chat is not None and not report.faults
    assert (report.chat.system, report.chat.closing) == (system, closing) and closing in report.chat.ends
    assert not [line for line in report.warnings if "closes an answer" in line]
    assert report.tied == (name == "gemma3")


def test_a_template_whose_end_of_turn_ends_nothing_is_warned_of(tmp_path):
    folder = family_model("gemma", tmp_path)
    ids = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]
    for name in ("generation_config.json", "config.json"):
        change(folder / name, eos_token_id=min(ids))  # <eos>, the tokenizer's own
    report = examine_model(str(folder))
    assert report.chat is not None and report.chat.ends == ("<eos>",) and not report.faults
    [warning] = [line for line in report.warnings if "closes an answer" in line]
    assert "with <end_of_turn>" in warning and "but what ends an answer is <eos>" in warning
    assert f"warning: {warning}" in model_lines(report)


TEMPLATES = {
    "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}": "with no token of its own",
    "{{ bos_token + bos_token }}{% for m in messages %}{{ m.content + '<|eot_id|>' }}{% endfor %}": "twice",
    "{% for m in messages if m.role != 'system' %}{{ m.content + '<|eot_id|>' }}{% endfor %}": "leaves out system",
    "{{ messages[-1].content + '<|eot_id|>' }}": "leaves out earlier answers",
    "{% for m in messages %}{{ m.content + '<|eot_id|>' }}{% endfor %}"
    "{% if enable_thinking %}<think>{% endif %}": "knows a thinking mode",
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_is_odd_about_a_chat_template_is_warned_of(template, folder):
    (folder / "chat_template.jinja").write_text(template)
    assert TEMPLATES[template] in "\n".join(examine_model(str(folder)).warnings)


def test_without_a_chat_template_the_rest_is_said_nevertheless(folder):
    (folder / "chat_template.jinja").unlink()
    report = examine_model(str(folder))
    assert len(report.faults) == 1 and "has no chat template" in report.faults[0]
    assert report.parameters > 0 and report.chat is not None and not report.chat.template and report.speed is None
    assert any(line.startswith("cannot be trained as it is: ") for line in model_lines(report))


def test_weights_that_are_not_finite_and_a_head_that_copies_the_embedding(tmp_path):
    from transformers import AutoModelForCausalLM

    folder = family_model("qwen3-untied", tmp_path)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.lm_head.weight.copy_(model.get_input_embeddings().weight * 1.01)
    model.save_pretrained(folder)
    assert "nearly equal (they differ by 1.0%)" in "\n".join(examine_model(str(folder)).warnings)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = torch.inf
    model.save_pretrained(folder)
    report = examine_model(str(folder))
    assert "not finite, model.layers.1.mlp.up_proj.weight among them" in "\n".join(report.faults)
    assert report.speed is None


def test_a_short_context_is_warned_of(tmp_path):
    folder = byte_model(tmp_path, context=512)
    assert "its context of 512 tokens leaves 416 for prompts beside answers of 96" in "\n".join(
        examine_model(str(folder)).warnings
    )


def test_a_model_that_does_not_fit_is_not_loaded(folder, monkeypatch):
    weights = 4 * examine_model(str(folder)).parameters
    monkeypatch.setattr(pace, "device_of", lambda name: Device("cpu", "a small machine", 2 * weights))
    report = examine_model(str(folder))
    assert report.speed is None and report.packing is None and not report.faults
    assert "so it is not loaded here" in report.warnings[0]
    assert report.chat is not None and report.chat.ends == ("<|eot_id|>",)
    every, adapters = report.suggestions
    assert not every.fits and every.overrides[-1] == "model.gradient_checkpointing=true"
    assert adapters.dtype == "bfloat16" and adapters.seconds_per_step is None
    assert "a step on all weights takes" in "\n".join(report.warnings)


def test_embedded_models_adapters_and_gguf_files(folder, tmp_path):
    lab = examine_model("lab:chains-0")
    assert (lab.kind, lab.faults, lab.suggestions[0].lr) == ("embedded", (), 1e-3) and lab.speed is not None

    pytest.importorskip("gguf")
    file = examine_model(str(gguf_file(folder, tmp_path / "model.gguf", stored="Q8_0")))
    assert (file.kind, set(file.stored), file.faults) == ("gguf", {"Q8_0"}, ())
    assert "dequantised to float32" in "\n".join(file.warnings)

    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    peft.get_peft_model(
        model, peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear")
    ).save_pretrained(tmp_path / "adapters")
    report = examine_model(str(tmp_path / "adapters"))
    assert (report.kind, report.base, report.faults) == ("adapters", str(folder), ())
    assert len(report.suggestions) == 1 and "merged into their base model" in "\n".join(report.warnings)
    assert "give optimiser.lr=0.001" in "\n".join(report.warnings)  # the size of adapters says nothing of their base's


def test_what_is_no_model_is_answered_in_a_line(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("a model")
    change(folder / "config.json", model_type="t5")
    cases = {
        tmp_path / "nowhere": "does not exist",
        tmp_path / "empty": "has no config.json",
        tmp_path / "notes.txt": "is a file",
        folder: "is of the kind t5",
        "lab:chains-9": "chains-9",
    }
    for path, words in cases.items():
        with pytest.raises(FrownError, match=words) as error:
            examine_model(str(path))
        assert "\n" not in str(error.value)
