"""TRL's SDPO with one comment an answer, aimed at the step the policy doubted most: runs on a CPU in seconds.

An ordinary script for TRL's `SDPOTrainer` but for three lines, marked below. The model, its tasks and their critic are
frown's embedded lab; with a model of your own, leave `environment` out and give `critic` one of yours.

    python examples/trl_sdpo.py [output folder]
"""

import sys

import numpy as np
from datasets import Dataset
from trl.experimental.sdpo import SDPOConfig

from frown.lab.base import model_path
from frown.lab.environment import LabEnvironment
from frown.methods import Aimed
from frown.trl import FrownSDPOTrainer, rows_of  # instead of TRL's SDPOTrainer

ENVIRONMENT = LabEnvironment("chains")
AIMED = Aimed(anchor=0.0)  # the teacher is told a comment on the most doubtful step; the loss lies on that step alone


def exact(completions, answer, **rest):
    """1 for an answer that ends in the right result, else 0."""
    return [float(c[0]["content"].endswith(f"={a}")) for c, a in zip(completions, answer, strict=True)]


def train(folder: str, **changes) -> FrownSDPOTrainer:
    """A few steps of aimed distillation."""
    settings = {
        "output_dir": folder,
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 64,
        "max_steps": 3,
        "logging_steps": 1,
        "learning_rate": 1e-3,
        "distillation_mode": "full_logits",
        "distillation_alpha": 0.5,
        "bf16": False,
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
    }
    trainer = FrownSDPOTrainer(
        model=str(model_path("chains-0")),
        reward_funcs=exact,
        args=SDPOConfig(**(settings | changes)),
        train_dataset=Dataset.from_list(rows_of(ENVIRONMENT.train_tasks(np.random.default_rng(0), 32))),
        method=AIMED,  # new
        environment=ENVIRONMENT,  # new
    )
    trainer.train()
    return trainer


if __name__ == "__main__":
    train(sys.argv[1] if len(sys.argv) > 1 else "trl_output")
