"""Conversations as an environment: tasks that are answered by talking to a partner, who judges how it went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from frown.config.conversation import ConversationConfig
from frown.critics.base import Critic
from frown.dialogue.conversation import Dialogue, as_rollout, as_turns
from frown.dialogue.play import History, play
from frown.dialogue.session import PartnerSession
from frown.errors import FrownError
from frown.tasks.base import Sampler
from frown.tasks.wording import English
from frown.types import Rollout, Step, Task, Verdict


class Conversations:
    """Conversations of at most so many turns with a partner; implements `frown.tasks.base.Environment`.

    Each conversation is one rollout under a mask of what the policy said, or with `history="template"` a rollout a
    turn, which share `Rollout.episode`. `close` is called when the environment is closed.
    """

    critic: Critic | None = None
    wording = English()
    notes: tuple[str, ...] = ()
    levels: tuple[int, ...] = ()

    def __init__(
        self,
        session: PartnerSession,
        *,
        turns: int | None = None,
        history: History = "verbatim",
        close: Callable[[], None] = lambda: None,
    ) -> None:
        if not session.train or not session.test:
            raise FrownError(f"{session.name}: conversations need tasks to train on and tasks to be tested on")
        self.name = session.name
        self._session, self._history, self._close = session, history, close
        self._turns = session.turns if turns is None else turns

    def train_tasks(self, rng: np.random.Generator, n: int, level: int | None = None) -> list[Task]:
        """n of the training tasks, drawn with replacement."""
        train = self._session.train
        return [train[i] for i in rng.integers(len(train), size=n)]

    def test_tasks(self, split: str, n: int) -> list[Task]:
        """The first n test tasks, whatever the split."""
        return list(self._session.test[:n])

    def rollouts(
        self, policy: Sampler, tasks: Sequence[Task], n: int, *, seed: int, temperature: float
    ) -> list[Rollout]:
        """n conversations about each task, task after task, with their verdicts; their steps are their turns.

        Raises FrownError where the partner answered in none of them: without one there is nothing to learn from.
        """
        dialogues = self.dialogues(policy, tasks, n, seed=seed, temperature=temperature)
        if dialogues and all(d.stop == "lost" for d in dialogues):
            raise FrownError(no_answer(Counter(d.why for d in dialogues)))
        return self.as_rollouts(dialogues)

    def dialogues(
        self, policy: Sampler, tasks: Sequence[Task], n: int, *, seed: int, temperature: float
    ) -> list[Dialogue]:
        """The same as conversations."""
        if policy.ranks.size > 1:
            raise FrownError("conversations are trained in one process; launch it without accelerate or torchrun")
        self._refuse_unknown_words(policy)
        dialogues = play(
            *(policy, self._session.partner, tasks, n),
            seed=seed, temperature=temperature, turns=self._turns, history=self._history,
        )  # fmt: skip
        judge = self._session.judge
        if judge is None:
            return dialogues
        return [replace(d, verdict=judge(d)) if d.verdict.scored else d for d in dialogues]

    def as_rollouts(self, dialogues: Sequence[Dialogue]) -> list[Rollout]:
        """Conversations as they are trained on: one rollout each, or one a turn."""
        if self._history == "template":
            return [turn for i, d in enumerate(dialogues) for turn in as_turns(d, episode=i)]
        return [as_rollout(d) for d in dialogues]

    def verify(self, tasks: Sequence[Task], texts: Sequence[str]) -> list[Verdict]:
        """A text alone is no conversation: unscored."""
        return [Verdict.unscored("a conversation is judged by its partner, not by a text") for _ in tasks]

    def steps(self, text: str) -> list[Step]:
        """None of its own: the steps of a conversation are its turns."""
        return []

    @property
    def statistics(self) -> Mapping[str, Any] | None:
        """What became of all that a model behind the partner was asked so far; None where no model is asked."""
        return None if self._session.statistics is None else self._session.statistics()

    def close(self) -> None:
        """Let go of what the partner holds. Safe to call twice."""
        self._close()

    def _refuse_unknown_words(self, policy: Sampler) -> None:
        """Raise FrownError where the model's tokenizer knows too few words to tell what the partner says."""
        said = self._session.test[0].messages[-1]["content"]
        words, back = said.split(), policy.decode(policy.encode(said))
        if 2 * sum(word in back for word in words) < len(words):
            mend = self._session.unknown_words or "choose a model that knows them"
            raise FrownError(f"the model's tokenizer does not know most words of {said!r}; {mend}")


def conversations(config: ConversationConfig) -> Conversations:
    """The environment that a configuration names. Raises FrownError where its partner cannot be had."""
    with ExitStack() as opened:
        session = opened.enter_context(config.partner.open())
        ending = opened.pop_all()
    return Conversations(session, turns=config.turns, history=config.history, close=ending.close)


def no_answer(why: Mapping[str, int]) -> str:
    """What to say where all conversations were lost; `why`: how many for which reason."""
    return f"the partner answered in none of {sum(why.values())} conversations: {max(why, key=lambda w: why[w])}"
