"""Summaries of comparisons that nobody ran: figures of the kind that small models really give, and hostile names."""

from __future__ import annotations

import numpy as np

from frown.evals.samples import GradedSamples
from frown.evals.summary import RunResult, summarise

STEPS = (0, 10, 20, 30, 40)
# Where each arm gets to at STEPS; figures of the kind that small models really give.
ARMS = {
    "grpo": (0.47, 0.61, 0.72, 0.79, 0.83),
    "sdpo": (0.47, 0.66, 0.76, 0.82, 0.86),
    "full critique": (0.47, 0.70, 0.82, 0.87, 0.89),
    "aimed": (0.47, 0.67, 0.76, 0.81, 0.85),
}
COMMENTS = {"full critique": 80, "aimed": 16}


def samples(accuracy, step, rng, arm="grpo", prompts=60, k=12, split="test"):
    """Prompts differ in difficulty; wrong answers cluster; a sure answer is more often right."""
    difficulty = np.random.default_rng(7).normal(0, 1.2, (prompts, 1))
    logit = np.log(accuracy / (1 - accuracy)) * 1.35 + difficulty
    right = rng.random((prompts, k)) < 1 / (1 + np.exp(-logit))
    wrong = rng.choice(["3", "4", "9", None], p=[0.6, 0.2, 0.15, 0.05], size=(prompts, k))
    answer = np.where(right, "7", wrong)
    doubt = rng.gamma(1.5, 0.25, (prompts, k)) + np.where(right, 0.1, 0.7)
    return GradedSamples(
        step=step,
        split=split,
        task_ids=tuple(f"task-{i:03d}" for i in range(prompts)),
        score=right.astype(float),
        well_formed=answer != None,  # noqa: E711
        process_right=np.where(right, rng.random((prompts, k)) < 0.93, 0.0).astype(float),
        answer=answer,
        min_probability=np.exp(-doubt),
        mean_probability=np.exp(-doubt / 4),
        tokens=rng.integers(20, 27, (prompts, k)),
        entropy=(1 - accuracy) * 0.5 * rng.gamma(4, 0.25, (prompts, k)),
        surprisal=doubt / 4,
        truncated=np.zeros((prompts, k), dtype=bool),
        train_rollouts=step * 16,
        train_tokens=step * 16 * 25 * (8 if arm in ("grpo", "sdpo") else 1),
        train_comments=step * COMMENTS.get(arm, 0),
        train_seconds=step * 0.4,
    )


def run(arm, seed, curve=None, **options):
    rng = np.random.default_rng([seed, *arm.encode()])
    shift = rng.normal(0, 0.01)
    curve = curve or ARMS[arm]
    evals = tuple(samples(a + shift, s, rng, arm, **options) for a, s in zip(curve, STEPS, strict=True))
    heldout = samples(curve[-1] - 0.03 + shift, STEPS[-1], rng, arm, split="heldout", **options)
    return RunResult(arm, seed, evals, heldout, seconds=18.0 + seed, counters={"skipped_groups": 4 + seed})


def experiment(seeds=(0, 1, 2)):
    return [run(arm, seed) for arm in ARMS for seed in seeds]


def full_summary(**options):
    results = [
        *experiment(),
        RunResult("aimed", 3, (), status="failed", message="loss is not finite at step 12"),
    ]
    return summarise(
        results,
        **{
            "baseline": "grpo",
            "threshold": 0.8,
            "config": {"steps": 40, "seeds": [0, 1, 2, 3], "arms": {"aimed": {"comments": 1}}},
            "environment": {
                "frown": "0.1.0",
                "python": "3.11.4",
                "torch": "2.9.0",
                "command": "frown compare --preset demo --out runs/demo",
            },
            "pairs": [("aimed", "full critique")],
            **options,
        },
    )


HOSTILE = '<script>alert("x")</script>&{{ 7 * 7 }}[red]'


def hostile_summary():
    runs = [run("grpo", 0), run("aimed", 0)]
    results = [type(r)(arm=HOSTILE if r.arm == "aimed" else r.arm, seed=0, evals=r.evals) for r in runs]
    failed = type(runs[0])(
        arm=HOSTILE, seed=1, evals=(), status="failed", message="</td><img src=x onerror=alert(1)>", warnings=(HOSTILE,)
    )
    return summarise(
        [*results, failed],
        baseline="grpo",
        config={HOSTILE: "</pre><script>1</script>"},
        environment={"command": f"frown {HOSTILE}", HOSTILE: [HOSTILE]},
    )
