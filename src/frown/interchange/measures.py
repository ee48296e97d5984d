"""`frown read FILE`: what rollouts say of a policy, wherever they come from: doubt, reward, and calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from frown.evals.accuracy import answer_codes
from frown.evals.calibration import agreement, aurc, auroc, brier, ece, ece_equal_mass, nll
from frown.evals.wording import decimal
from frown.store.rollouts import read_rollouts
from frown.viewer.index import Index

if TYPE_CHECKING:
    from rich.console import RenderableType

MEASURES = {"ece": ece, "ece_equal_mass": ece_equal_mass, "brier": brier, "nll": nll, "auroc": auroc, "aurc": aurc}


def measure(index: Index) -> dict[str, Any]:
    """Plain data, as JSON takes it; what is unknown is None.

    `rollouts`, `scored`, `with_logprobs` and `tokens` (those with a log-probability) are counts; `mean_score` is over
    the scored ones, `surprisal` (nats) over all tokens. `calibration`: by kind of confidence (`min_probability`, the
    probability of the weakest token; `mean_probability`, exp of the mean log-probability; `agreement`, the share of a
    prompt's scored answers with the same final answer) how many answers it is known of, and the measures of
    `frown.evals.calibration`.
    """
    logps: list[np.ndarray | None] = []
    finals: list[str | None] = []
    for number in np.unique(index.file).tolist():
        with read_rollouts(index.files[number].path) as file:
            for row in file.rows(("logp", "sampled", "answer")):
                logps.append(_own(row["logp"], row["sampled"]))
                finals.append(row["answer"])
    right = np.where(np.isnan(index.score), np.nan, (index.score >= 1.0).astype(np.float64))
    kinds = {
        "min_probability": np.array([np.nan if v is None else np.exp(v.min()) for v in logps]),
        "mean_probability": np.array([np.nan if v is None else np.exp(v.mean()) for v in logps]),
        "agreement": _agreement(index, np.array(finals, object)),
    }
    tokens = [v for v in logps if v is not None]
    scored = ~np.isnan(index.score)
    return {
        "rollouts": len(index),
        "scored": int(scored.sum()),
        "with_logprobs": len(tokens),
        "tokens": int(sum(len(v) for v in tokens)),
        "mean_score": float(index.score[scored].mean()) if scored.any() else None,
        "surprisal": float(-np.concatenate(tokens).mean()) if tokens else None,
        "calibration": {kind: _measures(values, right) for kind, values in kinds.items()},
    }


def _own(logp: list[float] | None, sampled: list[bool] | None) -> np.ndarray | None:
    """float64: the known log-probabilities of the tokens that the policy sampled; None where there are none."""
    own = logp if logp is None or sampled is None else [v for v, mine in zip(logp, sampled, strict=True) if mine]
    known = np.array(own or (), np.float64)
    known = known[~np.isnan(known)]
    return known if len(known) else None


def _agreement(index: Index, finals: np.ndarray) -> np.ndarray:
    """[N]: NaN where no answer to the prompt names a final answer, or there is only one answer."""
    shares = np.full(len(index), np.nan)
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, key in enumerate(np.stack([index.run, index.split, index.step, index.task], 1).tolist()):
        groups.setdefault(tuple(key), []).append(i)
    for at in groups.values():
        if len(at) > 1 and any(f is not None for f in finals[at]):
            codes = answer_codes(finals[at][None], np.ones((1, len(at)), np.bool_))
            shares[at] = agreement(codes, ~np.isnan(index.score[at])[None])[0]
    return shares


def _measures(confidence: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    n = int((np.isfinite(confidence) & np.isfinite(right)).sum())
    values = {name: float(f(confidence[:, None], right[:, None])) if n else None for name, f in MEASURES.items()}
    return {"answers": n, **{name: v if v is not None and np.isfinite(v) else None for name, v in values.items()}}


def table(measured: Mapping[str, Any]) -> RenderableType:
    """What `measure` returned, for a person."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head = (
        f"{measured['rollouts']} answers, {measured['scored']} scored (mean {decimal(measured['mean_score'])}); "
        f"{measured['with_logprobs']} with log-probabilities, {measured['tokens']} tokens, "
        f"surprisal {decimal(measured['surprisal'], 3)} nats a token"
    )
    drawn = Table(
        "confidence", "answers", "ECE", "ECE, equal mass", "Brier", "NLL", "AUROC", "AURC", box=box.SIMPLE_HEAD
    )
    for kind, values in measured["calibration"].items():
        drawn.add_row(kind.replace("_", " "), str(values["answers"]), *(decimal(values[m], 3) for m in MEASURES))
    note = "Lower is better, but for AUROC (.5 is chance). A dash: it is unknown."
    return Group(Text(head), drawn, Text(note, "dim"))
