"""The samples of lm-evaluation-harness: samples_*.jsonl, as `--log_samples` writes them.

A row: doc_id, arguments, target, resps (a list of answers to each request), filtered_resps, filter, metrics, and the
value of each metric. Of a multiple-choice question the requests are its options, the answer the likeliest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from frown.interchange.answer import Answer
from frown.interchange.messages import clean, messages_of
from frown.interchange.omissions import Omit

METRICS = ("exact_match", "acc", "pass@1", "math_verify", "em", "mcc", "f1")
"""Those that say whether an answer is right, for rows that do not name theirs; the first that is there."""


def is_sample(record: Mapping[str, Any]) -> bool:
    """Whether a record is a row of samples_*.jsonl."""
    return "doc_id" in record and ("resps" in record or "filtered_resps" in record)


def sample_key(record: Mapping[str, Any]) -> str:
    """What rows of the same answers share, whichever filter reads them."""
    return repr((record["doc_id"], record.get("doc_hash"), record.get("prompt_hash"), record.get("resps")))


def answers_of_sample(record: Mapping[str, Any], omit: Omit) -> Iterator[Answer]:
    """The answers of one row. Raises TypeError or ValueError for a row of another form."""
    requests = _requests(record.get("arguments"))
    responses = record.get("resps") or [record["filtered_resps"]]
    score = _score(record)
    if _is_choice(responses):
        text = _likeliest(requests, responses, omit)
        yield _answer(record, requests, text, None if text is None else text.strip(), score)
        return
    texts = [t for of_request in responses for t in ([of_request] if isinstance(of_request, str) else of_request)]
    finals = _flat(record.get("filtered_resps"))
    one = len(texts) == 1  # a metric of several answers is that of their vote
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            omit("answers", f"an answer is {text!r}")
            continue
        final = finals[i] if i < len(finals) and isinstance(finals[i], str) and finals[i] != "[invalid]" else None
        yield _answer(record, requests, text, final, score if one else None)


def _answer(
    record: Mapping[str, Any], requests: Sequence[Sequence[Any]], text: str | None, final: str | None, score: Any
) -> Answer:
    if text is None:
        raise ValueError("no option has a log-likelihood")
    name, value = score or ("", None)
    return Answer(
        messages=messages_of(requests[0][0] if requests and requests[0] else None),
        text=clean(text),
        score=value,
        verdict=clean(f"{name} {value:g}") if name else "",
        final=None if final is None else clean(final),
        task=f"{record.get('doc_hash') or ''}{record['doc_id']}",
    )


def _requests(arguments: Any) -> list[list[Any]]:
    """What was asked: newer rows hold {"gen_args_0": {"arg_0": prompt, "arg_1": ...}}, older ones a list of lists."""
    if isinstance(arguments, Mapping):
        arguments = list(arguments.values())
    rows = arguments if isinstance(arguments, list) else []
    return [list(row.values()) if isinstance(row, Mapping) else list(row) for row in rows if not isinstance(row, str)]


def _is_choice(responses: Any) -> bool:
    """Whether each response is [[log-likelihood, whether it is the greedy one]]."""
    pairs = [r[0] if isinstance(r, list) and r and isinstance(r[0], list) else r for r in responses]
    return all(isinstance(p, list) and len(p) == 2 and str(p[1]) in ("True", "False") for p in pairs) and bool(pairs)


def _likeliest(requests: Sequence[Sequence[Any]], responses: Sequence[Any], omit: Omit) -> str | None:
    best: tuple[float, int] | None = None
    for i, response in enumerate(responses):
        value = (response[0] if isinstance(response[0], list) else response)[0]
        try:
            likelihood = float(value)
        except (TypeError, ValueError):
            likelihood = float("nan")
        if not isfinite(likelihood):
            omit("options", f"the log-likelihood of an option is {value!r}")
        elif best is None or likelihood > best[0]:
            best = likelihood, i
    if best is None:
        return None
    option = requests[best[1]] if best[1] < len(requests) else []
    return str(option[1]) if len(option) > 1 else f"option {best[1] + 1}"


def _score(record: Mapping[str, Any]) -> tuple[str, float] | None:
    named = record.get("metrics")
    for name in (*(named if isinstance(named, list) else ()), *METRICS):
        value = record.get(name) if isinstance(name, str) else None
        if isinstance(value, bool | int | float) and 0.0 <= value <= 1.0:
            return name, float(value)
    return None


def _flat(values: Any) -> list[Any]:
    if not isinstance(values, list):
        return [values]
    return [v for value in values for v in (value if isinstance(value, list) else [value])]
