"""A language model that a partner speaks with: behind an endpoint or on this machine, cached and within a budget.

The client, the cache, the budget and what happens to failures are the critic's (`frown.critics.chat`): equal
conversations are asked once, a reply that cannot be used is asked for once more with the fault named, and what goes
wrong costs its own conversation alone.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from frown.config.critic import AskedModelConfig
from frown.critics.chat.blocks import sanitise
from frown.critics.chat.budget import Budget, CriticStatistics
from frown.critics.chat.cache import ReplyCache
from frown.types import Message

Conversation = Sequence[Message]
Fault = Callable[[str], str]
"""What a reply should have been otherwise, in a sentence; "" where it can be used. Never raises."""
_SHOWN = 4000
"""Characters of an unusable reply that the model is shown."""


class Utterance(NamedTuple):
    """What a model said, or why nothing of it can be used."""

    text: str = ""
    lost: str = ""
    """In a word or two; "" where the text can be used."""
    why: str = ""
    """The same in a sentence that names the mend."""


class _Backend(Protocol):
    @property
    def identity(self) -> str: ...

    def converse(
        self, asked: Mapping[str, Conversation], fault: Fault, budget: Budget, done: Callable[[str, Utterance], None]
    ) -> None: ...

    def close(self) -> None: ...


class Voice:
    """Asks a model for replies. Calls from several threads take turns."""

    def __init__(self, config: AskedModelConfig) -> None:
        self._config = config
        self._backend: _Backend = _Far(config) if config.endpoint is not None else _Near(config)
        self._budget = Budget(config.call_budget, config.token_budget)
        self._cache = ReplyCache(config.cache) if config.cache else None
        self._turn = threading.Lock()

    @property
    def identity(self) -> str:
        """All that its replies depend on beside the prompt. No secrets."""
        return self._backend.identity

    @property
    def statistics(self) -> CriticStatistics:
        """What became of everything asked so far."""
        return self._budget.statistics()

    def report(self) -> dict[str, Any]:
        """Who was asked, and what became of it, as plain data for JSON."""
        return {"identity": self.identity, **self.statistics.as_json()}

    def ask(self, conversations: Sequence[Conversation], fault: Fault) -> list[Utterance]:
        """A usable reply to each conversation, or why there is none, in order. Never raises for a lost one."""
        with self._turn:
            keys = [self._key(c) for c in conversations]
            replies: dict[str, Utterance] = {}
            fresh: dict[str, Conversation] = {}
            for key, conversation in zip(keys, conversations, strict=True):
                kept = self._recall(key) if key not in replies and key not in fresh else None
                if kept is not None and not fault(kept):
                    replies[key] = Utterance(kept)
                elif key not in replies:
                    fresh[key] = conversation

            def done(key: str, said: Utterance) -> None:
                replies[key] = said
                if not said.lost:
                    self._keep(key, said.text)

            if fresh:
                self._backend.converse(fresh, fault, self._budget, done)
            for key in keys:
                self._budget.count("asked")
                if replies[key].lost:
                    self._budget.count_lost(replies[key].lost)
                else:
                    self._budget.count("answered" if fresh.pop(key, None) is not None else "cached")
            return [replies[key] for key in keys]

    def close(self) -> None:
        """Let go of the model. Safe to call twice."""
        with self._turn:
            self._backend.close()

    def _key(self, conversation: Conversation) -> str:
        said = ["voice", self._backend.identity, self._config.max_new_tokens, list(conversation)]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def _recall(self, key: str) -> str | None:
        if self._cache is None:
            return None
        try:
            kept = self._cache.get(key)
            return None if kept is None else str(json.loads(kept)["text"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            self._budget.count("cache_faults")
            return None

    def _keep(self, key: str, text: str) -> None:
        if self._cache is None:
            return
        try:
            self._cache.put(key, json.dumps({"said_by": self._backend.identity, "text": text}))
        except OSError:
            self._budget.count("cache_faults")


def _again(conversation: Conversation, reply: str, fault: str) -> list[Message]:
    return [
        *conversation,
        Message(role="assistant", content=sanitise(reply)[:_SHOWN]),
        Message(role="user", content=f"That cannot be used: {fault}. Reply once more."),
    ]


def _unusable(reply: str, cut: bool, most: int, fault: Fault) -> str:
    return f"it was cut off after {most} tokens" if cut else fault(reply)


class _Far:
    """Behind an endpoint."""

    def __init__(self, config: AskedModelConfig) -> None:
        from frown.critics.chat.client import ChatClient

        assert config.endpoint is not None
        self._chat, self._most = (
            ChatClient(config.endpoint, config.max_new_tokens, None, "partner"),
            config.max_new_tokens,
        )

    @property
    def identity(self) -> str:
        return self._chat.identity

    def converse(
        self, asked: Mapping[str, Conversation], fault: Fault, budget: Budget, done: Callable[[str, Utterance], None]
    ) -> None:
        from frown.critics.chat.client import ChatBatch, ChatError

        async def one(batch: ChatBatch, conversation: Conversation, deadline: float) -> Utterance:
            try:
                for attempt in (1, 2):
                    reply = await self._chat.reply(batch, conversation, deadline)
                    text = self._chat.redact(reply.text)
                    wrong = _unusable(text, reply.truncated, self._most, fault)
                    if not wrong:
                        return Utterance(text)
                    if attempt == 1:
                        batch.budget.count("reasked")
                        conversation = _again(conversation, text, wrong)
            except ChatError as lost:
                return Utterance("", *lost.args)
            return Utterance("", "unreadable", f"its reply cannot be used: {wrong}")

        self._chat.run_concurrently(asked, budget, one, done)

    def close(self) -> None:
        """Nothing is held between calls."""


class _Near:
    """On this machine, greedily."""

    def __init__(self, config: AskedModelConfig) -> None:
        from frown.critics.model.local import LocalModel

        assert config.local is not None
        self._model, self._most = LocalModel(config.local, (), config.max_new_tokens), config.max_new_tokens

    @property
    def identity(self) -> str:
        return self._model.identity

    def converse(
        self, asked: Mapping[str, Conversation], fault: Fault, budget: Budget, done: Callable[[str, Utterance], None]
    ) -> None:
        from frown.critics.model.critic import Outcome

        todo, last = {key: list(c) for key, c in asked.items()}, False
        while todo:
            unclear: dict[str, list[Message]] = {}
            for key, reply in self._model.replies(todo, budget):
                if isinstance(reply, Outcome):
                    done(key, Utterance("", reply.lost, reply.why))
                    continue
                wrong = _unusable(reply.text, reply.truncated, self._most, fault)
                if not wrong:
                    done(key, Utterance(reply.text))
                elif last:
                    done(key, Utterance("", "unreadable", f"its reply cannot be used: {wrong}"))
                else:
                    unclear[key] = _again(todo[key], reply.text, wrong)
            budget.count("reasked", len(unclear))
            todo, last = unclear, True

    def close(self) -> None:
        self._model.close()
