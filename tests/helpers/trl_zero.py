"""Short runs of `FrownSDPOTrainer` in two processes, under DDP or DeepSpeed; the first writes what came of each.

accelerate launch --config_file examples/launch/deepspeed_zero2.yaml --num_processes 2 \\
    tests/helpers/trl_zero.py MODEL FOLDER 2
python -m torch.distributed.run --standalone --nproc_per_node 2 tests/helpers/trl_zero.py MODEL FOLDER ddp (or 1)
"""

import json
import os
import sys
from pathlib import Path

import torch

torch.set_num_threads(1)

from peft import LoraConfig  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from frown.errors import FrownError  # noqa: E402
from frown.trl import FrownSDPOTrainer  # noqa: E402
from trl_setup import trainer  # noqa: E402
from trl_two import FULL, ROWS, all_right, some  # noqa: E402

ZERO = {
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "zero_allow_untested_optimizer": True,
}
BF16 = {"bf16": {"enabled": True}}


def made(model: str, folder: Path, stage: str, *, more=None, extra=None, **changes) -> FrownSDPOTrainer:
    """Two answers a process, two batches a step, nothing drawn. Stage 2 is the launch file's."""
    torch.manual_seed(0)  # adapters
    config = {**ZERO, "zero_optimization": {"stage": int(stage)}, **(extra or {})} if stage in ("1", "3") else None
    base = {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "generation_kwargs": {"do_sample": False},
        "shuffle_dataset": False,
        "teacher_update_rate": 0.3,
        "max_steps": 3,
        "max_grad_norm": 0.02,
        "optim": "sgd",
        "learning_rate": 0.5,
        "ddp_backend": "gloo",
        "deepspeed": config,
    }
    sdpo = trainer(FrownSDPOTrainer, model, folder, rows=ROWS, reward=all_right, more=more, **(base | FULL | changes))
    assert sdpo.accelerator.num_processes == 2 and sdpo.is_deepspeed_enabled == (stage != "ddp")
    return sdpo


def log_lines(run: FrownSDPOTrainer) -> list[dict]:
    lines = [line for line in run.state.log_history if "loss" in line]
    return [{k: v for k, v in x.items() if k in ("loss", "grad_norm") or k.startswith("frown/")} for x in lines]


def weights(run: FrownSDPOTrainer) -> dict:
    """Of student and teacher."""
    both = {"student": run.model, "teacher": run.accelerator.unwrap_model(run.teacher_model)}
    return {f"{who}.{n}": p.detach().clone() for who, of in both.items() for n, p in of.named_parameters()}


def full(model, folder, stage):
    """All weights are trained, layers computed again, beside a teacher that is the weights' running mean."""
    run = made(model, folder, stage, gradient_checkpointing=True)
    run.train()
    return log_lines(run), weights(run)


def lora(model, folder, stage):
    """Two steps with adapters, a checkpoint, and a third by another trainer, whose teacher remembers the first two."""
    shape = LoraConfig(r=4, target_modules=["q_proj", "down_proj"])
    changes = {"optim": "adamw_torch", "adam_epsilon": 1e-3, "learning_rate": 0.05, "num_generations": 2}
    changes |= {"more": {"feedback": some}, "save_strategy": "steps", "save_steps": 2}
    run = made(model, folder, stage, peft_config=shape, **changes)
    run.args.max_steps = 2
    run.train()
    again = made(model, folder, stage, peft_config=shape, **changes)
    again.train(resume_from_checkpoint=str(folder / "out" / "checkpoint-2"))
    return log_lines(again), weights(again)


def rounded(model, folder, stage):
    """bfloat16, its gradients summed in float32: another of DeepSpeed's optimisers at stage 1."""
    run = made(model, folder, stage, bf16=True, extra={**BF16, "data_types": {"grad_accum_dtype": "fp32"}})
    run.train()
    return log_lines(run), {}


def rounded_lora(model, folder, stage):
    """bfloat16, and a teacher outside of DeepSpeed's engine."""
    shape = LoraConfig(r=4, target_modules=["q_proj", "down_proj"])
    run = made(model, folder, stage, bf16=True, extra=BF16, peft_config=shape)
    run.train()
    assert next(run.accelerator.unwrap_model(run.teacher_model).parameters()).dtype == torch.float32
    return log_lines(run), {}


if __name__ == "__main__":
    model, folder, stage = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    logs = {}
    for case in (full, lora) if stage == "ddp" else (full, lora, rounded, rounded_lora):
        logs[case.__name__], tensors = case(model, folder / case.__name__, stage)
        if os.environ["RANK"] == "0" and tensors:
            save_file(tensors, folder / f"{case.__name__}.safetensors")
    if stage == "1":
        try:
            made(model, folder, "3")
        except FrownError as error:
            logs["stage 3"] = str(error)
    if os.environ["RANK"] == "0":
        (folder / "log.json").write_text(json.dumps(logs))
