"""reasoning-gym's procedural data sets as an environment, judged by their own `score_answer`.

Scoring runs in worker processes with a time limit: several of the data sets parse an answer as mathematics.
Answers are read from the last `<answer>...</answer>` (a system turn asks for it), else from the whole
completion after the last `</think>`.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import difflib
import hashlib
import math
import pickle
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from frown.critics.base import Critic
from frown.errors import FrownError
from frown.tasks.data import task_id
from frown.tasks.environment import first_tasks
from frown.tasks.grading.completion import visible_text
from frown.tasks.grading.marks import answer_tags
from frown.tasks.rollouts import SingleTurn
from frown.tasks.steps import Splitter, split_steps
from frown.tasks.wording import English
from frown.tasks.workers import Failure, WorkerPool
from frown.types import Message, Step, Task, Verdict

SYSTEM = "Solve the problem step by step. Then give only the final answer between <answer> and </answer>."
TEST_SIZE = 128
"""Problems generated for each test split; repeated ones are kept once."""

_TEST_SEEDS = 2**20
"""Generator seeds of test problems lie below this, of training problems at or above it."""
_SPLITS = ("dev", "test")


class GymEnvironment(SingleTurn):
    """One reasoning-gym data set; implements `frown.tasks.base.Environment`.

    `options` are fields of the data set's own configuration. Training and test problems come from disjoint
    generator seeds, and a training problem that repeats a test problem is drawn again. Raises FrownError
    for an unknown name or option, and where reasoning-gym is not installed.
    """

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        splitter: Splitter = "auto",
        critic: Critic | None = None,
        workers: int = 2,
        limit: float = 5.0,
    ) -> None:
        self.name = f"gym:{name}"
        self.critic = critic
        self.wording = English()
        self._dataset, self._options = name, dict(options or {})
        self._splitter: Splitter = splitter
        _check(name, self._options)
        block = int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:4], "big") % 2**10
        starts = {split: (block * len(_SPLITS) + i) * TEST_SIZE for i, split in enumerate(_SPLITS)}
        self._tests = {split: self._generate(start, TEST_SIZE) for split, start in starts.items()}
        self._test_ids = {t.id for tasks in self._tests.values() for t in tasks}
        self._pool = WorkerPool("frown.tasks.gym_judge:score", workers=workers, limit=limit, memory_mb=4096)

    @property
    def levels(self) -> range:
        """The levels of reasoning-gym's own curriculum for this data set; none where it has no curriculum."""
        curriculum = self._curriculum()
        longest = 0 if curriculum is None else max(len(a.levels) for a in curriculum.attributes.values())
        return range(longest)

    def train_tasks(self, rng: np.random.Generator, n: int, level: int | None = None) -> list[Task]:
        """Draw n training problems, none of them a test problem; one may come twice where there are few.

        `level`: every attribute of the curriculum at this level, or at its last where it has fewer; None: the options.
        Raises FrownError when about nineteen problems in twenty are test problems.
        """
        drawn: list[Task] = []
        options = self._options if level is None else self._at_level(level)
        for _ in range(20):
            start = _TEST_SEEDS + int(rng.integers(2**30))
            made = self._generate(start, n, repeats=True, options=options)
            drawn += [t for t in made if t.id not in self._test_ids]
            if len(drawn) >= n:
                return drawn[:n]
        raise FrownError(f"{self.name} has too few different problems to train on; make it harder by its options")

    def test_tasks(self, split: str, n: int) -> list[Task]:
        """The first n problems of "dev" or "test" (at most 128, all different).

        Raises FrownError for another split.
        """
        return first_tasks(self.name, self._tests, split, n)

    def verify(self, tasks: Sequence[Task], texts: Sequence[str]) -> list[Verdict]:
        """Judge by the data set's `score_answer` (which may give a part); unscored where it fails."""
        verdicts: list[Verdict | None] = []
        asked: list[tuple[int, str, bool]] = []
        payloads = []
        for i, (task, text) in enumerate(zip(tasks, texts, strict=True)):
            rest = visible_text(text)
            tags = answer_tags(rest)
            answer = tags[-1].text if tags else rest.strip()
            verdicts.append(None if answer else Verdict(0.0, message="no answer found", well_formed=False))
            if answer:
                asked.append((i, answer, bool(tags)))
                payloads.append({"data": self._pickled(task), "answer": answer})
        for (i, answer, tagged), reply in zip(asked, self._pool.map(payloads), strict=True):
            verdicts[i] = _verdict(reply, answer, tagged)
        return [v for v in verdicts if v is not None]

    def steps(self, text: str) -> list[Step]:
        """The written-out steps as character ranges that tile the text."""
        return split_steps(text, self._splitter)

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing is left out of generated problems."""
        return ()

    def close(self) -> None:
        """End the workers. Safe to call twice."""
        self._pool.close()

    def _curriculum(self) -> Any:
        _gym()
        from reasoning_gym.factory import CURRICULA, create_curriculum

        return create_curriculum(self._dataset) if self._dataset in CURRICULA else None

    def _at_level(self, level: int) -> dict[str, Any]:
        """The data set's options at a level; the options of this environment stay where the curriculum sets none."""
        curriculum = self._curriculum()
        curriculum.set_global_level(level)
        made = curriculum.generate_configuration(self._options)
        return {k: v for k, v in dataclasses.asdict(made).items() if k not in ("seed", "size")}

    def _generate(
        self, seed: int, n: int, repeats: bool = False, options: Mapping[str, Any] | None = None
    ) -> tuple[Task, ...]:
        options = self._options if options is None else options
        try:
            dataset = _gym().create_dataset(self._dataset, seed=seed, size=n, **options)
            tasks = [_task(dataset[i]) for i in range(n)]
        except Exception as e:  # a bad option shows in many ways: assert, ValueError, TypeError, IndexError
            why = " ".join(str(e).split()) or type(e).__name__
            raise FrownError(f"{self.name} cannot make problems with {options}: {why}") from None
        return tuple(tasks) if repeats else tuple({t.id: t for t in tasks}.values())

    def _pickled(self, task: Task) -> str:
        payload = (self._dataset, self._options, task.data["entry"])
        return base64.b64encode(pickle.dumps(payload)).decode("ascii")


