"""Model folders as people have them: pointers, cut files, other formats and missing ones are told as what they are."""

from __future__ import annotations

import json
import shutil
import struct

import pytest
import torch

from frown.config import ModelConfig, RunConfig, parse
from frown.errors import FrownError
from frown.plan import doctor
from frown.plan.sizes import shapes
from frown.policy import load as models
from frown.policy.folder import described, fault_of, located, resolve
from learning import learner_of
from tiny import byte_model

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 2471645608\n" % 7
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>Hub</title></head></html>"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return byte_model(tmp_path_factory.mktemp("model") / "whole")


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "model")


@pytest.fixture
def sharded(folder):
    """The same model in several files with an index."""
    model = models.load(ModelConfig(path=str(folder))).model
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    return folder


def refusal(path) -> str:
    with pytest.raises(FrownError) as error:
        models.load(ModelConfig(path=str(path)))
    assert "\n" not in str(error.value)
    return str(error.value)


FILES = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
         "model.safetensors"]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_pointer_of_git_lfs_is_told_as_such(folder, name):
    (folder / name).write_bytes(POINTER)
    assert f"{name} is a Git LFS pointer of {len(POINTER)} bytes" in refusal(folder)
    assert "git lfs pull" in refusal(folder)


@pytest.mark.parametrize("name", FILES)
def test_an_empty_file_is_told_as_such(folder, name):
    (folder / name).write_bytes(b"")
    assert f"{name} is empty" in refusal(folder)


@pytest.mark.parametrize("name", [n for n in FILES if n != "chat_template.jinja"])
def test_a_web_page_under_another_name_is_told_as_such(folder, name):
    (folder / name).write_bytes(PAGE)
    assert f"{name} is a web page" in refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [b'{"a": 1', b"[1, 2]", b"\xff\xfe{}", b"[" * 100_000])
def test_settings_that_are_no_object_of_json_are_told_as_such(folder, name, content):
    (folder / name).write_bytes(content)
    line = refusal(folder)
    assert f"{name} is " in line and ("JSON" in line or "UTF-8" in line)


@pytest.mark.parametrize("share", [1e-4, 0.01, 0.2, 0.999])
def test_weights_that_were_cut_are_told_as_such(folder, share):
    file = folder / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[: max(1, int(share * len(data)))])
    assert "model.safetensors is cut" in refusal(folder) and "download it again" in refusal(folder)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04" + bytes(5000), "of another format"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P" + bytes(500), "of another format"),
        (b"GGUF" + bytes(500), "of another format"),
        (struct.pack("<Q", 10**12) + bytes(500), "is cut or no safetensors file"),
        (struct.pack("<Q", 20) + b"not a header at all. And more.", "its header cannot be read"),
        (struct.pack("<Q", 12) + b'{"a": [1,2]}', "its header cannot be read"),
        (struct.pack("<Q", 2) + b"{}" + bytes(99), "its header speaks of 10"),
    ],
)
def test_what_is_no_safetensors_file_is_told_as_such(folder, content, words):
    (folder / "model.safetensors").write_bytes(content)
    assert f"model.safetensors {words}" in refusal(folder) or words in refusal(folder)


@pytest.mark.parametrize("length", [0x0280, 0x4B50])
def test_a_header_whose_length_reads_like_another_format_is_none(tmp_path, length):
    from safetensors.torch import save_file

    file = tmp_path / "model.safetensors"
    note = ""
    for _ in range(3):  # a header is padded to whole words of 8 bytes
        save_file({"a": torch.zeros(2)}, file, metadata={"format": "pt", "note": note})
        size = int.from_bytes(file.read_bytes()[:8], "little")
        note += "x" * (length - size)
    assert size == length and fault_of(file) is None


def test_parts_that_are_missing_cut_or_without_an_index_are_told_as_such(sharded):
    assert models.load(ModelConfig(path=str(sharded))).model is not None
    parts = sorted(sharded.glob("model-*.safetensors"))
    data = parts[1].read_bytes()
    parts[1].write_bytes(data[:-10])
    assert f"{parts[1].name} is cut: it has {len(data) - 10} of {len(data)} bytes" in refusal(sharded)
    parts[1].write_bytes(POINTER)
    assert f"{parts[1].name} is a Git LFS pointer" in refusal(sharded)
    parts[1].unlink()
    assert f"1 of {len(parts)} files of weights are missing, {parts[1].name} among them" in refusal(sharded)
    index = sharded / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}}))
    assert "has no weight_map" in refusal(sharded)
    index.unlink()
    assert "neither model.safetensors nor model.safetensors.index.json" in refusal(sharded)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "model.pt", "model.ckpt"])
def test_pickled_weights_are_not_loaded_and_it_is_said_how_to_convert_them(folder, name):
    (folder / "model.safetensors").rename(folder / name)
    line = refusal(folder)
    assert "pickled weights are not loaded" in line and "use_safetensors=False).save_pretrained" in line


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("config.json", "has no config.json"),
        ("model.safetensors", "no *.safetensors file in it"),
        ("chat_template.jinja", "has no chat template"),
    ],
)
def test_a_file_that_is_missing_is_named(folder, name, words):
    (folder / name).unlink()
    assert words in refusal(folder)


