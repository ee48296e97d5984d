"""`FrownSDPOTrainer` under DeepSpeed, in two real processes: ZeRO 1 and 2 learn what DDP learns. The launch files."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from paths import HELPERS, ROOT
from tiny import byte_model

pytest.importorskip("trl")
pytest.importorskip("peft")
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from safetensors.torch import load_file

from frown.errors import FrownError
from frown.trl.fields import check
from trl_setup import launched, settings

pytestmark = pytest.mark.filterwarnings("ignore")
LAUNCH = ROOT / "examples" / "launch"
TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
FROM_FILE = [
    "accelerate.commands.launch",
    "--config_file",
    str(LAUNCH / "deepspeed_zero2.yaml"),
    "--num_processes",
    "2",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """The same short runs under DDP and ZeRO 1 and 2, in a folder each."""
    if importlib.util.find_spec("deepspeed") is None:
        pytest.skip("DeepSpeed is not installed (docs/trl.md says how): pip install deepspeed")
    model, out = byte_model(tmp_path_factory.mktemp("model")), tmp_path_factory.mktemp("runs")
    for stage in ("ddp", "1", "2"):
        (out / stage).mkdir()
        start = [sys.executable, "-m", *(FROM_FILE if stage == "2" else TORCHRUN)]
        command = [*start, str(HELPERS / "trl_zero.py"), str(model), str(out / stage), stage]
        failed = launched(command, DS_ACCELERATOR="cpu", OMP_NUM_THREADS="1")
        assert not failed, failed
    return out


def log(runs: Path, stage: str) -> dict:
    return json.loads((runs / stage / "log.json").read_text())


@pytest.mark.timeout(800)
@pytest.mark.parametrize("case", ["full", "lora"])
@pytest.mark.parametrize("stage", ["1", "2"])
def test_zero_learns_what_ddp_learns(runs, stage, case):
    """Losses, norms, signals, the student's weights and those of its averaged teacher; LoRA over a resumed run."""
    expected, found = (log(runs, of)[case] for of in ("ddp", stage))
    assert len(expected) == 3 and all(line["loss"] > 0 for line in expected)
    for a, b in zip(expected, found, strict=True):
        assert b == pytest.approx(a, rel=1e-4, abs=1e-7)
    expected, found = (load_file(runs / of / f"{case}.safetensors") for of in ("ddp", stage))
    assert found.keys() == expected.keys()
    assert max(float((found[name] - expected[name]).abs().max()) for name in found) < 1e-7
    head = [f"{who}.model.layers.0.self_attn.q_proj.weight" for who in ("student", "teacher")]
    if case == "full":
        assert float((found[head[0]] - found[head[1]]).abs().max()) > 1e-4  # far more than may differ


@pytest.mark.timeout(800)
@pytest.mark.parametrize("case", ["rounded", "rounded_lora"])
def test_each_micro_batch_counts_once_in_bfloat16(runs, case):
    """Two of DeepSpeed's optimisers, that take gradients up in different ways, and full precision."""
    one, two = (log(runs, stage)[case] for stage in ("1", "2"))
    for a, b in zip(one, two, strict=True):
        assert b == pytest.approx(a, rel=1e-4, abs=1e-7)
    if case == "rounded":
        assert one[0]["grad_norm"] == pytest.approx(log(runs, "ddp")["full"][0]["grad_norm"], rel=1e-2)


@pytest.mark.timeout(800)
def test_stage_3_is_refused_where_it_is_real(runs):
    assert "ZeRO stage 3" in log(runs, "1")["stage 3"]


@pytest.mark.parametrize(
    ("stage", "parts", "said"), [(3, 1, "stage 3.*use stage 2"), (2, 2, "autotp_size"), (2, 1, None), (0, 1, None)]
)
def test_what_takes_the_head_apart_is_refused(tmp_path, stage, parts, said):
    """Also where the launcher says it, and `SDPOConfig.deepspeed` is empty."""
    args = settings(tmp_path)
    asked = SimpleNamespace(is_zero3=lambda: stage == 3, get_value=lambda name, default: parts)
    args.deepspeed_plugin = SimpleNamespace(hf_ds_config=asked)
    if said is None:
        check(args, composed=False, environment=False)
        return
    with pytest.raises(FrownError, match=said):
        check(args, composed=False, environment=False)


@pytest.mark.parametrize("file", sorted(LAUNCH.iterdir()), ids=lambda file: file.name)
def test_launch_files_are_ones_that_accelerate_reads(file):
    """By accelerate's own reader, which refuses a key that it does not know; a guide names each."""
    config = load_config_from_file(str(file))
    assert isinstance(config, ClusterConfig) and config.num_processes % config.num_machines == 0
    assert file.name in (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
