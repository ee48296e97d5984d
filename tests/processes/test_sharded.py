"""Runs whose layers are spread over two real processes (FSDP2) against the same runs in one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from families import family_model
from frown.config import ModelConfig, RunConfig, load
from frown.errors import FrownError
from frown.learner.shards import refuse_head
from frown.losses.projection import OwnHead
from frown.policy import load as models
from frown.store import checkpoints as checkpoint
from frown.store.run_directory import RunDirectory
from frown.training.run import train
from paths import HELPERS
from tiny import gsm8k_rows, write_jsonl
from two_processes import SETTINGS, differences, finished
from warm import Pair

TWO = "distributed.sharding=fsdp2"
LORA = ("model.lora.rank=3", "optimiser.lr=1e-4", "optimiser.steps=3", "eval.every=3")
"""Three rows of an adapter: one process has more of it than the other."""
FREEZE = ('guard.actions=["freeze"]', "guard.window=1", "guard.entropy=[0.999, 1.001]", "teacher.weights=live")
"""A canary that trips at once."""
CASES = {
    "frozen": (*LORA, "teacher.weights=frozen", "model.gradient_checkpointing=true"),
    "ema": (*LORA, "teacher.weights=ema", "teacher.ema_rate=0.3"),
    "trust": (*LORA, "teacher.weights=trust_region", 'model.lora.targets=["q_proj", "down_proj", "lm_head"]'),
    "live": (*LORA, *FREEZE, "method.type=aimed", "method.aim=variance"),
    "full": ("optimiser.steps=3", "eval.every=3", *FREEZE, "guard.kl=9.0", "method.type=aimed", "method.aim=variance"),
}
HALF = (*LORA, "teacher.weights=ema", "model.dtype=bfloat16")


def gemma(folder: Path) -> list[str]:
    """Settings of a random Gemma 2 (a bound on its logits, a tied head, sliding windows) on data of its own."""
    rows = write_jsonl(folder / "rows.jsonl", gsm8k_rows(40))
    path = family_model("gemma2", folder / "gemma2")
    return [
        "model.device=cpu", f"model.path={path}", "task.kind=exact", f"task.data={rows}",
        "task.columns.solution=answer", "method=opsd",
        "sampling.prompts_per_step=3", "sampling.responses_per_prompt=2", "sampling.max_new_tokens=12",
        "loss.kl_anchor=0.1", "eval.prompts=3", "eval.samples=2", "checkpoint.every=1", *LORA,
        "teacher.weights=ema", "teacher.ema_rate=0.3",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, Path, dict[str, list[str]]]:
    """Folders of the runs in one process and in two, and their settings."""
    pytest.importorskip("peft")
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    settings = {name: [*SETTINGS, *case] for name, case in CASES.items()} | {"gemma": gemma(one)}
    for name, own in settings.items():
        train(load(RunConfig, None, own), one / name)
    half = {"half": [*SETTINGS, *HALF, TWO], "half-whole": [*SETTINGS, *HALF]}
    return one, in_two(two, {name: [*own, TWO] for name, own in settings.items()} | half), settings


def in_two(folder: Path, settings: dict[str, list[str]]) -> Path:
    (folder / "runs.json").write_text(json.dumps(settings))
    finished(Pair(str(folder), script=HELPERS / "two_runs.py"))
    return folder


def last(run: Path, file: str = "model/adapter_model.safetensors") -> dict[str, torch.Tensor]:
    found, _ = checkpoint.newest(run / "checkpoints")
    assert found is not None
    return load_file(found.path / file)


@pytest.mark.parametrize("name", [*CASES, "gemma"])
def test_two_processes_train_as_one(runs, name):
    one, two, _ = runs
    assert RunDirectory(two / name).status == ("finished", "")
    assert differences(one / name, two / name) == []
    kinds = {file.name for file in (checkpoint.newest(two / name / "checkpoints")[0].path).rglob("*.safetensors")}
    saved = "model.safetensors" if name == "full" else "adapter_model.safetensors"
    held = {"teacher.safetensors"} if name in ("ema", "gemma", "live", "full") else set()
    assert kinds == {saved, "optimiser.safetensors"} | held


def test_what_was_compared_has_moved(runs):
    """Far further than may differ: adapters begin with a factor of zeros."""
    _, two, settings = runs
    for name in settings.keys() - {"full"}:
        moved = [float(x.abs().max()) for k, x in last(two / name).items() if "lora_B" in k]
        assert moved and min(moved) > 1e-4, name
    lines = [m for m in RunDirectory(two / "live").metrics() if m.get("guard")]
    assert lines and "the teacher stays as it is now" in lines[0]["warning"]


def test_in_bfloat16_sharding_changes_nothing(runs):
    """Beside two whole processes, which have the same batches: in others bfloat16 rounds otherwise."""
    _, two, _ = runs
    assert differences(two / "half-whole", two / "half") == []


def test_adapters_are_saved_as_by_one_process(runs):
    one, two, _ = runs
    a, b = (json.loads((x / "ema" / "checkpoint" / "adapter_config.json").read_text()) for x in (one, two))
    assert {**a, "target_modules": set(a["target_modules"])} == {**b, "target_modules": set(b["target_modules"])}
    merged = models.load(ModelConfig(path=str(two / "ema" / "checkpoint"))).model
    plain = models.load(ModelConfig()).model
    moved = [
        n for (n, p), q in zip(merged.named_parameters(), plain.parameters(), strict=True) if not torch.equal(p, q)
    ]
    assert len(moved) == len(last(two / "ema")) / 2


@pytest.mark.parametrize("processes", [1, 2])
def test_a_checkpoint_of_two_is_resumed_by_one_and_by_two(runs, tmp_path, processes):
    one, two, settings = runs
    names = ("frozen", "ema", "live")
    for name in names:
        shutil.copytree(two / name, tmp_path / name, symlinks=True)
        for held in checkpoint.existing(tmp_path / name / "checkpoints"):
            if held.step > 2:
                checkpoint.remove(held.path)
        RunDirectory(tmp_path / name).mark("interrupted", "stopped by hand")
        if processes == 1:
            train(load(RunConfig, None, settings[name]), tmp_path / name, resume=True)
    if processes == 2:
        in_two(tmp_path, {name: [*settings[name], TWO] for name in names})
    for name in names:
        assert RunDirectory(tmp_path / name).status == ("finished", "")
        assert differences(one / name, tmp_path / name) == []


def test_a_head_that_runs_the_layers_is_refused_by_name():
    model = models.load(ModelConfig()).model
    refuse_head(OwnHead(lambda hidden: hidden, 33), model)
    with pytest.raises(FrownError, match="does not go with Qwen3ForCausalLM, whose head does more"):
        refuse_head(OwnHead(lambda hidden: hidden, 33, runs_layers=True), model)
