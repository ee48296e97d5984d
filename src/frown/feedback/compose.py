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


class Composed(NamedTuple):
    """Feedback for each rollout, and what a critic could not be heard about."""

    feedback: list[Feedback]
    lost: list[str]
    """Why, one line a rollout whose critique was lost."""


def groups(rollouts: Sequence[Rollout]) -> dict[int, list[int]]:
    """Which rollouts (by index) answer the same prompt."""
    found: dict[int, list[int]] = {}
    for i, r in enumerate(rollouts):
        found.setdefault(r.group, []).append(i)
    return found


def compose(
    rollouts: Sequence[Rollout],
    courses: Sequence[Sequence[Kind]],
    *,
    requests: Sequence[Request | None],
    notes: Sequence[Part | None],
    critic: Critic | None,
    rng: np.random.Generator,
    to: str = "all",
    strip_reasoning: bool = True,
    write: str = "comments",
) -> Composed:
    """Feedback for each rollout, in order: all that applies of the first course of which anything does.

    Per rollout, `requests`: what a critic is asked; `notes`: what is to be said of its affect. Each is needed only
    where a course asks for it. A critic hears all that it is asked at once, and is asked nothing about rollouts that
    an earlier course already served. `to`: "all", or those judged "wrong" or "right"; the others get none.
    `write`: whether a critique is its "comments" or the answer put right by them, by a "scribe".
    """
    members = groups(rollouts)
    said: dict[int, tuple[Part, ...]] = {}
    lost: list[str] = []

    def given(kind: Kind, left: Sequence[int]) -> dict[int, tuple[Part, ...]]:
        if kind == "sibling":
            return {i: _sibling(rollouts, i, members[rollouts[i].group], rng, strip_reasoning) for i in left}
        if kind == "reference":
            return {i: _reference(rollouts[i]) for i in left}
        if kind == "critique":
            found, missing = _critiques(critic, {i: q for i in left if (q := requests[i]) is not None}, write)
            lost.extend(missing)
            return found
        if kind == "affect":
            return {i: (note,) for i in left if (note := notes[i]) is not None}
        return {i: _outcome(rollouts[i]) for i in left}

    for course in courses:
        left = [i for i, r in enumerate(rollouts) if not said.get(i) and _entitled(r, to)]
        found = [given(kind, left) for kind in course]
        said |= {i: tuple(p for of_kind in found for p in of_kind.get(i, ())) for i in left}
    return Composed([Feedback(said.get(i, ())) for i in range(len(rollouts))], lost)


FeedbackFunction = Callable[[Task, Rollout, Sequence[Rollout], Appraisal], Feedback | Awaitable[Feedback]]
"""(task, rollout, its group, its appraisal) -> what its teacher is told: once a scored rollout, sync or async."""


def by_function(
    rollouts: Sequence[Rollout], appraisals: Sequence[Appraisal], function: FeedbackFunction, to: str = "all"
) -> Composed:
    """Feedback from a function of one's own, all rollouts of a step side by side where it is async.

    An exception costs its own rollout the feedback, and is said.
    """
    group_of = {g: [rollouts[i] for i in at] for g, at in groups(rollouts).items()}

    async def one(rollout: Rollout, appraisal: Appraisal) -> tuple[Feedback, str]:
        try:
            said = function(rollout.task, rollout, group_of[rollout.group], appraisal)
            said = await said if isinstance(said, Awaitable) else said
            if not isinstance(said, Feedback):
                raise TypeError(f"it returned {type(said).__name__}, not Feedback")
        except Exception as error:
            return Feedback(), f"the feedback function failed: {first_line(error)}"
        return said, ""

    async def everyone() -> list[tuple[Feedback, str]]:
        pairs = zip(rollouts, appraisals, strict=True)
        return list(await asyncio.gather(*(one(r, a) if _entitled(r, to) else _nothing() for r, a in pairs)))

    found = _run(everyone)
    return Composed([said for said, _ in found], [why for _, why in found if why])


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


def _entitled(rollout: Rollout, to: str) -> bool:
    if to == "all":
        return True
    v = rollout.verdict
    return v is not None and v.scored and v.right == (to == "right")


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
    said = [(c.step, c) for c in review.comments if c.step is not None]
    if write == "comments":
        return (*whole, *(Part("critique", c.text, (step,)) for step, c in said))
    text = scribe(request.steps, [c for _, c in said], review.continuation, truncated=request.truncated)
    return (*whole, *([Part("critique", text, attempt=True)] if text else []))


def _outcome(rollout: Rollout) -> tuple[Part, ...]:
    """What the verifier said of an answer that is not right."""
    v = rollout.verdict
    if v is None or not v.scored or v.right:
        return ()
    return (Part("outcome", v.message or "The answer is wrong."),)