def _gym() -> Any:
    try:
        with contextlib.redirect_stdout(sys.stderr):  # data results go to standard output, a library's chat not
            import reasoning_gym
    except ImportError:
        raise FrownError('gym tasks need reasoning-gym: pip install "frown[gym]"') from None
    return reasoning_gym


def _check(name: str, options: Mapping[str, Any]) -> None:
    _gym()
    from reasoning_gym.factory import DATASETS

    if name not in DATASETS:
        close = difflib.get_close_matches(name, list(DATASETS), n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise FrownError(f"gym: there is no data set {name!r} among the {len(DATASETS)} of reasoning-gym{hint}")
    fields = [f.name for f in dataclasses.fields(DATASETS[name][1]) if f.name not in ("seed", "size")]
    for option in options:
        if option not in fields:
            close = difflib.get_close_matches(option, fields, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise FrownError(f"gym:{name} has no option {option!r}, only {', '.join(fields)}{hint}")


def _task(entry: Mapping[str, Any]) -> Task:
    answer = "" if entry["answer"] is None else str(entry["answer"])
    messages = (Message(role="system", content=SYSTEM), Message(role="user", content=str(entry["question"])))
    return Task(id=task_id(messages, answer), messages=messages, answer=answer, data={"entry": entry})


def _verdict(reply: Any, answer: str, tagged: bool) -> Verdict:
    if isinstance(reply, Failure):
        return Verdict.unscored(f"score_answer failed: {reply.why}")
    if not isinstance(reply, int | float) or not math.isfinite(reply):
        return Verdict.unscored(f"score_answer returned {reply!r}, not a number")
    score = min(max(float(reply), 0.0), 1.0)
    message = "" if score >= 1.0 else "the answer is wrong" if score == 0.0 else f"the answer scores {score:.2g} of 1"
    return Verdict(score=score, message=message, answer=answer, well_formed=tagged)
