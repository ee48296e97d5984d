r"""Sampled tokens with their log-probabilities, in each form that servers write.

A log-probability that is none costs itself: null, NaN, infinite, above 0, or so low that it stands for "not among the
likeliest" (-9999 of OpenAI and vLLM, the lowest float of llama.cpp). An alternative is then left out, a token keeps its
place with NaN.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from math import isfinite, isnan, log, nan
from typing import Any

from frown.interchange.answer import LoggedToken
from frown.interchange.messages import clean
from frown.interchange.omissions import Omit

STAND_IN = -500.0
"""Nats: no distribution in floating point gives a token that it could sample less. What is lower is a stand-in."""

_ESCAPED = re.compile(r"(?:\\x[0-9a-fA-F]{2})+")
_BYTE = re.compile(r"<0x([0-9a-fA-F]{2})>")
_ID = re.compile(r"token_id:(\d+)")


def logp_of(value: Any) -> float:
    """A logged value as a log-probability in nats, NaN where it is none; numbers may be written as text."""
    if value is None or isinstance(value, bool):
        return nan
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return nan
    if not isfinite(number) or number > 1e-3 or number <= STAND_IN:
        return nan
    return min(number, 0.0)


def from_entries(entries: Iterable[Any], omit: Omit) -> tuple[LoggedToken, ...]:
    """Tokens of OpenAI's form, one {token, logprob, bytes, top_logprobs} each; llama.cpp's and Ollama's are like it."""
    return tuple(_from_entry(entry, omit) for entry in entries)


def from_columns(logs: Mapping[str, Any], omit: Omit) -> tuple[LoggedToken, ...]:
    """Tokens of legacy completions: the lists `tokens`, `token_logprobs` and `top_logprobs`.

    Raises ValueError where tokens and log-probabilities differ in number, since nobody knows which belong together.
    """
    tokens, logps = logs["tokens"], logs.get("token_logprobs") or [None] * len(logs["tokens"])
    if len(tokens) != len(logps):
        raise ValueError(f"{len(tokens)} tokens have {len(logps)} log-probabilities")
    tops = list(logs.get("top_logprobs") or ())[: len(tokens)]
    rows = zip_longest(tokens, logps, tops)
    return tuple(_from_entry({"token": t, "logprob": logp, "top_logprobs": top}, omit) for t, logp, top in rows)


def from_ids(ids: Sequence[Any], logs: Sequence[Any], omit: Omit) -> tuple[LoggedToken, ...]:
    """Tokens of vLLM's offline outputs: for each id a mapping {id: {logprob, decoded_token}}.

    Raises ValueError where ids and mappings differ in number.
    """
    if len(ids) != len(logs):
        raise ValueError(f"{len(ids)} token ids have {len(logs)} log-probabilities")
    tokens = []
    for number, logged in zip((int(i) for i in ids), logs, strict=True):
        top = {int(k): v if isinstance(v, Mapping) else {"logprob": v} for k, v in (logged or {}).items()}
        own = top.get(number, {})
        text = own.get("decoded_token")
        others = [(k, v.get("logprob")) for k, v in top.items() if k != number]
        raw = None if text is None else _raw(text)
        tokens.append(_token(raw, number, own.get("logprob"), others, number in top, omit))
    return tuple(tokens)


def from_triples(triples: Sequence[Any], tops: Sequence[Any] | None, omit: Omit) -> tuple[LoggedToken, ...]:
    """Tokens of SGLang: [log-probability, id, text or null] each, and lists of the same for the likeliest.

    Raises ValueError for what is no such triple.
    """
    tokens = []
    for triple, top in zip_longest(triples, (tops or ())[: len(triples)]):
        logp, number, text = _triple(triple)
        others = [_triple(t)[:2] for t in top or ()]
        mine = any(k == number for _, k in others)
        rest = [(k, v) for v, k in others if k != number]
        tokens.append(_token(None if text is None else _raw(text), number, logp, rest, mine, omit))
    return tuple(tokens)


def _triple(triple: Any) -> tuple[Any, int, str | None]:
    if not isinstance(triple, Sequence) or isinstance(triple, str) or len(triple) < 2:
        raise ValueError("a token is no [log-probability, id, text]")
    text = triple[2] if len(triple) > 2 else None
    return triple[0], int(triple[1]), text if isinstance(text, str) else None


