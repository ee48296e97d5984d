"""Before the first step: does every row of the data leave room for its answer in the model's context?

A row that does not would stop the run when it is drawn, maybe hours later. What a teacher is shown cannot be known
before there are answers, but for worked solutions; a teacher's prompt that is too long costs its answer the lesson, and
is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from frown.config import RunConfig
from frown.errors import FrownError
from frown.feedback.disclosure import shortened
from frown.policy import gguf
from frown.policy.folder import described, located
from frown.policy.load import context_of
from frown.policy.text import completion_text, prompt_lengths
from frown.runtime.processes import ALONE, Ranks
from frown.tasks.base import Environment
from frown.tasks.data import SKIP
from frown.tasks.environment import DataEnvironment
from frown.types import Feedback, Message, Part, Task


class Room(NamedTuple):
    """How much a model can attend to, and how much of that is kept for an answer. Tokens."""

    context: int | None
    """None: its configuration does not say."""
    answer: int

    def fits(self, prompt: int) -> bool:
        """Whether an answer fits behind a prompt of so many tokens."""
        return self.holds(prompt + self.answer)

    def holds(self, tokens: int) -> bool:
        """Whether so many tokens fit in all."""
        return self.context is None or tokens <= self.context


def measured_by(path: str, answer: int) -> tuple[Any, Room] | None:
    """The tokenizer of a model and the room in it, from its files alone; None where it has no tokenizer."""
    from transformers import AutoConfig, AutoTokenizer

    place = located(path, weights=False)
    if not gguf.is_gguf(place) and not (place / "tokenizer_config.json").is_file():
        return None
    tokenizer = AutoTokenizer.from_pretrained(**gguf.pretrained(place))
    settings = AutoConfig.from_pretrained(**gguf.pretrained(described(path)))
    return tokenizer, Room(context_of(settings), answer)


def fitting(
    environment: Environment, tokenizer: Any, room: Room, ranks: Ranks = ALONE, *, split: str | None = None
) -> Environment:
    """The environment without the rows that leave no room for an answer, where its settings say that they are skipped.

    An environment that makes its tasks is returned as it is. All rows (or those of one `split`) are measured once, in
    the first process. Raises FrownError for the first row that is too long, or that the model's chat template refuses,
    where these are not skipped, and where none is left of a split.
    """
    if not isinstance(environment, DataEnvironment):
        return environment
    data = environment
    splits = {name: tasks for name, tasks in data.splits.items() if split in (None, name)}
    tasks = sorted((t for each in splits.values() for t in each), key=_line)
    faults = ranks.from_first(lambda: _faults(data, tasks, tokenizer, room))
    if not faults:
        return data
    first = next(iter(faults.values()))
    if not data.skip:
        more = f" ({len(faults) - 1} more rows like it)" if len(faults) > 1 else ""
        raise FrownError(f"{first}{more}; shorten it, lower max_new_tokens, or leave such rows out: {SKIP}")
    left_out = {name: sum(t.id in faults for t in each) for name, each in splits.items()}
    for name, each in splits.items():
        if each and left_out[name] == len(each):
            raise FrownError(f"{data.name}: no row of the {name} split is left; the first: {first}")
    where = ", ".join(f"{n} of {len(splits[name])} of {name}" for name, n in left_out.items() if n)
    return data.without(faults, f"{data.name}: rows too long for the model are left out ({where}); the first: {first}")


def fitting_models(environment: Environment, models: Iterable[tuple[str, int]], *, split: str | None) -> Environment:
    """The environment without the rows that one of several models has no room for, so that all are asked the same;
    likewise. `models`: (path, tokens of an answer); one without a tokenizer is left out."""
    if not isinstance(environment, DataEnvironment):
        return environment
    fewer: Environment = environment
    for path, answer in sorted(set(models)):
        measured = measured_by(path, answer)
        if measured is not None:
            fewer = fitting(fewer, *measured, split=split)
    return fewer


def _line(task: Task) -> tuple[str, int]:
    """In the order of the files."""
    return str(task.data.get("file", "")), int(task.data.get("line", 0))


def _faults(data: DataEnvironment, tasks: Sequence[Task], tokenizer: Any, room: Room) -> dict[str, str]:
    """What is wrong with a task, by its id."""
    faults = {}
    for task, length in zip(tasks, prompt_lengths(tokenizer, [t.messages for t in tasks]), strict=True):
        if isinstance(length, FrownError):
            faults[task.id] = f"{data.place(task)}: {length}"
        elif not room.fits(length):
            faults[task.id] = (
                f"{data.place(task)}: a prompt of {length} tokens and an answer of {room.answer} (max_new_tokens) do "
                f"not fit the model's context of {room.context}"
            )
    return faults


def demonstrable(environment: Environment, tokenizer: Any, room: Room, ranks: Ranks = ALONE) -> Environment:
    """The environment without the training rows that have no worked solution, or none that fits the context.

    For a method that learns from solutions: such rows teach it nothing, and a step that drew no others would stop the
    run. Raises FrownError where no row is left.
    """
    if not isinstance(environment, DataEnvironment):
        return environment
    train = environment.train

    def useless() -> set[str]:
        prompts = prompt_lengths(tokenizer, [t.messages for t in train])
        solutions = tokenizer([t.solution or "" for t in train], add_special_tokens=False)["input_ids"]
        rows = zip(train, prompts, solutions, strict=True)
        return {
            t.id for t, n, s in rows if not t.solution or isinstance(n, FrownError) or not room.holds(n + len(s) + 1)
        }

    ids = ranks.from_first(useless)
    if not ids:
        return environment
    if len(ids) == len(train):
        raise FrownError(
            f"{environment.name}: no training row has a worked solution that fits the model's context: name the column "
            "that holds it (--columns solution=NAME), or use another method"
        )
    return environment.without(
        ids,
        f"{environment.name}: {len(ids)} of {len(train)} training rows have no worked solution that fits the model's "
        "context and are left out",
    )


def long_solutions(config: RunConfig, environment: Environment, tokenizer: Any, room: Room) -> str | None:
    """A line on the training rows whose worked solution, shown to the teacher, leaves no room for an answer.

    None where there are none, or no solution is shown. Such answers get no lesson from it; the run goes on.
    """
    if not isinstance(environment, DataEnvironment) or "reference" not in config.method.kinds:
        return None
    solved = sorted((t for t in environment.train if t.solution), key=_line) if config.feedback.leak == "gold" else []
    shown = [_with_solution(t, environment, config, tokenizer) for t in solved]
    lengths = prompt_lengths(tokenizer, shown)
    long = [t for t, n in zip(solved, lengths, strict=True) if isinstance(n, int) and not room.fits(n)]
    if not long:
        return None
    return (
        f"{environment.name}: with the worked solution the teacher's prompt leaves no room for an answer in "
        f"{len(long)} of {len(environment.train)} training rows; nothing is distilled from answers that it is shown "
        f"for (views_too_long); the first: {environment.place(long[0])}; set feedback.max_tokens, or lower "
        "sampling.max_new_tokens"
    )


def _with_solution(task: Task, environment: Environment, config: RunConfig, tokenizer: Any) -> Sequence[Message]:
    feedback = Feedback((Part("reference", task.solution or ""),))
    if config.feedback.max_tokens is not None:
        encode, decode = _coder(tokenizer)
        feedback = shortened(feedback, config.feedback.max_tokens, encode, decode).feedback
    return environment.wording.teacher_messages(task, feedback)


def _coder(tokenizer: Any) -> tuple[Any, Any]:
    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    return encode, lambda ids: completion_text(tokenizer, ids)
