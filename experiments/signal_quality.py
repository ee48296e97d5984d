"""Signals that tell wrong steps: at temperature one and low, with fresh draws, before and after training.

    python experiments/signal_quality.py chains lab:chains-0 runs/aimed-chains-0/runs/doubt/seed0/checkpoint

For each model folder a Markdown table: AUROC for "this step is wrong", pooled and within position, and the share of
wrong answers whose most doubtful step is wrong, with 95 % intervals over prompts. `resampled_surprisal` is the
surprisal of a token drawn anew from the same distribution: what is left of doubt without the luck of the draw.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import torch

from frown.config import RunConfig, parse
from frown.evals.signal_quality import signal_quality
from frown.feedback.aim import external_scores
from frown.policy.policy import Policy, policy_of
from frown.tasks.load import load_environment
from frown.tasks.rollouts import judge
from frown.types import Rollout, Signals

NAMES = (
    *("surprisal", "resampled_surprisal", "entropy", "margin", "varentropy", "self_certainty"),
    *("disagreement", "mutual_information"),
)
FIXED = np.log(2.0)
"""The preset's threshold of doubt, nats."""
COPIES = 4
"""Copies with noisy weights from which the variance of a prediction is read."""


@torch.no_grad()
def fresh_draws(policy: Policy, rollout: Rollout, generator: torch.Generator) -> np.ndarray:
    """Surprisal of one new token at each place of an answer, drawn from the distribution there: float32[T]."""
    ids = torch.tensor(np.concatenate([rollout.prompt_ids, rollout.ids[:-1]]))[None]
    logits = policy.model(input_ids=ids).logits[0, len(rollout.prompt_ids) - 1 :].float() / rollout.temperature
    logp = logits.log_softmax(-1)
    drawn = torch.multinomial(logp.exp(), 1, generator=generator)
    return -logp.gather(1, drawn)[:, 0].numpy()


def read(policy: Policy, environment, temperature: float) -> list[Rollout]:
    """Judged answers with every signal in them."""
    tasks = environment.test_tasks("test", 100)
    rollouts = judge(policy.sample(tasks, 8, seed=7, temperature=temperature), environment, policy)
    disagreement = external_scores(rollouts)["disagreement"]
    variance = policy.prediction_variance(rollouts, copies=COPIES, seed=0)
    generator = torch.Generator().manual_seed(0)
    out = []
    for r, contested, spread in zip(rollouts, disagreement, variance, strict=True):
        by_token = np.full(len(r.ids), np.nan, np.float32)
        for (a, b), share in zip(r.steps, contested or (), strict=contested is not None):
            by_token[a:b] = share
        more = {"disagreement": by_token, "mutual_information": spread}
        more["resampled_surprisal"] = fresh_draws(policy, r, generator)
        out.append(replace(r, signals=Signals({**r.signals.values, **more})))
    return out


def figure(metric: dict | None) -> str:
    """A metric with its interval."""
    return "-" if metric is None else f"{metric['mean']:.3f} [{metric['ci95'][0]:.2f}, {metric['ci95'][1]:.2f}]"


def main(family: str, paths: list[str]) -> None:
    """Print a table for each model and temperature."""
    torch.set_num_threads(1)
    for path in paths:
        for temperature in (1.0, 0.3):
            config = parse(
                RunConfig,
                {
                    "model": {"path": path},
                    "task": {"kind": f"lab:{family}"},
                    "sampling": {"max_new_tokens": 60, "temperature": temperature},
                },
                "this experiment",
            )
            environment = load_environment(config.task)
            rollouts = read(policy_of(config), environment, temperature)
            quality = signal_quality(rollouts)
            steps = [float(r.signals["surprisal"][a:b].max()) for r in rollouts for a, b in r.steps]
            print(f"\n**{path}**, temperature {temperature}: {figure(quality['steps']['prevalence'])} of the steps are")
            print(
                f"wrong; {np.mean(np.array(steps) > FIXED):.3f} of the steps lie above the fixed threshold of doubt.\n"
            )
            print(
                "| signal | AUROC, steps | within position | top-1 | AUROC, answers |\n| --- | --- | --- | --- | --- |"
            )
            for name in NAMES:
                step, answer = quality["steps"]["signals"][name], quality["answers"]["signals"][name]
                row = (step["auroc"], step["auroc_within_position"], step["top1"], answer["auroc"])
                print(f"| {name} | " + " | ".join(map(figure, row)) + " |")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python experiments/signal_quality.py FAMILY MODEL [MODEL ...]")
    main(sys.argv[1], sys.argv[2:])