def _from_entry(entry: Any, omit: Omit) -> LoggedToken:
    if not isinstance(entry, Mapping):
        omit("tokens", f"a token is {entry!r}")
        return LoggedToken(b"", nan)
    text = entry.get("token", entry.get("text", entry.get("content", "")))
    top = [_alternative(k, v) for k, v in _pairs(_first(entry, "top_logprobs", "top_probs", "probs"))]
    raw, number = _bytes(text, entry.get("bytes")), _number(entry, text)
    by_id = number >= 0 and all(k >= 0 for _, k, _ in top)
    alternatives: list[tuple[Any, Any]] = [(k if by_id else b, v) for b, k, v in top]
    own: bytes | int | None = number if by_id else raw
    logp: Any = _logged(entry)
    twin = [v for k, v in alternatives if k == own]
    if isnan(logp_of(logp)) and twin:
        logp = twin[0]
    rest = [(k, v) for k, v in alternatives if k != own]
    return _token(raw, number if by_id else -1, logp, rest, bool(twin), omit)


def _token(
    raw: bytes | None,
    number: int,
    logp: Any,
    others: Sequence[tuple[bytes | int, Any]],
    among: bool,
    omit: Omit,
) -> LoggedToken:
    """A token; `others` are its alternatives, `among`: whether it is one of the likeliest itself."""
    if not -1 <= number < 2**63:
        raise ValueError(f"{number} is no token id")
    own, key = logp_of(logp), number if raw is None or number >= 0 else raw
    if isnan(own):
        omit("tokens", f"the log-probability of a token is {logp!r}")
    known = [(k, logp_of(v)) for k, v in others]
    for (_, value), (_, number_) in zip(others, known, strict=True):
        if isnan(number_):
            omit("alternatives", f"the log-probability of an alternative is {value!r}")
    top = [(k, v) for k, v in known if not isnan(v)]
    if among and not isnan(own):
        top.append((key, own))
    return LoggedToken(raw, own, tuple(top), number, complete=len(top) == len(others) + among)


def _pairs(top: Any) -> list[tuple[Any, Any]]:
    """Alternatives of any form, each as (text or entry, log-probability or None)."""
    if isinstance(top, Mapping):
        return list(top.items())
    return [(entry, None) for entry in top] if isinstance(top, Sequence) and not isinstance(top, str) else []


def _alternative(key: Any, value: Any) -> tuple[bytes | None, int, Any]:
    """An alternative's bytes, its id (-1: none) and what is logged as its log-probability."""
    if isinstance(value, Mapping):  # {token: {logprob}}
        key, value = {"token": key, **value}, None
    if not isinstance(key, Mapping):
        return _bytes(key, None), -1, value
    text = key.get("token", key.get("tok_str", key.get("text", "")))
    return _bytes(text, key.get("bytes")), _number(key, text), _logged(key)


def _logged(entry: Mapping[str, Any]) -> Any:
    """What an entry has for a log-probability; llama.cpp may write probabilities instead."""
    if "logprob" not in entry and "prob" in entry:
        p = entry["prob"]
        return log(p) if isinstance(p, int | float) and 0 < p <= 1 else f"that of probability {p!r}"
    return entry.get("logprob")


def _first(entry: Mapping[str, Any], *names: str) -> Any:
    return next((entry[name] for name in names if entry.get(name) is not None), None)


def _number(entry: Mapping[str, Any], text: Any) -> int:
    """The id of a token, -1 where there is none; vLLM may write "token_id:7" for a text."""
    if isinstance(text, str) and (match := _ID.fullmatch(text)):
        return int(match[1])
    number = entry.get("id")
    return number if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**63 else -1


def _bytes(text: Any, raw: Any) -> bytes | None:
    """The bytes of a token, told by a list of them or by its text; None where its id stands for its text."""
    if isinstance(text, str) and _ID.fullmatch(text):
        return None
    if isinstance(raw, Sequence) and not isinstance(raw, str) and len(raw):
        try:
            written = bytes(raw)
        except (TypeError, ValueError):
            written = b""
        if written and not (isinstance(text, str) and _BYTE.fullmatch(text)):  # of those some list the name's bytes
            return written
    return _raw("" if text is None else str(text))


def _raw(token: str) -> bytes:
    r"""A token's bytes. Servers write bytes that are no text as \xf0 or <0xF0>, some with "bytes:" before them."""
    body = token.removeprefix("bytes:")
    if _ESCAPED.fullmatch(body):
        return bytes.fromhex(body.replace("\\x", ""))
    if match := _BYTE.fullmatch(body):
        return bytes.fromhex(match[1])
    return clean(token).encode("utf-8")
