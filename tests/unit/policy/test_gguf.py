"""GGUF files as models: the logits of the same weights in a folder, a named quantisation, one line where broken."""

from __future__ import annotations

import builtins
import importlib.util
import json
import shutil

import pytest
import torch

from families import family_model
from frown.config import ModelConfig, RunConfig, parse
from frown.config.defaults import parameters
from frown.errors import FrownError
from frown.inspect.harness import exported
from frown.inspect.subjects import fingerprint
from frown.plan.plan import measure
from frown.plan.sizes import shapes
from frown.policy import gguf as files
from frown.policy import load as models
from frown.policy.folder import resolve
from frown.policy.text import prompt_ids

pytestmark = pytest.mark.slow

gguf = pytest.importorskip("gguf")
pytest.importorskip("accelerate")

from gguf_files import gguf_file  # noqa: E402
from tiny import gsm8k_rows, write_jsonl  # noqa: E402

IDS = torch.tensor([[1, 2, 3, 50, 100, 7]])


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return family_model("llama-tied", tmp_path_factory.mktemp("llama") / "folder")


@pytest.mark.parametrize("family", ["llama", "llama-tied", "qwen2"])
def test_it_has_the_logits_and_the_tokens_of_the_same_weights_in_a_folder(family, tmp_path):
    folder = family_model(family, tmp_path / "folder")
    expected = models.load(ModelConfig(path=str(folder)))
    loaded = models.load(ModelConfig(path=str(gguf_file(folder, tmp_path / "x.gguf"))))
    torch.testing.assert_close(logits(loaded.model), logits(expected.model))
    messages = [{"role": "user", "content": "How many? 3 or ü"}]
    assert list(prompt_ids(loaded.tokenizer, messages)) == list(prompt_ids(expected.tokenizer, messages))
    assert loaded.tokenizer.eos_token == expected.tokenizer.eos_token
    assert loaded.notes[0].startswith("the weights of x.gguf are F32, dequantised to float32")


@pytest.mark.parametrize(("stored", "gap"), [("F16", 1e-3), ("Q8_0", 3e-2), ("Q4_0", 0.5)])
def test_its_quantisation_is_named_and_its_weights_are_plain_numbers(folder, stored, gap, tmp_path):
    expected = logits(models.load(ModelConfig(path=str(folder))).model)
    loaded = models.load(ModelConfig(path=str(gguf_file(folder, tmp_path / "x.gguf", stored=stored))))
    assert f"are {stored}," in loaded.notes[0]
    assert 0 < (logits(loaded.model) - expected).abs().max() < gap * expected.abs().max()
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    assert all(p.requires_grad for p in loaded.model.parameters())
    loaded.model.save_pretrained(tmp_path / "saved")
    loaded.tokenizer.save_pretrained(tmp_path / "saved")
    assert "quantization_config" not in json.loads((tmp_path / "saved" / "config.json").read_text())
    again = models.load(ModelConfig(path=str(tmp_path / "saved")))
    assert torch.equal(logits(again.model), logits(loaded.model))


@pytest.mark.parametrize("lora", [None, {"rank": 2, "targets": ["q_proj", "lm_head"]}], ids=["full", "lora"])
def test_what_is_trained_from_it_is_saved_as_safetensors_and_is_the_trained_model(folder, lora, tmp_path):
    from frown.store.run_directory import RunDirectory
    from frown.training.model_card import model_card
    from learning import learner_of

    if lora:
        pytest.importorskip("peft")
    file = gguf_file(folder, tmp_path / "x.gguf", stored="Q8_0")
    config = parse(RunConfig, {"model": {"path": str(file), "lora": lora}, "task": {"kind": "exact"}}, "test")
    e = learner_of(config)
    assert any("Q8_0" in line for line in e.policy.notes)
    with torch.no_grad():
        for i, p in enumerate(e.parameters):
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(i)))
    e.save(tmp_path / "saved")
    assert any((tmp_path / "saved").glob("*.safetensors")) and not any((tmp_path / "saved").glob("*.gguf"))
    loaded = models.load(ModelConfig(path=str(tmp_path / "saved")))
    torch.testing.assert_close(logits(loaded.model), logits(e.policy.model), rtol=1e-4, atol=1e-5)
    card = model_card(config, RunDirectory(tmp_path / "run"))
    assert "weights of a GGUF file" in card and "Q8" in card


