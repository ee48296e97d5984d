"""Trainers of tiny models, TRL's own and frown's, for tests of `frown.trl`."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import torch
from datasets import Dataset
from trl.experimental.sdpo import SDPOConfig

from paths import HELPERS, ROOT

PROMPTS = [{"prompt": [{"role": "user", "content": word}]} for word in ("ab", "c", "def", "gh", "i", "jkl", "m", "no")]


def every_other(prompts, completions, **rest):
    """A reward that calls every second answer right."""
    return [float(i % 2 == 0) for i in range(len(prompts))]


def settings(folder: Path, **changes) -> SDPOConfig:
    """Two short steps of four answers each, on the CPU, without dropout or output."""
    values = {
        "output_dir": str(folder / "out"),
        "per_device_train_batch_size": 4,
        "num_generations": 4,
        "max_completion_length": 6,
        "max_steps": 2,
        "logging_steps": 1,
        "bf16": False,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "learning_rate": 1e-3,
        "gradient_checkpointing": False,
    }
    return SDPOConfig(**(values | changes))


def trainer(kind, model, folder: Path, *, rows=PROMPTS, reward=every_other, peft_config=None, more=None, **changes):
    """A trainer of class `kind`; `more`: frown's own keyword arguments; the rest changes `SDPOConfig`."""
    return kind(
        model=str(model),
        reward_funcs=reward,
        args=settings(folder, **changes),
        train_dataset=Dataset.from_list(list(rows)),
        peft_config=peft_config,
        **(more or {}),
    )


def batch(vocabulary: int, *, ragged: bool = True, seed: int = 0) -> dict[str, torch.Tensor]:
    """Four answers of up to six tokens in TRL's form, the third of them without a teacher."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randint(0, vocabulary, shape, generator=g)

    prompt, teacher, answer = torch.ones(4, 3).long(), torch.ones(4, 5).long(), torch.ones(4, 6).long()
    taught = torch.ones(4)
    if ragged:
        prompt[0, :1] = teacher[1, :2] = 0
        for row, length in enumerate((6, 3, 5, 1)):
            answer[row, length:] = 0
        taught[2] = 0
    ids = draw(4, 6)
    return {
        "prompt_ids": draw(4, 3),
        "prompt_mask": prompt,
        "completion_ids": ids,
        "completion_mask": answer,
        "teacher_input_ids": torch.cat([draw(4, 5), ids], 1),
        "teacher_attention_mask": torch.cat([teacher, answer], 1),
        "self_distillation_mask": taught,
        "advantages": torch.tensor([1.0, -0.5, 0.25, -1.0]),
        "old_per_token_logps": -3.0 * torch.rand(4, 6, generator=g) - 3.0,
    }


def train_quietly(trainer) -> list[dict[str, float]]:
    """Train, and the log of each step."""
    trainer.train()
    return [line for line in trainer.state.log_history if "loss" in line]


def launched(command: list[str], *, seconds: int = 1500, **environment: str) -> str:
    """Run a command with all its children, none of which outlives it; what it output where it failed."""
    path = [str(ROOT / "src"), str(HELPERS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), **environment}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    ) as process:
        try:
            output = process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output = "it hung: " + process.communicate()[0]
    return "" if process.returncode == 0 else output[-3000:]
