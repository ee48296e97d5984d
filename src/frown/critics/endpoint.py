"""A critic that asks a model behind an endpoint, several answers at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from frown.config import EndpointConfig, ModelCriticConfig
from frown.critics.account import Account
from frown.critics.base import Request
from frown.critics.chat import Chat, Line, LostError
from frown.critics.judge import SCHEMA, Reading, again, prompt, read
from frown.critics.model import ModelCritic, Outcome, concluded

if TYPE_CHECKING:
    from frown.critics.wire import Completion


def endpoint_critic(config: ModelCriticConfig) -> ModelCritic:
    """The critic that asks `config.endpoint`.

    Raises FrownError when the openai package or the key is missing, or the cache cannot be used.
    """
    assert config.endpoint is not None
    return ModelCritic(config, Endpoint(config.endpoint, config.sees, config.max_new_tokens))


class Endpoint:
    """Conversations with an endpoint; implements `frown.critics.model.Backend`."""

    def __init__(self, config: EndpointConfig, sees: Sequence[str], max_new_tokens: int) -> None:
        self._chat = Chat(config, max_new_tokens, ("judgements", SCHEMA), "critic")
        self._sees, self._max_new_tokens = sees, max_new_tokens

    @property
    def identity(self) -> str:
        """Host and path, model, and what is sent beside the prompt."""
        return self._chat.identity

    def judge(self, requests: Mapping[str, Request], account: Account, done: Callable[[str, Outcome], None]) -> None:
        """A conversation about each request, at most `concurrency` at once."""
        self._chat.side_by_side(requests, account, self._outcome, done)

    def close(self) -> None:
        """Nothing is held between calls of `judge`."""

    async def _outcome(self, line: Line, request: Request, until: float) -> Outcome:
        """The conversation about one request: a reply, and where it cannot be used as it is, a second one."""
        messages = prompt(request, self._sees)
        best = Reading()
        try:
            reply = await self._chat.reply(line, messages, until)
            best = self._read(line, reply, request)
            if best.fault:
                line.account.add("reasked")
                reply = await self._chat.reply(line, again(messages, reply.text, best.fault), until)
                second = self._read(line, reply, request)
                best = max(second, best, key=lambda r: len(r.judgements))
        except LostError as lost:
            if not best.judgements:
                return Outcome((), *lost.args)
        return concluded(best)

    def _read(self, line: Line, reply: Completion, request: Request) -> Reading:
        reading = read(reply.text, request, cut=self._max_new_tokens if reply.cut else None)
        line.account.add("stray", reading.stray)
        hide = self._chat.hide
        hidden = [
            j.model_copy(update={"correction": hide(j.correction or ""), "reason": hide(j.reason or "")})
            for j in reading.judgements
        ]
        return reading._replace(judgements=tuple(hidden))
