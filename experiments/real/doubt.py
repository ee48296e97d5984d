"""Where does a pretrained model doubt, and is it wrong there?

    python experiments/real/doubt.py MODEL [MODEL ...] --data runs/real/data/test.jsonl --out runs/real/doubt.json

For each model folder and temperature a Markdown table: AUROC and average precision of every signal for "this step is
wrong", pooled and within position, the share of wrong answers whose most doubtful step is wrong (top-1), and AUROC for
"this answer is wrong", with 95 % intervals over prompts. Beside the signals stand what they have to beat: the position
of a step, its length and its digits; and for answers, the disagreement of the samples (self-consistency).
`resampled_surprisal` is the surprisal of a token drawn anew: doubt without the luck of the draw.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from problems import steps_right

from frown.config import RunConfig, parse
from frown.evals import signal_quality as quality
from frown.policy.policy import Policy, policy_of
from frown.runtime.threads import settle
from frown.tasks.load import load_environment
from frown.tasks.rollouts import judge
from frown.types import Rollout, Signals

BASELINES = ("position", "length", "digits")
NAMES = (
    *("surprisal", "resampled_surprisal", "entropy", "margin", "varentropy", "top_probability", "self_certainty"),
    *BASELINES,
)


@torch.no_grad()
def fresh_draws(policy: Policy, rollout: Rollout, generator: torch.Generator) -> np.ndarray:
    """Surprisal of one new token at each place of an answer, drawn from the distribution there: float32[T]."""
    ids = torch.tensor(np.concatenate([rollout.prompt_ids, rollout.ids[:-1]]))[None]
    states = policy.model(input_ids=ids, logits_to_keep=len(rollout.ids)).logits[0].float() / rollout.temperature
    logp = states.log_softmax(-1)
    drawn = torch.multinomial(logp.exp(), 1, generator=generator)
    return -logp.gather(1, drawn)[:, 0].numpy()


def labelled(rollout: Rollout, operations: list[str], policy: Policy, generator: torch.Generator) -> Rollout:
    """The answer with its sentences judged against the story, and with what signals have to beat."""
    lines = [policy.decode(rollout.ids[a:b]) for a, b in rollout.steps]
    if lines and "####" in lines[-1]:
        lines, rollout = lines[:-1], replace(rollout, steps=rollout.steps[:-1])
    texts = policy.tokenizer.convert_ids_to_tokens(rollout.ids.tolist())
    values = {name: np.zeros(len(rollout.ids), np.float32) for name in BASELINES}
    for i, (a, b) in enumerate(rollout.steps):
        values["position"][a:b], values["length"][a:b] = i, b - a
        values["digits"][a:b] = sum(any(c.isdigit() for c in t) for t in texts[a:b])
    values["resampled_surprisal"] = fresh_draws(policy, rollout, generator)
    assert rollout.signals is not None and rollout.verdict is not None
    return replace(
        rollout,
        signals=Signals({**rollout.signals.values, **values}),
        verdict=replace(rollout.verdict, step_right=steps_right(operations, lines)),
    )


def read(policy: Policy, rows: dict[str, list[str]], environment: Any, n: int, k: int) -> list[Rollout]:
    """Judged answers with every signal in them."""
    tasks = environment.test_tasks("test", n)
    answers = judge(policy.sample(tasks, k, seed=7, temperature=policy.sampling.temperature), environment, policy)
    generator = torch.Generator().manual_seed(0)
    return [labelled(r, rows[r.task.question], policy, generator) for r in answers]


def consistency(rollouts: list[Rollout]) -> list[Rollout]:
    """The answers with the share of other answers to their question that end otherwise, at every token."""
    finals: dict[str, list[str | None]] = {}
    for r in rollouts:
        finals.setdefault(r.task.id, []).append(r.verdict and r.verdict.answer)
    out = []
    for r in rollouts:
        others = finals[r.task.id]
        share = 1 - (others.count(r.verdict and r.verdict.answer) - 1) / max(len(others) - 1, 1)
        values = {**(r.signals.values if r.signals else {}), "disagreement": np.full(len(r.ids), share, np.float32)}
        out.append(replace(r, signals=Signals(values)))
    return out


def figure(metric: dict[str, Any] | None) -> str:
    """A metric with its interval."""
    return "-" if metric is None else f"{metric['mean']:.3f} [{metric['ci95'][0]:.2f}, {metric['ci95'][1]:.2f}]"


def main() -> None:
    """Print a table for each model and temperature, and write all figures down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--problems", type=int, default=150)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[1.0, 0.3])
    given = parser.parse_args()
    quality.DOUBTFUL = (*quality.DOUBTFUL, *BASELINES)
    rows = [json.loads(line) for line in given.data.read_text(encoding="utf-8").splitlines()]
    operations = {row["question"]: row["operations"] for row in rows}
    results: dict[str, Any] = {}
    for model in given.models:
        for temperature in given.temperatures:
            settings = {
                "model": {"path": model},
                "task": {"kind": "math", "data": str(given.data), "test_data": str(given.data)},
                "sampling": {"max_new_tokens": 96, "temperature": temperature},
                "method": "grpo",
            }
            config = parse(RunConfig, settings, "this experiment")
            policy = policy_of(config)
            settle(policy.model)
            environment = load_environment(config.task)
            try:
                answers = consistency(read(policy, operations, environment, given.problems, given.samples))
            finally:
                environment.close()
            figures = quality.signal_quality(answers)
            accuracy = float(np.mean([r.verdict.right for r in answers if r.verdict and r.verdict.scored]))
            results[f"{Path(model).name} at {temperature:g}"] = {"accuracy": accuracy, **figures}
            table(model, temperature, accuracy, figures)
    if given.out:
        given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def table(model: str, temperature: float, accuracy: float, figures: dict[str, Any]) -> None:
    """One model's table."""
    steps, answers = figures["steps"], figures["answers"]
    print(f"\n**{Path(model).name}**, temperature {temperature:g}: accuracy {accuracy:.3f};")
    print(f"{figure(steps['prevalence'])} of the steps are wrong.\n")
    print("| signal | AUROC, steps | AP, steps | within position | top-1 | AUROC, answers |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in (*NAMES, "disagreement"):
        step, answer = steps["signals"][name], answers["signals"][name]
        row = (step["auroc"], step["average_precision"], step["auroc_within_position"], step["top1"], answer["auroc"])
        print(f"| {name} | " + " | ".join(map(figure, row)) + " |")


if __name__ == "__main__":
    main()
