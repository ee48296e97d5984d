"""Conversations in frown's own loop: a policy whose answers are conversations, and tasks judged by holding one.

    environment = Conversations("name", train, test)
    engine = DialogueEngine(config, partner, turns=8)
    train(config, Learner(engine, config), environment, run)      # frown.training.loop

Each answer is a whole conversation as one rollout, with the partner's verdict; evaluation holds conversations, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from frown.config import RunConfig
from frown.critics.base import Critic
from frown.dialogue.conversation import Dialogue, as_rollout
from frown.dialogue.partner import Partner
from frown.dialogue.play import History, play
from frown.errors import FrownError
from frown.policy.policy import Policy
from frown.runtime.processes import ALONE, Ranks
from frown.tasks import template
from frown.types import Ints, Rollout, Step, Task, Verdict


class DialogueEngine(Policy):
    """A policy in one process, whose `sample` holds conversations of at most `turns` turns with a partner.

    `judge`: how a conversation that was scored went, instead of the partner's own verdict. `history`: what becomes of
    turns that the chat template would rewrite; a loop learns from whole conversations, so they are refused or kept.
    Raises FrownError where `ranks` are several processes.
    """

    def __init__(
        self,
        config: RunConfig,
        partner: Partner,
        *,
        turns: int,
        judge: Callable[[Dialogue], Verdict] | None = None,
        history: Literal["verbatim", "kept"] = "verbatim",
        ranks: Ranks = ALONE,
    ) -> None:
        if ranks.size > 1:
            raise FrownError("conversations are trained in one process; launch it without accelerate or torchrun")
        super().__init__(
            config.model,
            config.sampling,
            sampling_batch_tokens=config.sampling_batch_tokens,
            micro_batch_tokens=config.micro_batch_tokens,
            ranks=ranks,
        )
        self._partner, self._turns, self._judge = partner, turns, judge
        self._history: History = history

    def sample(
        self,
        tasks: Sequence[Task],
        n: int,
        *,
        seed: int,
        temperature: float,
        contexts: Sequence[Ints] | None = None,
        model: Any = None,
    ) -> list[Rollout]:
        """n conversations about each task, in order, as rollouts with the partner's verdicts.

        `contexts` and `model`: what a teacher would say first, which opens no conversation: it is a FrownError. So is a
        partner that answered in none of them: without one there is nothing to learn from.
        """
        if contexts is not None or model is not None:
            raise FrownError(
                "a conversation is held by the policy from its task's own messages; set objective.distillation = 0"
            )
        held = self.talks(tasks, n, seed=seed, temperature=temperature)
        if held and all(d.stop == "lost" for d in held):
            raise FrownError(nobody_answered(Counter(d.why for d in held)))
        return [as_rollout(d) for d in held]

    def talks(self, tasks: Sequence[Task], n: int, *, seed: int, temperature: float) -> list[Dialogue]:
        """The same as conversations."""
        held = play(
            *(_Turns(self), self._partner, tasks, n),
            seed=seed, temperature=temperature, turns=self._turns, history=self._history,
        )  # fmt: skip
        if self._judge is None:
            return held
        return [replace(d, verdict=self._judge(d)) if d.verdict.scored else d for d in held]

    def turn(
        self, tasks: Sequence[Task], n: int, *, seed: int, temperature: float, contexts: Sequence[Ints] | None
    ) -> list[Rollout]:
        """n single turns behind each context."""
        return super().sample(tasks, n, seed=seed, temperature=temperature, contexts=contexts)


def nobody_answered(why: Mapping[str, int]) -> str:
    """What to say where all conversations were lost; `why`: how many for which reason."""
    return f"the partner answered in none of {sum(why.values())} conversations: {max(why, key=lambda w: why[w])}"


class _Turns:
    """A dialogue engine's single turns; implements `frown.dialogue.play.Speaker`."""

    def __init__(self, engine: DialogueEngine) -> None:
        self._engine = engine
        self.tokenizer, self.eos_ids = engine.tokenizer, engine.eos_ids
        self.prompt, self.fits = engine.prompt, engine.fits

    def sample(
        self, tasks: Sequence[Task], n: int, *, seed: int, temperature: float, contexts: Sequence[Ints] | None = None
    ) -> list[Rollout]:
        return self._engine.turn(tasks, n, seed=seed, temperature=temperature, contexts=contexts)


class Conversations(template.EnglishWords):
    """Tasks whose `verify` is a conversation; implements `frown.tasks.base.Environment` for a `DialogueEngine`."""

    critic: Critic | None = None
    notes: tuple[str, ...] = ()
    levels: tuple[int, ...] = ()

    def __init__(self, name: str, train: Sequence[Task], test: Sequence[Task]) -> None:
        if not train or not test:
            raise FrownError(f"{name}: conversations need tasks to train on and tasks to be tested on")
        self.name, self._train, self._test = name, list(train), list(test)

    def train_tasks(self, rng: np.random.Generator, n: int, level: int | None = None) -> list[Task]:
        """n of the training tasks, drawn with replacement."""
        return [self._train[i] for i in rng.integers(len(self._train), size=n)]

    def test_tasks(self, split: str, n: int) -> list[Task]:
        """The first n test tasks, whatever the split."""
        return self._test[:n]

    def verify(self, tasks: Sequence[Task], texts: Sequence[str]) -> list[Verdict]:
        """A text alone is no conversation: unscored. What a `DialogueEngine` samples has its verdict already."""
        return [Verdict.unscored("a conversation is judged by its partner while it is held") for _ in tasks]

    def steps(self, text: str) -> list[Step]:
        """None of its own: the steps of a conversation are its turns."""
        return []

    def reworded(self, step: str, other: str) -> str | None:
        """Nobody can tell."""
        return None

    def close(self) -> None:
        """Nothing to release."""
