"""Who gets which feedback: each rollout the first course on the list of which it can have anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np

from frown.critics.base import Critic, Request, Review
from frown.errors import first_line
from frown.feedback.disclosure import without_reasoning
from frown.feedback.scribe import scribe
from frown.types import Appraisal, Feedback, Kind, Part, Rollout, Task

T = TypeVar("T")


class FeedbackBatch(NamedTuple):
    """Feedback for each rollout, and what a critic could not be heard about."""

    feedback: list[Feedback]
    lost: list[str]
    """Why, one line a rollout whose critique was lost."""


def groups(rollouts: Sequence[Rollout]) -> dict[int, list[int]]:
    """Which rollouts (by index) answer the same prompt."""
    members: dict[int, list[int]] = {}
    for i, r in enumerate(rollouts):
        members.setdefault(r.group, []).append(i)
    return members


def compose(
    rollouts: Sequence[Rollout],
    courses: Sequence[Sequence[Kind]],
    *,
    requests: Sequence[Request | None],
    notes: Sequence[Part | None],
    critic: Critic | None,
    rng: np.random.Generator,
    selected: Sequence[int],
    strip_reasoning: bool = True,
    write: str = "comments",
) -> FeedbackBatch:
    """Feedback for each rollout, in order: all that applies of the first course of which anything does.

    Per rollout, `requests`: what a critic is asked; `notes`: what is to be said of its affect. Each is needed only
    where a course asks for it. A critic hears all that it is asked at once, and is asked nothing about rollouts that
    an earlier course already served. `selected`: the rollouts that may get any, by index; the others get none.
    `write`: whether a critique is its "comments" or the answer put right by them, by a "scribe".
    """
    members, chosen = groups(rollouts), set(selected)
    parts: dict[int, tuple[Part, ...]] = {}
    lost: list[str] = []

    def of_kind(kind: Kind, left: Sequence[int]) -> dict[int, tuple[Part, ...]]:
        if kind == "sibling":
            return {i: _sibling(rollouts, i, members[rollouts[i].group], rng, strip_reasoning) for i in left}
        if kind == "reference":
            return {i: _reference(rollouts[i]) for i in left}
        if kind == "critique":
            critiques, missing = _critiques(critic, {i: q for i in left if (q := requests[i]) is not None}, write)
            lost.extend(missing)
            return critiques
        if kind == "affect":
            return {i: (note,) for i in left if (note := notes[i]) is not None}
        return {i: _outcome(rollouts[i]) for i in left}

    for course in courses:
        left = [i for i in range(len(rollouts)) if not parts.get(i) and i in chosen]
        kinds = [of_kind(kind, left) for kind in course]
        parts |= {i: tuple(p for by_rollout in kinds for p in by_rollout.get(i, ())) for i in left}
    return FeedbackBatch([Feedback(parts.get(i, ())) for i in range(len(rollouts))], lost)


FeedbackFunction = Callable[[Task, Rollout, Sequence[Rollout], Appraisal], Feedback | Awaitable[Feedback]]
"""(task, rollout, its group, its appraisal) -> what its teacher is told: once a scored rollout, sync or async."""


def by_function(
    rollouts: Sequence[Rollout], appraisals: Sequence[Appraisal], function: FeedbackFunction, selected: Sequence[int]
) -> FeedbackBatch:
    """Feedback from a function of one's own, all rollouts of a step side by side where it is async.

    An exception costs its own rollout the feedback, and is said.
    """
    chosen = set(selected)
    group_of = {g: [rollouts[i] for i in at] for g, at in groups(rollouts).items()}

    async def one(rollout: Rollout, appraisal: Appraisal) -> tuple[Feedback, str]:
        try:
            feedback = function(rollout.task, rollout, group_of[rollout.group], appraisal)
            feedback = await feedback if isinstance(feedback, Awaitable) else feedback
            if not isinstance(feedback, Feedback):
                raise TypeError(f"it returned {type(feedback).__name__}, not Feedback")
        except Exception as error:
            return Feedback(), f"the feedback function failed: {first_line(error)}"
        return feedback, ""

    async def everyone() -> list[tuple[Feedback, str]]:
        pairs = enumerate(zip(rollouts, appraisals, strict=True))
        return list(await asyncio.gather(*(one(r, a) if i in chosen else _nothing() for i, (r, a) in pairs)))

    results = _run(everyone)
    return FeedbackBatch([feedback for feedback, _ in results], [why for _, why in results if why])


def _run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run to the end, also where an event loop is running already, as in a notebook: then in a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(main())
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(main())).result()


async def _nothing() -> tuple[Feedback, str]:
    return Feedback(), ""


def _sibling(
    rollouts: Sequence[Rollout], i: int, group: Sequence[int], rng: np.random.Generator, strip_reasoning: bool
) -> tuple[Part, ...]:
    """A right answer of another rollout in the group (SDPO, arXiv 2601.20802), drawn evenly."""
    right = [j for j in group if j != i and (v := rollouts[j].verdict) is not None and v.right]
    if not right:
        return ()
    text = rollouts[int(rng.choice(right))].text
    return (Part("sibling", without_reasoning(text) if strip_reasoning else text),)


def _reference(rollout: Rollout) -> tuple[Part, ...]:
    """The worked solution, where the task has one."""
    return (Part("reference", rollout.task.solution),) if rollout.task.solution else ()


def _critiques(
    critic: Critic | None, requests: Mapping[int, Request], write: str
) -> tuple[dict[int, tuple[Part, ...]], list[str]]:
    """What the critic said of each answer, in parts; and what was lost."""
    if critic is None or not requests:
        return {}, []
    reviews = dict(zip(requests, critic.review(list(requests.values())), strict=True))
    parts = {i: _parts(requests[i], r, write) for i, r in reviews.items()}
    return parts, [r.lost for r in reviews.values() if r.lost]


def _parts(request: Request, review: Review, write: str) -> tuple[Part, ...]:
    """One part a comment, so that what was said about which step is never lost; or the answer put right, as one.

    What is said of the whole answer is a remark either way.
    """
    whole = tuple(Part("critique", c.text) for c in review.comments if c.step is None)
    on_steps = [(c.step, c) for c in review.comments if c.step is not None]
    if write == "comments":
        return (*whole, *(Part("critique", c.text, (step,)) for step, c in on_steps))
    text = scribe(request.steps, [c for _, c in on_steps], review.continuation, truncated=request.truncated)
    return (*whole, *([Part("critique", text, attempt=True)] if text else []))


def _outcome(rollout: Rollout) -> tuple[Part, ...]:
    """What the verifier said of an answer that is not right."""
    v = rollout.verdict
    if v is None or not v.scored or v.right:
        return ()
    return (Part("outcome", v.message or "The answer is wrong."),)
