"""From graded samples to one summary: every figure with its interval, every comparison in a sentence.

`summarise` is a pure function of what the runs left behind; the same runs give the same bytes (`to_json`).
Its keys are documented one by one in docs/summary.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from frown.errors import FrownError
from frown.evals import figures, wording
from frown.evals.metrics import EVERY_PAIR, metrics
from frown.evals.results import RunResult, check, shared_steps
from frown.evals.stats import LEVEL, RESAMPLES, draws

__all__ = ["SCHEMA", "RunResult", "summarise", "to_json"]

SCHEMA = 2


def summarise(
    results: Sequence[RunResult],
    *,
    baseline: str,
    threshold: float | None = None,
    config: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
    pairs: Sequence[tuple[str, str]] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """The summary of an experiment as plain JSON data (no NaN: null), documented in docs/summary.md.

    Every arm is compared with `baseline`, and each (arm, other) of `pairs` besides. `threshold` is the Avg@k
    for which the cost to reach it is given. Failed and interrupted runs are listed and left out of every
    figure. `resamples` and `seed` are the bootstrap's. Raises FrownError where runs cannot be compared (other
    prompts, another number of samples, an arm that is not there, a run that is there twice).
    """
    check(results)
    names = list(dict.fromkeys(r.arm for r in results))
    for name in (baseline, *(n for pair in pairs for n in pair)):
        if name not in names:
            raise FrownError(f"there is no arm {name!r} to compare; the arms are {', '.join(names)}")
    finished = {n: _finished(results, n) for n in names}
    done = [r for runs in finished.values() for r in runs]
    k, prompts = (done[0].last.k, done[0].last.prompts) if done else (0, 0)
    steps = shared_steps(done)
    book = figures.Book(k, steps, threshold, metrics(max(k, 1)), cache(lambda s, n: draws(s, n, resamples, seed)))
    arms = {n: figures.arm(runs, book) for n, runs in finished.items()}
    against = [(n, baseline) for n in names if n != baseline] + [p for p in pairs if p[0] != p[1]]
    settings = _plain(config or {})
    return {
        "schema": SCHEMA,
        "compared": wording.compared(names, baseline, finished, k, prompts, steps),
        "baseline": baseline,
        "k": k,
        "prompts": prompts,
        "steps": list(steps),
        "threshold": threshold,
        "bootstrap": {"resamples": resamples, "seed": seed, "level": LEVEL},
        "arms": arms,
        "pairs": [
            figures.pair(a, b, m, finished, book)
            for a, b in dict.fromkeys(against)
            for m in _compared_in(a, b, arms, steps)
        ],
        "failures": [_failure(r) for r in results if r.status != "finished"],
        "warnings": wording.warnings(arms, finished, steps, k) + [w for r in results for w in r.warnings],
        "config": settings,
        "config_digest": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12],
        "environment": _plain(environment or {}),
    }


def to_json(summary: Mapping[str, Any]) -> str:
    """The summary as the text of summary.json; the same summary gives the same bytes."""
    return json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _compared_in(arm: str, other: str, arms: Mapping[str, Any], steps: Sequence[int]) -> tuple[str, ...]:
    """The metrics two arms are compared in: an area only of a curve, suppression only where both can tell."""
    with_fates = all(arms[name]["suppression"] is not None for name in (arm, other))
    curves = len(steps) != 1
    return (*(m for m in EVERY_PAIR if m != "auc" or curves), *(("suppression",) if with_fates else ()))


def _finished(results: Sequence[RunResult], arm: str) -> list[RunResult]:
    return sorted((r for r in results if r.arm == arm and r.status == "finished"), key=lambda r: r.seed)


def _failure(run: RunResult) -> dict[str, Any]:
    return {
        "arm": run.arm,
        "seed": run.seed,
        "status": run.status,
        "message": run.message,
        "last_step": run.evals[-1].step if run.evals else None,
    }


def _plain(value: Any) -> Any:
    """JSON data: mappings with text keys, lists, finite numbers, text; anything else as its text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(str(v) for v in value)
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, (str, int, bool)) or value is None else str(value)
