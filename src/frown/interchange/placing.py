"""Tokens as pieces of the text that they wrote, where a server logs the one not quite as the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import nan

from frown.interchange.answer import LoggedToken

BROKEN = "\ufffd"
"""How a token that holds a piece of a character reads where its bytes were not logged."""


def placed(tokens: Sequence[LoggedToken], text: str) -> tuple[LoggedToken, ...]:
    """The tokens with the bytes of the text that each wrote.

    What no token wrote (reasoning or the call of a tool that a server has taken out of the answer) becomes a piece
    without a log-probability; tokens that read as U+FFFD get the bytes that are between their neighbours. Where the
    tokens write another text they stay as they are: they are what was sampled, special tokens among it.
    """
    if any(t.raw is None for t in tokens):
        return tuple(tokens)
    written = b"".join(t.raw or b"" for t in tokens).decode("utf-8", "replace")
    if written == text or not written:
        return tuple(tokens)
    at = text.find(written)
    if at >= 0 and BROKEN not in written:
        return (*_unread(text[:at]), *tokens, *_unread(text[at + len(written) :]))
    return _between(tokens, text) or tuple(tokens)


def without_prompt(tokens: Sequence[LoggedToken], prompt: str) -> tuple[LoggedToken, ...]:
    """The tokens behind a prompt that was echoed."""
    length, at = len(prompt.encode("utf-8")), 0
    for i, token in enumerate(tokens):
        if at >= length:
            return tuple(tokens[i:])
        at += len(token.raw or b"")
    return ()


def _unread(text: str) -> list[LoggedToken]:
    return [LoggedToken(text.encode("utf-8"), nan)] if text else []


def _between(tokens: Sequence[LoggedToken], text: str) -> tuple[LoggedToken, ...] | None:
    """The tokens with those that read as U+FFFD, or as nothing, made of what lies between the others; None where the
    others do not follow each other in the text."""
    pieces: list[LoggedToken] = []
    broken: list[LoggedToken] = []
    at, shown = 0, [(t.raw or b"").decode("utf-8", "replace") for t in tokens]
    for i, token in enumerate(tokens):
        if BROKEN in shown[i] or not shown[i]:
            broken.append(token)
            continue
        start = at
        if broken:
            whole = next((j for j in range(i, len(tokens)) if BROKEN in shown[j] or not shown[j]), len(tokens))
            start = text.find("".join(shown[i : min(whole, i + 4)]), at + any(BROKEN in _shown(t) for t in broken))
        if start < 0 or not text.startswith(shown[i], start):
            return None
        pieces += [*_shared(broken, text[at:start]), token]
        broken, at = [], start + len(shown[i])
    if at < len(text) and not broken:
        return None
    return (*pieces, *_shared(broken, text[at:]))


def _shown(token: LoggedToken) -> str:
    return (token.raw or b"").decode("utf-8", "replace")


def _shared(tokens: Sequence[LoggedToken], text: str) -> list[LoggedToken]:
    """The bytes of a text shared out among the tokens that wrote it together."""
    raw, n = text.encode("utf-8"), len(tokens)
    return [replace(t, raw=raw[i * len(raw) // n : (i + 1) * len(raw) // n]) for i, t in enumerate(tokens)]
