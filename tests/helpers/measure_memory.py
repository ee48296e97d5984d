"""In a process of its own: what sampling and one loss truly hold, beside what the plan says. Prints JSON.

Run with MALLOC_MMAP_THRESHOLD_ set, so that what is freed goes back and the peak is what is alive.
"""

from __future__ import annotations

import gc
import json
import sys

import numpy as np
import torch


def resident(key: str) -> int:
    """Bytes by the kernel's account: VmRSS now, VmHWM at the most since `forget`."""
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(key + ":"))


def forget() -> None:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def measure(folder: str, changes: dict) -> dict[str, float]:
    from frown.config import RunConfig, parse
    from frown.learner.learner import Learner
    from frown.losses.head import chunk_bytes
    from frown.plan.batch import Lengths, batch_of
    from frown.plan.memory import memory_of
    from frown.plan.sizes import shapes
    from frown.policy.policy import policy_of
    from frown.policy.text import prompt_ids
    from frown.types import Task, TeacherView

    sampling = {"prompts_per_step": 4, "responses_per_prompt": 4, "max_new_tokens": 100}
    values = {"model": {"path": folder, **changes}, "task": {"kind": "exact"}, "sampling": sampling}
    config = parse(RunConfig, values, "test")
    Learner(policy_of(config), config)  # what is loaded once and stays
    gc.collect()
    before = resident("VmRSS")
    learner = Learner(policy_of(config), config)
    learner.policy.eos_ids = []  # every answer runs to its limit
    tasks = [Task(str(i), ({"role": "user", "content": "x" * 50},), "") for i in range(4)]
    forget()
    rollouts = learner.policy.sample(tasks, 4, seed=0, temperature=1.0)
    context = prompt_ids(learner.policy.tokenizer, [{"role": "user", "content": "y" * 50}])
    views = [TeacherView(i, context, np.ones(len(r.ids), np.float32)) for i, r in enumerate(rollouts)]
    learner.learn(rollouts, views, [np.zeros(len(r.ids), np.float32) for r in rollouts], distillation=1.0)
    measured = resident("VmHWM") - before

    lengths = Lengths(len(rollouts[0].prompt_ids), 100, len(context), True)
    batch = batch_of(config, lengths, 1)
    sizes = shapes(config.model, rows=batch.rows, length=lengths.student)
    memory = memory_of(config, sizes, batch, lengths, chunk_bytes=chunk_bytes("cpu"))
    return {"measured": measured, "planned": memory.peak}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps([measure(sys.argv[1], changes) for changes in json.loads(sys.argv[2])]))
