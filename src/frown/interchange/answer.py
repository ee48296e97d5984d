"""An answer as another program logged it, and as a rollout of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from frown.affect.appraisal import appraise
from frown.policy.text import steps_of_tokens
from frown.store.record import RolloutRecord, Unknown
from frown.tasks.data import task_id
from frown.tasks.steps import split_steps
from frown.types import Floats, Message, Rollout, Signals, Task, Verdict


@dataclass(frozen=True)
class LoggedToken:
    """A sampled token: its bytes, its log-probability (nats), and those of the K likeliest tokens.

    Tokens are told apart by their ids where the log holds ids (`id` is -1 where not), else by their bytes.
    """

    raw: bytes
    logp: float
    top: tuple[tuple[bytes | int, float], ...] = ()
    id: int = -1


@dataclass(frozen=True)
class Answer:
    """One answer. `tokens` is None where the log holds text alone; `score` is None where nobody judged it."""

    messages: tuple[Message, ...]
    text: str
    tokens: tuple[LoggedToken, ...] | None = None
    cut: bool = False
    """Whether it was cut at the token limit."""
    score: float | None = None
    verdict: str = ""
    final: str | None = None
    """The final answer in it, where the log names one."""
    step: int = 0
    task: str | None = None
    """What the log calls the task; None: said by its messages."""


def records(answers: Sequence[Answer]) -> list[RolloutRecord]:
    """Answers as rollouts; what the log does not say is unknown. Those to the same task in a step share a group."""
    groups: dict[tuple[int, str], int] = {}
    numbered = []
    for answer in answers:
        task = answer.task or task_id(answer.messages, "")
        group = groups.setdefault((answer.step, task), len(groups))
        numbered.append(_record(answer, task, group))
    return numbered


def _record(answer: Answer, task: str, group: int) -> RolloutRecord:
    prompt = "\n\n".join(f"{m['role']}: {m['content']}" for m in answer.messages) or None
    rollout = Rollout(
        task=Task(task, answer.messages, ""),
        group=group,
        prompt_ids=np.zeros(0, np.int64),
        ids=np.zeros(0, np.int64),
        logp=np.zeros(0, np.float32),
        temperature=np.nan,
        stop="length" if answer.cut else "eos",
        text=answer.text,
        verdict=_verdict(answer),
        policy_step=answer.step,
    )
    if not answer.tokens:
        unknown: frozenset[Unknown] = frozenset({"prompt_ids", "ids", "logp", "temperature"})
        return RolloutRecord(rollout, prompt=prompt, unknown=unknown)
    rollout = _with_tokens(rollout, answer.tokens)
    tokens = tuple(t.raw.decode("utf-8", "replace") for t in answer.tokens)
    without_ids: tuple[Unknown, ...] = () if (rollout.ids >= 0).all() else ("ids",)
    unknown = frozenset(("prompt_ids", *without_ids))
    return RolloutRecord(rollout, appraise(rollout), prompt=prompt, tokens=tokens, unknown=unknown)


def _with_tokens(rollout: Rollout, tokens: Sequence[LoggedToken]) -> Rollout:
    """The answer with its tokens, the signals that can be read from them, and its written-out steps."""
    raw = b"".join(t.raw for t in tokens)
    text = raw.decode("utf-8", "replace")
    ends = np.cumsum([len(t.raw) for t in tokens]).tolist()
    starts = [len(raw[:end].decode("utf-8", "ignore")) for end in (0, *ends[:-1])]
    ids = np.array([t.id for t in tokens], np.int64)
    return replace(
        rollout,
        ids=ids if (ids >= 0).all() else np.full(len(ids), -1),
        logp=np.array([t.logp for t in tokens], np.float32),
        temperature=1.0,
        text=text,
        steps=steps_of_tokens(starts, text, split_steps(text)),
        signals=Signals(*signals_of_top(tokens)),
    )


def _verdict(answer: Answer) -> Verdict | None:
    """What the log says of an answer; None where it says nothing."""
    if answer.score is not None and 0.0 <= answer.score <= 1.0:
        return Verdict(answer.score, message=answer.verdict, answer=answer.final)
    if not answer.verdict and answer.final is None:
        return None
    return Verdict(np.nan, scored=False, message=answer.verdict, answer=answer.final)


def signals_of_top(tokens: Sequence[LoggedToken]) -> tuple[Mapping[str, Floats], str]:
    """Name -> float32[T], and their source "topk:K" (K: the fewest tokens that were logged at any place).

    From the sampled token and the K likeliest: `surprisal` is exact; `top_probability` is from K = 1 on, `margin` from
    K = 2 on. `entropy_lower` (nats) is a lower bound of the entropy: that of the distribution in which all tokens that
    were not logged are one token, which is less by their mass times the entropy among them (the chain rule).
    """
    k = min(len(t.top) for t in tokens)
    signals: dict[str, Any] = {"surprisal": [-t.logp for t in tokens]}
    if k:
        known = [sorted(dict((*t.top, (t.id if t.id >= 0 else t.raw, t.logp))).values(), reverse=True) for t in tokens]
        signals["top_probability"] = [np.exp(logps[0]) for logps in known]
        signals["entropy_lower"] = [_entropy_with_rest(np.array(logps)) for logps in known]
    if k > 1:
        signals["margin"] = [np.exp(logps[0]) - np.exp(logps[1]) for logps in known]
    return {name: np.array(values, np.float32) for name, values in signals.items()}, f"topk:{k}"


def _entropy_with_rest(logps: np.ndarray) -> float:
    p = np.exp(logps)
    p = np.append(p, max(0.0, 1.0 - float(p.sum())))
    p = p[p > 0.0]
    return float(-(p * np.log(p)).sum())


def clean(text: Any) -> str:
    """Text as UTF-8 can hold it: half a surrogate pair becomes U+FFFD."""
    return str(text).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
