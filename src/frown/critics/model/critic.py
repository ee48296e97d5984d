"""A critic that asks a language model: each answer is one conversation, paid for once.

A `Backend` says where the model runs: behind an endpoint (`endpoint`) or on this machine (`local`).
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from frown.config import ModelCriticConfig
from frown.critics.base import Request, Review
from frown.critics.chat.budget import Budget, CriticStatistics
from frown.critics.chat.cache import ReplyCache
from frown.critics.model.prompt import PROMPT_VERSION, askable, judge_prompt
from frown.critics.model.reply import Judgement, ParsedReply, find_contradictions, parse_reply, to_comment


class Outcome(NamedTuple):
    """The end of the conversation about one answer."""

    judgements: tuple[Judgement, ...] = ()
    lost: str = ""
    """In a word or two, why nothing can be used, where that is so."""
    why: str = ""
    """The same in a sentence that names the mend."""


def to_outcome(reply: ParsedReply) -> Outcome:
    """The outcome of a conversation whose last reply is this one."""
    if reply.judgements:
        return Outcome(reply.judgements)
    return Outcome((), "unreadable", f"its reply cannot be used: {reply.fault}")


OnOutcome = Callable[[str, Outcome], None]
"""Called with the key of a request and its outcome."""


class Backend(Protocol):
    """The place where a model answers."""

    @property
    def identity(self) -> str:
        """All that its replies depend on beside the prompt: which model, where, and how it is sampled. No secrets."""
        ...

    def judge(self, requests: Mapping[str, Request], budget: Budget, on_outcome: OnOutcome) -> None:
        """Ask about each request and call `on_outcome(key, outcome)` for each, once and as soon as it is known.

        Every call goes through the budget. Never raises for a lost request.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds. Safe to call twice."""
        ...


class ModelCritic:
    """A critic that asks a language model; implements `frown.critics.base.Critic`.

    Calls from several threads take turns. `close()` ends it; what is asked of it afterwards is lost.
    """

    def __init__(self, config: ModelCriticConfig, backend: Backend) -> None:
        self._config, self._backend = config, backend
        self._budget = Budget(config.call_budget, config.token_budget)
        self._cache = ReplyCache(config.cache) if config.cache else None
        self._turn = threading.Lock()
        self._closed = False

    @property
    def statistics(self) -> CriticStatistics:
        """Counts of what became of everything asked so far."""
        return self._budget.statistics()

    def budget_state(self) -> dict[str, Any]:
        """Spending and counts so far, as plain data; `restore_budget` takes it back."""
        with self._turn:
            return self._budget.state()

    def restore_budget(self, state: Mapping[str, Any]) -> None:
        """Spend and count on from a `budget_state`."""
        with self._turn:
            self._budget.restore(state)

    def review(self, requests: Sequence[Request]) -> list[Review]:
        """One review a request, in order; steps that nothing usable is said about are left out and counted.

        Equal requests are asked once. A request for no step is no review and is not counted.
        """
        with self._turn:
            keys = [self._key(q) if askable(q) else None for q in requests]
            outcomes: dict[str, Outcome] = {}
            fresh: dict[str, Request] = {}
            for key, request in zip(keys, requests, strict=True):
                if key is None or key in outcomes:
                    continue
                if cached := self._recall(key, request):
                    outcomes[key] = cached
                else:
                    fresh[key] = request

            def on_outcome(key: str, outcome: Outcome) -> None:
                outcomes[key] = outcome
                if outcome.judgements:
                    self._store(key, outcome)

            if self._closed:
                outcomes |= dict.fromkeys(fresh, Outcome((), "closed", "it was closed"))
            elif fresh:
                self._backend.judge(fresh, self._budget, on_outcome)
            reviews = []
            for key, request in zip(keys, requests, strict=True):
                paid = key is not None and fresh.pop(key, None) is not None
                reviews.append(self._review(request, outcomes[key] if key else None, paid))
            return reviews

    def close(self) -> None:
        """Let go of the model. Safe to call twice."""
        self._closed = True
        with self._turn:
            self._backend.close()

    def _review(self, request: Request, outcome: Outcome | None, paid: bool) -> Review:
        if not request.asked:
            return Review()
        budget = self._budget
        budget.count("asked")
        if outcome is None:
            return self._lost("no such step", f"the answer has {len(request.steps)} steps, none of them asked about")
        if outcome.lost:
            return self._lost(outcome.lost, outcome.why)
        comments = [to_comment(j, request) for j in outcome.judgements]
        against = find_contradictions(comments, request)
        budget.count("contradicted", len(against))
        if self._config.contradictions == "drop":
            comments = [c for c in comments if c.step not in against]
            if not comments:
                return self._lost("contradicted", "all that it said contradicts the verifier")
        budget.count("answered" if paid else "cached")
        budget.count("left_out", len(askable(request)) - len(outcome.judgements))
        return Review(tuple(comments))

    def _lost(self, reason: str, why: str) -> Review:
        self._budget.count_lost(reason)
        return Review(lost=f"model critic: {why}")

    def _key(self, request: Request) -> str:
        """A hash of who is asked and of all that it is shown, the answer's steps among it."""
        shown = judge_prompt(request, self._config.sees)
        identity = [self._backend.identity, PROMPT_VERSION, self._config.max_new_tokens, shown]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()

    def _recall(self, key: str, request: Request) -> Outcome | None:
        if self._cache is None:
            return None
        try:
            cached = self._cache.get(key)
        except (OSError, ValueError):
            self._budget.count("cache_faults")
            return None
        judgements = parse_reply(cached, request).judgements if cached else ()
        return Outcome(judgements) if judgements else None

    def _store(self, key: str, outcome: Outcome) -> None:
        if self._cache is None:
            return
        try:
            entry = {"critic": self._backend.identity, "steps": [j.model_dump() for j in outcome.judgements]}
            self._cache.put(key, json.dumps(entry))
        except OSError:
            self._budget.count("cache_faults")
