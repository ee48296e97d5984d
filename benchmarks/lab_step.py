"""Whole training steps on the embedded model, sampling included: frown's loop body beside TRL's `SDPOTrainer`.

Both start from the same weights, take the same prompts in the same order, judge by the same environment and show the
teacher a successful sibling. They take turns: frown's step runs in a callback at the end of each of the trainer's.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import peer
from benchmarks.measuring import cpu_seconds
from benchmarks.sampling import mixed_tasks
from frown.affect.normalise import Normaliser
from frown.config import RunConfig, parse
from frown.lab import words
from frown.lab.environment import LabEnvironment
from frown.lab.text import CONTEXT_MARK
from frown.learner.learner import Learner
from frown.methods.base import Classroom
from frown.policy.load import LoadedModel, load
from frown.policy.policy import policy_of
from frown.runtime.randomness import seed_of
from frown.tasks.rollouts import judge
from frown.types import Task

PROMPTS, GROUP, MAX_NEW_TOKENS, RATE = 16, 8, 96, 1e-4


def configuration() -> RunConfig:
    """frown's defaults, the trainer's ones made equal to them; the rate is small, so that answers keep their length."""
    values = {
        "sampling": {"prompts_per_step": PROMPTS, "responses_per_prompt": GROUP, "max_new_tokens": MAX_NEW_TOKENS},
        "method": {"type": "sdpo", "feedback": ["sibling"]},
        "optimiser": {"lr": RATE},
        "teacher": {"weights": "ema", "ema_rate": 0.05},
    }
    return parse(RunConfig, values, "benchmark")


class OwnSteps:
    """frown's training loop, one step at a time, without evaluations and files."""

    def __init__(self, config: RunConfig, environment: LabEnvironment):
        self.config, self.environment = config, environment
        self.learner = Learner(policy_of(config), config)
        self.normaliser = Normaliser()
        self.rng = np.random.default_rng(0)
        self.parts: dict[str, list[float]] = {}
        self.tokens: list[int] = []

    def step(self, number: int, tasks: list[Task]) -> float:
        """CPU-seconds of one step on some prompts; see `frown.training.step.train_step`."""
        began = time.process_time()
        config, learner, policy, method = self.config, self.learner, self.learner.policy, self.config.method
        with self._timed("sample"):
            seed = seed_of(config.seed, number)
            answers = policy.sample(tasks, GROUP, seed=seed, temperature=config.sampling.temperature)
        with self._timed("judge and teach"):
            rollouts = judge(answers, self.environment, policy)
            self.normaliser = self.normaliser.update([r.signals for r in rollouts if r.signals is not None])
            room = Classroom(config, self.environment, policy, self.rng, normaliser=self.normaliser)
            lesson = method.teach(rollouts, room)
            credit = method.credit(rollouts, lesson, room)
        with self._timed("forward and backward"):
            learner.backward(rollouts, lesson.views, credit, distillation=method.share)
        with self._timed("step"):
            learner.step()
        self.tokens.append(sum(len(r.ids) for r in rollouts))
        return time.process_time() - began

    @contextlib.contextmanager
    def _timed(self, part: str) -> Any:
        began = time.process_time()
        yield
        self.parts.setdefault(part, []).append(time.process_time() - began)


def reward_function(environment: LabEnvironment, tasks: list[Task]) -> Callable[..., list[float]]:
    """The environment's verdicts as TRL asks for them."""
    by_question = {t.question: t for t in tasks}

    def right(prompts: Any, completions: Any, **_: Any) -> list[float]:
        asked = [by_question[p[-1]["content"]] for p in prompts]
        return [v.score for v in environment.verify(asked, [c[0]["content"] for c in completions])]

    return right


def turns(
    config: RunConfig, environment: LabEnvironment, batches: Sequence[list[Task]], folder: Path
) -> tuple[OwnSteps, dict[str, list[float]]]:
    """A step of both on each batch, in turn. CPU-seconds of each, and of the trainer's sampling; the first not kept."""
    from transformers import TrainerCallback

    own = OwnSteps(config, environment)
    seconds: dict[str, list[float]] = {"ours": [], "peer": [], "peer_sampling": [], "peer_tokens": []}

    class InTurn(TrainerCallback):
        began = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.process_time()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            seconds["peer"].append(time.process_time() - self.began)
            seconds["ours"].append(own.step(state.global_step, batches[state.global_step - 1]))
            self.began = time.process_time()

    loaded: LoadedModel = load(config.model)
    everything = [t for batch in batches for t in batch]
    trainer = peer.sdpo_trainer(
        loaded.model,
        loaded.tokenizer,
        [{"prompt": [dict(m) for m in t.messages]} for t in everything],
        reward_function(environment, everything),
        folder,
        batch=PROMPTS * GROUP,
        group=GROUP,
        teacher="ema",
        callbacks=[InTurn()],
        max_steps=len(batches),
        max_completion_length=MAX_NEW_TOKENS,
        temperature=config.sampling.temperature,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        adam_beta1=config.optimiser.betas[0],
        adam_beta2=config.optimiser.betas[1],
        weight_decay=config.optimiser.weight_decay,
        max_grad_norm=config.optimiser.max_grad_norm,
        teacher_update_rate=config.teacher.ema_rate,
        # The lab's own words for "question, and a worked solution", so that both teachers read the same.
        reprompt_template="{prompt}{solution}{feedback}",
        solution_template=CONTEXT_MARK + words.reference("{successful_previous_attempt}"),
    )
    generate = trainer._generate

    def timed_generate(prompts: Any) -> Any:
        out: list[Any] = []
        seconds["peer_sampling"].append(cpu_seconds(lambda: out.append(generate(prompts))))
        seconds["peer_tokens"].append(sum(map(len, out[0][1])))
        return out[0]

    trainer._generate = timed_generate
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    return own, {name: values[1:] for name, values in seconds.items()}


def compared(batches: Sequence[list[Task]], environment: LabEnvironment) -> dict[str, Any]:
    """CPU-seconds of a step of both on the same batches."""
    with tempfile.TemporaryDirectory() as folder:
        own, seconds = turns(configuration(), environment, batches, Path(folder))
    ours, theirs = median(seconds["ours"]), median(seconds["peer"])
    return {
        "ours": ours,
        "peer": theirs,
        "ratio": theirs / ours,
        "ours_parts": {part: median(values[1:]) for part, values in own.parts.items()},
        "peer_parts": {"sample": median(seconds["peer_sampling"]), "rest": theirs - median(seconds["peer_sampling"])},
        "tokens_a_step": {"ours": median(own.tokens[1:]), "peer": median(seconds["peer_tokens"])},
        "paired_ratios": [p / o for p, o in zip(seconds["peer"], seconds["ours"], strict=True)],
    }


def step_lab(quick: bool) -> dict[str, Any]:
    """CPU-seconds of one optimiser step on 16 prompts, 8 answers each: prompts of 2 to 15 steps, and of 5 alone."""
    peer.required()
    batches = 2 if quick else 11
    environment, rng = LabEnvironment("chains"), np.random.default_rng(0)
    mixed = [mixed_tasks(PROMPTS, seed) for seed in range(batches)]
    usual = [environment.train_tasks(rng, PROMPTS) for _ in range(batches)]
    return {
        **compared(mixed, environment),
        "unit": "CPU-seconds a step",
        "peer_name": "TRL SDPOTrainer, full logits, ema teacher, all 128 rows in one pass",
        "optimiser_steps": batches - 1,
        "five_steps": compared(usual, environment),
    }
