"""An emotion reward that is learnt: from a reply to the sign of the change of emotion that followed it.

Fitted on SAGE's dialogues with one model and judged on those with another, of people who were in no fitted dialogue.
What is seen is what was there before the person felt anything: the reply, how the conversation went so far, and the
hidden need, which whoever trains against a profile knows. Numpy only.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frown.errors import FrownError
from frown.evals.calibration import auroc, brier, ece
from frown.evals.stats import Interval, difference, draws, interval
from frown.evals.weights import Array, mean_of_samples
from frown.recipes.empathy.acts import read

FOLDS = 5
STRENGTH = 1.0
"""Weight of a log-likelihood against half the squared length of the weights, as scikit-learn's C; not tuned."""
NGRAMS = (1, 2, 3)
"""Characters a piece: Chinese is written without spaces."""
RARE = 3
"""A piece found in fewer replies is left out."""


class Felt(NamedTuple):
    """One reply and what it did."""

    person: str
    reply: str
    need: str
    turn: int
    """Replies before this one."""
    score: float
    """Emotion before it, in points."""
    before: float
    """The change before this one, in points; 0 at the first."""
    change: float
    """The change that followed, in points."""


def load(file: Path) -> list[Felt]:
    """SAGE's dialogues with one model: JSONL, split at line feeds alone. Raises FrownError and names the line."""
    try:
        lines = file.read_bytes().decode("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FrownError(f"cannot read {file}: {error}") from None
    out: list[Felt] = []
    for n, line in enumerate(lines, 1):
        if line.strip():
            try:
                out += _felt(json.loads(line))
            except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as error:
                raise FrownError(f"{file}:{n}: no dialogue of SAGE's: {type(error).__name__}: {error}") from None
    return out


def _felt(row: Any) -> list[Felt]:
    history, out, before = row["history"], [], 0.0
    for i in range(2, len(history), 2):
        was, now = (float(history[j]["emotion-point"]) for j in (i - 2, i))
        if not isfinite(was) or not isfinite(now):
            raise ValueError("an emotion point is not finite")
        reply = history[i - 1]
        if reply["role"] != "assistant":
            raise ValueError("turns do not alternate")
        out.append(Felt(str(row["id"]), reply["content"], row["task"], i // 2 - 1, was, before, now - was))
        before = now - was
    return out


# -- what is seen --------------------------------------------------------------------------------------------------

Features = Callable[[Sequence[Felt], Sequence[Felt]], tuple[Array, Array]]
"""(fitted, judged) -> their features, [N, F] and [M, F]; what is learnt of the text is learnt of the fitted alone."""


def nothing(fitted: Sequence[Felt], judged: Sequence[Felt]) -> tuple[Array, Array]:
    """The share of rises alone: the majority's answer."""
    return np.zeros((len(fitted), 0)), np.zeros((len(judged), 0))


def previous(fitted: Sequence[Felt], judged: Sequence[Felt]) -> tuple[Array, Array]:
    """The sign of the change before."""
    return _columns(fitted, judged, lambda f: [f.before > 0, f.before < 0])


def length(fitted: Sequence[Felt], judged: Sequence[Felt]) -> tuple[Array, Array]:
    """How long the reply is: the logarithm of its characters."""
    return _columns(fitted, judged, lambda f: [np.log1p(len(f.reply))])


def course(fitted: Sequence[Felt], judged: Sequence[Felt]) -> tuple[Array, Array]:
    """Need, turn, score, change before and length: all but the words."""
    needs = sorted({f.need for f in fitted})

    def row(f: Felt) -> list[float]:
        return [f.before / 10, f.score / 100, f.turn / 10, np.log1p(len(f.reply)), *(f.need == n for n in needs)]

    return _columns(fitted, judged, row)


def words(fitted: Sequence[Felt], judged: Sequence[Felt]) -> tuple[Array, Array]:
    """TF-IDF of the reply's pieces of 1 to 3 characters, each row of length one."""
    counts = [_pieces(f.reply) for f in (*fitted, *judged)]
    counted = Counter(piece for c in counts[: len(fitted)] for piece in c)
    known = {piece: i for i, piece in enumerate(sorted(p for p, n in counted.items() if n >= RARE))}
    idf = np.array([np.log((1 + len(fitted)) / (1 + counted[piece])) + 1 for piece in known])
    out = np.zeros((len(counts), len(known)))
    for row, c in zip(out, counts, strict=True):
        for piece, n in c.items():
            if (at := known.get(piece)) is not None:
                row[at] = (1 + np.log(n)) * idf[at]
    size = np.linalg.norm(out, axis=1, keepdims=True)
    out = out / np.where(size > 0, size, 1)
    return out[: len(fitted)], out[len(fitted) :]


def everything(fitted: Sequence[Felt], judged: Sequence[Felt]) -> tuple[Array, Array]:
    """Words and course."""
    pairs = words(fitted, judged), course(fitted, judged)
    return np.hstack([p[0] for p in pairs]), np.hstack([p[1] for p in pairs])


PREDICTORS: dict[str, Features] = {
    "majority": nothing, "previous change": previous, "length": length, "course": course, "words": words,
    "words and course": everything,
}  # fmt: skip


def _columns(
    fitted: Sequence[Felt], judged: Sequence[Felt], row: Callable[[Felt], Sequence[float]]
) -> tuple[Array, Array]:
    a, b = (np.asarray([row(f) for f in some], np.float64).reshape(len(some), -1) for some in (fitted, judged))
    mean, spread = a.mean(0), a.std(0)
    return (a - mean) / np.where(spread > 0, spread, 1), (b - mean) / np.where(spread > 0, spread, 1)


def _pieces(text: str) -> Counter[str]:
    return Counter(text[i : i + n] for n in NGRAMS for i in range(len(text) - n + 1))


# -- the fit -------------------------------------------------------------------------------------------------------


def logistic(x: Array, rose: NDArray[np.bool_], strength: float = STRENGTH) -> tuple[Array, float]:
    """Weights [F] and intercept of a logistic regression with a squared penalty on the weights alone.

    Minimises |w|^2 / 2 + strength * sum of negative log-likelihoods by Newton's method among the rows' own
    combinations w = X^T a: [N, N] however many features there are.
    """
    n = len(x)
    gram, y = x @ x.T, rose.astype(np.float64)
    a, b = np.zeros(n), 0.0
    for _ in range(50):
        p = 1 / (1 + np.exp(-(gram @ a + b)))
        # Both conditions of the optimum: a = strength (y - p), and the intercept's gradient is zero.
        gaps = np.append(a - strength * (y - p), (p - y).sum())
        slope = p * (1 - p)
        system = np.zeros((n + 1, n + 1))
        system[:n, :n] = np.eye(n) + strength * slope[:, None] * gram
        system[:n, n], system[n, :n], system[n, n] = strength * slope, slope @ gram, slope.sum()
        step = np.linalg.solve(system, gaps)
        a, b = a - step[:n], b - step[n]
        if np.abs(step).max() < 1e-9:
            break
    return x.T @ a, float(b)


# -- the judgement -------------------------------------------------------------------------------------------------


def predicted(features: Features, fitted: Sequence[Felt], judged: Sequence[Felt]) -> Array:
    """The probability of a rise after each judged reply, from folds in which neither its model nor its person was.

    A change of zero has no sign and is fitted to by nobody. NaN where what is left to fit has one sign alone.
    """
    if features is nothing:  # knows no person; shares that differ by fold would seem to rank replies
        signs = [f.change > 0 for f in fitted if f.change != 0]
        return np.full(len(judged), np.mean(signs))
    people = sorted({f.person for f in (*fitted, *judged)})
    fold = {p: i % FOLDS for i, p in enumerate(people)}
    out = np.full(len(judged), np.nan)
    for k in range(FOLDS):
        some = [f for f in fitted if fold[f.person] != k and f.change != 0]
        at = [i for i, f in enumerate(judged) if fold[f.person] == k]
        rose = np.array([f.change > 0 for f in some], np.bool_)
        if not at or len(set(rose.tolist())) < 2:
            continue
        inputs, new = features(some, [judged[i] for i in at])
        w, b = logistic(inputs, rose)
        out[at] = 1 / (1 + np.exp(-(new @ w + b)))
    return out


def judge(fitted: Sequence[Felt], judged: Sequence[Felt]) -> dict[str, Any]:
    """Every predictor, with intervals over people, and against the best that needs no words; plain data."""
    people = sorted({f.person for f in judged})
    most = Counter(f.person for f in judged).most_common(1)[0][1]
    rows = {p: i for i, p in enumerate(people)}

    def table(values: Sequence[float] | Array) -> NDArray[np.float64]:
        out = np.full((1, len(people), most), np.nan)
        for f, v in zip(judged, values, strict=True):
            out[0, rows[f.person], f.turn] = v
        return out

    rose = table([np.nan if f.change == 0 else float(f.change > 0) for f in judged])
    p = {name: table(predicted(features, fitted, judged)) for name, features in PREDICTORS.items()}
    using = draws(1, len(people))
    out: dict[str, Any] = {
        "replies": len(judged), "people": len(people), "fitted": len(fitted),
        "unscored": sum(f.change == 0 for f in judged), "rises": float(np.nanmean(rose)), "predictors": {},
        "acts_read": float(np.mean([read(f.reply) is not None for f in judged])),
    }  # fmt: skip
    for name, of_name in p.items():
        figures = {m: _plain(interval(s, of_name, rose, using=using)) for m, s in MEASURES.items()}
        less = {
            m: _plain(difference(s, (of_name, rose), (p["course"], rose), using=using)) for m, s in MEASURES.items()
        }
        out["predictors"][name] = {**figures, "less_course": less}
    return out


def right(confidence: NDArray[Any], rose: NDArray[Any], weights: Array | None = None) -> Array:
    """The share of signs foretold."""
    known = np.isfinite(confidence) & np.isfinite(rose)
    return mean_of_samples(np.where(known, (confidence > 0.5) == (rose > 0.5), np.nan), weights)


MEASURES: dict[str, Callable[..., Array]] = {"accuracy": right, "auroc": auroc, "brier": brier, "ece": ece}


def _plain(value: Interval | None) -> list[float] | None:
    return None if value is None else [float(value.mean), float(value.low), float(value.high)]


def leave_one_out(files: Sequence[Path]) -> dict[str, Any]:
    """Each file's model in turn is the one not seen."""
    if len(files) < 2:
        raise FrownError("judging on a model not seen needs the dialogues of two models or more, a file each")
    by_model = {f.stem: load(f) for f in files}
    return {
        name: judge([f for other, some in by_model.items() if other != name for f in some], judged)
        for name, judged in by_model.items()
    }


def table(results: dict[str, Any]) -> str:
    """Markdown: a table for each model not seen."""
    out = []
    for model, one in results.items():
        out += [f"### Judged on {model}", ""]
        out.append(
            f"{one['replies']} replies to {one['people']} people, of which {one['rises']:.0%} raised the emotion; "
            f"{one['unscored']} changed nothing and are left out. An act is read in {one['acts_read']:.0%} of them."
        )
        out += ["", "| predictor | accuracy | AUROC | Brier | ECE | AUROC, less course |", "| --- " * 6 + "|"]
        for name, of_name in one["predictors"].items():
            cells = [_cell(of_name[m]) for m in MEASURES] + [_cell(of_name["less_course"]["auroc"])]
            out.append(f"| {name} | {' | '.join(cells)} |")
        out.append("")
    return "\n".join(out)


def _cell(value: Sequence[float] | None) -> str:
    return "not defined" if value is None else "{:.3f} [{:.2f}, {:.2f}]".format(*value)
