"""A language model as a critic: each answer is one conversation, paid for once, and read with care.

Where the model runs is a `Backend`'s business: behind an endpoint (`feedback.endpoint`) or here (`engine.critic`).
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from frown.config import ModelCriticConfig
from frown.critics.account import Account, CriticStatistics
from frown.critics.base import Request, Review
from frown.critics.cache import ReplyCache
from frown.critics.judge import PROMPT_VERSION, Judgement, Reading, askable, comment, contradicted, prompt, read


class Outcome(NamedTuple):
    """How the conversation about one answer ended."""

    judgements: tuple[Judgement, ...] = ()
    lost: str = ""
    """In a word or two, why nothing can be used, where that is so."""
    why: str = ""
    """The same in a sentence that names the mend."""


def concluded(reading: Reading) -> Outcome:
    """What the last reading of a conversation comes to."""
    if reading.judgements:
        return Outcome(reading.judgements)
    return Outcome((), "unreadable", f"its reply cannot be used: {reading.fault}")


class Backend(Protocol):
    """Where a model answers."""

    @property
    def identity(self) -> str:
        """All that its replies depend on beside the prompt: which model, where, and how it is sampled. No secrets."""
        ...

    def judge(self, requests: Mapping[str, Request], account: Account, done: Callable[[str, Outcome], None]) -> None:
        """Ask about each request and say `done(key, outcome)` for each, once and as soon as it is known.

        Every call goes through the account's budget. Never raises for a lost request.
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
        self._account = Account(config.call_budget, config.token_budget)
        self._cache = ReplyCache(config.cache) if config.cache else None
        self._turn = threading.Lock()
        self._closed = False

    @property
    def statistics(self) -> CriticStatistics:
        """What became of everything asked so far."""
        return self._account.statistics()

    def account(self) -> dict[str, Any]:
        """What was spent and counted so far, as plain data."""
        with self._turn:
            return self._account.state()

    def go_on_from(self, account: Mapping[str, Any]) -> None:
        """Spend and count on from an `account`."""
        with self._turn:
            self._account.go_on_from(account)

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
                if known := self._recall(key, request):
                    outcomes[key] = known
                else:
                    fresh[key] = request

            def done(key: str, outcome: Outcome) -> None:
                outcomes[key] = outcome
                if outcome.judgements:
                    self._keep(key, outcome)

            if self._closed:
                outcomes |= dict.fromkeys(fresh, Outcome((), "closed", "it was closed"))
            elif fresh:
                self._backend.judge(fresh, self._account, done)
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
        account = self._account
        account.add("asked")
        if outcome is None:
            return self._lost("no such step", f"the answer has {len(request.steps)} steps, none of them asked about")
        if outcome.lost:
            return self._lost(outcome.lost, outcome.why)
        comments = [comment(j, request) for j in outcome.judgements]
        against = contradicted(comments, request)
        account.add("contradicted", len(against))
        if self._config.contradictions == "drop":
            comments = [c for c in comments if c.step not in against]
            if not comments:
                return self._lost("contradicted", "all that it said contradicts the verifier")
        account.add("answered" if paid else "cached")
        account.add("left_out", len(askable(request)) - len(outcome.judgements))
        return Review(tuple(comments))

    def _lost(self, reason: str, why: str) -> Review:
        self._account.lose(reason)
        return Review(lost=f"model critic: {why}")

    def _key(self, request: Request) -> str:
        """A hash of who is asked and of all that it is shown, the answer's steps among it."""
        said = [self._backend.identity, PROMPT_VERSION, self._config.max_new_tokens, prompt(request, self._config.sees)]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def _recall(self, key: str, request: Request) -> Outcome | None:
        if self._cache is None:
            return None
        try:
            kept = self._cache.get(key)
        except (OSError, ValueError):
            self._account.add("cache_faults")
            return None
        judgements = read(kept, request).judgements if kept else ()
        return Outcome(judgements) if judgements else None

    def _keep(self, key: str, outcome: Outcome) -> None:
        if self._cache is None:
            return
        try:
            said = {"critic": self._backend.identity, "steps": [j.model_dump() for j in outcome.judgements]}
            self._cache.put(key, json.dumps(said))
        except OSError:
            self._account.add("cache_faults")
