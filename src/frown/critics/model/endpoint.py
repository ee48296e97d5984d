"""A critic that asks a model behind an endpoint, several answers at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from frown.config import EndpointConfig, ModelCriticConfig
from frown.critics.base import Request
from frown.critics.chat.budget import Budget
from frown.critics.chat.client import ChatBatch, ChatClient, ChatError
from frown.critics.model.critic import ModelCritic, OnOutcome, Outcome, to_outcome
from frown.critics.model.prompt import SCHEMA, judge_prompt, retry_prompt
from frown.critics.model.reply import ParsedReply, parse_reply

if TYPE_CHECKING:
    from frown.critics.chat.protocol import Completion


def endpoint_critic(config: ModelCriticConfig) -> ModelCritic:
    """Make the critic that asks `config.endpoint`.

    Raises FrownError when the openai package or the key is missing, or the cache cannot be used.
    """
    assert config.endpoint is not None
    return ModelCritic(config, EndpointBackend(config.endpoint, config.sees, config.max_new_tokens))


class EndpointBackend:
    """Conversations with an endpoint; implements `frown.critics.model.critic.Backend`."""

    def __init__(self, config: EndpointConfig, sees: Sequence[str], max_new_tokens: int) -> None:
        self._chat = ChatClient(config, max_new_tokens, ("judgements", SCHEMA), "critic")
        self._sees, self._max_new_tokens = sees, max_new_tokens

    @property
    def identity(self) -> str:
        """Host and path, model, and what is sent beside the prompt."""
        return self._chat.identity

    def judge(self, requests: Mapping[str, Request], budget: Budget, on_outcome: OnOutcome) -> None:
        """A conversation about each request, at most `concurrency` at once."""
        self._chat.run_concurrently(requests, budget, self._outcome, on_outcome)

    def close(self) -> None:
        """Nothing is held between calls of `judge`."""

    async def _outcome(self, batch: ChatBatch, request: Request, deadline: float) -> Outcome:
        """The conversation about one request: a reply, and where it cannot be used as it is, a second one."""
        messages = judge_prompt(request, self._sees)
        best = ParsedReply()
        try:
            reply = await self._chat.reply(batch, messages, deadline)
            best = self._read(batch, reply, request)
            if best.fault:
                batch.budget.count("reasked")
                reply = await self._chat.reply(batch, retry_prompt(messages, reply.text, best.fault), deadline)
                second = self._read(batch, reply, request)
                best = max(second, best, key=lambda r: len(r.judgements))
        except ChatError as error:
            if not best.judgements:
                return Outcome((), *error.args)
        return to_outcome(best)

    def _read(self, batch: ChatBatch, reply: Completion, request: Request) -> ParsedReply:
        parsed = parse_reply(reply.text, request, cut_after=self._max_new_tokens if reply.truncated else None)
        batch.budget.count("stray", parsed.stray)
        redact = self._chat.redact
        redacted = [
            j.model_copy(update={"correction": redact(j.correction or ""), "reason": redact(j.reason or "")})
            for j in parsed.judgements
        ]
        return parsed._replace(judgements=tuple(redacted))
