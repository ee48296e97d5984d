"""Short runs of `FrownSDPOTrainer` in as many processes as this is launched with; writes their logs as JSON.

python -m torch.distributed.run --standalone --nproc_per_node 2 tests/helpers/trl_two.py MODEL FOLDER
"""

import json
import os
import sys
from pathlib import Path

import torch

torch.set_num_threads(1)

from frown.trl import FrownSDPOTrainer  # noqa: E402
from frown.types import Feedback, Part  # noqa: E402
from trl_setup import trainer  # noqa: E402

ROWS = [{"prompt": [{"role": "user", "content": w}], "told": w in "aceg"} for w in "abcdefgh"]


def some(task, rollout, group, appraisal):
    """Feedback for every second prompt: with two processes, for the answers of one of them alone."""
    return Feedback((Part("outcome", f"about {task.question}"),) if task.data["told"] else ())


def of_all(task, rollout, group, appraisal):
    """Says how many answered the same prompt, wherever they did."""
    return Feedback((Part("outcome", f"group {rollout.group} has {len(group)} answers"),))


def all_right(prompts, completions, **rest):
    return [1.0] * len(prompts)


FULL = {"distillation_mode": "full_logits", "distillation_alpha": 0.5}
TOP = {"distillation_mode": "topk_logits", "distillation_alpha": 0.5, "distillation_topk": 4}
CASES = {
    # name -> (settings, keyword arguments of frown's)
    "some": ({"num_generations": 2}, {"feedback": some}),
    "split_group": ({"num_generations": 4}, {"feedback": of_all}),
    "trl's own loss": ({"num_generations": 2, **TOP}, {"feedback": some}),
    "trl": ({"num_generations": 4}, {}),
}


def run(model: str, folder: Path, case: str, processes: int) -> dict:
    """What was logged in two steps of four answers, and the sum of each parameter in the end."""
    changes, more = CASES[case]
    sdpo = trainer(
        FrownSDPOTrainer,
        model,
        folder,
        rows=ROWS,
        reward=all_right,
        more=more,
        per_device_train_batch_size=4 // processes,
        generation_kwargs={"do_sample": False},  # so that what is answered does not depend on who draws
        shuffle_dataset=False,
        optim="sgd",
        learning_rate=0.5,
        ddp_backend="gloo" if processes > 1 else None,
        **(FULL | changes),
    )
    sdpo.train()
    assert sdpo.accelerator.num_processes == processes
    lines = [line for line in sdpo.state.log_history if "loss" in line]
    kept = [{k: v for k, v in x.items() if k in ("loss", "grad_norm") or k.startswith("frown/")} for x in lines]
    return {"lines": kept, "weights": {n: p.double().sum().item() for n, p in sdpo.model.named_parameters()}}


if __name__ == "__main__":
    model, folder = sys.argv[1], Path(sys.argv[2])
    logs = {case: run(model, folder, case, int(os.environ["WORLD_SIZE"])) for case in CASES}
    if os.environ["RANK"] == "0":
        (folder / "log.json").write_text(json.dumps(logs))