def test_a_folder_without_a_tokenizer_says_so(folder):
    for file in folder.glob("tokenizer*"):
        file.unlink()
    assert "has no tokenizer: none of tokenizer.json" in refusal(folder)


def test_other_formats_alone_are_named(folder):
    (folder / "model.safetensors").rename(folder / "flax_model.msgpack")
    assert "flax_model.msgpack is not loaded" in refusal(folder)


def test_a_file_and_a_web_address_are_no_folders(folder):
    assert "is a file; give the folder it lies in" in refusal(folder / "model.safetensors")
    assert "give the hub name alone: some-org/tiny" in refusal("https://huggingface.co/some-org/tiny/tree/main")
    with pytest.raises(FrownError, match="does not exist"):
        located(str(folder / "gone"))


def test_weights_of_another_shape_or_for_more_layers(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    assert "have another shape than its config.json says" in refusal(folder)
    (folder / "config.json").write_text(
        json.dumps(config | {"num_hidden_layers": 1, "layer_types": ["full_attention"]})
    )
    [note] = models.load(ModelConfig(path=str(folder))).notes
    assert "tensors of the model's weights are not used" in note and "layers.1." in note


def test_code_in_a_folder_is_not_run(folder):
    config = json.loads((folder / "config.json").read_text())
    mapped = {"auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}, "model_type": "own"}
    (folder / "config.json").write_text(json.dumps(config | mapped))
    (folder / "own.py").write_text("raise SystemExit('run')")
    assert "cannot load model" in refusal(folder)


def test_the_doctor_names_a_pointer(folder):
    (folder / "model.safetensors").write_bytes(POINTER)
    assert doctor._state_of(folder).startswith("model.safetensors is a Git LFS pointer")


# -- tokens that the model has no rows for -------------------------------------------------------------------------


def with_tokens(folder, change):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    change(tokenizer)
    tokenizer.save_pretrained(folder)
    return folder


def learner(folder):
    return learner_of(parse(RunConfig, {"model": {"path": str(folder)}, "task": {"kind": "exact"}}, "test"))


def test_a_tokenizer_with_more_tokens_than_rows_loads_and_refuses_a_text_with_one_of_them(folder):
    with_tokens(folder, lambda t: t.add_tokens(["<image>", "<audio>"]))
    policy = learner(folder).policy
    assert any("has 2 tokens that the model has no embedding of, '<image>'" in line for line in policy.notes)
    assert len(policy.prompt([{"role": "user", "content": "Hi"}])) > 2
    for read in (policy.encode, lambda text: policy.prompt([{"role": "user", "content": text}])):
        with pytest.raises(FrownError, match="a text holds the token '<audio>'"):
            read("See <image> and <audio>.")


def test_a_padding_token_without_a_row_is_not_used(folder):
    with_tokens(folder, lambda t: t.add_special_tokens({"pad_token": "[PAD]"}))
    policy = learner(folder).policy
    assert policy.pad_id == policy.tokenizer.eos_token_id < policy.tokenizer.pad_token_id


def test_a_tokenizer_without_padding_pads_with_its_end(folder):
    def unset(tokenizer):
        tokenizer.pad_token = None

    policy = learner(with_tokens(folder, unset)).policy
    assert policy.tokenizer.pad_token is None and policy.pad_id == policy.tokenizer.eos_token_id


@pytest.mark.parametrize("kind", ["end", "template"])
def test_a_tokenizer_whose_conversations_need_a_token_without_a_row_is_refused(folder, kind):
    def change(tokenizer):
        if kind == "end":
            tokenizer.add_special_tokens({"eos_token": "<|over|>"})
        else:
            tokenizer.add_tokens(["<|turn|>"])
            tokenizer.chat_template = "<|turn|>" + tokenizer.chat_template

    assert "its conversations need them: take the tokenizer of this very model" in refusal(with_tokens(folder, change))


def test_a_tokenizer_without_an_end_is_refused(folder):
    def unset(tokenizer):
        tokenizer.eos_token = None

    assert "no end-of-sequence token" in refusal(with_tokens(folder, unset))


def test_a_link_into_an_empty_cache_is_named(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(folder / "blobs" / "0123")
    assert "model.safetensors is a link to a file that is not there" in refusal(folder)


def test_a_plan_says_what_is_wrong_with_a_configuration(folder):
    (folder / "config.json").write_bytes(POINTER)
    with pytest.raises(FrownError, match=r"config.json is a Git LFS pointer"):
        shapes(ModelConfig(path=str(folder)), rows=1, length=8)


def test_what_is_there_is_resolved(folder):
    assert resolve(str(folder)) == located(str(folder)) == described(str(folder)) == folder
