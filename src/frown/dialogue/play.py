"""Holding conversations: all that are not over sample their next turn together, then all partners answer together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np

from frown.dialogue.conversation import Dialogue, Stop, Turn, as_heard, messages
from frown.dialogue.partner import Partner, PartnerTurn, Reply
from frown.dialogue.template import continuation
from frown.errors import FrownError
from frown.types import Ints, Message, Rollout, Task, Verdict

History = Literal["verbatim", "kept", "template"]
""""verbatim": a turn's ids stay in the context as they were sampled, and a template that would rewrite them is an
error. "kept": the same, and they stay although the template would rewrite them (it takes out <think>, say), so that the
policy reads what it would not read elsewhere. "template": every turn's context is written anew by the template, which
may rewrite earlier turns as it likes; such a conversation is trained turn by turn (`conversation.as_turns`)."""


class Speaker(Protocol):
    """What is needed of a policy."""

    eos_ids: list[int]

    @property
    def tokenizer(self) -> Any:
        """A fast Hugging Face tokenizer."""
        ...

    def prompt(self, messages: Sequence[Message]) -> Ints:
        """A conversation as token ids up to where its answer begins."""
        ...

    def fits(self, context: Ints) -> bool:
        """Whether a turn fits behind a context."""
        ...

    def sample(
        self, tasks: Sequence[Task], n: int, *, seed: int, temperature: float, contexts: Sequence[Ints] | None = None
    ) -> list[Rollout]:
        """n turns behind each context (or the tasks' own prompts), in order."""
        ...


@dataclass
class _Open:
    """A conversation under way."""

    task: Task
    group: int
    seed: int
    turns: list[Turn] = field(default_factory=list)
    stop: Stop | None = None
    most: int = 0
    """Turns that it has at the end, if nothing ends it before."""
    context: Ints | None = None
    """What the next turn is sampled behind."""


def play(
    policy: Speaker,
    partner: Partner,
    tasks: Sequence[Task],
    n: int,
    *,
    seed: int,
    temperature: float,
    turns: int,
    history: History = "verbatim",
) -> list[Dialogue]:
    """n conversations about each task, in order, of at most so many turns each.

    Conversations of one group share the seed of the partner's draws, so they differ by what the policy said. Each
    turn reads its context anew: `turns` forward passes over what was said, none kept between turns. Raises FrownError
    where a first prompt does not fit the model, or where `history` is "verbatim" and the template rewrites it.
    """
    if turns < 1:
        raise FrownError(f"a conversation has at least one turn, got {turns}")
    draws = np.random.default_rng([seed, 0])
    seeds = draws.integers(2**62, size=len(tasks)).tolist()
    conversations = [_Open(task, g, seeds[g], most=turns) for g, task in enumerate(tasks) for _ in range(n)]
    said = policy.sample(tasks, n, seed=_seed(draws), temperature=temperature)
    _play_on(policy, partner, conversations, said, draws, temperature, history)
    return [_closed(d, partner) for d in conversations]


def go_on(
    policy: Speaker,
    partner: Partner,
    begun: Sequence[Sequence[Turn]],
    n: int,
    *,
    seed: int,
    temperature: float,
    ahead: int,
    turns: int,
    history: History = "verbatim",
) -> list[Dialogue]:
    """n futures of each conversation that has begun, in order: at most `ahead` more turns, and `turns` in all.

    What has begun is at least one turn long. Every future draws anew, for the partner, too. Where nothing can follow
    (it is over, or the next turn does not fit), the futures are the conversation as it is.
    """
    draws = np.random.default_rng([seed, 0])
    seeds = iter(draws.integers(2**62, size=len(begun) * n).tolist())
    conversations: list[_Open] = []
    going: list[_Open] = []
    contexts: list[Ints] = []
    for g, taken in enumerate(begun):
        last, most = taken[-1].heard, min(len(taken) + ahead, turns)
        futures = [_Open(taken[0].said.task, g, next(seeds), list(taken), most=most) for _ in range(n)]
        stop: Stop | None = "lost" if last.lost else "partner" if last.over else None
        stop = "turns" if stop is None and len(taken) >= most else stop
        if stop is None:
            context = _context(policy, futures[0], history)
            stop = None if policy.fits(context) else "context"
        for future in futures:
            future.stop = stop
        if stop is None:
            going += futures
            contexts.append(context)
        conversations += futures
    if going:
        tasks = [d.task for d in going[::n]]
        said = policy.sample(tasks, n, seed=_seed(draws), temperature=temperature, contexts=contexts)
        _play_on(policy, partner, going, said, draws, temperature, history)
    return [_closed(d, partner) for d in conversations]


def _play_on(
    policy: Speaker,
    partner: Partner,
    going: list[_Open],
    said: list[Rollout],
    draws: np.random.Generator,
    temperature: float,
    history: History,
) -> None:
    """Hold conversations to their ends, from what was just `said` in each."""
    while going:
        replies = partner.reply([_hearing(d, s) for d, s in zip(going, said, strict=True)])
        for d, s, reply in zip(going, said, replies, strict=True):
            d.turns.append(Turn(replace(s, group=d.group), reply))
            d.stop = "lost" if reply.lost else "partner" if reply.over else "turns" if len(d.turns) >= d.most else None
            if d.stop is None:
                d.context = _context(policy, d, history)
                if not policy.fits(d.context):
                    d.stop = "context"
        going = [d for d in going if d.stop is None]
        if going:
            contexts = [d.context for d in going if d.context is not None]
            tasks = [d.task for d in going]
            said = policy.sample(tasks, 1, seed=_seed(draws), temperature=temperature, contexts=contexts)


def _hearing(d: _Open, said: Rollout) -> PartnerTurn:
    turn = len(d.turns)
    heard = as_heard((*messages(d.task, d.turns), Message(role="assistant", content=said.text)))
    state = d.turns[-1].heard.state if d.turns else None
    return PartnerTurn(d.task, heard, turn, state, int(np.random.SeedSequence([d.seed, turn]).generate_state(1)[0]))


def _context(policy: Speaker, d: _Open, history: History) -> Ints:
    """What the next turn is sampled behind."""
    if history == "template":
        return policy.prompt(messages(d.task, d.turns))
    said, heard = d.turns[-1]
    follows = [Message(role="user", content=heard.text)] if heard.text else []
    before = messages(d.task, d.turns[:-1])
    ended = said.stop == "eos"
    kept = history == "kept"
    more = continuation(policy.tokenizer, before, said.ids, ended, policy.eos_ids, follows, kept=kept)
    return np.concatenate([said.prompt_ids, said.ids, more])


def _closed(d: _Open, partner: Partner) -> Dialogue:
    assert d.stop is not None
    replies: list[Reply] = [t.heard for t in d.turns]
    verdict = Verdict.unscored(replies[-1].lost) if d.stop == "lost" else partner.verify(d.task, replies)
    return Dialogue(d.task, d.group, tuple(d.turns), d.stop, verdict)


def _seed(draws: np.random.Generator) -> int:
    return int(draws.integers(2**62))