def test_a_folder_with_one_file_is_that_file_and_one_with_several_asks_which(folder, tmp_path):
    file = gguf_file(folder, tmp_path / "x.gguf")
    (tmp_path / "mmproj-x.gguf").write_bytes(b"GGUF")  # what looks at images, beside it
    assert resolve(str(tmp_path)) == file
    assert models.load(ModelConfig(path=str(tmp_path))).notes
    shutil.copy(file, tmp_path / "y-Q8_0.gguf")
    with pytest.raises(FrownError, match=r"has 2 GGUF files \(x.gguf, y-Q8_0.gguf\): name one, as in .*x.gguf"):
        resolve(str(tmp_path))
    assert resolve(str(tmp_path / "y-Q8_0.gguf")) == tmp_path / "y-Q8_0.gguf"
    for part in folder.iterdir():  # beside safetensors it is not what the folder is
        shutil.copy(part, tmp_path)
    assert resolve(str(tmp_path)) == tmp_path


def test_another_name_is_no_matter(folder, tmp_path):
    file = gguf_file(folder, tmp_path / "x.gguf").rename(tmp_path / "sha256-0123")
    assert models.load(ModelConfig(path=str(file))).notes


def test_the_tokenizer_may_lie_beside_it(folder, tmp_path):
    file = gguf_file(folder, tmp_path / "x.gguf", tokenizer=False)
    with pytest.raises(FrownError, match="has no tokenizer: none of tokenizer.json, .* is there"):
        models.load(ModelConfig(path=str(file)))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(folder / name, tmp_path)
    assert models.load(ModelConfig(path=str(file))).tokenizer.chat_template


def test_one_without_a_chat_template_says_so(tmp_path):
    folder = family_model("llama-tied", tmp_path / "folder")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(FrownError, match="has no chat template"):
        models.load(ModelConfig(path=str(gguf_file(folder, tmp_path / "x.gguf"))))


def refusal(path) -> str:
    with pytest.raises(FrownError) as error:
        models.load(ModelConfig(path=str(path)))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.999])
def test_one_that_was_cut_is_refused(folder, share, tmp_path):
    file = gguf_file(folder, tmp_path / "x.gguf")
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    assert "is it cut?" in refusal(file)


def test_what_is_no_model_is_refused_in_one_line(folder, tmp_path):
    file = tmp_path / "x.gguf"
    for content, words in {
        b"": "is empty",
        b"PK\x03\x04 and so on": "is no GGUF file",
        b"<!DOCTYPE html><html>": "is a web page",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 99\n": "is a Git LFS pointer of 65 bytes",
        b"GGUF" + bytes(100): "cannot be read",
        b"GGUF": "cannot be read",
    }.items():
        file.write_bytes(content)
        assert words in refusal(file)
    file.unlink()
    assert "one of 3 parts" in refusal(gguf_file(folder, tmp_path / "x-00001-of-00003.gguf", parts=3))
    assert "clip" in refusal(gguf_file(folder, tmp_path / "clip.gguf", architecture="clip"))
    assert "does not exist" in refusal(tmp_path / "none.gguf")


@pytest.mark.parametrize("package", ["gguf", "accelerate"])
def test_a_missing_package_comes_with_the_line_that_installs_it(folder, package, tmp_path, monkeypatch):
    file = gguf_file(folder, tmp_path / "x.gguf")
    real = importlib.util.find_spec
    monkeypatch.setattr(files, "find_spec", lambda name: None if name == package else real(name))
    assert f'needs the {package} package: pip install "frown[gguf]"' in refusal(file)


def test_it_can_be_planned(folder, tmp_path):
    file = gguf_file(folder, tmp_path / "x.gguf")
    sizes = [shapes(ModelConfig(path=str(place)), rows=2, length=16) for place in (file, folder)]
    assert sizes[0] == sizes[1]
    rows = write_jsonl(tmp_path / "rows.jsonl", gsm8k_rows(12))
    lengths = [
        measure(parse(RunConfig, {"model": {"path": str(place)}, "task": {"kind": "math", "data": str(rows)}}, "test"))
        for place in (file, folder)
    ]
    assert lengths[0] == lengths[1] and lengths[0].lengths.measured


def test_it_is_exported_and_measured_as_a_folder(folder, tmp_path):
    file = gguf_file(folder, tmp_path / "x.gguf", stored="F16")
    whole = exported(str(file), tmp_path / "whole")
    loaded = [models.load(ModelConfig(path=str(place))).model for place in (file, whole)]
    assert torch.equal(logits(loaded[0]), logits(loaded[1]))
    assert fingerprint(str(file)) == fingerprint(str(shutil.copy(file, tmp_path / "whole")))
    assert parameters(str(file)) == sum(p.numel() for p in loaded[0].parameters())


def test_whether_a_place_is_one_needs_no_package(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "gguf":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    assert files.is_gguf(tmp_path / "x.gguf") and not files.is_gguf(tmp_path)
