"""The plan against what is: the learner's micro-batches, the model's own sizes, the memory of a process, the disk."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from families import family_model
from frown.cli.app import main
from frown.config import ModelConfig, RunConfig, parse
from frown.errors import FrownError
from frown.plan import plan
from frown.plan.batch import Lengths, batch_of
from frown.plan.memory import disk_of, memory_of, teacher_bytes
from frown.plan.sizes import shapes
from frown.policy import load as models
from frown.policy.rows import Row, micro_batches
from frown.training.run import train
from paths import ROOT
from tiny import byte_model

pytestmark = pytest.mark.slow

LENGTHS = Lengths(prompt=50, answer=30, context=70, measured=True)


def config(**changes) -> RunConfig:
    return parse(RunConfig, changes, "test")


@given(
    prompts=st.integers(1, 40),
    answers=st.integers(1, 16),
    processes=st.integers(1, 8),
    tokens=st.integers(1, 3000),
    replayed=st.integers(0, 20),
)
def test_the_arithmetic_is_that_of_the_learner(prompts, answers, processes, tokens, replayed):
    settings = config(
        sampling={"prompts_per_step": prompts, "responses_per_prompt": answers},
        method="opsd",
        practice={"replay": replayed},
        micro_batch_tokens=tokens,
    )
    batch = batch_of(settings, LENGTHS, processes)
    room = batch.rows * batch.accumulation * processes
    assert batch.total == prompts * answers + replayed <= room
    assert batch.rows * (batch.accumulation - 1) * processes < batch.total
    if room == batch.total:
        assert f"{batch.total} rollouts = {batch.rows} row" in batch.sentence
    assert bool(batch.faults) == bool(prompts % processes)
    if processes == 1:
        ids = np.zeros(30, np.int64)
        row = Row(np.zeros(50, np.int64), ids, np.zeros(70, np.int64))
        made = micro_batches([row] * batch.total, tokens)
        assert len(made) == batch.accumulation and len(made[0]) == batch.rows


@pytest.mark.parametrize("lora", [None, {"rank": 3}])
@pytest.mark.parametrize("name", ["qwen3", "llama", "gemma3", "olmo2"])
def test_shapes_from_the_configuration_alone_are_those_of_the_model(name, lora, tmp_path):
    if lora:
        pytest.importorskip("peft")
    folder = family_model(name, tmp_path / "model")
    model = models.load(ModelConfig(path=str(folder), lora=lora)).model.eval()
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    found = shapes(ModelConfig(path=str(folder), lora=lora), rows=3, length=40)
    parameters = list(model.parameters())
    assert found.parameters == sum(p.numel() for p in parameters)
    assert found.trainable == sum(p.numel() for p in parameters if p.requires_grad)
    assert found.weights == sum(p.nbytes for p in parameters)
    assert (found.vocabulary, found.hidden) == tuple(models.plain(model).get_output_embeddings().weight.shape)
    assert found.tied == models.plain(model).config.tie_word_embeddings and found.context == 2048

    held: dict[int, int] = {}
    weights = {p.data_ptr() for p in parameters}
    kept = []  # so that no storage is freed and its place given to another

    def keep(tensor):
        kept.append(tensor)
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    ids = torch.zeros(3, 40, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        models.backbone(model)(input_ids=ids, use_cache=False)
    true = sum(size for place, size in held.items() if place not in weights)
    assert found.kept == pytest.approx(true, rel=0.02)  # what attention keeps is aligned differently
    cache = models.backbone(model)(input_ids=ids[:1, :20]).past_key_values
    assert found.cache_of_token == sum(x.keys.nbytes + x.values.nbytes for x in cache.layers) // 20


def test_the_disk_is_what_a_run_writes_at_most(tmp_path):
    settings = config(
        sampling={"prompts_per_step": 4, "responses_per_prompt": 4, "max_new_tokens": 40},
        optimiser={"steps": 2},
        eval={"every": 2, "prompts": 2, "samples": 2},
    )
    train(settings, tmp_path / "run")
    sizes = shapes(settings.model, rows=1, length=8)
    planned = {item.name: item.bytes for item in disk_of(settings, sizes)}
    rollouts = sum(f.stat().st_size for f in (tmp_path / "run" / "rollouts").iterdir())
    weights = sum(f.stat().st_size for f in (tmp_path / "run" / "checkpoint" / "..").resolve().rglob("*.safetensors"))
    assert planned["rollouts"] / 4 < rollouts < planned["rollouts"] + 2 * 40_000  # a file has a foot of its own
    assert planned["checkpoints"] == pytest.approx((settings.checkpoint.keep + 1) * weights, rel=0.05)


def test_what_a_teacher_holds():
    def teacher(**changes):
        settings = config(**changes)
        sizes = shapes(settings.model, rows=1, length=80)
        batch = batch_of(settings, LENGTHS, 1)
        memory = memory_of(settings, sizes, batch, LENGTHS, chunk_bytes=1 << 26)
        return next(item.bytes for item in memory.always if item.name == "teacher"), sizes

    copy, sizes = teacher(teacher={"weights": "ema"})
    assert copy == sizes.weights == teacher(teacher={"weights": "frozen"})[0]
    assert teacher(teacher={"weights": "live"})[0] == 0
    assert teacher(method="grpo")[0] == 0
    pytest.importorskip("peft")
    adapted = {"path": "lab:chains-0", "lora": {"rank": 4}}
    assert teacher(teacher={"weights": "frozen"}, model=adapted)[0] == 0
    assert teacher(teacher={"weights": "ema"}, model=adapted)[0] == sizes.weights


def test_a_model_is_planned_from_its_configuration_alone(tmp_path, capsys):
    folder = byte_model(tmp_path / "model")
    for file in folder.iterdir():
        if file.name != "config.json":
            file.unlink()
    words = ["train", "--plan", "--model", str(folder), "--task", "math", "--card", "80", "--processes", "4"]
    words += ["sampling.max_new_tokens=96"]
    main([*words, "--json", "sampling.prompts_per_step=6"])
    found = json.loads(capsys.readouterr().out)
    assert found["batch"]["processes"] == 4 and "do not divide among 4 processes" in " ".join(found["warnings"])
    assert found["lengths"] == {"prompt": 512, "answer": 96, "context": 608, "measured": False, "row": 704}
    assert found["available"] == 80 << 30 and found["memory"]["peak"] < found["available"]
    assert found["seconds"] is None and found["seconds_per_step"] is None  # of a card that is not here
    assert found["pace"] == f"not known for a card that is not here; {found['work']['flop'] / 1e12:.3g} TFLOP a step"
    main([*words, "sampling.prompts_per_step=8"])
    assert "8 prompts x 8 answers = 64 rollouts = 16 rows x 1 micro-batch x 4 processes" in " ".join(
        capsys.readouterr().out.split()
    )
    (folder / "config.json").write_text("{}")
    with pytest.raises(FrownError, match="cannot be planned"):
        plan.make(config(model={"path": str(folder)}, task={"kind": "math"}))


def test_sharding_deals_out_the_layers_alone(tmp_path):
    """By flag and by setting; of two processes beside the bytes they hold in tests/processes/test_distributed.py."""
    folder = byte_model(tmp_path / "model")
    parameters = models.load(ModelConfig(path=str(folder))).model.named_parameters()
    layers, rest = 0, 0
    for name, p in parameters:
        layers, rest = (layers + p.numel(), rest) if ".layers." in name else (layers, rest + p.numel())
    assert layers > 0 and rest > 0
    part = 4 * (layers // 4 + rest)  # every tensor of this model has rows for four
    settings = {
        "model": {"path": str(folder)},
        "task": {"kind": "math"},
        "sampling": {"prompts_per_step": 8},
        "loss": {"kl_anchor": 0.1},
    }
    dealt = plan.make(config(**settings), processes=4, sharded=True, card=80)
    assert dealt.memory == plan.make(config(**settings, distributed={"sharding": "fsdp2"}), processes=4, card=80).memory
    always, sampling, learning, stepping = (
        {item.name: item.bytes for item in getattr(dealt.memory, phase)}
        for phase in ("always", "sampling", "learning", "stepping")
    )
    assert always == {"weights": part, "optimiser": 2 * part, "teacher": part, "start": part}
    assert sampling["layers"] == 4 * layers
    assert learning["gradients"] == stepping["gradients"] == part
    assert learning["layers"] == 3 * 4 * layers // 2 and learning["layers' gradients"] == 2 * 4 * layers // 2
    whole = plan.make(config(**settings), processes=4, card=80).memory
    assert [item.bytes for item in whole.always] == [4 * n * (layers + rest) for n in (1, 2, 1, 1)]
    assert "layers" not in {item.name for item in (*whole.sampling, *whole.learning)}


def test_a_teacher_that_the_guard_may_freeze_is_planned_for():
    frozen = {"guard": {"actions": ["freeze"]}, "teacher": {"weights": "live"}}
    sizes = shapes(config().model, rows=1, length=80)
    part = sizes.per_process
    planned = [teacher_bytes(config(**changes), part.weights, part.base)[0] for changes in ({}, frozen)]
    assert planned == [4 * sizes.parameters] * 2


def test_a_sharded_run_is_timed_in_one_process(capsys):
    main(["train", "--plan", "--json", "--processes", "2", "distributed.sharding=fsdp2"])
    found = json.loads(capsys.readouterr().out)
    assert found["sharded"] and found["shapes"]["per_process"]["processes"] == 2 and "timed here" in found["pace"]


def test_the_flags_of_a_plan_are_refused_without_one(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--processes", "2"])
    assert "go with --plan" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "--plan", "--processes", "0"])
    assert "at least 1" in capsys.readouterr().err


PAGE = (ROOT / "docs" / "scaling.md").read_text()
SIZES = [json.loads(text.split("```")[0]) for text in PAGE.split("```json\n")[1:]]


@pytest.mark.parametrize(
    ("command", "table", "column", "left_out"),
    [
        (0, 0, 1, ()),
        (2, 1, 1, ()),
        (3, 2, 1, ()),
        (3, 2, 2, ("--sharded",)),
        (3, 2, 3, ("teacher.weights=ema",)),
        (3, 2, 4, ("teacher.weights=ema", "--sharded")),
    ],
)
def test_the_page_on_scaling_says_what_the_plan_says(command, table, column, left_out, tmp_path, capsys):
    """Columns of its tables, from the commands and the config.json that stand there; the last ones with a frozen
    teacher."""
    for name, sizes in (("shape", SIZES[0]), ("shape14", SIZES[0] | SIZES[1])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(sizes))
    words = PAGE.split("    frown train --plan")[1:][command].split("\n\n")[0].replace("\\\n", " ").split()
    words = [str(tmp_path / w) if w.startswith("shape") else w for w in words if w not in left_out]
    main(
        [
            "train",
            "--plan",
            "--json",
            *words,
            *(["teacher.weights=frozen"] if "teacher.weights=ema" in left_out else []),
        ]
    )
    found = json.loads(capsys.readouterr().out)
    rows = PAGE.split("\n| GiB")[1:][table].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip(" *") for cell in row.strip("|").split(" | ")] for row in rows]
    said = {row[0].split(" (")[0]: float(row[column]) for row in cells}
    memory = found["memory"]
    items = {item["name"]: item["bytes"] for phase in ("learning", "always", "sampling") for item in memory[phase]}
    true = items | {"peak": memory["peak"], "layers put together to sample": items.get("layers", 0)}
    assert len(said) >= 7 and said == {name: round(true[name] / 2**30, 1) for name in said}
    assert command or found["batch"]["sentence"] in " ".join(PAGE.split())
