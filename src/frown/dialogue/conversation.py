"""A conversation as data, and the two ways to train on it: as one rollout, or turn by turn. Pure functions.

As one rollout the policy's ids stand where they were sampled and the partner's words between them, under a `sampled`
mask: T counts both, and nothing is computed twice. Turn by turn, each turn is a sample of its own behind all that was
read before it, as RLVER trains (arXiv 2507.03112): the way for templates that rewrite history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from frown.affect.appraisal import DEFAULT_RULES, appraise
from frown.affect.normalise import Normaliser
from frown.affect.rules import Rule
from frown.dialogue.partner import Reply
from frown.dialogue.template import REWRITES
from frown.errors import FrownError
from frown.feedback.disclosure import without_reasoning
from frown.types import Appraisal, Floats, Message, Rollout, Signals, Step, Task, Verdict

Stop = Literal["partner", "turns", "context", "lost"]
"""Why a conversation ended: the partner ended it; all turns were taken; the next turn would not fit the model's
context; or the partner could not answer, in which case it is unscored."""


class Turn(NamedTuple):
    """One turn of the policy and the answer to it."""

    said: Rollout
    """`prompt_ids` is all that was read before the turn, `ids` the turn as it was sampled."""
    heard: Reply


@dataclass(frozen=True, eq=False)
class Dialogue:
    """A conversation that was held, at least one turn long."""

    task: Task
    group: int
    """Conversations about the same task in the same step share a group number."""
    turns: tuple[Turn, ...]
    stop: Stop
    verdict: Verdict

    def __post_init__(self) -> None:
        if not self.turns:
            raise ValueError("a conversation has at least one turn")

    @property
    def why(self) -> str:
        """What the partner said of the end, where it made it."""
        last = self.turns[-1].heard
        return last.over or last.lost

    @property
    def rewards(self) -> tuple[float, ...]:
        """What each turn earned."""
        return tuple(t.heard.reward for t in self.turns)

    @property
    def messages(self) -> tuple[Message, ...]:
        """All that was said."""
        return messages(self.task, self.turns)


def messages(task: Task, turns: Sequence[Turn]) -> tuple[Message, ...]:
    """A task's messages and the turns taken, the partner as the user; an answer without words is no message."""
    out = list(task.messages)
    for said, heard in turns:
        out.append(Message(role="assistant", content=said.text))
        if heard.text:
            out.append(Message(role="user", content=heard.text))
    return tuple(out)


def as_heard(said: Sequence[Message]) -> tuple[Message, ...]:
    """Messages as the partner hears them: without what the policy thought (<think>...</think>)."""
    return tuple(
        Message(role="assistant", content=without_reasoning(m["content"])) if m["role"] == "assistant" else m
        for m in said
    )


def as_rollout(dialogue: Dialogue) -> Rollout:
    """The whole conversation as one rollout: the first turn's prompt, then everything said, [T].

    `sampled` marks the policy's tokens, `steps` are its turns, `earned` is what they earned, `text` its turns with an
    empty line between two; the partner's answer to the last turn was never read and is left out. Raises FrownError
    where the turns are no one sequence, because the template rewrote history.
    """
    first = dialogue.turns[0].said
    steps: list[Step] = []
    pieces: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    read = first.prompt_ids
    at = 0
    for said, _ in dialogue.turns:
        if len(said.prompt_ids) < len(read) or not np.array_equal(said.prompt_ids[: len(read)], read):
            raise FrownError(REWRITES)
        bridge = said.prompt_ids[len(read) :]
        pieces += [bridge, said.ids]
        masks += [np.zeros(len(bridge), np.bool_), np.ones(len(said.ids), np.bool_)]
        at += len(bridge)
        steps.append(Step(at, at + len(said.ids)))
        at += len(said.ids)
        read = np.concatenate([said.prompt_ids, said.ids])
    ids, sampled = np.concatenate(pieces), np.concatenate(masks)
    turns = [t.said for t in dialogue.turns]

    def filled(values: Sequence[np.ndarray], elsewhere: np.ndarray) -> np.ndarray:
        out = elsewhere.copy()
        out[sampled] = np.concatenate(values)
        return out

    nothing: Floats = np.full(len(ids), np.nan, np.float32)
    signals = None
    if all(t.signals is not None for t in turns):
        known = [t.signals for t in turns if t.signals is not None]
        signals = Signals(
            {name: filled([s[name] for s in known], nothing) for name in known[0].values},
            known[0].source,
        )
    others = [t.alternative for t in turns if t.alternative is not None]
    return replace(
        first,
        group=dialogue.group,
        ids=ids,
        logp=filled([t.logp for t in turns], np.zeros(len(ids), np.float32)),
        stop="length" if any(t.truncated for t in turns) else "eos",
        text="\n\n".join(t.text for t in turns),
        steps=tuple(steps),
        signals=signals,
        verdict=dialogue.verdict,
        alternative=filled(others, ids) if len(others) == len(turns) else None,
        sampled=sampled,
        earned=dialogue.rewards,
    )


def as_turns(dialogue: Dialogue, episode: int = 0) -> list[Rollout]:
    """Each turn as a rollout of its own, behind all that was read before it; each has the conversation's verdict, and
    is one step. `episode`: the conversation's number in its batch."""
    return [
        replace(
            said,
            group=dialogue.group,
            verdict=dialogue.verdict,
            steps=(Step(0, len(said.ids)),),
            earned=(heard.reward,),
            episode=episode,
        )
        for said, heard in dialogue.turns
    ]


def affect(
    dialogue: Dialogue, rules: Sequence[Rule] = DEFAULT_RULES, normaliser: Normaliser | None = None
) -> list[Appraisal]:
    """What the policy's own distribution said at each turn: an appraisal a turn, in token ranges of that turn.

    A turn is read against itself: what is a spike is not decided by the turns before.
    """
    return [appraise(r, rules, normaliser=normaliser) for r in as_turns(dialogue)]
