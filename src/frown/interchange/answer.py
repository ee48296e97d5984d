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

    raw: bytes | None
    """None: the log names the token by its id alone."""
    logp: float
    """NaN: unknown."""
    top: tuple[tuple[bytes | int, float], ...] = ()
    id: int = -1
    complete: bool = True
    """Whether `top` has all alternatives that were logged; those without a log-probability are left out."""


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


def step_of(given: Any) -> int:
    """A logged training step; 0 where none is. Raises ValueError or TypeError for what is none."""
    step = int(given or 0)
    if not 0 <= step < 2**31:
        raise ValueError(f"step {given!r} is no training step")
    return step


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
    tokens = tuple(f"<{t.id}>" if t.raw is None else t.raw.decode("utf-8", "replace") for t in answer.tokens)
    without_ids: tuple[Unknown, ...] = () if (rollout.ids >= 0).all() else ("ids",)
    unknown = frozenset(("prompt_ids", *without_ids))
    return RolloutRecord(rollout, appraise(rollout), prompt=prompt, tokens=tokens, unknown=unknown)


def _with_tokens(rollout: Rollout, tokens: Sequence[LoggedToken]) -> Rollout:
    """The answer with its tokens, the signals that can be read from them, and its written-out steps."""
    ids = np.array([t.id for t in tokens], np.int64)
    rollout = replace(
        rollout,
        ids=ids if (ids >= 0).all() else np.full(len(ids), -1),
        logp=np.array([t.logp for t in tokens], np.float32),
        temperature=1.0,
        signals=Signals(*signals_of_top(tokens)),
    )
    pieces = [t.raw for t in tokens if t.raw is not None]
    if len(pieces) < len(tokens):
        return rollout  # where a token lies in the text is unknown
    raw = b"".join(pieces)
    text = raw.decode("utf-8", "replace")
    ends = np.cumsum([len(piece) for piece in pieces]).tolist()
    starts = [len(raw[:end].decode("utf-8", "ignore")) for end in (0, *ends[:-1])]
    return replace(rollout, text=text, steps=steps_of_tokens(starts, text, split_steps(text)))


def _verdict(answer: Answer) -> Verdict | None:
    """What the log says of an answer; None where it says nothing."""
    if answer.score is not None and 0.0 <= answer.score <= 1.0:
        return Verdict(answer.score, message=answer.verdict, answer=answer.final)
    if not answer.verdict and answer.final is None:
        return None
    return Verdict(np.nan, scored=False, message=answer.verdict, answer=answer.final)


def signals_of_top(tokens: Sequence[LoggedToken]) -> tuple[Mapping[str, Floats], str]:
    """Name -> float32[T], and their source "topk:K" (K: the fewest alternatives that were logged of any token).

    From the sampled token and the K likeliest: `surprisal` is exact; `top_probability` is from K = 1 on, `margin` from
    K = 2 on. `entropy_lower` (nats) is a lower bound of the entropy: that of the distribution in which all tokens that
    were not logged are one token, which is less by their mass times the entropy among them (the chain rule). NaN where
    a token's own log does not say: where an alternative was left out, the likeliest of the others is the likeliest of
    all only if all that is left over has less probability. A signal that no token has is left out.
    """
    logged = [len(t.top) for t in tokens if t.top and t.complete] or [len(t.top) for t in tokens if t.top] or [0]
    values = {"surprisal": [-t.logp for t in tokens]}
    if max(logged):
        of_tokens = [_of_top(token) for token in tokens]
        values |= {name: [v[name] for v in of_tokens] for name in ("top_probability", "entropy_lower", "margin")}
    arrays = {name: np.array(v, np.float32) for name, v in values.items()}
    kept = {name: v for name, v in arrays.items() if name == "surprisal" or not np.isnan(v).all()}
    return kept, f"topk:{min(logged)}"


def _of_top(token: LoggedToken) -> dict[str, float]:
    """What one token's alternatives say."""
    known = dict(token.top)
    if not np.isnan(token.logp):
        known[token.id if token.id >= 0 or token.raw is None else token.raw] = token.logp
    logps = sorted(known.values(), reverse=True) if token.top else []
    if not logps:
        return dict.fromkeys(("top_probability", "entropy_lower", "margin"), np.nan)
    rest = 0.0 if token.complete else max(0.0, 1.0 - float(np.exp(logps).sum()))
    first = np.exp(logps[0])
    second = np.exp(logps[1]) if len(token.top) > 1 else 0.0 if not token.complete and rest < 1e-6 else np.nan
    return {
        "top_probability": first if first >= rest else np.nan,
        "entropy_lower": _entropy_with_rest(np.array(logps)),
        "margin": first - second if second >= rest else np.nan,
    }


def _entropy_with_rest(logps: np.ndarray) -> float:
    p = np.exp(logps)
    p = np.append(p, max(0.0, 1.0 - float(p.sum())))
    p = p[p > 0.0]
    return float(-(p * np.log(p)).sum())
