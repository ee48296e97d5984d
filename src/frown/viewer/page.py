"""One rollout as the viewer shows it: plain data that JSON can hold.

All texts are as they were kept. Whoever draws them escapes them; whoever writes them into a page does, too.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from frown.affect.quadrants import QUADRANTS, quadrant_codes
from frown.affect.spikes import runs
from frown.evals.fate import DOUBT
from frown.store.record import RolloutRecord
from frown.store.rollouts import RolloutFile, question, read_rollouts
from frown.types import Floats
from frown.viewer.index import Index
from frown.viewer.scales import in_order

BROKEN = "�"


def page(index: Index, i: int) -> dict[str, Any]:
    """Rollout `i` of an index, with T tokens.

    Returns: `key`, its permanent name; `tokens`, T texts; `fragments`, [first, last + 1, text] of tokens that only
    together write a text; `signals`, name -> packed float32[T] (NaN: none there), in the order they are offered;
    `steps`, each with its tokens, doubt, verdict, quadrant and what it earned; `heard`, of a conversation the stretches
    that others said (its steps are the policy's turns), else None; `spans`, `feedback`, `prompt`, `teacher_prompt`, and
    what the list knows too. What nobody knows is None or empty.
    """
    record = record_at(index, i)
    rollout, verdict, appraisal = record.rollout, record.rollout.verdict, record.appraisal
    tokens, signals = shown_tokens(record), token_values(record)
    known_ids = "ids" not in record.unknown and len(rollout.ids) == len(tokens)
    return {
        "key": index.key(i),
        "task": rollout.task.id,
        "question": question(rollout.task),
        "prompt": record.prompt,
        "teacher_prompt": None if record.teacher is None else record.teacher.prompt,
        "text": rollout.text,
        "verdict": None if verdict is None else verdict.message,
        "answer": None if verdict is None else verdict.answer,
        "well_formed": None if verdict is None else verdict.well_formed,
        "stop": rollout.stop,
        "temperature": _number(rollout.temperature),
        "group": rollout.group,
        "source": None if rollout.signals is None else rollout.signals.source,
        "score": None if verdict is None else _number(verdict.score),
        "tokens": tokens,
        "token_ids": rollout.ids.tolist() if known_ids else None,
        "fragments": fragments(tokens, rollout.text),
        "signals": {name: packed(signals[name]) for name in in_order(set(signals))},
        "steps": steps(
            rollout.steps, appraisal.step_doubt, None if verdict is None else verdict.step_right, rollout.earned
        ),
        "heard": heard(record),
        "spans": [{**vars(span), "evidence": _finite(span.evidence)} for span in appraisal.spans],
        "feedback": [{"kind": p.kind, "text": p.text, "steps": _listed(p.steps)} for p in record.feedback.parts],
        "unread": list(appraisal.unread),
    }


def record_at(index: Index, i: int) -> RolloutRecord:
    """Rollout `i` of an index with all that is kept of it; only the row group that it lies in is read."""
    path, row = index.place(i)
    record: RolloutRecord = opened(path)[row]
    return record


def opened(path: Path) -> RolloutFile:
    """A file of rollouts that stays open, so that its footer is read once; opened anew where it has changed."""
    return _opened(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _opened(path: Path, _changed: int) -> RolloutFile:
    return read_rollouts(path)


def shown_tokens(record: RolloutRecord) -> list[str]:
    """The answer token by token; as one piece where only its text is kept."""
    return list(record.tokens or ()) or ([record.rollout.text] if record.rollout.text else [])


def token_values(record: RolloutRecord) -> dict[str, Floats]:
    """Name -> float32[T]: every number a token that is kept of a rollout, NaN where it has none, which is so of all
    that others said in a conversation; all-NaN ones are left out."""
    rollout, teacher, length = record.rollout, record.teacher, len(shown_tokens(record))
    kept = dict(rollout.signals.values) if rollout.signals is not None else {}
    if record.advantage is not None:
        kept["advantage"] = record.advantage
    if teacher is not None:
        readings = {"log_ratio": teacher.log_ratio, "teacher_entropy": teacher.entropy, "weight": teacher.weight}
        readings["divergence"] = teacher.divergence
        kept |= {name: values for name, values in readings.items() if values is not None}
    if "logp" not in record.unknown:
        kept.setdefault("surprisal", -rollout.logp)
    others = heard(record) or []
    shown = {}
    for name, values in kept.items():
        if len(values) == length:
            array = np.array(values, np.float32)
            for a, b in others:
                array[a:b] = np.nan
            if not np.isnan(array).all():
                shown[name] = array
    return shown


def heard(record: RolloutRecord) -> list[tuple[int, int]] | None:
    """Of a conversation of T tokens, the stretches [start, end) that others said; None of any other answer."""
    sampled = record.rollout.sampled
    if sampled is None or len(sampled) != len(shown_tokens(record)):
        return None
    return [(a, b) for a, b in runs(~sampled)]


def steps(
    ranges: Sequence[tuple[int, int]],
    doubt: Sequence[float],
    right: Sequence[bool] | None,
    earned: Sequence[float] | None = None,
) -> list[dict[str, Any]]:
    """Each written-out step: `start`, `end` (tokens), `doubt` (nats), `right`, `quadrant` and `reward` (in the unit of
    whoever gave it), None where unknown."""
    doubts, rights, rewards = (_of_length(values, len(ranges)) for values in (doubt, right, earned))
    known = [2 if r is None else int(r) for r in rights]
    codes = quadrant_codes([d is not None and d > DOUBT for d in doubts], np.array(known, np.int64))
    return [
        {"start": a, "end": b, "doubt": _number(d), "right": r, "quadrant": QUADRANTS[q], "reward": _number(e)}
        for (a, b), d, r, q, e in zip(ranges, doubts, rights, codes, rewards, strict=True)
    ]


def _of_length(values: Sequence[Any] | None, length: int) -> list[Any]:
    return list(values) if values is not None and len(values) == length else [None] * length


def fragments(tokens: Sequence[str], text: str) -> list[tuple[int, int, str]]:
    """Runs of tokens that hold pieces of characters, each with the text that the run writes.

    A token that is part of a character reads as U+FFFD. What it writes with its neighbours is found in the whole
    text: up to where the next whole token goes on. Runs that cannot be placed,
    or whose bytes are no text, have "" for theirs.
    """
    pieces: list[tuple[int, int, str]] = []
    at, i = 0, 0
    while i < len(tokens):
        if BROKEN not in tokens[i]:
            at = at + len(tokens[i]) if text.startswith(tokens[i], at) else max(at, text.find(tokens[i], at))
            i += 1
            continue
        end = i
        while end < len(tokens) and BROKEN in tokens[end]:
            end += 1
        ahead = "".join(tokens[end : end + 4])
        stop = len(text) if end == len(tokens) else text.find(ahead.partition(BROKEN)[0] or ahead, at + 1)
        written = text[at:stop] if stop > at else ""
        pieces.append((i, end, written if len(written) <= 4 * (end - i) and BROKEN not in written else ""))
        at, i = max(at, stop), end
    return pieces


def packed(values: ArrayLike, kind: str = "<f4") -> str:
    """Numbers as base64 of their little-endian bytes: float32 (or int32 with "<i4"), exact, and quick to read."""
    return base64.b64encode(np.asarray(values).astype(kind).tobytes()).decode("ascii")


def as_json(data: Any) -> str:
    """JSON that may stand in a script element: ASCII, and nothing in it closes or opens a tag or a comment."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _finite(evidence: Mapping[str, float]) -> dict[str, float]:
    """A span's evidence as JSON can hold it."""
    return {name: value for name, value in evidence.items() if isinstance(value, int | float) and np.isfinite(value)}


def _listed(values: Sequence[int] | None) -> list[int] | None:
    return None if values is None else list(values)
